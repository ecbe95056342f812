"""A stage at work: windows of records in, their outcomes out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TypeVar

from lanser_cli.digests import StringSet
from lanser_cli.records import Outcome, Record, Reject

T = TypeVar("T")

WindowFunction = Callable[[Sequence[Record]], list[Outcome]]
"""Some records in, as many outcomes out, in the same order."""

Process = Callable[[Iterable[list[Record]]], Generator[list[Outcome], None, None]]
"""Windows in, their outcomes out; closing it ends whatever works for it.

An empty window says that the input pauses: what is ready is handed on, and then an empty list.
"""


def watching(
    process: Process, see: Callable[[list[Outcome]], None], end: Callable[[], None]
) -> Process:
    """The same process; what it makes is shown to `see`, and `end` is called when all is made."""

    def watched(pending: Iterable[list[Record]]) -> Generator[list[Outcome], None, None]:
        with closing(process(pending)) as answers:
            for outcomes in answers:
                see(outcomes)
                yield outcomes
        end()

    return watched


def one_process(function: WindowFunction) -> Process:
    """Run a window function over windows right here."""
    return lambda pending: (function(window) if window else [] for window in pending)


def applied(
    function: WindowFunction,
    records: Iterable[Record],
    size: int,
    refuse: Callable[[Reject], object],
) -> Iterator[Record]:
    """What a window function makes of records, in order; `refuse` is given the rejects."""
    for window in windows(records, size):
        for outcome in function(window):
            if isinstance(outcome, Record):
                yield outcome
            elif isinstance(outcome, Reject):
                refuse(outcome)


def unique(items: Iterable[Outcome], stage: str, *, within: str | None = None) -> Iterator[Outcome]:
    """Pass records on; one whose id came before becomes a reject.

    Args:
        within: key whose values may each have the same ids.
    """
    seen = StringSet()
    for item in items:
        if isinstance(item, Record) and not seen.add(
            item.id if within is None else f"{item.word(within)}/{item.id}"
        ):
            yield Reject.of(item, stage, f"duplicate id '{item.id}': make ids unique")
        else:
            yield item


def windows(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while window := list(islice(iterator, size)):
        yield window
