"""Answers: what measuring needs of records, as columns, since there may be millions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lanser_cli import console, jsonl
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.evaluation.mistakes import Mistakes
from lanser_cli.records import Record, Reject
from lanser_cli.stage import unique
from lanser_cli.tally import Ledger
from lanser_cli.texts import near
from lanser_cli.training import runs

MOST_CLASSES = 500
"""Different truths of which a matrix is made; more are those of a key that is no label."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Truth and answer of records, about 100 bytes each.

    Attributes:
        ids, truths: of each record.
        given: the answers; None where one is missing. Of several seeds those of the first.
        unit: what is taken for independent: the name of a key, or `record`.
        owners: the unit of each record; None where each is its own.
        folds: the `test_fold` of each record; None where not all have one.
        seeds: the answers of each seed, where several answered (`predictions`); else empty.
        heard: how many records the model was trained on, or their speakers, as predict says.
    """

    ids: list[str]
    truths: list[str]
    given: list[str | None]
    unit: str
    owners: list[str] | None
    folds: list[str] | None = None
    seeds: Mapping[str, list[str | None]] = field(default_factory=dict)
    heard: int = 0

    @classmethod
    def of(
        cls,
        records: Iterable[Record],
        *,
        truth: str = "label",
        answer: str = "prediction",
        by: str | None = None,
    ) -> Answers:
        """Keep truth, answer and unit of the records that have the truth.

        Args:
            by: key whose values are the units; None for `speaker` where every record has one, else
                each record by itself.

        Raises:
            LanserError: no record has the truth, none has an answer, or one lacks that of a
                seed which another has.
            UsageError: a record lacks the key `by`.
        """
        same: dict[str, str] = {}  # one object for all words that are alike
        ids: list[str] = []
        truths: list[str] = []
        given: list[str | None] = []
        owners: list[str | None] = []
        folds: list[str | None] = []
        seeds: dict[str, list[str | None]] = {}

        def shared(word: str | None) -> str | None:
            return None if word is None else same.setdefault(word, word)

        for record in records:
            if (true := record.word(truth)) is None:
                continue
            ids.append(record.id)
            truths.append(same.setdefault(true, true))
            owners.append(shared(record.word(by or "speaker")))
            folds.append(shared(record.word("test_fold")))
            several = _of_seeds(record, answer)
            if len(ids) == 1:
                seeds = {seed: [] for seed in several}
            if odd := sorted(seeds.keys() ^ several.keys()):
                one, other = (record.id, ids[0]) if odd[0] in seeds else (ids[0], record.id)
                raise LanserError(
                    f"'{one}' has no answer of seed {odd[0]} in its 'predictions', and '{other}' "
                    "has: measure answers of the same seeds"
                )
            for seed, found in seeds.items():
                found.append(shared(several[seed] or None))
            first = next(iter(seeds), None)
            given.append(shared(record.word(answer)) if first is None else seeds[first][-1])
        if (classes := len(set(truths))) > MOST_CLASSES:
            raise UsageError(
                f"'{truth}' has {classes:,} different values: it is no label: name its key with "
                "--truth"
            )
        if not ids:
            raise LanserError(f"no record has '{truth}', so there is nothing to compare with")
        if all(word is None for word in given):
            raise LanserError(
                f"no record has '{answer}': run lanser predict, or name another --answer"
            )
        tested = None if None in folds else [fold for fold in folds if fold is not None]
        named = [owner for owner in owners if owner is not None]
        if len(named) == len(ids):
            return cls(ids, truths, given, by or "speaker", named, tested, seeds)
        if by is not None:
            raise UsageError(
                f"--by {by}: {len(ids) - len(named)} of {len(ids)} records do not have it: name "
                "another key"
            )
        return cls(ids, truths, given, "record", None, tested, seeds)

    def by_seed(self) -> list[Answers]:
        """The answers of each seed; of one alone themselves."""
        if not self.seeds:
            return [self]
        return [replace(self, given=given, seeds={}) for given in self.seeds.values()]

    def pooled(self, seeds: Sequence[str]) -> Answers:
        """Every seed's answer as a record of its own, whose unit stays what it is.

        UAR and WA are then the means over the seeds.

        Args:
            seeds: that answered; where one alone did, its answers stand for each of them.
        """
        if not seeds:
            return self
        return Answers(
            [f"{identifier} of seed {seed}" for seed in seeds for identifier in self.ids],
            self.truths * len(seeds),
            [w for seed in seeds for w in (self.seeds[seed] if self.seeds else self.given)],
            self.unit,
            (self.owners or self.ids) * len(seeds),
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that occur as truth, sorted."""
        return tuple(sorted(set(self.truths)))


