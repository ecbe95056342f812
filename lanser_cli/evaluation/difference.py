"""The difference between two answers to the same records, and whether it could be chance.

Pairs are taken unit by unit: what a speaker makes of one run is compared with what the same speaker
makes of the other, since clips of one speaker are not independent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.errors import LanserError
from lanser_cli.evaluation.answers import Answers
from lanser_cli.evaluation.metrics import (
    FEWEST_UNITS,
    SCORES,
    Estimate,
    confusions,
    pseudo_values,
    reach,
    scores,
    standard_errors,
)

COMPARED = SCORES[:3]
"""UAR, WA and macro F1."""

MOST_EXACT = 20
"""Units up to which all sign flips are taken; beyond, so many of them as `DRAWS`."""

DRAWS = 19_999
LEVEL, POWER = 0.05, 0.8
_BLOCK = 4096
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Compared:
    """One score of two answers.

    Attributes:
        reference, other: the score of each.
        difference: other less reference, with the interval of Student's t on the jackknife.
        p: the share of sign flips that make the difference as large, to either side.
        p_holm: p, adjusted for all comparisons made together (Holm 1979).
        detectable: the least true difference that a t test over so many units, which spread as
            these do, finds at 0.05 with a power of 80 %; None where there are too few units, or all
            differ alike.
    """

    reference: float
    other: float
    difference: Estimate
    p: float
    p_holm: float
    detectable: float | None

    def as_json(self) -> dict[str, float | None]:
        return {
            "reference": self.reference,
            "other": self.other,
            "difference": self.difference.value,
            "low": self.difference.low,
            "high": self.difference.high,
            "p": self.p,
            "p_holm": self.p_holm,
            "detectable": self.detectable,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Two answers to the same records.

    Attributes:
        reference, other: their names.
        n: records.
        unit, units: what is independent, and how many there are.
        flips: sign flips that p is a share of.
        exact: whether these are all there are; else they were drawn.
        least_p: the smallest p that so many units can give.
        family: comparisons made together, which `p_holm` is adjusted for.
        scores: of each of `COMPARED`.
        transductive: those of the two that have used all of the test side's sound or texts.
    """

    reference: str
    other: str
    n: int
    unit: str
    units: int
    flips: int
    exact: bool
    least_p: float
    scores: dict[str, Compared]
    family: int = 1
    transductive: tuple[str, ...] = ()

    def marked(self, transductive: Collection[str]) -> Difference:
        """The same, with which of the two are among these."""
        names = (self.reference, self.other)
        return replace(self, transductive=tuple(name for name in names if name in transductive))

    @property
    def can_reach(self) -> bool:
        """Whether any difference between so many units would have p below 0.05."""
        return self.least_p * self.family < LEVEL

    def as_json(self) -> dict[str, Any]:
        names = ("reference", "other", "n", "unit", "units", "flips", "exact", "least_p", "family")
        table = {name: found.as_json() for name, found in self.scores.items()}
        said = {"transductive": list(self.transductive)} if self.transductive else {}
        return {**{name: getattr(self, name) for name in names}, **table, **said}

    @property
    def reservation(self) -> str:
        """Why a p above 0.05 says nothing here; empty where it does."""
        if self.can_reach:
            return ""
        needed = next(n for n in range(2, 64) if 2.0 ** (1 - n) * self.family < LEVEL)
        among = f" of {self.family} comparisons" if self.family > 1 else ""
        return (
            f"{self.units} {self.unit}s cannot reach p < {LEVEL}{among}: the least of "
            f"{self.flips} sign flips is {self.least_p:.3g}; {needed} can"
        )

    @property
    def uneven(self) -> str:
        """That one of the two alone is transductive; empty where both are, or neither."""
        if len(self.transductive) != 1:
            return ""
        alone = self.transductive[0]
        return f"only {alone} of the two is transductive, and that may be the whole difference"

    @property
    def verdict(self) -> str:
        """What to conclude of UAR, in a sentence."""
        uar = self.scores["uar"]
        least = f"{uar.p_holm:.3g}" if uar.p_holm >= 0.0001 else "below 0.0001"
        numbers = f"UAR {signed(uar.difference)}, p {least} over {self.units} {self.unit}s"
        apart = f"; {self.uneven}" if self.uneven else ""
        if uar.p_holm < LEVEL:
            word = "better" if uar.difference.value > 0 else "worse"
            return f"{self.other} is {word} than {self.reference}: {numbers}{apart}."
        shown = f"No difference is shown between {self.other} and {self.reference}"
        return f"{shown}: {numbers}{apart}."

    def __str__(self) -> str:
        uar = self.scores["uar"]
        how = "all" if self.exact else "drawn"
        holm = f", Holm over {self.family} {uar.p_holm:.3g}" if self.family > 1 else ""
        found = "" if uar.detectable is None else f"; detectable {uar.detectable:.3f}"
        return (
            f"{self.other} less {self.reference}: UAR {signed(uar.difference)}, "
            f"p {uar.p:.3g}{holm} ({self.flips} sign flips of {self.units} {self.unit}s, {how})"
            f"{found}"
        )


