"""The verb doubt: which labels are least to be trusted, by confident learning.

A label is doubtful where a model that was not trained on the record is sure of another (C. G.
Northcutt, L. Jiang and I. L. Chuang, "Confident learning: estimating uncertainty in dataset
labels", Journal of Artificial Intelligence Research 70, 2021), as cleanlab computes it.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lanser_cli import console, jsonl
from lanser_cli.digests import string64
from lanser_cli.errors import LanserError, UsageError, require
from lanser_cli.origin import of_files
from lanser_cli.pipe import Pipe
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.stage import one_process, unique, watching
from lanser_cli.tally import Tally
from lanser_cli.trust.votes import Voter

STAGE = "doubt"
FIELD = "scores"
WINDOW = 1024

_BATCH = 10_000
"""Records whose scores cleanlab sees at once."""

_NONE, _STRANGE, _UNFIT = -1, -2, -3
"""No label to doubt; one that the scores do not know, or no such key; scores that do not fit."""

_OFF = 1e-2
"""How far from 1 the sum of a record's scores may be, for digits that were left out."""


def doubt(
    inputs: Sequence[str], pipe: Pipe, *, label: str = "label", scores: str | None = None
) -> Tally:
    """Mark the labels of records by scores that were made out of fold.

    Args:
        label: key of the label.
        scores: `FILE` or `FILE:FIELD` with a probability of each label, joined by id; None: the
            records have them.

    Raises:
        LanserError: a file cannot be read, there are no scores, or they are no probabilities of
            the same labels; or cleanlab is not installed.
        UsageError: an input is a stream or names a field, or label and scores are of the same
            answer.
    """
    require("cleanlab", "quality")
    sources = [Voter.parse(word, FIELD) for word in ([scores] if scores else inputs)]
    labelled = [Voter.parse(path, label).path for path in inputs]
    for path, word in zip(labelled, inputs, strict=True):
        if path != word:
            raise UsageError(
                f"{word}: is no file: name {path}, the key of its label with --label, and that of "
                "its scores with --scores FILE:FIELD"
            )
    best_of = {"emotion": "emotion_scores", "prediction": "scores"}
    is_own = os.path.realpath(sources[0].path) in map(os.path.realpath, labelled)
    if best_of.get(label) == sources[0].field and is_own:
        raise UsageError(
            f"'{label}' is the best of '{sources[0].field}', so it is never in doubt: name scores "
            "of a model that was trained on other records"
        )
    pipe.check_apart({}, [source.path for source in sources])
    known = Scores.of(sources, may_repeat=scores is None)
    judge = Judge.of(labelled, label, known)
    settings = {
        "--label": label,
        "--scores": scores and f"{sources[0].field} of {of_files([sources[0].path])}",
    }
    return pipe.run(
        judge.items(labelled),
        watching(one_process(judge), lambda _: None, judge.say),
        settings,
        count=lambda: jsonl.count_lines(labelled),
    )


