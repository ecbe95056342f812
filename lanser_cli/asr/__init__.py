"""Speech to text: engines behind one small protocol, and reasons to distrust what they wrote."""
