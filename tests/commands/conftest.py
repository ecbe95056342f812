"""The fixtures of the corpora's tests, which those of `lanser manifest` need too."""

from corpora.conftest import wav

__all__ = ["wav"]