@dataclass(frozen=True, slots=True)
class Scores:
    """Probabilities by id.

    Attributes:
        labels: that are scored.
        ids: digests of the ids, sorted.
        rows: where in `values` the scores of each are.
        values: float32 `[records, labels]`, in the order of the files.
        unfit: which of these rows do not sum to 1.
    """

    labels: tuple[str, ...]
    ids: NDArray[np.uint64]
    rows: NDArray[np.int64]
    values: NDArray[np.float32]
    unfit: NDArray[np.bool_]

    @classmethod
    def of(cls, sources: Sequence[Voter], *, may_repeat: bool) -> Scores:
        """Read them; records without scores are passed over.

        Args:
            may_repeat: whether the first of an id counts where there are several; else an error.

        Raises:
            LanserError: there are none, or they are no probabilities of the same labels.
        """
        labels: tuple[str, ...] = ()
        ids, values = array("Q"), array("f")
        heard = faults = 0
        for source in sources:
            for item in jsonl.read_records([source.path], STAGE):
                if isinstance(item, Reject):
                    faults += 1
                    continue
                found = item.fields.get(source.field)
                if not found:
                    continue
                labels = labels or _labels(found, source, item)
                ids.append(string64(item.id))
                values.extend(_probabilities(found, labels, source, item))
                heard += item.fields.get("heard") is True
        if not labels:
            names = ", ".join(source.path for source in sources)
            raise LanserError(
                f"{names}: no record has '{sources[0].field}': name a file that has the scores of "
                "models that were trained on other records, as --scores FILE or FILE:FIELD"
            )
        if faults and not may_repeat:
            console.warn(f"{STAGE}: {sources[0].path}: {faults} lines hold no record")
        if heard:
            console.warn(
                f"{STAGE}: {heard} of {len(ids)} scores are of a model that was trained on the "
                "record or its speaker, and doubt little: use those that finetune made out of fold"
            )
        distinct, rows = np.unique(np.array(ids), return_index=True)
        if len(distinct) < len(ids) and not may_repeat:
            raise LanserError(f"{sources[0].path}: {len(ids) - len(distinct)} ids are there twice")
        table = np.frombuffer(values, np.float32).reshape(-1, len(labels))
        unfit = np.abs(table.sum(axis=1, dtype=np.float64) - 1) > _OFF
        return cls(labels, distinct, rows, table, unfit)

    def find(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row of each id; -1 where there is none."""
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[places] == ids, self.rows[places], -1)


def _labels(scores: object, source: Voter, record: Record) -> tuple[str, ...]:
    if not isinstance(scores, dict) or len(scores) < 2:
        raise LanserError(
            f"{source.path}: '{source.field}' of '{record.id}' is no object of two labels or more"
        )
    return tuple(scores)


def _probabilities(
    scores: object, labels: Sequence[str], source: Voter, record: Record
) -> list[float]:
    where = f"{source.path}: '{source.field}' of '{record.id}'"
    if not isinstance(scores, dict) or scores.keys() != set(labels):
        raise LanserError(
            f"{where} has other labels than those before: take all scores from models with the "
            "same labels, and none with --top-k"
        )
    row = [scores[label] for label in labels]
    if not all(isinstance(score, int | float) and 0 <= score <= 1 for score in row):
        raise LanserError(f"{where} are no probabilities, which lie between 0 and 1")
    return row


# ---------------------------------------------------------------- the records


@dataclass(frozen=True, slots=True)
class Placed(Record):
    """A record, and its place among those that were judged."""

    place: int


@dataclass(frozen=True, slots=True)
class Judge:
    """A window function: records get `doubt` and `doubtful`.

    Attributes:
        key: of the label.
        labels: that the scores know.
        ids: a digest of each record's id, in the order of the input.
        codes: the label of each record, as its place in `labels`; or `_NONE`, `_STRANGE`, `_UNFIT`.
        doubts: of each record, 0 to 1; NaN where it has no scores.
        doubtful: whether confident learning takes the label for wrong.
    """

    key: str
    labels: tuple[str, ...]
    ids: NDArray[np.uint64]
    codes: NDArray[np.int32]
    doubts: NDArray[np.float32]
    doubtful: NDArray[np.bool_]

    @classmethod
    def of(cls, paths: Sequence[str], key: str, scores: Scores) -> Judge:
        """Read the labels, and judge them all.

        Raises:
            LanserError: there are fewer than two different labels with scores.
        """
        place = {label: number for number, label in enumerate(scores.labels)}
        ids, codes = array("Q"), array("i")
        for record in _records(paths):
            if isinstance(record, Record):
                ids.append(string64(record.id))
                label = record.word(key)
                missing = _NONE if key in record.fields else _STRANGE
                codes.append(place.get(label, _STRANGE) if label else missing)
        digests, given = np.array(ids, np.uint64), np.array(codes, np.int32)
        rows = scores.find(digests)
        unfit = (given >= 0) & (rows >= 0) & scores.unfit[rows]
        given[unfit] = _UNFIT
        known = np.flatnonzero((given >= 0) & (rows >= 0))
        doubts = np.full(len(ids), np.nan, np.float32)
        doubtful = np.zeros(len(ids), np.bool_)
        if len(ids) and len(np.unique(given[known])) < 2:
            but = f", and those of {unfit.sum()} records do not sum to 1" if unfit.any() else ""
            raise LanserError(
                f"{', '.join(paths)}: fewer than two different labels in '{key}' have scores{but}: "
                "are ids and labels those of the scores?"
            )
        if len(known):
            doubts[known], doubtful[known] = confident(given[known], scores.values, rows[known])
        return cls(key, scores.labels, digests, given, doubts, doubtful)

    def items(self, paths: Sequence[str]) -> Iterator[Outcome]:
        """The records once more, in their places.

        Raises:
            LanserError: a file has changed since it was read first.
        """
        place = 0
        for item in _records(paths):
            if isinstance(item, Record):
                if place == len(self.ids) or string64(item.id) != self.ids[place]:
                    raise LanserError(f"{', '.join(paths)}: changed while it was read: run again")
                item, place = Placed(item.fields, place), place + 1
            yield item

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        return [self._judged(record) for record in window]

    def _judged(self, record: Record) -> Outcome:
        assert isinstance(record, Placed)
        code, doubt = self.codes[record.place], self.doubts[record.place]
        if code == _NONE:
            return Record({**record.fields, "doubt": None, "doubtful": False})
        if code == _STRANGE:
            label = record.word(self.key)
            why = (
                f"the scores have no label '{label}' but {', '.join(self.labels)}"
                if label
                else f"has no '{self.key}': name the key of the label with --label"
            )
            return Reject.of(record, STAGE, why)
        if code == _UNFIT:
            return Reject.of(record, STAGE, "its scores do not sum to 1: they are no probabilities")
        if np.isnan(doubt):
            return Reject.of(record, STAGE, "has no scores: name a file of them with --scores")
        found = {"doubt": round(float(doubt), 6), "doubtful": bool(self.doubtful[record.place])}
        return Record({**record.fields, **found})

    def say(self) -> None:
        """How many labels are doubtful, and of which kind."""
        known = ~np.isnan(self.doubts)
        total, doubtful = Counter(self.codes[known].tolist()), self.codes[self.doubtful].tolist()
        most = [
            f"{self.labels[code]} {count} of {total[code]}"
            for code, count in Counter(doubtful).most_common()
        ]
        console.info(
            f"{STAGE}: {len(doubtful)} of {total.total()} labels are doubtful: "
            f"{', '.join(most) or 'none'}"
        )


def _records(paths: Sequence[str]) -> Iterator[Outcome]:
    return unique(jsonl.read_records(paths, STAGE), STAGE)


def confident(
    labels: NDArray[np.int32], scores: NDArray[np.float32], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How doubtful each label is, and which are taken for wrong.

    How many are wrong is cleanlab's estimate; they are those of the lowest normalised margin, the
    label's probability less the highest of another. A label that none is above is not among them.

    Args:
        labels: as places in the columns of `scores`.
        rows: those of `scores` that belong to the labels.

    Returns:
        Doubt from 0 to 1, half of one less the margin; and whether a label is taken for wrong.
    """
    from cleanlab.experimental.label_issues_batched import LabelInspector

    occurring, codes = np.unique(labels, return_inverse=True)  # no other can be confused with
    inspector = LabelInspector(
        num_class=len(occurring),
        store_results=False,
        verbose=False,
        quality_score_kwargs={"method": "normalized_margin"},
    )
    batches = [slice(start, start + _BATCH) for start in range(0, len(codes), _BATCH)]
    for batch in batches:
        inspector.update_confident_thresholds(codes[batch], scores[rows[batch]][:, occurring])
    doubts = np.zeros(len(codes), np.float32)
    best = np.zeros(len(codes), np.bool_)
    for batch in batches:
        chances = scores[rows[batch]][:, occurring]
        doubts[batch] = 1 - inspector.score_label_quality(codes[batch], chances)
        own = chances[np.arange(len(chances)), codes[batch]]
        best[batch] = own == chances.max(axis=1)
    wrong = np.zeros(len(codes), np.bool_)
    wrong[np.argsort(-doubts, kind="stable")[: inspector.get_num_issues(silent=True)]] = True
    return doubts, wrong & ~best
