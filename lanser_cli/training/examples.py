"""Records to training examples: an utterance and its target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from lanser_cli.errors import LanserError
from lanser_cli.records import Record

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Example:
    """An utterance and its target: a probability for each label, summing to 1."""

    record: Record
    target: tuple[float, ...]


def weak_examples(
    records: Iterable[Record], labels: Sequence[str], *, soft: bool = False
) -> list[Example]:
    """Examples from weak labels: the arg-max label, or with `soft` all of `emotion_scores`.

    Records without a weak label are left out.
    """
    examples = []
    hard = cache(partial(one_hot, labels=labels))
    for record in records:
        if record.emotion is None:
            continue
        if soft and record.emotion_scores:
            weights = [record.emotion_scores.get(label, 0.0) for label in labels]
            total = sum(weights) or 1.0
            examples.append(Example(record, tuple(weight / total for weight in weights)))
        else:
            examples.append(Example(record, hard(record.emotion)))
    return examples


def human_examples(records: Iterable[Record], labels: Sequence[str]) -> list[Example]:
    """Examples from human labels."""
    return [
        Example(record, one_hot(record.label, labels))
        for record in records
        if record.label is not None
    ]


def one_hot(label: str, labels: Sequence[str]) -> tuple[float, ...]:
    """A target with all its mass on one label.

    Raises:
        LanserError: the label is not among them.
    """
    if label not in labels:
        raise LanserError(f"label '{label}' is not one of the model's: {', '.join(labels)}")
    return tuple(float(label == other) for other in labels)


def weak_label_set(records: Sequence[Record]) -> tuple[str, ...]:
    """The labels to pre-train on: those scored, in the taxonomy's order, that occur.

    Raises:
        LanserError: fewer than two occur.
    """
    occurring = {record.emotion for record in records if record.emotion is not None}
    scored: dict[str, None] = {}
    for record in records:
        scored.update(dict.fromkeys(record.emotion_scores or {}))
    ordered = [label for label in scored if label in occurring]
    ordered += sorted(label for label in occurring if label not in scored)
    return _at_least_two(ordered, "weak labels ('emotion', from lanser entail-label)")


def human_label_set(records: Sequence[Record]) -> tuple[str, ...]:
    """The human labels that occur, sorted.

    Raises:
        LanserError: fewer than two occur.
    """
    found = sorted({record.label for record in records if record.label is not None})
    return _at_least_two(found, "human labels ('label', from lanser manifest)")


def _at_least_two(labels: Sequence[str], what: str) -> tuple[str, ...]:
    if len(labels) < 2:
        found = f"only '{labels[0]}'" if labels else "none"
        raise LanserError(
            f"training needs records with at least two different {what}; found {found}"
        )
    return tuple(labels)
