"""Late fusion: what several runs answer together, by the mean of their log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lanser_cli import console, jsonl
from lanser_cli.errors import LanserError
from lanser_cli.evaluation.answers import Answers, Reference, predictions_of
from lanser_cli.records import Record

FUSED = "fused"
_LEAST = 1e-6


def fuse(
    names: Sequence[str],
    *,
    truth: str = "label",
    by: str | None = None,
    reference: Reference | None = None,
) -> Answers:
    """The answers of all inputs together: the label with the best mean log-probability.

    Labels that not all of them know are left out, which is said. A record that one model has heard
    is heard.

    Args:
        reference: takes the place of the records' own truth.

    Raises:
        LanserError: a record has no `scores`, or some that are no probabilities, or an input has
            other ids or truths than the first.
    """
    first, *others = [_scored(name, truth, reference) for name in names]
    for name, other in zip(names[1:], others, strict=True):
        _check_alike((names[0], name), first, other, truth)
    records: list[Record] = []
    lost: dict[str, None] = {}
    heard = 0
    for identifier, record in first.items():
        answers = [table[identifier] for table in (first, *others)]
        heard += any(one.fields.get("heard") is True for one in answers)
        several = [one.scores or {} for one in answers]
        labels = [label for label in several[0] if all(label in one for one in several)]
        if not labels:
            raise LanserError(
                f"--fuse: the inputs share no label in the 'scores' of '{identifier}'"
            )
        lost |= dict.fromkeys(one for table in several for one in table if one not in labels)
        sums = {
            label: sum(math.log(max(one[label], _LEAST)) for one in several) for label in labels
        }
        best = max(labels, key=lambda label: sums[label])
        records.append(record.with_answer(prediction=best, test_fold=record.word("test_fold")))
    if lost:
        console.warn(
            f"eval: --fuse: not all inputs have a score of {', '.join(lost)}: never answered"
        )
    return replace(Answers.of(records, truth=truth, by=by), heard=heard)


def _scored(name: str, truth: str, reference: Reference | None) -> dict[str, Record]:
    """The records of an input that have a truth, each id once, as `eval` takes them."""
    found: dict[str, Record] = {}
    for item in jsonl.read_records([predictions_of(name)], "eval"):
        if isinstance(item, Record) and reference is not None:
            item = item.with_fields(**{truth: reference.truths.get(item.id)})
        if isinstance(item, Record) and item.word(truth) is not None:
            found.setdefault(item.id, item)
    lacking = [one for one, record in found.items() if not record.scores]
    if len(lacking) == len(found):
        raise LanserError(f"--fuse: no record of {name} has 'scores'")
    if lacking:
        raise LanserError(f"--fuse: '{lacking[0]}' in {name} has no 'scores'")
    for one, record in found.items():
        if not all(0 <= score <= 1 for score in (record.scores or {}).values()):
            raise LanserError(
                f"--fuse: the 'scores' of '{one}' in {name} are no probabilities from 0 to 1"
            )
    return found


def _check_alike(
    names: tuple[str, str], first: Mapping[str, Record], other: Mapping[str, Record], truth: str
) -> None:
    for one in [*first, *other]:
        for place, table in enumerate((first, other)):
            if one not in table:
                raise LanserError(
                    f"--fuse: '{one}' is in {names[1 - place]} but not in {names[place]}: fuse "
                    "answers to the same records"
                )
        ours, theirs = first[one].word(truth), other[one].word(truth)
        if ours != theirs:
            raise LanserError(
                f"--fuse: the {truth} of '{one}' is '{ours}' in {names[0]} and '{theirs}' in "
                f"{names[1]}: fuse answers to the same records"
            )
