"""The groups that a help page shows options in, in this order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer


@dataclass(frozen=True)
class Group:
    """Options that belong together: `Annotated[Path, OUTPUT.option("-o", help="...")]`."""

    title: str

    def option(self, *names: str, **settings: Any) -> Any:
        """An option of this group; the arguments are those of `typer.Option`."""
        return typer.Option(*names, rich_help_panel=self.title, **settings)

    def mode(self, *names: str, reads: tuple[str, ...], **settings: Any) -> Any:
        """An option that has the verb do something else, which only these parameters count for."""

        def note(ctx: Any, param: Any, value: Any) -> Any:
            if value is not None:
                ctx.meta.setdefault("modes", {})[param.name] = reads
            return value

        return self.option(*names, callback=note, **settings)


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
