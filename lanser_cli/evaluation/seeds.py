"""How good the answers of a training run are: over its seeds, its folds and its speakers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.evaluation.answers import Answers
from lanser_cli.evaluation.metrics import (
    SCORES,
    Array,
    Estimate,
    Result,
    confusions,
    pseudo_values,
    reach,
    result_of,
    scores,
)
from lanser_cli.records import Record


def measure_run(
    records: Iterable[Record],
    *,
    truth: str = "label",
    answer: str = "prediction",
    by: str | None = None,
) -> Result:
    """Compare two keys over records; as `result_of_run` the `Answers` in them."""
    return result_of_run(Answers.of(records, truth=truth, answer=answer, by=by))


def result_of_run(answers: Answers) -> Result:
    """As `result_of`; besides by unit, by `test_fold`, and over seeds.

    Of several seeds every score is the mean over them. Its interval is Student's t on the jackknife
    that leaves a unit out of all seeds at once.
    """
    several = answers.by_seed()
    results = [result_of(one) for one in several]
    first, rows = results[0], _rows(several)
    if len(several) == 1:
        return replace(first, **rows)
    return replace(
        first,
        **_means(several),
        confusion=np.sum([one.confusion for one in results], axis=0).tolist(),
        recalls={name: _mean(one.recalls[name] for one in results) for name in first.labels},
        strays=dict(sorted(sum((Counter(one.strays) for one in results), Counter()).items())),
        missing=sum(one.missing for one in results),
        support=tuple(len(results) * size for size in first.support),
        seeds={
            seed: {"uar": one.uar.value, "wa": one.wa.value}
            for seed, one in zip(answers.seeds, results, strict=True)
        },
        sd=round(stdev(one.uar.value for one in results), 6),
        **rows,
    )


def mean_and_pseudo(several: Sequence[Answers]) -> tuple[Array, Array, NDArray[np.int64]]:
    """The scores, mean over seeds, `[scores]`; their pseudo-values, `[scores, kinds]`.

    Returns:
        Both, and how many units are of each kind, as from `confusions`.
    """
    counts, times = confusions(*several)
    totals = (times[:, None, None] * counts).sum(axis=1)
    values = scores(totals)
    pseudo = [
        pseudo_values(own, total, parts, times)
        for own, total, parts in zip(values.T, totals, counts, strict=True)
    ]
    return values.mean(axis=1), np.mean(pseudo, axis=0), times


def _means(several: Sequence[Answers]) -> dict[str, Any]:
    """The scores, mean over seeds, each with its interval."""
    values, pseudo, times = mean_and_pseudo(several)
    reaches = reach(pseudo, times)
    return {
        name: Estimate.of(value, far, (0.0, 1.0))
        for name, value, far in zip(SCORES, values, reaches, strict=True)
    }


def _rows(several: Sequence[Answers]) -> dict[str, Any]:
    """UAR of each unit and of each fold."""
    first = several[0]
    rows: dict[str, Any] = {}
    if first.owners is not None:
        rows["by_unit"] = uar_of_groups(several, first.owners)
    if first.folds is not None and len(set(first.folds)) > 1:
        sizes, found = Counter(first.folds), uar_of_groups(several, first.folds)
        rows["folds"] = {name: {"n": sizes[name], "uar": found[name]} for name in sorted(found)}
        rows["folds_uar"] = _mean(found.values())
    return rows


def uar_of_groups(several: Sequence[Answers], groups: list[str]) -> dict[str, float]:
    """UAR within each group, over the classes that it has; the mean over seeds."""
    counts, _ = confusions(*(replace(one, owners=groups) for one in several))
    values = np.mean([scores(seed)[0] for seed in counts], axis=0)
    return {
        name: round(float(value), 6)
        for name, value in zip(dict.fromkeys(groups), values, strict=True)
    }


def _mean(values: Iterable[float]) -> float:
    return round(fmean(values), 6)
