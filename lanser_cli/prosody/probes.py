"""Linear probes: how much of a target can be read off a frozen representation by a weighted sum.

Ridge regression on z-scored features, out-of-fold R2 with no speaker on both sides of a fold. A
number means little alone: compare it with the same probe on an untrained network, on plain
log-mel statistics, and on `shuffled` features, which is what a probe of this size makes of targets
that have nothing to do with the sound. Score minus control is the selectivity of Hewitt and Liang
(2019), "Designing and Interpreting Probes with Control Tasks".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.errors import LanserError

Array = NDArray[np.float64]
Index = NDArray[np.intp]

MIN_UTTERANCES = 10
"""With fewer that have the target, there is no score."""

RESAMPLES = 1000
"""Bootstrap samples behind an interval."""


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """Out-of-fold R2 (1 perfect, 0 as good as the training mean, below 0 worse), its 95% bootstrap
    interval `low`..`high`, and the number of utterances `n` that had the target. NaN where there
    is nothing to score: too few utterances, or all of the same value."""

    r2: float
    low: float
    high: float
    n: int


def probe(
    features: NDArray[Any],
    targets: Mapping[str, NDArray[Any]],
    groups: Sequence[str] | None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> dict[str, ProbeScore]:
    """Fit one linear probe per target and score each on speakers it has not seen.

    R2 is 1 - sum (y - prediction)^2 / sum (y - mean of the training folds)^2 over all utterances.
    The ridge penalty is chosen inside the training folds by leave-one-out. The interval
    resamples speakers where there are several, else utterances: what one speaker says does not
    vary freely. With a handful of speakers it is rough.

    Args:
        features: `[n, d]`, finite; computed on in float64.
        targets: name → `[n]`; utterances where a target is NaN are left out for that target.
        groups: `[n]` speakers, or None if unknown. `protocol` says what comes of them.
        folds: at least 2; fewer speakers than that make fewer folds.
        seed: of the shuffling of folds (one speaker only) and of the bootstrap.

    Raises:
        LanserError: a feature is NaN or infinite.
        ValueError: lengths that do not match, or fewer than two folds.
    """
    x = np.asarray(features, dtype=np.float64)
    ys = {name: np.asarray(target, dtype=np.float64) for name, target in targets.items()}
    speakers = np.asarray(["" for _ in x] if groups is None else list(groups))
    _check(x, ys, speakers, folds)
    scores: dict[str, ProbeScore] = {}
    # Targets that the same utterances have share one decomposition of the features.
    by_mask: dict[bytes, list[str]] = {}
    for name, y in ys.items():
        by_mask.setdefault(np.isfinite(y).tobytes(), []).append(name)
    for mask, names in by_mask.items():
        keep = np.frombuffer(mask, dtype=bool)
        y = np.stack([ys[name][keep] for name in names], axis=1)
        scored = _score(x[keep], y, speakers[keep], folds, seed)
        scores.update(zip(names, scored, strict=True))
    return {name: scores[name] for name in ys}


def compare(
    representations: Mapping[str, NDArray[Any]],
    targets: Mapping[str, NDArray[Any]],
    groups: Sequence[str] | None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> dict[str, dict[str, ProbeScore]]:
    """`probe` every representation `[n, d]` of the same utterances: same folds, same resamples."""
    return {
        name: probe(features, targets, groups, folds=folds, seed=seed)
        for name, features in representations.items()
    }


def shuffled(features: NDArray[Any], seed: int = 0) -> NDArray[Any]:
    """The control: the rows of `features` dealt out to other utterances.

    To the probe this is the same as shuffled targets, but targets and speakers stay where they
    are, so that the folds and what the training mean predicts are those of the real probe.
    """
    return features[np.random.default_rng(seed).permutation(len(features))]


def protocol(groups: Sequence[str] | None, folds: int = 5) -> str:
    """How `probe` splits these utterances, in words, for the report."""
    speakers = len(set(groups or ()))
    if speakers > 1:
        return f"{min(folds, speakers)} folds, no speaker in two of them"
    who = "one speaker only" if speakers else "speakers unknown"
    return f"{folds} shuffled folds ({who}: a speaker may be in training and test)"


def _check(x: Array, ys: Mapping[str, Array], speakers: NDArray[Any], folds: int) -> None:
    if folds < 2:
        raise ValueError(f"folds: {folds} is not 2 or more")
    if x.ndim != 2 or len(speakers) != len(x):
        raise ValueError(f"features of shape {x.shape} for {len(speakers)} speakers")
    for name, y in ys.items():
        if y.shape != (len(x),):
            raise ValueError(f"target '{name}' of shape {y.shape} for {len(x)} utterances")
    bad = int((~np.isfinite(x)).any(axis=1).sum())
    if bad:
        raise LanserError(
            f"{bad} of {len(x)} utterances have NaN or infinite features: check the model's weights"
        )


def _score(x: Array, y: Array, speakers: NDArray[Any], folds: int, seed: int) -> list[ProbeScore]:
    """Scores of the targets `y` `[n, targets]`, none of them NaN."""
    count, wanted = y.shape
    nothing = ProbeScore(float("nan"), float("nan"), float("nan"), count)
    if count < MIN_UTTERANCES:
        return [nothing] * wanted
    error, spread = np.empty_like(y), np.empty_like(y)
    for train, test in _splits(speakers, folds, seed):
        mean = y[train].mean(axis=0)
        error[test] = (y[test] - _predict(x[train], y[train], x[test])) ** 2
        spread[test] = (y[test] - mean) ** 2
    _, unit = np.unique(speakers, return_inverse=True)
    if unit.max() == 0:
        unit = np.arange(count)
    lows, highs = _interval(error, spread, unit, seed)
    varies = np.ptp(y, axis=0) > 0
    return [
        ProbeScore(
            1.0 - float(error[:, k].sum() / spread[:, k].sum()),
            float(lows[k]),
            float(highs[k]),
            count,
        )
        if varies[k]
        else nothing
        for k in range(wanted)
    ]


def _splits(speakers: NDArray[Any], folds: int, seed: int) -> Iterator[tuple[Index, Index]]:
    """Indices for training and test: speakers apart where there are two or more."""
    from sklearn.model_selection import GroupKFold, KFold

    distinct = len(np.unique(speakers))
    if distinct > 1:
        yield from GroupKFold(min(folds, distinct)).split(speakers, groups=speakers)
    else:
        splitter = KFold(min(folds, len(speakers)), shuffle=True, random_state=seed)
        yield from splitter.split(speakers)


def _predict(x: Array, y: Array, unseen: Array) -> Array:
    """Train on `[n, d]`, `[n, targets]`; predict `[m, targets]`. A penalty for each target."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ridge = RidgeCV(alphas=np.logspace(-2, 6, 17), alpha_per_target=True)
    model = make_pipeline(StandardScaler(), ridge).fit(x, y)
    return np.asarray(model.predict(unseen)).reshape(len(unseen), -1)


def _interval(error: Array, spread: Array, unit: Index, seed: int) -> tuple[Array, Array]:
    """95% percentile bootstrap of R2 per target, drawing `unit`s (speakers or utterances) anew."""
    units = int(unit.max()) + 1
    sums = np.zeros((2, units, error.shape[1]))
    np.add.at(sums[0], unit, error)
    np.add.at(sums[1], unit, spread)
    # How often each unit is drawn; same seed, same draws for every representation compared.
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=RESAMPLES).astype(np.float64)
    r2 = 1.0 - drawn @ sums[0] / np.maximum(drawn @ sums[1], np.finfo(float).tiny)
    low, high = np.percentile(r2, [2.5, 97.5], axis=0)
    return low, high
