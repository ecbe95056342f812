"""The groups that a help page shows options in, in this order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer


@dataclass(frozen=True)
class Group:
    """Options that belong together: `Annotated[Path, OUTPUT.option("-o", help="...")]`."""

    title: str

    def option(
        self, *names: str, only_with: tuple[str, ...] = (), not_with: str = "", **settings: Any
    ) -> Any:
        """An option of this group; the other arguments are those of `typer.Option`.

        Args:
            only_with: options such as `--segment` or `--segment vad`; without any of them this one
                is not read, and refused.
            not_with: an option beside which this one is not read, and refused.
        """
        if only_with or not_with:
            settings["callback"] = _noting("beside", (only_with, not_with))
        return typer.Option(*names, rich_help_panel=self.title, **settings)

    def mode(self, *names: str, reads: tuple[str, ...], **settings: Any) -> Any:
        """An option that has the verb do something else, which only these parameters count for."""
        return self.option(*names, callback=_noting("modes", reads), **settings)


def _noting(kind: str, said: object) -> Any:
    """A callback that keeps what is said of an option for the verb, which has them all."""

    def note(ctx: Any, param: Any, value: Any) -> Any:
        ctx.meta.setdefault(kind, {})[param.name] = said
        return value

    return note


INPUT = Group("Input")
TABLE = Group("Columns of a table")
SEGMENTS = Group("Segments")
SELECTION = Group("Selection")
LABELS = Group("Labels")
MODEL = Group("Model")
TRAINING = Group("Training")
SOUND = Group("Sound")
TEST = Group("Test")
CHECKS = Group("Checks")
MEASURE = Group("Measure")
OUTPUT = Group("Output")
INSTEAD = Group("Instead of all this")
RUNNING = Group("Running")
"""How to run, not what to compute: a settings file may set these for all verbs at once."""

ORDER = tuple(group.title for group in tuple(globals().values()) if isinstance(group, Group))
