"""One thin file a verb: its options, then one call into a room. No heavy import at the top."""
