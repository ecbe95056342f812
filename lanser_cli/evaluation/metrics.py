"""How good answers are: UAR, WA, F1, each with a confidence interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record

FEWEST_UNITS = 5
"""Speakers below which an interval means nothing: it would have at most three degrees of freedom.
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % confidence interval; None where there are too few units for one."""

    value: float
    low: float | None = None
    high: float | None = None

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

    @property
    def interval(self) -> str:
        """What the brackets are, in words."""
        what = f"{self.units} {self.unit}s" if self.units != 1 else f"one {self.unit}"
        if self.uar.low is None:
            return f"no intervals, which need {FEWEST_UNITS} {self.unit}s: there are {what}"
        return f"95 % intervals over {what}"

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
        return {**asdict(self), "labels": list(self.labels), "chance": self.chance}


def measure(
    records: Sequence[Record],
    *,
    truth: str = "label",
    answer: str = "prediction",
    by: str | None = None,
) -> Result:
    """Compare two keys over records.

    Records that lack the truth are not counted; a missing answer counts as a wrong one, and so does
    one that never occurs as truth.

    The intervals are Student's t on the jackknife over units (Efron and Tibshirani 1993, chapter
    11; Tukey 1958): clips of one speaker are not independent, so a speaker is left out whole.
    `tests/bench/intervals.py` simulates how often they hold the truth.

    Args:
        by: key whose values are the units; None for `speaker` where every record has one, else
            each record by itself.

    Raises:
        LanserError: no record has the truth, or none has an answer.
        UsageError: a record lacks the key `by`.
    """
    judged = [record for record in records if record.fields.get(truth) is not None]
    if not judged:
        raise LanserError(f"no record has '{truth}', so there is nothing to compare with")
    if all(record.fields.get(answer) is None for record in judged):
        raise LanserError(f"no record has '{answer}': run lanser predict, or name another --answer")
    true = [str(record.fields[truth]) for record in judged]
    given = [record.word(answer) for record in judged]
    labels = tuple(sorted(set(true)))
    unit, owners = _units(judged, by)
    counts, times = _confusions(true, given, owners, labels)
    total = (times[:, None, None] * counts).sum(axis=0)
    values = scores(total[None])[:, 0]
    lows, highs = _intervals(values, total, counts, times)
    uar, wa, macro_f1, weighted_f1 = (
        Estimate(round(float(value), 6), low, high)
        for value, low, high in zip(values, lows, highs, strict=True)
    )
    sizes = total.sum(axis=1)
    return Result(
        len(judged),
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
        strays=dict(sorted(Counter(one for one in given if one and one not in labels).items())),
        missing=given.count(None),
        unit=unit,
        units=int(times.sum()),
    )


def _units(records: Sequence[Record], by: str | None) -> tuple[str, list[str] | None]:
    """The name of the unit and the unit of each record; None where each is its own."""
    owners = [record.word(by or "speaker") for record in records]
    if all(owners):
        return by or "speaker", [str(owner) for owner in owners]
    if by is not None:
        raise UsageError(
            f"--by {by}: {owners.count(None)} of {len(records)} records do not have it: name "
            "another key"
        )
    return "record", None


def _confusions(
    true: Sequence[str],
    given: Sequence[str | None],
    owners: Sequence[str] | None,
    labels: Sequence[str],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Confusions of the units, and how many units have each.

    Returns:
        `[kinds, labels, labels + 1]`, whose last column is for every other answer; `[kinds]`.
    """
    place = {label: index for index, label in enumerate(labels)}
    width = len(labels) + 1
    cells = [place[t] * width + place.get(g or "", width - 1) for t, g in zip(true, given)]  # noqa: B905
    if owners is None:  # units that are alike are counted once: there may be millions
        found, times = np.unique(cells, return_counts=True)
        counts = np.zeros((len(found), len(labels) * width), np.int64)
        counts[np.arange(len(found)), found] = 1
    else:
        rows = {owner: index for index, owner in enumerate(dict.fromkeys(owners))}
        counts = np.zeros((len(rows), len(labels) * width), np.int64)
        np.add.at(counts, ([rows[owner] for owner in owners], cells), 1)
        times = np.ones(len(rows), np.int64)
    return counts.reshape(-1, len(labels), width), times.astype(np.int64)


def _intervals(
    values: NDArray[np.float64],
    total: NDArray[np.int64],
    counts: NDArray[np.int64],
    times: NDArray[np.int64],
) -> tuple[list[float | None], list[float | None]]:
    """Bounds of each score; None for all where there are too few units."""
    units = int(times.sum())
    if units < FEWEST_UNITS:
        return [None] * len(values), [None] * len(values)
    pseudo = units * values[:, None] - (units - 1) * scores(total[None] - counts)
    reaches = reach(pseudo, times)
    low = [
        max(value - far, 0) for value, far in zip(values, reaches, strict=True) if far is not None
    ]
    high = [
        min(value + far, 1) for value, far in zip(values, reaches, strict=True) if far is not None
    ]
    return [round(float(x), 6) for x in low], [round(float(x), 6) for x in high]


def reach(pseudo: NDArray[np.float64], times: NDArray[np.int64]) -> list[float | None]:
    """How far a 95 % interval goes to either side; None where there are too few units for one.

    Args:
        pseudo: the jackknife's pseudo-values, `[scores, kinds]`.
        times: how many units are of each kind.
    """
    from scipy.stats import t as student

    units = int(times.sum())
    if units < FEWEST_UNITS:
        return [None] * len(pseudo)
    mean = (pseudo * times).sum(axis=1, keepdims=True) / units
    variance = ((pseudo - mean) ** 2 * times).sum(axis=1) / (units - 1)
    return list(student.ppf(0.975, units - 1) * np.sqrt(variance / units))


def scores(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
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
