"""Two curves of UAR against the share of labels, what lies between them, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.evaluation.metrics import FEWEST_UNITS, Estimate, Result, reach, scores
from lanser_cli.evaluation.seeds import confusions, measure_run
from lanser_cli.records import Record

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves of both arms; each score is the mean over seeds.

    Attributes:
        fractions: of the labels, growing.
        results: of each arm at each fraction.
        differences: UAR of the init arm less that of scratch, at each fraction.
        area: the mean difference along the logarithm of the fraction, by the trapezoid rule.
        reaches: the fraction at which the init arm has the UAR that scratch has at the largest,
            interpolated along the logarithm; the smallest fraction if it has it there already;
            None if nowhere.
    """

    fractions: tuple[float, ...]
    results: dict[str, tuple[Result, ...]]
    differences: tuple[Estimate, ...]
    area: Estimate
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
        first = results[arms[0]][0]
        found = [_uar_and_without(list(each.values()), first) for each in seeds.values()]
        whole, without = zip(*found, strict=True)
        shape = (len(arms), len(fractions), -1)
        uars, others = np.reshape(whole, shape)[..., 0], np.reshape(np.array(without), shape)
        gaps, gaps_without = uars[1] - uars[0], others[1] - others[0]
        values = np.append(gaps, area(fractions, gaps[:, None]))
        left_out = np.vstack([gaps_without, area(fractions, gaps_without)])
        *differences, between = _estimates(values, left_out)
        reaches = crossing(fractions, uars[1], uars[0, -1])
        return cls(fractions, results, tuple(differences), between, reaches)

    def summary(self) -> dict[str, Any]:
        """What the result line holds."""
        saved = None if self.reaches is None else round(1 - self.reaches / self.fractions[-1], 6)
        return {
            "fractions": list(self.fractions),
            **{arm: [one.uar.value for one in found] for arm, found in self.results.items()},
            "area": _as_json(self.area),
            "reaches": self.reaches,
            "labels_saved": saved,
        }

    def as_json(self) -> dict[str, Any]:
        """All numbers, for report.json."""
        return {
            **self.summary(),
            "differences": [_as_json(one) for one in self.differences],
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


def _uar_and_without(seeds: Sequence[Mapping[str, Record]], result: Result) -> tuple[float, Array]:
    """UAR, mean over seeds; and without each unit, `[units]`."""
    records = list(seeds[0].values())
    keyed = result.unit != "record"
    owners = [record.word(result.unit) if keyed else record.id for record in records]
    given = [[found[record.id].prediction for record in records] for found in seeds]
    counts = confusions([record.label for record in records], given, owners, result.labels)
    totals = counts.sum(axis=1)
    whole = float(np.mean([scores(total[None])[0, 0] for total in totals]))
    if counts.shape[1] < FEWEST_UNITS:
        return whole, np.zeros(0)
    left_out = [scores(total[None] - seed)[0] for total, seed in zip(totals, counts, strict=True)]
    return whole, np.mean(left_out, axis=0)


def _estimates(values: Array, without: Array) -> list[Estimate]:
    """Values with the intervals that their jackknife `[values, units]` gives."""
    units = without.shape[1]
    pseudo = units * values[:, None] - (units - 1) * without
    reaches = reach(pseudo, np.ones(units, np.int64))
    return [
        Estimate(
            round(float(value), 6),
            None if far is None else round(float(value) - far, 6),
            None if far is None else round(float(value) + far, 6),
        )
        for value, far in zip(values, reaches, strict=True)
    ]


def _as_json(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
