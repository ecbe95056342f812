"""All records of shards or JSONL at once, for verbs that need them so: training and probing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from lanser_cli import console
from lanser_cli.audio import sound
from lanser_cli.errors import LanserError
from lanser_cli.records import Dropped, Record, Reject, attempt
from lanser_cli.shards import reader, remote
from lanser_cli.stage import unique
from lanser_cli.tally import Ledger
from lanser_cli.texts import alike

R = TypeVar("R", bound=Record)

_HINTS = {
    "no weak label": "lanser entail-label gives weak labels",
    "no label": "lanser manifest gives labels to the clips of a corpus",
    "no speaker": "lanser manifest says who speaks in a corpus",
}
"""What to do about records that lack something, where all do."""


def gather(
    inputs: Sequence[str] | None,
    ledger: Ledger,
    fetch: Path | None = None,
    *,
    take: Callable[[Record], R | str],
) -> list[R]:
    """The records that `take` does not leave out. The ledger has the others.

    The header of every sound file is read, so that what is missing or broken is a reject now and
    not in the middle of a run. Sound in shards was checked when it was packed. Labels and speakers
    that look alike are pointed out, once.

    Args:
        inputs: as `reader.records_of`; None reads standard input.
        fetch: as `remote.fetch`.
        take: makes what is held of a record, or says why it is dropped.

    Raises:
        LanserError: an input is not there, or nothing is left.
    """
    inputs = remote.fetch(inputs or ["-"], fetch)
    reader.check_inputs(inputs)
    records: list[R] = []
    labels, speakers = Counter[str](), Counter[str]()

    def taken(record: Record) -> R | str:
        found = take(record)
        if not isinstance(found, str):
            sound.check(record)
        return found

    for item in unique(reader.records_of(inputs, ledger.stage), ledger.stage):
        ledger.read += 1
        if isinstance(item, Reject):
            ledger.reject(item)
        elif isinstance(item, Dropped):
            ledger.dropped[item.reason] += 1
        else:
            found = attempt(taken, item, ledger.stage)
            if isinstance(found, Reject):
                ledger.reject(found)
            elif isinstance(found, str):
                ledger.dropped[found] += 1
            else:
                records.append(found)
                labels.update(filter(None, (found.label or found.emotion,)))
                speakers.update(filter(None, (item.speaker,)))
    if not records:
        hints = [hint for reason, hint in _HINTS.items() if ledger.dropped[reason]]
        said = f"{ledger.stage}: nothing to learn from in {', '.join(inputs)}: {ledger}"
        raise LanserError("; ".join([said, *hints]))
    for warning in (*alike("labels", labels), *alike("speakers", speakers)):
        if ledger.leads:
            console.warn(f"{ledger.stage}: {warning}")
    return records
