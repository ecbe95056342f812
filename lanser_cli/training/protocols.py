"""The standard protocols of labelled corpora, by name: which labels, which folds, how many clips.

The table is `protocols.json`: the labels of `lanser manifest` with their number of clips, or the
label they are merged into; the key whose values are held out in turn; and the keys kept apart.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lanser_cli import console
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record
from lanser_cli.texts import near

SPLITS = ("train", "test", "dev")
"""What an official `split` may be; the last is for validation."""

_TABLE = Path(__file__).parent / "protocols.json"


@dataclass(frozen=True, slots=True)
class Standard:
    """A protocol as the literature has it.

    Attributes:
        name: such as `emodb-7-loso`.
        title: what is done, in words.
        labels: label → number of clips published; records with other labels are left out.
        by: the key whose values are held out one by one, or `split` for the official one.
        folds: so many folds over the values of `by` instead of one for each; None for each.
        values: how many values of `by` were published.
        group: the keys whose values must not straddle training and test, with commas.
    """

    name: str
    title: str
    labels: dict[str, int]
    by: str
    values: int
    group: str
    folds: int | None = None

    @property
    def clips(self) -> int:
        """Published number of clips."""
        return sum(self.labels.values())

    def missing(self, records: Sequence[Record]) -> str:
        """What is not as published, in words; empty where all is there."""
        counts = Counter(record.label for record in records)
        parts = [
            f"{label} {counts[label]} of {count}"
            for label, count in self.labels.items()
            if counts[label] != count
        ]
        values = {record.word(self.by) for record in records}
        if len(values) != self.values:
            parts.append(f"{self.by} {len(values)} of {self.values}")
        return ", ".join(parts)

    def take(self, record: Record) -> Record | str:
        """The record, or why it is left out."""
        if not record.label:
            return "no label"
        if self.by == "split" and record.split is not None and record.split not in SPLITS:
            return f"split {record.split}"
        return record if record.label in self.labels else f"label {record.label}"

    def check(self, records: Sequence[Record]) -> None:
        """Say what is not as published.

        Raises:
            LanserError: a record lacks the key that makes the folds, or none has some label.
        """
        lacking = [record.id for record in records if record.word(self.by) is None]
        if lacking:
            raise LanserError(
                f"--protocol {self.name}: {len(lacking)} records have no '{self.by}', such as "
                f"'{lacking[0]}': make the records with lanser manifest {self.name.split('-')[0]}"
            )
        if absent := [x for x in self.labels if all(record.label != x for record in records)]:
            raise LanserError(
                f"--protocol {self.name}: no record has the label {', '.join(absent)}: it needs "
                f"{', '.join(self.labels)}"
            )
        if missing := self.missing(records):
            _warn_once(
                f"--protocol {self.name}: {len(records)} of {self.clips} clips: not comparable "
                f"with published results: {missing}"
            )


@cache
def _warn_once(words: str) -> None:
    """Efficiency divides the same records for each of its points."""
    console.warn(words)


@cache
def standards() -> dict[str, Standard]:
    """All protocols by name."""
    table = json.loads(_TABLE.read_text(encoding="utf-8"))
    return {name: Standard(name, **row) for name, row in table.items()}


def standard(name: str) -> Standard:
    """The protocol of a name.

    Raises:
        UsageError: there is none; the message has those there are.
    """
    if name not in standards():
        raise UsageError(f"--protocol '{name}': {near(name, standards())}")
    return standards()[name]
