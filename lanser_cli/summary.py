"""What a verb found, for people at a terminal: a table and a sentence in place of JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from lanser_cli.console import printable


@dataclass(frozen=True, slots=True)
class Summary:
    """A table and what it comes to.

    Attributes:
        head: the names of the columns; the first is that of the rows, the others stand to the
            right, as numbers do.
        rows: a cell for each column.
        sentence: one line under the table.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    sentence: str

    def show(self) -> None:
        """Print it to standard output, as wide as the terminal is."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for place, name in enumerate(self.head):
            table.add_column(name, justify="right" if place else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(printable(str(cell))) for cell in row))
        console = Console(file=sys.stdout, markup=False, highlight=False)
        console.print(table, printable(self.sentence), sep="")
