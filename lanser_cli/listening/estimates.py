"""Shares of a population from marks of unlike weights, with intervals and a sure lower bound."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from lanser_cli.evaluation.metrics import Estimate

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

SURE = 0.95
"""How sure a certificate is: the chance that what it says is wrong is at most one less this."""


def effective(weights: Array) -> float:
    """How many marks of one weight these are worth: (sum w)^2 / sum w^2 (Kish 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def share(hits: Flags, weights: Array) -> Estimate | None:
    """The weighted share of hits, Hájek's ratio estimator, with Wilson's 95 % interval (1927).

    The interval takes Kish's effective number for the number of marks. None: there is no mark.
    """
    if not len(hits):
        return None
    value, n, z = float(weights[hits].sum() / weights.sum()), effective(weights), 1.959964
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * np.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return Estimate(*(round(float(one), 6) for one in (value, middle - reach, middle + reach)))


def lower_bound(hits: Flags, weights: Array) -> float:
    """What the share is above, `SURE` of it: Clopper and Pearson's bound (1934), one-sided.

    With weights alike it is exact. With others the effective number stands for the number of marks
    (Korn and Graubard 1998).
    """
    n = effective(weights)
    return _lower_bound(float(weights[hits].sum() / weights.sum()) * n, n)


def _lower_bound(right: float, n: float) -> float:
    from scipy.special import betaincinv  # scipy.stats takes a second to import

    return float(betaincinv(right, n - right + 1, 1 - SURE)) if right > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """A margin from which on labels are right as often as was wanted.

    Attributes:
        min_margin: log-odds; 0 keeps all labels.
        low: the share of right labels from there on is above this.
        marks: how many marks say so.
    """

    min_margin: float
    low: float
    marks: int


def steps(margins: Array, fewest: int) -> list[float]:
    """Thresholds from the strictest down to 0, of which each has at least `fewest` marks.

    Each has a quarter more marks than the one before. They hang on the margins alone, never on
    whether a label is right.
    """
    ranked = np.sort(margins)[::-1]
    found: list[float] = []
    wanted = float(fewest)
    while wanted <= len(ranked):
        found.append(float(np.floor(ranked[int(np.ceil(wanted)) - 1] * 10) / 10))
        kept = int((margins >= found[-1]).sum())
        wanted = max(1.25 * kept, kept + 1)
    return [*dict.fromkeys(found), *([0.0] if found and found[-1] > 0 else [])]


def fewest_marks(precision: float, mistakes: int = 0) -> int:
    """The fewest marks of one weight that can certify a precision, so many of them being wrong."""
    return next(n for n in count(mistakes + 1) if _lower_bound(n - mistakes, n) >= precision)


def certify(margins: Array, right: Flags, weights: Array, precision: float) -> Threshold | None:
    """The lowest threshold from which on the precision is sure, or None.

    To choose among thresholds on the marks that test them is a selection. So they are tested in an
    order fixed beforehand, the strictest first, up to the first failure. Then the chance that any
    that passed is wrong is at most 5 %: fixed-sequence testing, as in Learn then Test
    (Angelopoulos, Bates, Candès, Jordan and Lei 2021). The first has enough marks to bear a
    mistake, if there are so many.
    """
    for mistakes in (1, 0):
        if (fewest := fewest_marks(precision, mistakes)) <= len(margins):
            break
    else:
        return None
    found = None
    for margin in steps(margins, fewest):
        kept = margins >= margin
        low = lower_bound(right[kept], weights[kept])
        if low < precision:
            break
        found = Threshold(margin, round(low, 4), int(kept.sum()))
    return found
