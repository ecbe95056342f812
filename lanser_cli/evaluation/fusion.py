"""Late fusion: what several runs answer together, by the mean of their log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lanser_cli import jsonl
from lanser_cli.errors import LanserError
from lanser_cli.evaluation.answers import Answers, predictions_of
from lanser_cli.records import Record

FUSED = "fused"
_LEAST = 1e-6


def fuse(names: Sequence[str], *, truth: str = "label", by: str | None = None) -> Answers:
    """The answers of all inputs together: the label with the best mean log-probability.

    Labels that not all of them know are left out.

    Raises:
        LanserError: an input has no `scores`, or other ids than the first.
    """
    first, *others = [_scored(name) for name in names]
    for name, other in zip(names[1:], others, strict=True):
        if odd := next((one for one in first if one not in other), None):
            raise LanserError(f"--fuse: '{odd}' has 'scores' in {names[0]} but not in {name}")
    records = []
    for identifier, record in first.items():
        several = [_scores(table[identifier]) for table in (first, *others)]
        labels = [label for label in several[0] if all(label in one for one in several)]
        if not labels:
            raise LanserError(
                f"--fuse: the inputs share no label in the 'scores' of '{identifier}'"
            )
        sums = {
            label: sum(math.log(max(one[label], _LEAST)) for one in several) for label in labels
        }
        records.append(record.with_fields(prediction=max(labels, key=lambda label: sums[label])))
    return Answers.of(records, truth=truth, by=by)


def _scored(name: str) -> dict[str, Record]:
    read = jsonl.read_records([predictions_of(name)], "eval")
    found = {item.id: item for item in read if isinstance(item, Record) and item.scores}
    if not found:
        raise LanserError(f"--fuse: no record of {name} has 'scores'")
    return found


def _scores(record: Record) -> Mapping[str, float]:
    return record.scores or {}
