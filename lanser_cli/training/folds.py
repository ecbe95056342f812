"""How a corpus is divided into training and test."""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lanser_cli import console
from lanser_cli.audio.lengths import Lengths
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record
from lanser_cli.texts import near
from lanser_cli.training.protocols import SPLITS, Standard, standard


@dataclass(frozen=True, slots=True)
class Fold:
    """Records to train on and records to test on; no speaker is on both sides.

    `validation` is set apart from the training side, speakers and all.
    """

    name: str
    training: list[Record]
    test: list[Record]
    validation: list[Record] = field(default_factory=list)

    @property
    def judged(self) -> list[Record]:
        """What a model of this fold must not have heard."""
        return self.test + self.validation


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a corpus is divided.

    Attributes:
        folds: number of folds; 0 trains on everything and tests on nothing; None uses the
            records' own `fold` if all have one, otherwise five.
        group: the key whose values never straddle training and test, or several with commas.
        test: `KEY=VALUE,VALUE`, a single hold-out instead of folds.
        fraction: of the training records to use, stratified by label and speaker; smaller ones
            are nested in larger ones, for label-efficiency curves.
        seed: of the folds and of the validation speakers.
        subset_seed: of the fraction's choice.
        validation: how many speakers of each training side to set apart, of both sexes where
            records have `sex`.
        protocol: the name of a standard protocol, in place of folds, group and test.
        min_seconds, max_seconds: the utterances to use, as `Lengths`.

    Raises:
        UsageError: `fraction` is 0, `folds` is 1, `test` is not of this form, `validation` is with
            several groups or with an official one, or there is no such `protocol`, or it is with
            what it stands for; or as `Lengths`.
    """

    folds: int | None = None
    group: str = "speaker"
    test: str | None = None
    fraction: float = 1.0
    seed: int = 0
    subset_seed: int = 0
    validation: int = 0
    protocol: str | None = None
    min_seconds: float = 0.0
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        self.held_out()
        if not self.fraction:
            raise UsageError("--fraction 0 leaves nothing to train on: name a share above 0")
        if self.folds == 1:
            raise UsageError("--folds 1 leaves nothing to train on: two at least, or 0 for no test")
        Lengths(self.min_seconds, self.max_seconds)
        if self.standard and (self.folds is not None or self.test or self.group != "speaker"):
            raise UsageError(
                f"--protocol {self.protocol} says what is trained and tested on: leave --folds, "
                "--group and --test out"
            )
        if self.validation and self.standard and self.standard.by == "split":
            raise UsageError(
                f"--protocol {self.protocol} has records of its own for validation: leave "
                "--validation out"
            )
        if self.validation and len(self.groups) > 1:
            raise UsageError("--validation sets values of one key apart: name one with --group")

    @property
    def groups(self) -> tuple[str, ...]:
        """The keys whose values are kept apart."""
        return tuple((self.standard.group if self.standard else self.group).split(","))

    @property
    def standard(self) -> Standard | None:
        """The standard protocol, if it is one."""
        return None if self.protocol is None else standard(self.protocol)

    def missing(self, records: Sequence[Record]) -> str | None:
        """What is not as the standard protocol's corpus was published; None without one."""
        return None if self.standard is None else self.standard.missing(records)

    def take(self, record: Record) -> Record | str:
        """The record, or why this protocol leaves it out."""
        if self.standard:
            taken = self.standard.take(record)
        else:
            taken = record if record.label else "no label"
        if isinstance(taken, str):
            return taken
        return Lengths(self.min_seconds, self.max_seconds).fault(record) or taken

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
        LanserError: too few groups, or a group on two sides.
        UsageError: a record without its group, or a fold whose name no folder can have.
    """
    labels = sorted({record.label for record in records if record.label is not None})
    advice = "name another key with --group"
    if protocol.standard:
        folds = _of_standard(records, protocol.standard, protocol)
    elif held_out := protocol.held_out():
        key, values = held_out
        test = [record for record in records if record.word(key) in values]
        training = [record for record in records if record.word(key) not in values]
        folds = [Fold("1", training, test)]
        missing = sorted(values - {record.word(key) for record in test})
        if missing:
            there = {word for record in records if (word := record.word(key)) is not None}
            hint = near(missing[0], there) if there else f"no such key; {near(key, _keys(records))}"
            raise LanserError(f"--test: no record has {key} {', '.join(missing)}: {hint}")
    elif protocol.folds == 0:
        folds = [Fold("1", list(records), [])]
    elif protocol.folds is None and all(record.fields.get("fold") for record in records):
        folds = _one_each(records, "fold")
        advice = "say --folds N, which sets the corpus' own folds aside"
    else:
        own = sum(bool(record.fields.get("fold")) for record in records)
        if own and protocol.folds is None:
            console.warn(
                f"{len(records) - own} of {len(records)} records have no 'fold', so the corpus' "
                "own folds are not used"
            )
        folds = _by_groups(records, protocol)
    for group in protocol.groups:
        if group != "speaker" and all(record.word(group) is None for record in records):
            raise UsageError(f"--group: no record has '{group}'; {near(group, _keys(records))}")
    for fold in folds:
        if "/" in fold.name or not fold.name.isprintable():
            raise UsageError(f"the fold '{fold.name}' cannot name a folder: call it otherwise")
        if not fold.training or (not fold.test and protocol.folds != 0):
            raise LanserError(f"fold {fold.name}: nothing left to train on or to test on")
        for group in protocol.groups:
            _check_disjoint(fold, group, advice)
    if protocol.validation and not any(fold.validation for fold in folds):
        folds = [_with_validation(fold, protocol) for fold in folds]
    for fold in folds:
        _warn_of_missing_classes(fold, labels)
    return [
        replace(fold, training=subset(fold.training, protocol.fraction, protocol.subset_seed))
        for fold in folds
    ]


def subset(records: Sequence[Record], fraction: float, seed: int) -> list[Record]:
    """A part of the records, stratified by label and by speaker within each; one a label at least.

    The parts of growing fractions are nested.
    """
    if fraction >= 1.0:
        return list(records)
    speakers: dict[tuple[str | None, str | None], list[Record]] = {}
    for record in sorted(records, key=lambda record: _draw(seed, record.id)):
        speakers.setdefault((record.label, record.speaker), []).append(record)
    by_label: dict[str | None, list[tuple[float, bytes, str]]] = {}
    for (label, _), group in speakers.items():  # a third of a label is the first third of each
        by_label.setdefault(label, []).extend(
            ((place + 0.5) / len(group), _draw(seed, record.id), record.id)
            for place, record in enumerate(group)
        )
    chosen: set[str] = set()
    for places in by_label.values():
        count = max(1, math.floor(fraction * len(places) + 0.5))
        chosen.update(identifier for _, _, identifier in sorted(places)[:count])
    return [record for record in records if record.id in chosen]


def _draw(seed: int, word: str) -> bytes:
    """A key to sort by: a random order that does not depend on what else there is."""
    return hashlib.sha256(f"{seed}/{word}".encode()).digest()


def _with_validation(fold: Fold, protocol: Protocol) -> Fold:
    """Set speakers of the training side apart, the sexes in turn."""
    group, count = protocol.groups[0], protocol.validation
    sexes: dict[str, str] = {}
    for record, word in zip(fold.training, _words(fold.training, group), strict=True):
        sexes.setdefault(word, record.word("sex") or "")
    if count >= len(sexes):
        raise UsageError(
            f"--validation {count}: fold {fold.name} has {len(sexes)} values of '{group}' to train "
            "on, and one at least must be left: set fewer apart"
        )
    order = sorted(sexes, key=lambda word: _draw(protocol.seed, word))
    turns = [[word for word in order if sexes[word] == sex] for sex in sorted({*sexes.values()})]
    in_turn = [word for turn in itertools.zip_longest(*turns) for word in turn if word is not None]
    apart = set(in_turn[:count])
    return replace(
        fold,
        training=[record for record in fold.training if record.word(group) not in apart],
        validation=[record for record in fold.training if record.word(group) in apart],
    )


def _keys(records: Sequence[Record]) -> set[str]:
    return {name for record in records for name in record.fields}


def _words(records: Sequence[Record], group: str) -> list[str]:
    """The values of a key that every record must have."""
    words = [record.word(group) for record in records]
    if None in words:
        raise UsageError(
            f"{words.count(None)} of {len(words)} records have no '{group}', such as "
            f"'{records[words.index(None)].id}' ({near(group, _keys(records))}): folds keep "
            "its values apart; name another key with --group, or a hold-out with --test KEY=VALUES"
        )
    return [str(word) for word in words]


def _one_each(records: Sequence[Record], key: str) -> list[Fold]:
    """A fold for each value of a key."""
    return [
        Fold(
            name,
            [record for record in records if record.word(key) != name],
            [record for record in records if record.word(key) == name],
        )
        for name in sorted(set(_words(records, key)))
    ]


def _of_standard(records: Sequence[Record], how: Standard, protocol: Protocol) -> list[Fold]:
    """The folds of a standard protocol; what is not as published is said."""
    how.check(records)
    if how.by == "split":
        return [Fold("1", *([one for one in records if one.split == name] for name in SPLITS))]
    if how.folds:
        return _by_group(records, replace(protocol, protocol=None, folds=how.folds, group=how.by))
    return _one_each(records, how.by)


def _by_groups(records: Sequence[Record], protocol: Protocol) -> list[Fold]:
    """Folds by the first key, each crossed with two halves of every other key's values.

    So each record is tested once, by a model that has heard none of its values.
    """
    folds = _by_group(records, protocol)
    for group in protocol.groups[1:]:
        order = sorted(set(_words(records, group)), key=lambda word: _draw(protocol.seed, word))
        if len(order) < 2:
            raise LanserError(f"all records have the same '{group}': leave it out of --group")
        halves = set(order[0::2]), set(order[1::2])
        folds = [
            Fold(
                f"{fold.name}-{number}",
                [record for record in fold.training if record.word(group) not in half],
                [record for record in fold.test if record.word(group) in half],
            )
            for fold in folds
            for number, half in enumerate(halves, start=1)
        ]
    return folds


def _by_group(records: Sequence[Record], protocol: Protocol) -> list[Fold]:
    """Folds that keep groups apart, alike in labels and, where records have it, in sex."""
    from sklearn.model_selection import StratifiedGroupKFold

    group = protocol.groups[0]
    groups = _words(records, group)
    wanted = 5 if protocol.folds is None else protocol.folds
    count = min(wanted, len(set(groups)))
    if count < 2:
        raise LanserError(
            f"all records have the same '{group}': folds need at least two; name another "
            "key with --group, or train on everything with --folds 0"
        )
    if count < wanted:
        console.info(f"{count} folds, one for each '{group}'")
    # By group and id, so that the folds do not depend on the order of the input.
    order = sorted(range(len(records)), key=lambda index: (groups[index], records[index].id))
    strata = [f"{records[index].label}/{records[index].word('sex')}" for index in order]
    if max(Counter(strata).values()) < count:  # too few of each to be dealt out alike
        strata = [""] * len(strata)
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
            console.warn(f"fold {fold.name} has no {', '.join(missing)} in its {side}")


def _check_disjoint(fold: Fold, group: str, advice: str) -> None:
    sides = {"training": fold.training, "test": fold.test, "validation": fold.validation}
    words = {
        side: {record.word(group) for record in records} - {None} for side, records in sides.items()
    }
    for side, records in sides.items() if fold.judged else ():
        if unknown := [record for record in records if record.word(group) is None]:
            console.warn(
                f"fold {fold.name}: {len(unknown)} of {len(records)} {side} records have no "
                f"'{group}', such as '{unknown[0].id}': whether another side has the same is not "
                "known"
            )
    for one, other in itertools.combinations(sides, 2):
        if shared := words[one] & words[other]:
            raise LanserError(
                f"fold {fold.name}: {group} {', '.join(sorted(map(str, shared)))} is in {one} and "
                f"in {other}, which makes results too good; {advice}"
            )
