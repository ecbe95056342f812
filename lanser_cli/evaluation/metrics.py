"""How good answers are: UAR, WA, F1, each with a confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.errors import LanserError
from lanser_cli.records import Record

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Result:
    """How answers compare with the truth.

    Attributes:
        n: records compared.
        labels: classes that occur as truth or answer, sorted unless given.
        uar: unweighted average recall: the mean over the true classes of their recall. Chance is
            one over their number. Some papers call it UA.
        wa: weighted accuracy: the share of right answers.
        macro_f1, weighted_f1: F1 averaged over classes, plainly or by their frequency.
        recalls: of each true class.
        confusion: rows are truth, columns answers, in the order of `labels`.
        resampled: what the intervals draw anew: `speaker` (whole speakers) or `record`.
    """

    n: int
    labels: tuple[str, ...]
    uar: Estimate
    wa: Estimate
    macro_f1: Estimate
    weighted_f1: Estimate
    recalls: dict[str, float]
    confusion: list[list[int]]
    resampled: str

    @property
    def chance(self) -> float:
        """UAR of guessing."""
        return 1 / len(self.recalls)

    def summary(self) -> dict[str, float]:
        """The few numbers that a result line holds."""
        return {
            "n": self.n,
            "uar": self.uar.value,
            "wa": self.wa.value,
            "chance": self.chance,
        }

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "labels": list(self.labels), "chance": self.chance}


def measure(
    records: Sequence[Record],
    *,
    truth: str = "label",
    answer: str = "prediction",
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> Result:
    """Compare two keys over records.

    Records that lack the truth are not counted; a missing answer counts as a wrong one. The
    intervals are bootstrapped over speakers where at least five are named, since clips of one
    speaker are not independent, otherwise over records.

    Raises:
        LanserError: no record has the truth, or none has an answer.
    """
    from sklearn.metrics import confusion_matrix

    judged = [record for record in records if record.fields.get(truth) is not None]
    if not judged:
        raise LanserError(f"no record has '{truth}', so there is nothing to compare with")
    if all(record.fields.get(answer) is None for record in judged):
        raise LanserError(f"no record has '{answer}': run lanser predict, or name another --answer")
    true = [str(record.fields[truth]) for record in judged]
    given = [str(record.fields.get(answer) or "(none)") for record in judged]
    names = list(labels or [])
    names += sorted((set(true) | set(given)) - set(names))
    confusion = confusion_matrix(true, given, labels=names)
    drawn, resampled = _draws(true, given, judged, names, seed)
    whole = _scores(confusion[None])
    bounds = np.nanpercentile(_scores(drawn), (2.5, 97.5), axis=1)
    uar, wa, macro_f1, weighted_f1 = (
        Estimate(*(round(float(number), 6) for number in (value, low, high)))
        for value, low, high in zip(whole[:, 0], *bounds, strict=True)
    )
    counts = confusion.sum(axis=1)
    return Result(
        len(judged),
        tuple(names),
        uar,
        wa,
        macro_f1,
        weighted_f1,
        recalls={
            name: round(float(confusion[index, index] / counts[index]), 6)
            for index, name in enumerate(names)
            if counts[index]
        },
        confusion=confusion.tolist(),
        resampled=resampled,
    )


def _draws(
    true: Sequence[str],
    given: Sequence[str],
    records: Sequence[Record],
    names: Sequence[str],
    seed: int,
) -> tuple[NDArray[np.int64], str]:
    """Confusion matrices of bootstrap samples, `[resamples, labels, labels]`."""
    speakers = [record.speaker for record in records]
    by_speaker = all(speakers) and len(set(speakers)) >= 5
    units = (
        [str(speaker) for speaker in speakers] if by_speaker else list(map(str, range(len(true))))
    )
    place = {unit: index for index, unit in enumerate(dict.fromkeys(units))}
    index = {name: position for position, name in enumerate(names)}
    cells = len(names) ** 2
    counts = np.zeros((len(place), cells), np.float32)
    for unit, t, g in zip(units, true, given, strict=True):
        counts[place[unit], index[t] * len(names) + index[g]] += 1
    draw = np.random.default_rng(seed)
    times = draw.multinomial(len(place), np.full(len(place), 1 / len(place)), size=RESAMPLES)
    matrices = (times.astype(np.float32) @ counts).round().astype(np.int64)
    return matrices.reshape(-1, len(names), len(names)), "speaker" if by_speaker else "record"


def _scores(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """UAR, WA, macro and weighted F1 of confusion matrices `[n, k, k]`: `[4, n]`.

    As scikit-learn's recall_score, accuracy_score and f1_score; a class that is neither truth nor
    answer is left out.
    """
    hits = np.diagonal(confusion, axis1=1, axis2=2).astype(np.float64)
    truths, answers = confusion.sum(axis=2), confusion.sum(axis=1)
    total = truths.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(truths > 0, hits / truths, np.nan)
        f1 = np.where(truths + answers > 0, 2 * hits / (truths + answers), np.nan)
        return np.stack(
            [
                np.nanmean(recall, axis=1),
                hits.sum(axis=1) / total,
                np.nanmean(f1, axis=1),
                np.nansum(f1 * truths, axis=1) / total,
            ]
        )