def signed(estimate: Estimate) -> str:
    """A difference with its sign and interval."""
    if estimate.low is None:
        return f"{estimate.value:+.3f}"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def difference(
    names: tuple[str, str], reference: Answers, other: Answers, *, seed: int = 0
) -> Difference:
    """Compare two answers.

    p is of a randomisation test: were the two alike, either could have given what the other gave
    to a unit, so the difference is taken anew for every way of exchanging them unit by unit. UAR
    and WA are sums over units, and an exchange flips the sign of a unit's part in the difference.
    Up to 20 units all ways are taken (Fisher 1935); beyond, 19,999 are drawn, and the one that was
    found counts as one more (Phipson and Smyth 2010).

    Args:
        names: of the reference and of the other.
        seed: of the ways that are drawn.

    Raises:
        LanserError: they have other ids, truths or units; the message names the first.
    """
    other = matched(names, reference, other)
    counts, times = confusions(reference, other)
    totals = (times[:, None, None] * counts).sum(axis=1)
    values = scores(totals)
    found = values[:, 1] - values[:, 0]
    pseudo = np.subtract(
        pseudo_values(values[:, 1], totals[1], counts[1], times),
        pseudo_values(values[:, 0], totals[0], counts[0], times),
    )
    units = int(times.sum())
    exact = units <= MOST_EXACT
    extreme, flips = np.zeros(len(SCORES)), 0
    for totals_of_flips in _flipped(counts, times, exact, seed):
        moved = scores(totals_of_flips[1]) - scores(totals_of_flips[0])
        extreme += (np.abs(moved) >= np.abs(found)[:, None] - _TIE).sum(axis=1)
        flips += moved.shape[1]
    if exact:  # the other half mirrors these: the same differences, the other way round
        chances, flips = extreme / flips, 2 * flips
    else:
        chances = (extreme + 1) / (flips + 1)
    spread = standard_errors(pseudo, times) if units >= FEWEST_UNITS else np.zeros(len(SCORES))
    table = {
        name: Compared(
            round(float(values[row, 0]), 6),
            round(float(values[row, 1]), 6),
            Estimate.of(found[row], far, (-1.0, 1.0)),
            *(round(float(chances[row]), 6),) * 2,
            round(_detectable(units) * float(spread[row]), 6) if spread[row] else None,
        )
        for row, (name, far) in enumerate(zip(COMPARED, reach(pseudo, times), strict=False))
    }
    least = 2.0 ** (1 - units) if exact else 1 / (flips + 1)
    return Difference(*names, len(other.ids), other.unit, units, flips, exact, least, table)


def holm(differences: Sequence[Difference]) -> list[Difference]:
    """Adjust the p of every score over several comparisons by Holm's step-down procedure."""
    family = len(differences)
    tables: list[dict[str, Compared]] = [{} for _ in differences]
    for name in COMPARED:
        chances = np.array([each.scores[name].p for each in differences])
        largest = 0.0
        for rank, place in enumerate(np.argsort(chances, kind="stable")):
            largest = max(largest, min(1.0, float(chances[place]) * (family - rank)))
            one = differences[place].scores[name]
            tables[place][name] = replace(one, p_holm=round(largest, 6))
    return [
        replace(each, scores=table, family=family)
        for each, table in zip(differences, tables, strict=True)
    ]


