"""Records and their prosody, measured by several processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lanser_cli import console, workers
from lanser_cli.audio import sound
from lanser_cli.devices import cpu_count
from lanser_cli.errors import RecordError
from lanser_cli.pipe import windows
from lanser_cli.prosody.targets import measure
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.tally import Ledger

WINDOW = 16
_FEW = 64  # records that are measured before other processes would have started


@dataclass(frozen=True, slots=True)
class Measured(Record):
    """A record and what `measure` says of its sound."""

    fields: Mapping[str, Any]
    prosody: Mapping[str, float]


class Measurer:
    """A window function: every record becomes a `Measured` one."""

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        return [_measured(record) for record in window]


def measured(
    records: Sequence[Record], ledger: Ledger, processes: int | None = None
) -> list[Measured]:
    """The records that could be read, in order; the ledger has the others.

    Args:
        processes: default one a processor, and this one alone for a few records.
    """
    count = processes or (cpu_count() if len(records) > _FEW else 1)
    process = workers.spread(_make_measurer, ["cpu"] * count)
    found = []
    with console.progress("probe-prosody: prosody", len(records)) as meter:
        for window in process(windows(records, WINDOW)):
            meter.advance(len(window))
            for outcome in window:
                if isinstance(outcome, Measured):
                    found.append(outcome)
                elif isinstance(outcome, Reject):
                    ledger.reject(outcome)
    return found


def _make_measurer(_device: str) -> Measurer:
    return Measurer()


def _measured(record: Record) -> Outcome:
    try:
        return Measured(record.fields, measure(sound.load(record)))
    except RecordError as error:
        return Reject.of(record, "probe-prosody", error)
