"""What the tests of this folder share besides fixtures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from lanser_cli.records import Dropped, Outcome, Record, Reject

MakeWav = Callable[[str], Path]
"""The fixture `wav`."""


def sorted_out(items: Iterable[Outcome]) -> tuple[list[Record], list[Reject], list[Dropped]]:
    """Records, rejects and what was left out."""
    outcomes = list(items)
    return (
        [item for item in outcomes if isinstance(item, Record)],
        [item for item in outcomes if isinstance(item, Reject)],
        [item for item in outcomes if isinstance(item, Dropped)],
    )
