"""lanser: speech emotion recognition without human labels, as composable Unix-style commands."""

__version__ = "0.1.0"
