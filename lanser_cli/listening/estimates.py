"""Shares of a population from marks of unlike weights, with intervals and a sure lower bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import count

import numpy as np
from numpy.typing import NDArray

from lanser_cli.evaluation.metrics import Estimate

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

SURE = 0.95
"""How sure a certificate is: the chance that what it says is wrong is at most one less this."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Marks as a stratified sample, a row each.

    Attributes:
        right: what is counted.
        inside: of which marks; a mark outside says that its stratum is not all inside.
        weights: how many of the population a mark stands for.
        strata: the number of the stratum that each was drawn from.
        tops: of each stratum by its number, the margin that none in it reaches; infinity where
            nobody knows it, and -infinity where none in it can be inside.
    """

    right: Flags
    inside: Flags
    weights: Array
    strata: NDArray[np.int64]
    tops: Array

    @property
    def value(self) -> float:
        """The weighted share of the marks inside that are right: Hájek's ratio estimator (1971)."""
        weights = self.weights * self.inside
        right, wrong = weights[self.right].sum(), weights[~self.right].sum()
        return float(right / (right + wrong))  # exactly 1 where none is wrong

    @property
    def effective(self) -> float:
        """How many marks of a plain random sample these are worth: the least of two numbers.

        Kish's (sum w)^2 / sum w^2 (1965), and p (1 - p) over the estimator's variance by
        linearisation (Korn and Graubard 1998). The former is too large where weights go with what
        is counted, as in a recall whose misses stand for more than its hits. The latter says
        nothing where all are right, or none.
        """
        weights, value = self.weights * self.inside, self.value
        kish = float(weights.sum() ** 2 / (weights**2).sum())
        parts = weights * (self.right - value) / weights.sum()
        counts = np.bincount(self.strata)
        means = np.bincount(self.strata, parts) / np.maximum(counts, 1)
        variance = float(((parts - means[self.strata]) ** 2).sum())
        return min(kish, value * (1 - value) / variance) if variance > 0 else kish

    def within(self, which: Flags) -> Drawn:
        """The same sample, of which fewer marks are inside."""
        return replace(self, inside=self.inside & which)


def share(drawn: Drawn) -> Estimate | None:
    """The share of right marks with Wilson's 95 % interval (1927) for the effective number.

    None: no mark is inside.
    """
    if not drawn.inside.any():
        return None
    value, n, z = drawn.value, drawn.effective, 1.959964
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * np.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    low, high = max(middle - reach, 0.0), min(middle + reach, 1.0)  # but for rounding, they are so
    return Estimate(*(round(float(one), 6) for one in (value, low, high)))


def lower_bound(drawn: Drawn) -> float:
    """What the share is above, `SURE` of it: Clopper and Pearson's bound (1934), one-sided.

    With weights alike it is exact. With others the effective number stands for the number of marks
    (Korn and Graubard 1998).
    """
    return _lower_bound(drawn.value * drawn.effective, drawn.effective)


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

    Each has a quarter more marks than the one before. They depend on the margins alone, never on
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


@cache
def fewest_marks(precision: float, mistakes: int = 0) -> int:
    """The fewest marks of one weight that can certify a precision, so many of them being wrong."""
    return next(n for n in count(mistakes + 1) if _lower_bound(n - mistakes, n) >= precision)


def certify(margins: Array, drawn: Drawn, precision: float) -> Threshold | None:
    """The lowest threshold from which on the precision is sure, or None.

    To choose among thresholds on the marks that test them is a selection. So they are tested in an
    order fixed beforehand, the strictest first, up to the first failure. Then the chance that any
    that passed is wrong is at most 5 %: fixed-sequence testing, as in Learn then Test
    (Angelopoulos, Bates, Candès, Jordan and Lei 2021). The first has a third of the marks, or as
    many as bear one mistake or, if there are too few, none.

    Args:
        margins: log-odds of all marks; only those of marks inside count.
    """
    marks = int(drawn.inside.sum())
    enough = [n for n in (fewest_marks(precision, 1), fewest_marks(precision)) if n <= marks]
    if not enough:
        return None
    found = None
    for margin in steps(margins[drawn.inside], max(enough[0], marks // 3)):
        kept = drawn.within(margins >= margin)
        heard = _heard(margin, kept)
        if heard < (1 + precision) / 2:  # unheard labels alone may be half of the wrong ones
            continue
        low = lower_bound(kept) * heard
        if low < precision:
            break
        found = Threshold(margin, round(low, 4), int(kept.inside.sum()))
    return found


_RULE_OF_THREE = 3.0
"""Of a share that has none among n, 3 / n is above the truth, 95 % sure."""


def _heard(margin: float, kept: Drawn) -> float:
    """The share of what a margin keeps that is of strata with a mark in it, at least.

    Nobody knows how much of the other strata it keeps. By the rule of three (Hanley and
    Lippman-Hand 1983) it is three marks' weight at most; nothing of strata that lie below it.
    """
    unheard = np.setdiff1d(kept.strata, kept.strata[kept.inside])
    reached = unheard[kept.tops[unheard] > margin]
    missing = sum(float(kept.weights[kept.strata == one].max()) for one in reached)
    weight = float(kept.weights[kept.inside].sum())
    return weight / (weight + _RULE_OF_THREE * missing)
