"""How good answers are: UAR, WA, F1, each with a confidence interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.evaluation.answers import Answers
from lanser_cli.records import Record

Array = NDArray[np.float64]

SCORES = ("uar", "wa", "macro_f1", "weighted_f1")
"""In the order of `scores`."""

FEWEST_UNITS = 5
"""Speakers below which an interval means nothing: it would have at most three degrees of freedom.
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % confidence interval; None where units are too few for one, or alike."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, reach: float | None, room: tuple[float, float]) -> Estimate:
        """A value with an interval of so much to either side, within `room`; to six digits."""
        value = float(value)
        if reach is None:
            return cls(round(value, 6))
        low, high = max(value - reach, room[0]), min(value + reach, room[1])
        return cls(round(value, 6), round(float(low), 6), round(float(high), 6))

    @property
    def reach(self) -> tuple[float, float]:
        """How far the interval goes down and up; nowhere without one."""
        if self.low is None or self.high is None:
            return 0.0, 0.0
        return self.value - self.low, self.high - self.value

    def __str__(self) -> str:
        if self.low is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Result:
    """How answers compare with the truth.

    Attributes:
        n: records compared.
        labels: the classes that occur as truth.
        uar: unweighted average recall: the mean over the classes of their recall. Chance is one
            over their number. Some papers call it UA.
        wa: weighted accuracy: the share of right answers.
        macro_f1, weighted_f1: F1 averaged over the classes, plainly or by their frequency.
        recalls: of each class.
        confusion: rows are truth, columns answers, in the order of `labels`; the answers that are
            none of them are in `strays` and `missing`.
        strays: answers that never occur as truth, and how often each was given.
        missing: records without an answer.
        unit: what the intervals take for independent: the values of a key such as `speaker`, or
            each `record`.
        units: how many of them there are; with fewer than five speakers there is no interval.
        by_unit: UAR of each, over the classes it has; empty where each record is its own.
        seeds: UAR and WA of each seed, where several answered: every score is then their mean,
            while counts are sums.
        sd: standard deviation of UAR over the seeds.
        folds: records and UAR of each fold, where records name their `test_fold`.
        folds_uar: the mean of these; `uar` is of all folds' records pooled.
        support: how many records are of each of `labels`.
    """

    n: int
    labels: tuple[str, ...]
    uar: Estimate
    wa: Estimate
    macro_f1: Estimate
    weighted_f1: Estimate
    recalls: dict[str, float]
    confusion: list[list[int]]
    strays: dict[str, int]
    missing: int
    unit: str
    units: int
    by_unit: dict[str, float] = field(default_factory=dict)
    seeds: dict[str, dict[str, float]] = field(default_factory=dict)
    sd: float | None = None
    folds: dict[str, dict[str, float]] = field(default_factory=dict)
    folds_uar: float | None = None
    support: tuple[int, ...] = ()

    def __str__(self) -> str:
        return (
            f"{self.n} records, UAR {self.uar}, WA {self.wa}, chance {self.chance:.3f}; "
            f"{self.interval}"
        )

    @property
    def interval(self) -> str:
        """What the brackets are, in words."""
        if self.uar.low is not None:
            return f"95 % intervals over {self.units} {self.unit}s"
        if self.units >= FEWEST_UNITS:
            return f"no intervals, since all {self.units} {self.unit}s are alike"
        what = f"are {self.units} {self.unit}s" if self.units != 1 else f"is one {self.unit}"
        return f"no intervals, which need {FEWEST_UNITS} {self.unit}s: there {what}"

    @property
    def answered(self) -> list[str]:
        """All answers that were given, each once."""
        columns = zip(self.labels, zip(*self.confusion, strict=True), strict=True)
        return [label for label, column in columns if any(column)] + list(self.strays)

    @property
    def chance(self) -> float:
        """UAR of guessing."""
        return 1 / len(self.recalls)

    def summary(self) -> dict[str, float | None]:
        """The few numbers that a result line holds."""
        return {
            "n": self.n,
            "uar": self.uar.value,
            "wa": self.wa.value,
            "chance": self.chance,
            **({"seeds": len(self.seeds), "sd": self.sd} if self.seeds else {}),
        }

    def as_json(self) -> dict[str, Any]:
        fields = {**asdict(self), "labels": list(self.labels), "chance": self.chance}
        del fields["support"]  # `confusion`, `strays` and `missing` add up to it
        return fields


def measure(
    records: Iterable[Record], *, answer: str = "prediction", by: str | None = None
) -> Result:
    """As `result_of`, of the answers in records."""
    return result_of(Answers.of(records, answer=answer, by=by))