def _of_seeds(record: Record, answer: str) -> Mapping[str, str | None]:
    """What several seeds answered, if they did."""
    found = record.fields.get("predictions")
    if answer != "prediction" or not isinstance(found, dict) or len(found) < 2:
        return {}
    return found


@dataclass(frozen=True, slots=True)
class Reference:
    """Truths by id, from a file of their own; None of a record that has none.

    Attributes:
        known: how many have one.
    """

    path: Path
    truths: Mapping[str, str | None]
    known: int

    @classmethod
    def read(cls, path: Path, key: str, ledger: Ledger) -> Reference:
        """What the records of a JSONL file have as `key`, each id once; other lines are rejects.

        Raises:
            LanserError: the file is not there, or no record in it has the key.
        """
        truths: dict[str, str | None] = {}
        same: dict[str, str] = {}
        for item in unique(jsonl.read_records([str(path)], ledger.stage), ledger.stage):
            if isinstance(item, Reject):
                ledger.read += 1
                ledger.reject(item)
            elif isinstance(item, Record):
                found = item.word(key)
                truths[item.id] = None if found is None else same.setdefault(found, found)
        known = sum(found is not None for found in truths.values())
        if not known:
            raise LanserError(f"--reference {path}: no record in it has '{key}'")
        return cls(path, truths, known)


def heard_in_words(heard: int, total: int) -> str:
    """Why a result is not to be believed, where the model has heard some of the records."""
    return (
        f"the model was trained on {heard} of {total} records, or on their speakers: the result is "
        "too good"
    )


def predictions_of(name: str) -> str:
    """The JSONL that an input stands for: itself, or the predictions of a run folder.

    Raises:
        LanserError: it is not there, or this run has none.
    """
    if not os.path.isdir(name):
        jsonl.check_files([name])
        return name
    path = os.path.join(name, "predictions.jsonl")
    if os.path.exists(path):
        return path
    inner = sorted(str(found.parent) for found in Path(name).glob("*/predictions.jsonl"))
    if inner:
        raise LanserError(f"{name}: holds several runs: name one or more of {', '.join(inner)}")
    runs.read_config(Path(name))
    if next(Path(name).glob("points/*/predictions.jsonl"), None):
        points = os.path.join(name, "points")
        raise LanserError(f"{name}: holds the points of a curve: name one or more in {points}")
    above = Path(os.path.abspath(name)).parent / "predictions.jsonl"
    if above.exists():  # of a fold
        raise LanserError(f"{name}: a fold's answers are with those of the others, in {above}")
    raise LanserError(f"{name}: no predictions.jsonl in this run: it tested on nothing")


def read_answers(
    name: str,
    ledger: Ledger,
    *,
    truth: str = "label",
    answer: str = "prediction",
    by: str | None = None,
    reference: Reference | None = None,
    mistakes: Mistakes | None = None,
) -> Answers:
    """The answers of a run folder or JSONL, each id once; the ledger has what is left out.

    Args:
        reference: takes the place of the records' own truth.
        mistakes: sees each record that has a truth.

    Raises:
        LanserError: no record has a truth, or most are not in the reference.
        UsageError: a record lacks the key `by`.
    """
    keys = (truth, answer, by or "speaker", "predictions", "test_fold")
    judged = Judged(name, ledger, keys, reference, mistakes)
    try:
        answers = Answers.of(judged, truth=truth, answer=answer, by=by)
    except LanserError as error:
        if judged.whole:
            judged.check()
        wrong = [key for key in (answer, by) if key and key not in judged.seen]
        hint = f" ({near(wrong[0], judged.seen)})" if judged.whole and wrong else ""
        said = str(error) if str(error).startswith(name) else f"{name}: {error}"
        raise type(error)(f"{said}{hint}") from None
    judged.check()
    ledger.done += len(answers.ids)
    return replace(answers, heard=judged.heard)


