"""Two curves of UAR against the share of labels, what lies between them, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from lanser_cli.evaluation.answers import Answers
from lanser_cli.evaluation.metrics import Array, Estimate, Result, reach
from lanser_cli.evaluation.seeds import mean_and_pseudo, measure_run
from lanser_cli.records import Record


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves of both arms; each score is the mean over seeds.

    Attributes:
        fractions: of the labels, growing.
        results: of each arm at each fraction.
        differences: UAR of the init arm less that of scratch, at each fraction.
        area: the mean difference along the logarithm of the fraction, by the trapezoid rule.
        best: the fraction at which scratch has its best UAR; of several the smallest.
        reaches: the fraction at which the init arm has that UAR, interpolated along the logarithm;
            the smallest fraction if it has it there already; None if nowhere.
    """

    fractions: tuple[float, ...]
    results: dict[str, tuple[Result, ...]]
    differences: tuple[Estimate, ...]
    area: Estimate
    best: float
    reaches: float | None

    @classmethod
    def of(
        cls, points: Mapping[tuple[str, float, int], Mapping[str, Record]], by: str | None = None
    ) -> Curves:
        """Measure the test records of points, by (arm, fraction, seed) and id.

        The intervals are Student's t on the jackknife over speakers, each left out of all points
        at once: the differences are paired.
        """
        fractions = tuple(sorted({fraction for _, fraction, _ in points}))
        arms = tuple(dict.fromkeys(arm for arm, _, _ in points))
        seeds = {
            (arm, fraction): {s: r for (a, f, s), r in points.items() if (a, f) == (arm, fraction)}
            for arm in arms
            for fraction in fractions
        }
        results = {
            arm: tuple(measure_run(_pool(seeds[arm, one]), by=by) for one in fractions)
            for arm in arms
        }
        found = [_uar_and_pseudo(_pool(each), by) for each in seeds.values()]
        whole, parts = zip(*found, strict=True)
        shape = (len(arms), len(fractions), -1)
        uars, pseudo = np.reshape(whole, shape)[..., 0], np.reshape(np.array(parts), shape)
        gaps, gaps_of_units = uars[1] - uars[0], pseudo[1] - pseudo[0]
        values = np.append(gaps, area(fractions, gaps[:, None]))
        left_out = np.vstack([gaps_of_units, area(fractions, gaps_of_units)])
        *differences, between = _estimates(values, left_out)
        place = int(uars[0].argmax())
        reaches = crossing(fractions, uars[1], uars[0, place])
        return cls(fractions, results, tuple(differences), between, fractions[place], reaches)

    def summary(self) -> dict[str, Any]:
        """What the result line holds."""
        saved = None if self.reaches is None else round(1 - self.reaches / self.best, 6)
        return {
            "fractions": list(self.fractions),
            **{arm: [one.uar.value for one in found] for arm, found in self.results.items()},
            "area": asdict(self.area),
            "scratch_best": self.best,
            "reaches": self.reaches,
            "labels_saved": saved,
        }

    def as_json(self) -> dict[str, Any]:
        """All numbers, for report.json."""
        return {
            **self.summary(),
            "differences": [asdict(one) for one in self.differences],
            "results": {
                arm: [one.as_json() for one in found] for arm, found in self.results.items()
            },
        }


def area(fractions: tuple[float, ...], values: Array) -> Array:
    """Mean of values `[fractions, n]` along the logarithm of the fraction: `[n]`."""
    if len(fractions) == 1:
        return values[0]
    from scipy.integrate import trapezoid

    places = np.log(fractions)
    return np.asarray(trapezoid(values, places, axis=0) / (places[-1] - places[0]))


def crossing(fractions: tuple[float, ...], uars: Array, goal: float) -> float | None:
    """The smallest fraction at which a curve, straight over the logarithm, has reached a goal."""
    for number, uar in enumerate(uars):
        if uar < goal:
            continue
        if number == 0:
            return fractions[0]
        before = float(uars[number - 1])
        share = (goal - before) / (float(uar) - before)
        low, high = np.log(fractions[number - 1]), np.log(fractions[number])
        return round(float(np.exp(low + share * (high - low))), 6)
    return None


def _pool(seeds: Mapping[int, Mapping[str, Record]]) -> list[Record]:
    """The records with the answers of all seeds."""
    if len(seeds) == 1:
        return list(next(iter(seeds.values())).values())
    first = next(iter(seeds.values()))
    return [
        record.with_fields(
            predictions={str(seed): found[name].prediction for seed, found in seeds.items()}
        )
        for name, record in first.items()
    ]


def _uar_and_pseudo(records: Sequence[Record], by: str | None) -> tuple[float, Array]:
    """UAR, mean over seeds; and its pseudo-values, `[units]`."""
    answers = Answers.of(records, by=by)
    # Each record a unit of its own where it is none of another's, so that all points have the same.
    owners = answers.owners or answers.ids
    values, pseudo, _ = mean_and_pseudo([replace(one, owners=owners) for one in answers.by_seed()])
    return float(values[0]), pseudo[0]


def _estimates(values: Array, pseudo: Array) -> list[Estimate]:
    """Values with the intervals that their pseudo-values `[values, units]` give."""
    reaches = reach(pseudo, np.ones(pseudo.shape[1], np.int64))
    return [
        Estimate.of(value, far, (-math.inf, math.inf))
        for value, far in zip(values, reaches, strict=True)
    ]