def result_of(answers: Answers) -> Result:
    """How good answers are.

    A missing answer counts as a wrong one, and so does one that never occurs as truth.

    The intervals are Student's t on the jackknife over units (Efron and Tibshirani 1993, chapter
    11; Tukey 1958): clips of one speaker are not independent, so a speaker is left out whole.
    `tests/bench/intervals.py` simulates how often they hold the truth.
    """
    labels, given = answers.labels, answers.given
    (counts,), times = confusions(answers)
    total = (times[:, None, None] * counts).sum(axis=0)
    values = scores(total[None])[:, 0]
    reaches = reach(pseudo_values(values, total, counts, times), times)
    uar, wa, macro_f1, weighted_f1 = (
        Estimate.of(*pair, (0.0, 1.0)) for pair in zip(values, reaches, strict=True)
    )
    sizes = total.sum(axis=1)
    known = set(labels)
    return Result(
        len(given),
        labels,
        uar,
        wa,
        macro_f1,
        weighted_f1,
        recalls={
            name: round(float(total[index, index] / sizes[index]), 6)
            for index, name in enumerate(labels)
        },
        confusion=total[:, :-1].tolist(),
        strays={
            name: count
            for name, count in sorted(Counter(one for one in given if one).items())
            if name not in known
        },
        missing=given.count(None),
        unit=answers.unit,
        units=int(times.sum()),
        support=tuple(sizes.tolist()),
    )


def confusions(*several: Answers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Confusions of the units in several answers to the same records, and how many are alike.

    Returns:
        `[answers, kinds, labels, labels + 1]`, whose last column is for every other answer; how
        many units are of each kind, `[kinds]`.
    """
    first = several[0]
    place = {label: index for index, label in enumerate(first.labels)}
    width = len(place) + 1
    size = len(place) * width
    rows_of = [place[true] * width for true in first.truths]
    cells = np.array(
        [
            [row + place.get(one or "", width - 1) for row, one in zip(rows_of, each.given)]  # noqa: B905
            for each in several
        ]
    )
    if first.owners is None:  # units that are alike are counted once: there may be millions
        codes = cells[0]
        for other in cells[1:]:  # numbered anew, since powers of `size` outgrow 64 bits
            codes = np.unique(codes, return_inverse=True)[1] * size + other
        _, examples, times = np.unique(codes, return_index=True, return_counts=True)
        owners, cells = np.arange(len(examples)), cells[:, examples]
    else:
        rows = {owner: index for index, owner in enumerate(dict.fromkeys(first.owners))}
        owners = np.array([rows[owner] for owner in first.owners])
        times = np.ones(len(rows), np.int64)
    counts = np.zeros((len(several), len(times), size), np.int64)
    for table, own in zip(counts, cells, strict=True):
        np.add.at(table, (owners, own), 1)
    return counts.reshape(len(several), len(times), -1, width), times.astype(np.int64)


def pseudo_values(
    values: Array, total: NDArray[np.int64], counts: NDArray[np.int64], times: NDArray[np.int64]
) -> Array:
    """The jackknife's pseudo-values of `scores`: `[scores, kinds]`; none for too few units.

    Args:
        values, total: of all units together.
        counts, times: as from `confusions`, of one of the answers.
    """
    units = int(times.sum())
    if units < FEWEST_UNITS:
        return np.empty((len(values), 0))
    return units * values[:, None] - (units - 1) * scores(total[None] - counts)


def reach(pseudo: Array, times: NDArray[np.int64]) -> list[float | None]:
    """How far a 95 % interval goes to either side.

    None where there are too few units for one, or all are alike: they say nothing of how others
    would differ, as where nothing is wrong.
    """
    from scipy.special import stdtrit  # Student's quantiles; scipy.stats takes a second to import

    units = int(times.sum())
    if units < FEWEST_UNITS:
        return [None] * len(pseudo)
    spread = standard_errors(pseudo, times)
    found = stdtrit(units - 1, 0.975) * spread
    return [float(far) if far > 1e-9 else None for far in found]


def standard_errors(pseudo: Array, times: NDArray[np.int64]) -> Array:
    """Of the means of pseudo-values `[scores, kinds]`, of which each occurs so often."""
    units = int(times.sum())
    mean = (pseudo * times).sum(axis=1, keepdims=True) / units
    variance = ((pseudo - mean) ** 2 * times).sum(axis=1) / (units - 1)
    return np.asarray(np.sqrt(variance / units))


def scores(confusion: NDArray[Any]) -> Array:
    """UAR, WA, macro and weighted F1 of confusion matrices `[n, k, k + 1]`: `[4, n]`.

    As scikit-learn's recall_score, accuracy_score and f1_score over the true labels. A class that a
    matrix has no truth of is left out of its means.
    """
    hits = np.diagonal(confusion[:, :, :-1], axis1=1, axis2=2).astype(np.float64)
    truths, answers = confusion.sum(axis=2), confusion[:, :, :-1].sum(axis=1)
    total = truths.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(truths > 0, hits / truths, np.nan)
        f1 = np.where(truths > 0, 2 * hits / (truths + answers), np.nan)
        return np.stack(
            [
                np.nanmean(recall, axis=1),
                hits.sum(axis=1) / total,
                np.nanmean(f1, axis=1),
                np.nansum(f1 * truths, axis=1) / total,
            ]
        )
