"""Records and what is measured of their sound, by several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lanser_cli import console, workers
from lanser_cli.audio import sound
from lanser_cli.devices import cpu_count
from lanser_cli.records import Outcome, Record, Reject, attempt
from lanser_cli.stage import windows
from lanser_cli.tally import Ledger

WINDOW = 16
_FEW = 64  # records that are measured before other processes would have started

Measure = Callable[[sound.Waveform], Any]
"""A waveform `[samples]`, 16 kHz, to whatever is measured of it."""

Load = Callable[[Record], sound.Waveform]
"""A record to its sound, as `sound.load`; RecordError where it cannot be read."""


@dataclass(frozen=True, slots=True)
class Measured(Record):
    """A record and what was measured of its sound."""

    found: Any = field(default=None, compare=False)


def measured(
    records: Sequence[Record],
    ledger: Ledger,
    make: Callable[[], Measure],
    *,
    what: str,
    processes: int | None = None,
) -> list[Measured]:
    """The records that could be measured, in order; the ledger has the others.

    Args:
        make: called once in each process.
        what: name of the progress bar.
        processes: default one a processor, and this one alone for a few records.
    """
    count = processes or (cpu_count() if len(records) > _FEW else 1)
    found = []
    with console.progress(what, len(records)) as meter:
        for outcome in measure_each(records, ledger.stage, make, processes=count):
            meter.advance(1)
            if isinstance(outcome, Measured):
                found.append(outcome)
            elif isinstance(outcome, Reject):
                ledger.reject(outcome)
    return found


def measure_each(
    records: Iterable[Record],
    stage: str,
    make: Callable[[], Measure],
    *,
    load: Load = sound.load,
    processes: int = 1,
) -> Iterator[Outcome]:
    """Each record as a `Measured` one, or a reject, in order; a window is in memory at once.

    Args:
        make: called once in each process.
        load: gives the sound of a record.
    """
    process = workers.spread(partial(_make_measurer, make, stage, load), ["cpu"] * processes)
    for window in process(windows(records, WINDOW)):
        yield from window


def _make_measurer(make: Callable[[], Measure], stage: str, load: Load, _device: str) -> _Measurer:
    return _Measurer(make(), stage, load)


class _Measurer:
    """A window function: every record becomes a `Measured` one."""

    def __init__(self, measure: Measure, stage: str, load: Load) -> None:
        self._measure, self._stage, self._load = measure, stage, load

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        return [attempt(self._measured, record, self._stage) for record in window]

    def _measured(self, record: Record) -> Measured:
        return Measured(record.fields, self._measure(self._load(record)))
