"""How far labels can be trusted: what several voters make of them, and which a model doubts."""
