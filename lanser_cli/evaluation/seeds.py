"""How good the answers of a training run are: over its seeds, its folds and its speakers."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.errors import LanserError
from lanser_cli.evaluation.answers import Answers, read_answers
from lanser_cli.evaluation.difference import matched
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
from lanser_cli.origin import difference
from lanser_cli.records import Record
from lanser_cli.tally import Ledger
from lanser_cli.training.identity import SIDES
from lanser_cli.training.runs import read_config


def runs_of(folder: str) -> dict[str, str]:
    """The runs `seed-N` in a folder, by N and in its order; none where it is a run itself."""
    if os.path.exists(os.path.join(folder, "config.json")):
        return {}
    found = (re.fullmatch(r"seed-(\d+)", run.name) for run in Path(folder).glob("seed-*"))
    seeds = sorted((seed[1] for seed in found if seed), key=int)
    return {seed: os.path.join(folder, f"seed-{seed}") for seed in seeds}


def read_run(name: str, ledger: Ledger, *, truth: str, answer: str, by: str | None) -> Answers:
    """As `read_answers`; runs `seed-N` in one folder are read as the seeds of one run.

    Raises:
        LanserError: these are not of the same records, one of them has several seeds itself, or
            they differ in more than the seed.
    """
    runs = runs_of(name)
    if not runs:
        return read_answers(name, ledger, truth=truth, answer=answer, by=by)
    several = {
        run: read_answers(run, ledger, truth=truth, answer=answer, by=by) for run in runs.values()
    }
    for run, one in several.items():
        if one.seeds:
            raise LanserError(f"{run}: has several seeds itself: name it alone")
    _check_one_run(list(several))
    first, reference = next(iter(several.items()))
    given = (matched((first, run), reference, one).given for run, one in several.items())
    seeds, heard = dict(zip(runs, given, strict=True)), max(one.heard for one in several.values())
    return replace(reference, seeds=seeds, heard=heard)


_FREE = {"--seed", "--seed of folds", "--subset-seed", SIDES, "number of ranks"}
"""In what seeds of one run may differ: what a seed draws, and ranks, which is rounding."""


def _check_one_run(folders: Sequence[str]) -> None:
    """Refuse to take runs for seeds of one that were made otherwise, by what both say of that."""
    made: dict[str, dict[str, str]] = {}
    for folder in folders:
        there = os.path.exists(os.path.join(folder, "config.json"))
        made[folder] = (there and read_config(Path(folder)).get("identity")) or {}
    (first, reference), *others = made.items()
    for folder, one in others:
        both = (reference.keys() & one.keys()) - _FREE
        pair = ({name: of[name] for name in sorted(both)} for of in (reference, one))
        if differs := difference(*pair):
            raise LanserError(
                f"{first} and {folder} are no seeds of one run: they were made with {differs}"
            )


def measure_run(records: Iterable[Record], *, by: str | None = None) -> Result:
    """As `result_of_run`, of the answers in records."""
    return result_of_run(Answers.of(records, by=by))


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
        names = sorted(found, key=lambda name: (int(name) if name.isdecimal() else inf, name))
        rows["folds"] = {name: {"n": sizes[name], "uar": found[name]} for name in names}
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
