"""lanser: speech emotion recognition without human labels, as composable Unix-style commands."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lanser_cli.api import label, load, predict, transcribe

__version__ = "0.1.0"
__all__ = ["label", "load", "predict", "transcribe"]


def __getattr__(name: str) -> object:
    """The functions of `lanser_cli.api`, imported when one is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'lanser_cli' has no attribute '{name}'")
    from lanser_cli import api

    return getattr(api, name)
