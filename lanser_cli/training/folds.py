"""How a corpus is divided into training and test."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from lanser_cli import console
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record


@dataclass(frozen=True, slots=True)
class Fold:
    """Records to train on and records to test on; no speaker is on both sides."""

    name: str
    training: list[Record]
    test: list[Record]


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a corpus is divided.

    Attributes:
        folds: number of folds; 0 trains on everything and tests on nothing; None uses the
            records' own `fold` if all have one, otherwise five.
        group: the key whose values never straddle training and test.
        test: `KEY=VALUE,VALUE`, a single hold-out instead of folds.
        fraction: of the training records to use, stratified by label; smaller ones are nested
            in larger ones, for label-efficiency curves.
        seed: of the fraction's choice.

    Raises:
        UsageError: `test` is not of this form.
    """

    folds: int | None = None
    group: str = "speaker"
    test: str | None = None
    fraction: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.held_out()

    def held_out(self) -> tuple[str, frozenset[str]] | None:
        """The key and the values of the hold-out."""
        if self.test is None:
            return None
        key, mark, values = self.test.partition("=")
        if not (key and mark and values):
            raise UsageError(f"--test '{self.test}': write KEY=VALUE,VALUE such as speaker=09,10")
        return key, frozenset(values.split(","))


def divide(records: Sequence[Record], protocol: Protocol) -> list[Fold]:
    """The folds of a protocol.

    Raises:
        LanserError: too few groups, or a group on both sides.
        UsageError: a record without its group.
    """
    labels = sorted({record.label for record in records if record.label is not None})
    if held_out := protocol.held_out():
        key, values = held_out
        test = [record for record in records if record.word(key) in values]
        training = [record for record in records if record.word(key) not in values]
        folds = [Fold("1", training, test)]
        missing = sorted(values - {record.word(key) for record in test})
        if missing:
            raise LanserError(f"--test: no record has {key} {', '.join(missing)}")
    elif protocol.folds == 0:
        folds = [Fold("1", list(records), [])]
    elif protocol.folds is None and all(record.fields.get("fold") for record in records):
        names = sorted({str(record.fields["fold"]) for record in records})
        folds = [
            Fold(
                name,
                [record for record in records if record.fields["fold"] != name],
                [record for record in records if record.fields["fold"] == name],
            )
            for name in names
        ]
    else:
        folds = _by_group(records, protocol)
    for fold in folds:
        if not fold.training or (not fold.test and protocol.folds != 0):
            raise LanserError(f"fold {fold.name}: nothing left to train on or to test on")
        _check_disjoint(fold, protocol.group)
        _warn_of_missing_classes(fold, labels)
    return [
        Fold(fold.name, subset(fold.training, protocol.fraction, protocol.seed), fold.test)
        for fold in folds
    ]


def subset(records: Sequence[Record], fraction: float, seed: int) -> list[Record]:
    """A stratified part of the records, at least one a label; nested for growing fractions."""
    if fraction >= 1.0:
        return list(records)
    by_label: dict[str | None, list[Record]] = {}
    for record in records:
        by_label.setdefault(record.label, []).append(record)
    chosen: set[str] = set()
    for group in by_label.values():
        group.sort(key=lambda record: hashlib.sha256(f"{seed}/{record.id}".encode()).digest())
        count = max(1, math.floor(fraction * len(group) + 0.5))
        chosen.update(record.id for record in group[:count])
    return [record for record in records if record.id in chosen]


def _by_group(records: Sequence[Record], protocol: Protocol) -> list[Fold]:
    """Folds that keep groups apart, alike in labels and, where records have it, in sex."""
    from sklearn.model_selection import StratifiedGroupKFold

    words = [record.word(protocol.group) for record in records]
    if None in words:
        raise UsageError(
            f"{words.count(None)} of {len(words)} records have no '{protocol.group}', such as "
            f"'{records[words.index(None)].id}': folds keep its values apart; name another key "
            "with --group, or a hold-out with --test KEY=VALUES"
        )
    groups = [str(word) for word in words]
    wanted = 5 if protocol.folds is None else protocol.folds
    count = min(wanted, len(set(groups)))
    if count < 2:
        raise LanserError(
            f"all records have the same '{protocol.group}': folds need at least two; name another "
            "key with --group, or train on everything with --folds 0"
        )
    if count < wanted:
        console.info(f"finetune: {count} folds, one for each '{protocol.group}'")
    # By group and id, so that the folds do not depend on the order of the input.
    order = sorted(range(len(records)), key=lambda index: (groups[index], records[index].id))
    strata = [f"{records[index].label}/{records[index].word('sex')}" for index in order]
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=protocol.seed)
    with warnings.catch_warnings():  # a class with fewer groups than folds; said in our own words
        warnings.simplefilter("ignore", UserWarning)
        splits = list(splitter.split(order, strata, [groups[index] for index in order]))
    folds = []
    for number, (_, test) in enumerate(splits, start=1):
        held_out = {order[index] for index in test}
        folds.append(
            Fold(
                str(number),
                [record for index, record in enumerate(records) if index not in held_out],
                [record for index, record in enumerate(records) if index in held_out],
            )
        )
    return folds


def _warn_of_missing_classes(fold: Fold, labels: Sequence[str]) -> None:
    for side, records in (("training", fold.training), ("test", fold.test)):
        there = {record.label for record in records}
        if records and (missing := [label for label in labels if label not in there]):
            console.warn(f"finetune: fold {fold.name} has no {', '.join(missing)} in its {side}")


def _check_disjoint(fold: Fold, group: str) -> None:
    sides = [
        {record.word(group) for record in side} - {None} for side in (fold.training, fold.test)
    ]
    if shared := sides[0] & sides[1]:
        raise LanserError(
            f"fold {fold.name}: {group} {', '.join(sorted(map(str, shared)))} is in training and "
            f"in test, which makes results too good; name another key with --group"
        )
