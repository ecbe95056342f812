"""How good the answers of a probe are: R2, R2 within speakers, rank correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lanser_cli.prosody.probes import Answers

Array = NDArray[np.float64]

WORST = -1.0
"""R2 is clipped here: how much worse than the mean an answer is tells nothing."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How good answers are, target by target.

    Attributes:
        n: `[targets]`, utterances that have the target and an answer.
        r2: `[targets]`, 1 - sum (y - answer)^2 / sum (y - mean of the training speakers)^2.
        within: `[targets]`, R2 once each speaker's mean is taken off truth and answers: what is
            known of how someone speaks, and not of who speaks.
        spearman: `[targets]`, rank correlation of truth and answers.
        by_speaker: `[2, speakers, targets]`, R2 and R2 within, of each speaker alone.

    All clipped at `WORST`, and NaN where there is nothing to score.
    """

    n: NDArray[np.int64]
    r2: Array
    within: Array
    spearman: Array
    by_speaker: Array


def score(answers: Answers, targets: Array, speakers: Sequence[str]) -> Scores:
    """Score the chosen answers; each speaker's own utterances are in order of first mention."""
    return _score(answers.chosen, answers.mean, targets, _places(speakers))


def r2_by_layer(answers: Answers, targets: Array) -> dict[str, Array]:
    """R2 of each layer alone: layer → `[targets]`."""
    everyone = np.zeros(len(targets), dtype=np.intp)
    return {
        name: _score(predicted, answers.mean, targets, everyone).r2
        for name, predicted in answers.by_layer.items()
    }


def average(scores: Sequence[Scores]) -> Scores:
    """The mean over runs of one thing that differ in their seed."""

    def mean(values: Sequence[Array]) -> Array:
        return np.asarray(np.mean(np.stack(values), axis=0))

    return Scores(
        scores[0].n,
        mean([one.r2 for one in scores]),
        mean([one.within for one in scores]),
        mean([one.spearman for one in scores]),
        mean([one.by_speaker for one in scores]),
    )


def median(values: Array) -> float:
    """Over targets, of those that have a score; NaN if none has."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _places(speakers: Sequence[str]) -> NDArray[np.intp]:
    order = {name: place for place, name in enumerate(dict.fromkeys(speakers))}
    return np.array([order[name] for name in speakers], dtype=np.intp)


def _score(predicted: Array, mean: Array, y: Array, who: NDArray[np.intp]) -> Scores:
    from scipy.stats import spearmanr

    there = np.isfinite(predicted) & np.isfinite(y)
    width, count = y.shape[1], int(who.max()) + 1
    sums = np.zeros((4, count, width))  # errors and spreads, of all and of what is within
    ranks = np.full(width, np.nan)
    for k in range(width):
        rows = np.flatnonzero(there[:, k])
        truth, answer, start = y[rows, k], predicted[rows, k], mean[rows, k]
        own = who[rows]
        size = np.maximum(np.bincount(own, minlength=count), 1)
        inside = [value - (np.bincount(own, value, count) / size)[own] for value in (truth, answer)]
        for place, value in enumerate(
            (truth - answer, truth - start, inside[0] - inside[1], inside[0])
        ):
            sums[place, :, k] = np.bincount(own, value**2, count)
        if len(rows) > 1 and np.ptp(truth) > 0:
            # An answer that is the same for all orders nothing.
            ranks[k] = spearmanr(truth, answer).statistic if np.ptp(answer) > 1e-12 else 0.0
    total = sums.sum(axis=1)
    return Scores(
        there.sum(axis=0),
        _r2(total[0], total[1]),
        _r2(total[2], total[3]),
        ranks,
        np.stack([_r2(sums[0], sums[1]), _r2(sums[2], sums[3])]),
    )


def _r2(error: Array, spread: Array) -> Array:
    known = spread > 1e-12
    ratio = np.divide(error, spread, out=np.full(error.shape, np.nan), where=known)
    return np.asarray(np.maximum(1 - ratio, WORST))
