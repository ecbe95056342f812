"""What a verb found, for people at a terminal: a table and a sentence in place of JSON lines."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lanser_cli.console import printable

_NUMBER = re.compile(r"[-+]?\d[\d.]*%?(?: \[.*\])?")


def is_number(cell: object) -> bool:
    """Whether a cell is a number, its interval with it: it stands to the right, on one line."""
    return _NUMBER.fullmatch(str(cell)) is not None


@dataclass(frozen=True, slots=True)
class Summary:
    """A table and what it comes to.

    Attributes:
        head: the names of the columns.
        rows: a cell for each column.
        sentence: one line under the table.
        notes: more lines under it.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    sentence: str
    notes: Sequence[str] = ()

    def show(self) -> None:
        """Print it to standard output, as wide as the terminal is."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for place, name in enumerate(self.head):
            numbers = all(is_number(row[place]) for row in self.rows)
            side: Literal["left", "right"] = "right" if numbers else "left"
            table.add_column(name, justify=side, no_wrap=numbers, overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(printable(str(cell))) for cell in row))
        console = Console(file=sys.stdout, markup=False, highlight=False)
        console.print(table, printable(self.sentence), sep="")
        for note in self.notes:
            console.print(printable(note))
