"""How right each voter is, learnt without gold: Dawid and Skene's model.

An utterance has one true label, and each voter says what it says by a confusion of its own,
whatever the other voters say (A. P. Dawid and A. M. Skene, "Maximum likelihood estimation of
observer error-rates using the EM algorithm", Applied Statistics 28, 1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TOLERANCE = 1e-7
"""Iterations end where the log-likelihood of an utterance rises by less."""

MOST_ITERATIONS = 1000

_LEAST = 1e-10
"""Lowest probability: what was never seen is not impossible."""


@dataclass(frozen=True, slots=True)
class DawidSkene:
    """The model as it was fitted; `K` labels, `V` voters, `P` distinct patterns of votes.

    Attributes:
        shares: of each label among the true ones, `[K]`.
        confusions: of each voter, what it says of each true label, `[V, K true, K said]`.
        posterior: probability of each label given a pattern, `[P, K]`.
        iterations: how many it took.
        converged: whether these were enough.
    """

    shares: Array
    confusions: Array
    posterior: Array
    iterations: int
    converged: bool

    @classmethod
    def fit(
        cls,
        said: NDArray[np.int64],
        counts: NDArray[np.int64],
        labels: int,
        *,
        tolerance: float = TOLERANCE,
        most: int = MOST_ITERATIONS,
    ) -> DawidSkene:
        """Find the likeliest shares and confusions by expectation maximisation.

        It begins with each pattern's shares of votes.

        Args:
            said: the label that each voter gives in each pattern, `[P, V]`; -1 for none.
            counts: how many utterances have each pattern, `[P]`.
            labels: how many labels there are.
        """
        votes = np.stack([_votes(column, labels) for column in said.T])
        weights = counts * (said >= 0).any(axis=1)
        posterior = votes.sum(axis=0)
        posterior /= np.maximum(posterior.sum(axis=1, keepdims=True), _LEAST)
        before, iterations, converged = -np.inf, 0, False
        while True:
            expected = posterior * weights[:, None]
            shares = _shares(expected.sum(axis=0))
            confusions = _shares(np.stack([expected.T @ each for each in votes]))
            joint = np.log(shares)
            for each, confusion in zip(votes, np.log(confusions), strict=True):
                joint = joint + each @ confusion.T
            best = joint.max(axis=1, keepdims=True)
            posterior = np.exp(joint - best)
            total = posterior.sum(axis=1, keepdims=True)
            posterior /= total
            likelihood = float(weights @ (best + np.log(total))[:, 0]) / max(weights.sum(), 1)
            iterations += 1
            converged = bool(likelihood - before < tolerance)
            if converged or iterations == most:
                return cls(shares, confusions, posterior, iterations, converged)
            before = likelihood


def _votes(column: NDArray[np.int64], labels: int) -> Array:
    """One voter's labels as `[P, K]` of 0 and 1."""
    return (column[:, None] == np.arange(labels)).astype(np.float64)


def _shares(counts: Array) -> Array:
    """Counts as shares of the last axis."""
    counts = np.maximum(counts, _LEAST)
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))