class Judged:
    """The records of an input that have a truth, their own or that of the reference.

    Of each only what measuring needs is kept, since there may be millions. Iterate once, then
    `check`.

    Args:
        keys: that are kept besides `id`; the first is the truth, the third names the unit.
        mistakes: sees each record whole.

    Attributes:
        whole: whether the input was read to its end.
        seen: the keys of its first record.
        heard: how many of them the model was trained on.
    """

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        keys: tuple[str, ...],
        reference: Reference | None = None,
        mistakes: Mistakes | None = None,
    ) -> None:
        self._name, self._ledger, self._truth, self._reference = name, ledger, keys[0], reference
        self._keys, self._owner = dict.fromkeys(("id", *keys)), keys[2]
        self._path = predictions_of(name)
        self._read = self._there = self._strange = self._owned = self.heard = 0
        self._first, self.whole, self._mistakes = "", False, mistakes
        self.seen: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Record]:
        ledger, reference, truth = self._ledger, self._reference, self._truth
        for item in unique(jsonl.read_records([self._path], ledger.stage), ledger.stage):
            ledger.read += 1
            if isinstance(item, Reject):
                ledger.reject(item)
            elif isinstance(item, Record):
                self._read += 1
                self.seen = self.seen or frozenset(item.fields)
                if reference is not None and item.id not in reference.truths:
                    self._first = self._first or item.id
                    self._strange += 1
                    ledger.dropped["not in the reference"] += 1
                    continue
                fields = {key: item.fields[key] for key in self._keys if key in item.fields}
                if reference is not None:
                    fields[truth] = reference.truths[item.id]
                if fields.get(truth) in (None, ""):
                    ledger.dropped[f"no {truth}"] += 1
                else:
                    self._there += 1
                    self.heard += item.fields.get("heard") is True
                    self._owned += item.word(self._owner) is not None
                    if self._mistakes is not None:
                        self._mistakes.see(item, fields[truth])
                    yield Record(fields)
        self.whole = True

    def check(self) -> None:
        """Say what the reference and the input do not share, and what makes a result doubtful.

        Raises:
            LanserError: most ids are not in the reference, or no record has a truth.
        """
        if self._reference is not None:
            path, total = self._reference.path, self._reference.known
            if 2 * self._strange > self._read:
                raise LanserError(
                    f"{self._name}: {self._strange} of its {self._read} ids are not in {path}, "
                    f"such as '{self._first}': name the reference of these records"
                )
            if self._strange:
                console.warn(
                    f"{self._ledger.stage}: {self._name}: {self._strange} of {self._read} ids are "
                    f"not in {path}, such as '{self._first}': they are left out"
                )
            if self._there < total:
                console.warn(
                    f"{self._ledger.stage}: {self._name}: {total - self._there} of {total} records "
                    f"of {path} have no answer in it: they count neither as right nor as wrong"
                )
        if 0 < self._owned < self._there:
            console.warn(
                f"{self._ledger.stage}: {self._name}: {self._there - self._owned} of {self._there} "
                f"records have no '{self._owner}', so each record is taken for independent: "
                "intervals are narrower than over speakers"
            )
        if self.heard:
            warning = heard_in_words(self.heard, self._there)
            console.warn(f"{self._ledger.stage}: {self._name}: {warning}")
        if not self._there:
            if self._reference:
                where = f"has '{self._truth}' in {self._reference.path}"
            else:
                where = f"has '{self._truth}' ({near(self._truth, self.seen)})"
            raise LanserError(f"{self._name}: none of its records {where}: nothing to compare with")
