"""How right each voter is, learnt without gold: Dawid and Skene's model.

An utterance has one true label, and each voter says what it says by a confusion of its own,
whatever the other voters say (A. P. Dawid and A. M. Skene, "Maximum likelihood estimation of
observer error-rates using the EM algorithm", Applied Statistics 28, 1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Array = NDArray[np.float64]

TOLERANCE = 1e-7
"""Iterations end where the log-likelihood of an utterance rises by less."""

MOST_ITERATIONS = 1000

_LEAST = 1e-10
"""Lowest probability: what was never seen is not impossible."""

_AT_ONCE = 1 << 14
"""Patterns in memory at once, but for their votes and their posterior."""


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
        voters = said.shape[1]
        parts = [slice(first, first + _AT_ONCE) for first in range(0, len(said), _AT_ONCE)]
        votes = [_votes(said[part], labels) for part in parts]
        weights = counts * (said >= 0).any(axis=1)
        posterior = np.empty((len(said), labels))
        for part, each in zip(parts, votes, strict=True):
            posterior[part] = each @ np.tile(np.eye(labels), (voters, 1))
        posterior /= np.maximum(posterior.sum(axis=1, keepdims=True), _LEAST)
        before, iterations, converged = -np.inf, 0, False
        while True:
            true, confused = np.zeros(labels), np.zeros((voters * labels, labels))
            for part, each in zip(parts, votes, strict=True):
                expected = posterior[part] * weights[part, None]
                true += expected.sum(axis=0)
                confused += each.T @ expected
            shares = _shares(true)
            confusions = _shares(confused.reshape(voters, labels, labels).swapaxes(1, 2))
            likely = np.log(confusions).swapaxes(1, 2).reshape(confused.shape)
            likelihood = 0.0
            for part, each in zip(parts, votes, strict=True):
                joint = np.log(shares) + each @ likely
                best = joint.max(axis=1, keepdims=True)
                chances = np.exp(joint - best)
                total = chances.sum(axis=1, keepdims=True)
                posterior[part] = chances / total
                likelihood += float(weights[part] @ (best + np.log(total))[:, 0])
            likelihood /= max(weights.sum(), 1)
            iterations += 1
            converged = bool(likelihood - before < tolerance)
            if converged or iterations == most:
                return cls(shares, confusions, posterior, iterations, converged)
            before = likelihood


def _votes(said: NDArray[np.int64], labels: int) -> csr_array:
    """Which label each voter gives, as 0 and 1, sparse `[P, V * K]`."""
    given = said >= 0
    columns = (said + labels * np.arange(said.shape[1]))[given]
    ends = np.concatenate([[0], given.sum(axis=1).cumsum()])
    shape = (len(said), labels * said.shape[1])
    return csr_array((np.ones(len(columns)), columns, ends), shape=shape)


def _shares(counts: Array) -> Array:
    """Counts as shares of the last axis."""
    counts = np.maximum(counts, _LEAST)
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))
