"""Linear probes: how much of a target can be read off a frozen representation by a weighted sum.

Ridge regression on z-scored features. No speaker is on both sides of an outer fold, and none on
both sides of an inner fold, on which the penalty and the layer are chosen: what one speaker says is
alike, so that a penalty chosen on single utterances would be far too weak.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.choices import Probe
from lanser_cli.errors import LanserError

Array = NDArray[np.float64]
Index = NDArray[np.intp]

PENALTIES = np.logspace(-1, 6, 15)
"""Of the ridge, for features of standard deviation 1."""

INNER_FOLDS = 4

FEWEST = 10
"""Training utterances with a target below which it is not probed."""


@dataclass(frozen=True, slots=True)
class Split:
    """One outer fold: where to train, where to test, and the inner folds within training."""

    train: Index
    test: Index
    inner: tuple[tuple[Index, Index], ...]


@dataclass(frozen=True, slots=True)
class Answers:
    """What probes say of utterances that they were not trained on.

    Attributes:
        chosen: `[n, targets]`, each from the layer that was best on the inner folds; NaN where
            there is no target, or too little to learn from.
        by_layer: layer → the same from that layer alone.
        mean: `[n, targets]`, the mean that the training utterances have: what R2 starts from.
    """

    chosen: Array
    by_layer: dict[str, Array]
    mean: Array


def splits(speakers: Sequence[str], parts: Sequence[Index], folds: int) -> list[Split]:
    """Outer and inner folds by speaker, each within one of the `parts`.

    Args:
        parts: rows that share a representation; those of all others are never mixed with them.
        folds: outer folds in a part; fewer speakers than that make fewer folds.

    Raises:
        LanserError: a part has one speaker, or two of which one has a single utterance.
    """
    from sklearn.model_selection import GroupKFold, KFold

    who = np.asarray(speakers)
    found = []
    for rows in parts:
        distinct = len(np.unique(who[rows]))
        if distinct < 2:
            raise LanserError(
                f"probe-prosody: all utterances to probe one network on are by '{who[rows][0]}': "
                "a probe is tested on another speaker than it was trained on; give it two or more "
                "(where a run has folds: in each of them)"
            )
        outer = GroupKFold(min(folds, distinct))
        for train, test in outer.split(rows, groups=who[rows]):
            train, test = rows[train], rows[test]
            several = len(np.unique(who[train]))
            if several > 1:
                inside = GroupKFold(min(INNER_FOLDS, several)).split(train, groups=who[train])
            elif len(train) < 2:
                raise LanserError(
                    f"probe-prosody: '{who[train][0]}', one of two speakers, has one utterance: a "
                    "probe needs two to be trained on; give more of it, or more speakers"
                )
            else:  # two speakers in all: the penalty can only be chosen on one
                inside = KFold(min(INNER_FOLDS, len(train))).split(train)
            found.append(Split(train, test, tuple((train[a], train[b]) for a, b in inside)))
    return found


def answer(
    layers: Mapping[str, NDArray[Any]],
    targets: NDArray[Any],
    folds: Sequence[Split],
    *,
    probe: Probe = "ridge",
    seed: int = 0,
) -> Answers:
    """Probe every layer for every target.

    Args:
        layers: layer → `[n, d]`, finite.
        targets: `[n, targets]`; NaN where an utterance has none.
        probe: `mlp` puts a hidden layer of 64 on the layer that the ridge chose.

    Raises:
        LanserError: a feature is NaN or infinite.
    """
    y = np.asarray(targets, dtype=np.float64)
    empty = np.full(y.shape, np.nan)
    found = Answers(empty.copy(), {name: empty.copy() for name in layers}, empty.copy())
    for name, features in layers.items():
        if bad := int((~np.isfinite(features)).any(axis=1).sum()):
            raise LanserError(
                f"{bad} of {len(y)} utterances have NaN or infinite features in {name}: check the "
                "model's weights"
            )
    # Targets that the same utterances have share one decomposition of the features.
    masks, member = np.unique(np.isfinite(y), axis=1, return_inverse=True)
    for number in range(masks.shape[1]):
        columns = np.flatnonzero(member.ravel() == number)
        for split in folds:
            _answer_fold(layers, y, columns, _kept(split, masks[:, number]), found, probe, seed)
    return found


def _kept(split: Split, mask: NDArray[np.bool_]) -> Split:
    inner = tuple((a[mask[a]], b[mask[b]]) for a, b in split.inner)
    inner = tuple(pair for pair in inner if all(map(len, pair)))
    return Split(split.train[mask[split.train]], split.test[mask[split.test]], inner)


def _answer_fold(
    layers: Mapping[str, NDArray[Any]],
    y: Array,
    columns: Index,
    split: Split,
    found: Answers,
    probe: Probe,
    seed: int,
) -> None:
    if len(split.train) < FEWEST or not len(split.test) or not split.inner:
        return
    wanted = y[:, columns]
    place = np.ix_(split.test, columns)
    found.mean[place] = wanted[split.train].mean(axis=0)
    least = np.full(len(columns), np.inf)
    best = [next(iter(layers))] * len(columns)
    for name, features in layers.items():
        x = np.asarray(features, dtype=np.float64)
        errors = sum(
            ((_ridge(x[a], wanted[a], x[b]) - wanted[b]) ** 2).sum(axis=1) for a, b in split.inner
        )  # [penalties, targets]
        errors = np.asarray(errors)
        penalty = errors.argmin(axis=0)
        each = np.arange(len(columns))
        predicted = _ridge(x[split.train], wanted[split.train], x[split.test])
        found.by_layer[name][place] = predicted[penalty, :, each].T
        better = errors[penalty, each] < least
        least = np.where(better, errors[penalty, each], least)
        best = [name if now else before for now, before in zip(better, best, strict=True)]
    for name, column in zip(best, columns, strict=True):
        if probe == "mlp":
            x = np.asarray(layers[name], dtype=np.float64)
            found.chosen[split.test, column] = _mlp(x, y[:, column], split, seed)
        else:
            found.chosen[split.test, column] = found.by_layer[name][split.test, column]


def _scaled(x: Array, unseen: Array) -> tuple[Array, Array]:
    """Both z-scored by the first; what does not vary there is 0."""
    mean, spread = x.mean(axis=0), x.std(axis=0)
    flat = spread <= 1e-9 * np.maximum(1.0, np.abs(mean))
    scale = np.where(flat, np.inf, spread)
    return (x - mean) / scale, (unseen - mean) / scale


def _ridge(x: Array, y: Array, unseen: Array) -> Array:
    """Train on `[n, d]`, `[n, targets]`; predict `[penalties, m, targets]`.

    One eigendecomposition serves all penalties and targets, of the smaller of the two Gram
    matrices.
    """
    x, unseen = _scaled(x, unseen)
    mean = y.mean(axis=0)
    if x.shape[1] <= len(x):
        values, vectors = np.linalg.eigh(x.T @ x)
        left, right = unseen @ vectors, vectors.T @ (x.T @ (y - mean))
    else:
        values, vectors = np.linalg.eigh(x @ x.T)
        left, right = unseen @ (x.T @ vectors), vectors.T @ (y - mean)
    values = np.maximum(values, 0.0)
    return np.stack([left @ (right / (values + p)[:, None]) + mean for p in PENALTIES])


def _mlp(x: Array, y: Array, split: Split, seed: int) -> Array:
    """The answers of a small network: one hidden layer of 64, its decay chosen on inner folds."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    def fitted(train: Index, test: Index, decay: float) -> Array:
        inputs, unseen = _scaled(x[train], x[test])
        mean, spread = y[train].mean(), y[train].std() or 1.0
        network = MLPRegressor(
            hidden_layer_sizes=(64,), solver="lbfgs", alpha=decay, max_iter=100, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(inputs, (y[train] - mean) / spread)
        return np.asarray(network.predict(unseen) * spread + mean)

    decays = (1.0, 10.0, 100.0)
    errors = [
        sum(float(((fitted(a, b, decay) - y[b]) ** 2).sum()) for a, b in split.inner)
        for decay in decays
    ]
    return fitted(split.train, split.test, decays[int(np.argmin(errors))])
