"""Votes: what several voters say of the same records, joined by id, as small numbers.

Files are read twice: once to learn how right each voter is, and once to write records.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lanser_cli import jsonl
from lanser_cli.digests import string64
from lanser_cli.errors import LanserError, RecordError, UsageError
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.shards.index import taxonomy_of

UNSAID, ABSTAINED = 0, 1
"""A voter that has no such record, or no such key in it; and one that gave no label."""

FIRST = 2
"""The code of the first label; the others follow in order."""

MOST_LABELS = 500
"""More labels than any taxonomy has: who finds more has named a key of something else."""


@dataclass(frozen=True, slots=True)
class Voter:
    """A key of the records of a file.

    Attributes:
        name: as it was named on the command line.
    """

    name: str
    path: str
    field: str

    @classmethod
    def parse(cls, word: str, field: str) -> Voter:
        """`FILE`, or `FILE:FIELD`; `field` is the one that counts where none is named.

        Raises:
            LanserError: there is no such file.
            UsageError: it is a folder, or a stream, which cannot be read twice.
        """
        path, colon, named = word.rpartition(":")
        if os.path.exists(word) or word == "-" or not (colon and path and named):
            path, named = word, field
        if path != "-" and not os.path.exists(path):
            raise LanserError(f"{word}: there is no such file as {path}")
        if os.path.isdir(path):
            raise UsageError(
                f"{word}: is a folder: name a file of records, such as a run's predictions.jsonl"
            )
        if not os.path.isfile(path):
            raise UsageError(f"{word}: is read twice, so name a file of records, not a stream")
        return cls(word, path, named)

    def vote(self, record: Record) -> str | None:
        """What it says of a record: a label, nothing (""), or None if there is no such key.

        Raises:
            RecordError: the key holds no label.
        """
        if self.field not in record.fields:
            return None
        value = record.fields[self.field]
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise RecordError(f"'{self.field}' must be a label, a string")
        return str(value).strip()


@dataclass(frozen=True, slots=True)
class Voted(Record):
    """A record, and which of the distinct patterns of votes it has."""

    pattern: int


@dataclass(frozen=True, slots=True)
class _File:
    """A file of one or several voters, as it was read first.

    Attributes:
        ids: a digest of each record's id, in order.
        rows: the utterance of each record: its place among all ids, sorted.
        is_first: whether no earlier record of the file has the same id.
        goes_out: whether, besides, no earlier file has it.
        has_faults: whether there are lines that hold no record.
    """

    path: str
    ids: NDArray[np.uint64]
    rows: NDArray[np.int32]
    is_first: NDArray[np.bool_]
    goes_out: NDArray[np.bool_]
    has_faults: bool

    @property
    def needs_another_look(self) -> bool:
        """Whether anything in it goes out or has to be refused."""
        return self.has_faults or bool(self.goes_out.any()) or not self.is_first.all()


@dataclass(frozen=True, slots=True)
class Votes:
    """The votes of all voters.

    Attributes:
        labels: that were voted for, sorted; their codes begin with `FIRST`.
        patterns: distinct rows of votes, `[patterns, voters]`, as codes.
        counts: how many utterances have each.
        pattern_of: the pattern of each utterance.
        taxonomies: of each voter, those that its records name.
        alone: how many utterances only one of several files has, by file.
    """

    voters: tuple[Voter, ...]
    labels: tuple[str, ...]
    patterns: NDArray[np.uint16]
    counts: NDArray[np.int64]
    pattern_of: NDArray[np.int32]
    taxonomies: tuple[frozenset[str], ...]
    alone: Mapping[str, int]
    files: tuple[_File, ...]

    def said(self, voter: int) -> dict[str, int]:
        """How often a voter gave each label that it gave."""
        found = np.bincount(
            self.patterns[:, voter], self.counts, minlength=FIRST + len(self.labels)
        )
        counts = zip(self.labels, found[FIRST:].astype(int).tolist(), strict=True)
        return {label: count for label, count in counts if count}

    def through(self, ways: Mapping[str, str | None]) -> Votes:
        """The same votes for other labels; a label that leads nowhere is an abstention."""
        labels = tuple(sorted({way for way in ways.values() if way is not None}))
        code = {label: FIRST + place for place, label in enumerate(labels)}
        led = (code.get(ways[label] or "", ABSTAINED) for label in self.labels)
        recode = np.array([UNSAID, ABSTAINED, *led], np.uint16)
        patterns, merged, counts = _distinct(recode[self.patterns], self.counts)
        return replace(
            self,
            labels=labels,
            patterns=patterns,
            counts=counts,
            pattern_of=merged[self.pattern_of],
        )

    def items(self, stage: str) -> Iterator[Outcome]:
        """The record of each utterance, from the first file that has it; and what is no record.

        Raises:
            LanserError: a file has changed since it was read first.
        """
        by_path = _by_path(self.voters)
        for file in self.files:
            if not file.needs_another_look:
                continue
            place = 0
            for item in _ballots(file.path, by_path[file.path], stage):
                if isinstance(item, Reject):
                    yield item
                    continue
                record, _ = item
                if place == len(file.ids) or string64(record.id) != file.ids[place]:
                    raise _changed(file.path)
                if file.goes_out[place]:
                    yield Voted(record.fields, int(self.pattern_of[file.rows[place]]))
                elif not file.is_first[place]:
                    yield Reject.of(record, stage, f"duplicate id '{record.id}': make ids unique")
                place += 1
            if place != len(file.ids):
                raise _changed(file.path)


def _changed(path: str) -> LanserError:
    return LanserError(f"{path}: has changed while it was read: run again")


def _by_path(voters: Iterable[Voter]) -> dict[str, list[Voter]]:
    found: dict[str, list[Voter]] = {}
    for voter in voters:
        found.setdefault(voter.path, []).append(voter)
    return found


def _ballots(
    path: str, voters: Sequence[Voter], stage: str
) -> Iterator[tuple[Record, list[str | None]] | Reject]:
    """Each record of a file, and what its voters say of it."""
    for item in jsonl.read_records([path], stage):
        if isinstance(item, Reject):
            yield item
            continue
        try:
            yield item, [voter.vote(item) for voter in voters]
        except RecordError as error:
            yield Reject.of(item, stage, f"{path}: {error}")


# ---------------------------------------------------------------- the first time


def read_votes(voters: Sequence[Voter], stage: str) -> Votes:
    """Read all files once; a file of several voters only once.

    Some 14 bytes a record stay in memory, and 2 more a voter; sorting takes five times that.

    Raises:
        LanserError: a file cannot be read, or holds no vote at all.
        UsageError: a voter's key holds no labels.
    """
    codes: dict[str, int] = {}
    read = [_Reading(path, them, codes) for path, them in _by_path(voters).items()]
    for reading in read:
        reading.run(stage)
    ids = np.zeros(0, np.uint64)
    for reading in read:
        ids = np.union1d(ids, np.asarray(reading.ids))
    votes = np.zeros((len(ids), len(voters)), np.uint16)
    files_with = np.zeros(len(ids), np.uint8)
    files = []
    for reading in read:
        rows = np.searchsorted(ids, reading.ids).astype(np.int32)
        is_first = np.zeros(len(rows), np.bool_)
        is_first[np.unique(rows, return_index=True)[1]] = True
        goes_out = is_first & (files_with[rows] == 0)
        files_with[rows[is_first]] += files_with[rows[is_first]] < 2
        files.append(
            _File(
                reading.path, np.asarray(reading.ids), rows, is_first, goes_out, reading.faults > 0
            )
        )
        for voter, said in reading.votes.items():
            counted = np.asarray(said)[is_first]
            if len(counted) and counted.max() < FIRST:
                raise LanserError(
                    f"{voter.name}: no record has a label in '{voter.field}': name the key that "
                    "holds them, as FILE:FIELD"
                )
            votes[rows[is_first], voters.index(voter)] = counted
    given = np.unique(votes)  # a label of refused records alone is none
    labels = tuple(sorted(label for label, code in codes.items() if code in given))
    recode = np.zeros(FIRST + len(codes), np.uint16)
    recode[ABSTAINED] = ABSTAINED
    recode[[codes[label] for label in labels]] = np.arange(FIRST, FIRST + len(labels))
    patterns, pattern_of, counts = _distinct(recode[votes])
    named = {voter: names for reading in read for voter, names in reading.taxonomies.items()}
    return Votes(
        tuple(voters),
        labels,
        patterns,
        counts,
        pattern_of,
        tuple(frozenset(named[voter]) for voter in voters),
        {
            file.path: int((files_with[file.rows[file.goes_out]] == 1).sum())
            for file in files
            if len(files) > 1
        },
        tuple(files),
    )


class _Reading:
    """A file that is read the first time: digests of its ids, and the votes as they come."""

    def __init__(self, path: str, voters: Sequence[Voter], codes: dict[str, int]) -> None:
        self.path, self._codes = path, codes
        self.ids = array("Q")
        self.votes = {voter: array("H") for voter in voters}
        self.taxonomies: dict[Voter, set[str]] = {voter: set() for voter in voters}
        self.faults = 0

    def run(self, stage: str) -> None:
        """Read it.

        Raises:
            LanserError: it cannot be read.
            UsageError: a key holds no labels.
        """
        for item in _ballots(self.path, list(self.votes), stage):
            if isinstance(item, Reject):
                self.faults += 1
                continue
            record, said = item
            self.ids.append(string64(record.id))
            for (voter, votes), label in zip(self.votes.items(), said, strict=True):
                votes.append(self._code(label))
                if label and voter.field == "emotion" and (name := taxonomy_of(record)):
                    self.taxonomies[voter].add(name)
            if len(self._codes) > MOST_LABELS:
                raise UsageError(
                    f"{', '.join(voter.name for voter in self.votes)}: more than {MOST_LABELS} "
                    "different labels: name the key that holds them, as FILE:FIELD"
                )

    def _code(self, label: str | None) -> int:
        if label is None:
            return UNSAID
        return self._codes.setdefault(label, FIRST + len(self._codes)) if label else ABSTAINED


def _distinct(
    votes: NDArray[np.uint16], counts: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.uint16], NDArray[np.int32], NDArray[np.int64]]:
    """Distinct rows, which of them each row is, and how many rows (or counts) each has."""
    number = np.zeros(len(votes), np.int64)
    first = np.zeros(0, np.int64)
    for column in votes.T:  # one key for all columns could be too big
        number = number * (int(votes.max(initial=0)) + 1) + column
        _, first, number = np.unique(number, return_index=True, return_inverse=True)
    found = np.bincount(number, counts, minlength=len(first))
    return votes[first], number.astype(np.int32), found.astype(np.int64)
