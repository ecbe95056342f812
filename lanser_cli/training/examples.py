"""Records to training examples: an utterance and its target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial

from lanser_cli.choices import ClassWeights, Targets
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.records import Record
from lanser_cli.training.heard import marks


@dataclass(frozen=True, slots=True)
class Example:
    """An utterance and its target: a probability for each label, summing to 1.

    Attributes:
        weight: how much it counts, 0..1.
    """

    record: Record
    target: tuple[float, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class WeakUtterance(Record):
    """What pre-training holds of a record: there may be millions, of some kilobytes each.

    Attributes:
        scored: the labels that were scored, in the taxonomy's order; one tuple for all alike.
        probabilities: of these labels; empty for hard targets.
        score: of the weak label, 0..1, where there is one.
        marks: what hearing it leaves, as `heard.marks`.
    """

    scored: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    score: float | None = None
    marks: bytes = b""

    @classmethod
    def of(cls, record: Record, targets: Targets, besides: Sequence[str] = ()) -> WeakUtterance:
        """Hold what `targets` need of a record with a weak label, and some keys besides.

        Raises:
            RecordError: soft targets of scores that are no probabilities.
        """
        kept = ("id", "audio_filepath", "offset", "duration", "audio_channel", "emotion", *besides)
        fields = {key: record.fields[key] for key in kept if record.fields.get(key) is not None}
        scores = record.emotion_scores or {}
        chances = tuple(scores.values()) if targets == "soft" else ()
        if low := [label for label, chance in scores.items() if chance < 0 and chances]:
            raise RecordError(
                f"'emotion_scores': '{low[0]}' is {scores[low[0]]:g}, and soft targets need "
                "probabilities: label it with lanser entail-label, or take hard ones"
            )
        score = record.fields.get("emotion_score")
        return cls(fields, _shared(tuple(scores)), chances, score, marks(record))


@cache
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """One object for all records that were scored for the same labels."""
    return names


def weak_examples(
    records: Iterable[WeakUtterance], labels: Sequence[str], *, by_score: bool = False
) -> list[Example]:
    """Examples from weak labels: all probabilities where they are held, else the label alone.

    Args:
        by_score: each counts by the score of its label.

    Raises:
        LanserError: one has no score to count by, or one that is not in 0..1.
    """
    examples = []
    hard = cache(partial(one_hot, labels=labels))
    for record in records:
        scores = dict(zip(record.scored, record.probabilities, strict=False))
        weights = [scores.get(label, 0.0) for label in labels]
        total = sum(weights)
        target = tuple(one / total for one in weights) if total else hard(str(record.emotion))
        weight = record.score if by_score else 1.0
        if weight is None or not 0 <= weight <= 1:
            lack = "no 'emotion_score'" if weight is None else f"{weight:g} as 'emotion_score'"
            raise LanserError(
                f"--score-weighted: record '{record.id}' has {lack}, where a probability is "
                "needed: label it with lanser entail-label, or leave the option out"
            )
        examples.append(Example(record, target, weight))
    return examples


def emphasis(examples: Sequence[Example], class_weights: ClassWeights) -> list[float]:
    """How much each example counts in the loss, in the mean 1.

    Its own weight, times what its classes count: `balanced` is one over a class' share of all
    targets, `sqrt` the root of it.

    Raises:
        LanserError: none counts at all.
    """
    counts = [sum(column) for column in zip(*(one.target for one in examples), strict=True)]
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[class_weights]
    classes = [count**-power if count else 0.0 for count in counts]
    weights = [
        one.weight * sum(share * weight for share, weight in zip(one.target, classes, strict=True))
        for one in examples
    ]
    mean = sum(weights) / len(weights)
    if not mean:
        raise LanserError("--score-weighted: every 'emotion_score' is 0, so nothing would count")
    return [weight / mean for weight in weights]


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


def weak_label_set(records: Sequence[WeakUtterance]) -> tuple[str, ...]:
    """The labels to pre-train on: those scored, in the taxonomy's order, that occur.

    Raises:
        LanserError: fewer than two occur.
    """
    occurring = {str(record.emotion) for record in records}
    scored = dict.fromkeys(label for record in records for label in record.scored)
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
