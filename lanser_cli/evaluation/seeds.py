"""How good the answers of a training run are: over its seeds, its folds and its speakers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lanser_cli.errors import LanserError
from lanser_cli.evaluation.metrics import FEWEST_UNITS, Estimate, Result, measure, reach, scores
from lanser_cli.records import Record

Counts: TypeAlias = NDArray[np.int64]
"""Confusions of groups of records, of each seed: `[seeds, groups, labels, labels + 1]`."""


def measure_run(
    records: Iterable[Record],
    *,
    truth: str = "label",
    answer: str = "prediction",
    by: str | None = None,
) -> Result:
    """As `measure`; besides by speaker, by `test_fold`, and over seeds.

    Of records with `predictions`, an answer for each seed, every score is the mean over the seeds.
    Its interval is Student's t on the jackknife that leaves a speaker out of all seeds at once.

    Raises:
        LanserError: as in `measure`, or a record lacks the answer of a seed.
        UsageError: as in `measure`.
    """
    judged = [record for record in records if record.fields.get(truth) is not None]
    seeds = _seeds(judged) if answer == "prediction" else ()
    if not seeds:
        result = measure(judged, truth=truth, answer=answer, by=by)
        return replace(result, **_rows(judged, result, truth, [_words(judged, answer)]))
    given = [_answers(judged, seed) for seed in seeds]
    results = [
        measure(
            [
                record.with_fields(prediction=one)
                for record, one in zip(judged, answers, strict=True)
            ],
            truth=truth,
            by=by,
        )
        for answers in given
    ]
    first = results[0]
    rows = _rows(judged, first, truth, given)
    means = _means(judged, first, truth, given)
    return replace(
        first,
        **means,
        confusion=np.sum([one.confusion for one in results], axis=0).tolist(),
        recalls={name: _mean(one.recalls[name] for one in results) for name in first.labels},
        strays=dict(sorted(sum((Counter(one.strays) for one in results), Counter()).items())),
        missing=sum(one.missing for one in results),
        seeds={
            seed: {"uar": one.uar.value, "wa": one.wa.value}
            for seed, one in zip(seeds, results, strict=True)
        },
        sd=round(stdev(one.uar.value for one in results), 6),
        **rows,
    )


def _seeds(records: Sequence[Record]) -> tuple[str, ...]:
    """The seeds that answered, if the records are of several."""
    found: list[Any] = [record.fields.get("predictions") for record in records]
    if not all(isinstance(one, dict) and len(one) > 1 for one in found):
        return ()
    return tuple(found[0]) if found else ()


def _answers(records: Sequence[Record], seed: str) -> list[str | None]:
    answers = []
    for record in records:
        if seed not in record.fields["predictions"]:
            raise LanserError(f"'{record.id}' has no answer of seed {seed} in its 'predictions'")
        answers.append(record.fields["predictions"][seed])
    return answers


def _words(records: Sequence[Record], key: str) -> list[str | None]:
    return [record.word(key) for record in records]


def _mean(values: Iterable[float]) -> float:
    return round(fmean(values), 6)


def _means(
    records: Sequence[Record],
    result: Result,
    truth: str,
    given: Sequence[Sequence[str | None]],
) -> dict[str, Any]:
    """The scores, mean over seeds, each with its interval."""
    owners = _words(records, result.unit)
    if result.unit == "record":
        owners = [record.id for record in records]
    counts = confusions(_words(records, truth), given, owners, result.labels)
    values = np.mean([scores(seed.sum(axis=0)[None])[:, 0] for seed in counts], axis=0)
    units = counts.shape[1]
    reaches: list[float | None] = [None] * len(values)
    if units >= FEWEST_UNITS:
        without = np.mean([scores(seed.sum(axis=0)[None] - seed) for seed in counts], axis=0)
        pseudo = units * values[:, None] - (units - 1) * without
        reaches = reach(pseudo, np.ones(units, np.int64))
    return {
        name: Estimate(
            round(float(value), 6),
            None if far is None else round(max(float(value) - far, 0.0), 6),
            None if far is None else round(min(float(value) + far, 1.0), 6),
        )
        for name, value, far in zip(
            ("uar", "wa", "macro_f1", "weighted_f1"), values, reaches, strict=True
        )
    }


def _rows(
    records: Sequence[Record], result: Result, truth: str, given: Sequence[Sequence[str | None]]
) -> dict[str, Any]:
    """UAR of each unit and of each fold."""
    truths = _words(records, truth)
    rows: dict[str, Any] = {}
    if result.unit != "record":
        rows["by_unit"] = uar_of_groups(truths, given, _words(records, result.unit), result.labels)
    folds = _words(records, "test_fold")
    if None not in folds and len(set(folds)) > 1:
        sizes = Counter(folds)
        found = uar_of_groups(truths, given, folds, result.labels)
        rows["folds"] = {name: {"n": sizes[name], "uar": found[name]} for name in sorted(found)}
        rows["folds_uar"] = _mean(found.values())
    return rows


def uar_of_groups(
    truths: Sequence[str | None],
    given: Sequence[Sequence[str | None]],
    groups: Sequence[str | None],
    labels: Sequence[str],
) -> dict[str, float]:
    """UAR within each group, over the classes that it has; the mean over seeds."""
    counts = confusions(truths, given, groups, labels)
    values = np.mean([scores(seed)[0] for seed in counts], axis=0)
    return {
        str(name): round(float(value), 6)
        for name, value in zip(dict.fromkeys(groups), values, strict=True)
    }


def confusions(
    truths: Sequence[str | None],
    given: Sequence[Sequence[str | None]],
    groups: Sequence[str | None],
    labels: Sequence[str],
) -> Counts:
    """Confusions within each group, in the order of their first records; see `Counts`.

    The last column is for every answer that is none of the labels.
    """
    place: Mapping[str | None, int] = {label: number for number, label in enumerate(labels)}
    number = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    rows = np.array([number[group] for group in groups])
    true = np.array([place[one] for one in truths])
    counts = np.zeros((len(given), len(number), len(labels), len(labels) + 1), np.int64)
    for seed, answers in zip(counts, given, strict=True):
        columns = np.array([place.get(one, len(labels)) for one in answers])
        np.add.at(seed, (rows, true, columns), 1)
    return counts