def matched(names: tuple[str, str], reference: Answers, other: Answers) -> Answers:
    """The other answers in the order of the reference.

    Raises:
        LanserError: they have other ids, truths or units; the message names the first.
    """
    rows = {identifier: row for row, identifier in enumerate(other.ids)}
    for identifier in reference.ids:
        if identifier not in rows:
            raise LanserError(
                f"'{identifier}' is in {names[0]} but not in {names[1]}: compare answers to the "
                "same records"
            )
    if len(rows) > len(reference.ids):
        known = set(reference.ids)
        extra = next(identifier for identifier in other.ids if identifier not in known)
        raise LanserError(
            f"'{extra}' is in {names[1]} but not in {names[0]}: compare answers to the same records"
        )
    order = [rows[identifier] for identifier in reference.ids]
    owners = None if other.owners is None else [other.owners[row] for row in order]
    matched = Answers(
        reference.ids,
        [other.truths[row] for row in order],
        [other.given[row] for row in order],
        other.unit,
        owners,
    )
    _check_alike(names, "truth", matched.ids, reference.truths, matched.truths)
    if reference.unit != matched.unit:
        raise LanserError(
            f"the units of {names[0]} are {reference.unit}s, those of {names[1]} {matched.unit}s: "
            "name a key that all records have with --by"
        )
    if reference.owners is not None and matched.owners is not None:
        _check_alike(names, reference.unit, matched.ids, reference.owners, matched.owners)
    return matched


def _check_alike(
    names: tuple[str, str], what: str, ids: Sequence[str], ours: Sequence[str], theirs: list[str]
) -> None:
    for identifier, mine, its in zip(ids, ours, theirs, strict=True):
        if mine != its:
            raise LanserError(
                f"the {what} of '{identifier}' is '{mine}' in {names[0]} and '{its}' in "
                f"{names[1]}: compare answers to the same records"
            )


def _flipped(
    counts: NDArray[np.int64], times: NDArray[np.int64], exact: bool, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Totals of both sides with some units exchanged: blocks of `[2, flips, labels, labels + 1]`.

    Of all ways only those that leave the last unit in place, since the others mirror them.
    """
    if exact:
        counts, times = np.repeat(counts, times, axis=1), np.ones(int(times.sum()), np.int64)
    totals = (times[:, None, None] * counts).sum(axis=1)
    step = (counts[1] - counts[0]).reshape(len(times), -1)
    if not exact:  # units that an exchange changes alike are drawn as one: there may be millions
        step, kind = np.unique(step, axis=0, return_inverse=True)
        times = np.bincount(kind.ravel(), times).astype(np.int64)
    kinds = len(times)
    count = 2 ** (kinds - 1) if exact else DRAWS
    draw = np.random.default_rng(seed)
    for start in range(0, count, _BLOCK):
        numbers = np.arange(start, min(start + _BLOCK, count))
        if exact:
            exchanged = numbers[:, None] >> np.arange(kinds) & 1
        else:
            exchanged = draw.binomial(times, 0.5, (len(numbers), kinds))
        moved = (exchanged @ step).reshape(len(numbers), *totals.shape[1:])
        yield np.stack([totals[0] + moved, totals[1] - moved])


@cache
def _detectable(units: int) -> float:
    """The difference in standard errors that a two-sided t test finds with the power wanted."""
    from scipy.optimize import brentq
    from scipy.stats import chi2, norm
    from scipy.stats import t as student

    free = units - 1
    # The spread that a test may find, in quantiles; scipy's noncentral t gives NaN far out.
    bounds = np.sqrt(chi2.ppf((np.arange(2000) + 0.5) / 2000, free) / free)
    bounds *= student.ppf(1 - LEVEL / 2, free)

    def lacking(shift: float) -> float:
        power = norm.sf(bounds - shift) + norm.cdf(-bounds - shift)
        return float(power.mean() - POWER)

    return float(brentq(lacking, 0.0, 50.0))
