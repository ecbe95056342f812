"""A cascade of label scorers: a small one chooses, the main one scores, an exact one decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lanser_cli.entailment.calibration import prior_of_exact
from lanser_cli.entailment.crosswalk import Crosswalk, probabilities
from lanser_cli.entailment.label_scorer import LabelScorer

CLOSE = 4 * 2**0.5
"""Two scores are too close to call within so many standard deviations of one's error."""

_EVERYDAY = (
    "i can't believe you did that",
    "what a lovely day this has been",
    "we'll meet at the station at nine",
    "he never even said goodbye",
    "don't touch it, it's disgusting",
    "are you sure about this",
    "that noise in the cellar again",
    "well done, all of you",
)


@dataclass(frozen=True)
class Cascade:
    """A label scorer with a smaller one before it and a more exact one behind it, both optional.

    Attributes:
        main: scores every label, or the candidates alone.
        small: chooses the candidates; None: all labels are.
        candidates: how many labels `small` chooses; of the crosswalk's, with all that lead to them.
        exact: the same model as `main` in float32, for close calls, with a prior of its own; None:
            there are none.
        tolerance: labels this close to the best, in log-odds, are close calls.
        crosswalk: from the labels that are scored to those of the answer.
    """

    main: LabelScorer
    small: LabelScorer | None = None
    candidates: int = 0
    exact: LabelScorer | None = None
    tolerance: float = 0.0
    crosswalk: Crosswalk | None = None

    def calibrated(self, prior: NDArray[np.float32] | None) -> Cascade:
        """The same with a prior of `main`; that of `exact` is the one that goes with it."""
        main, exact = replace(self.main, prior=prior), self.exact
        if exact is not None:
            own = None if prior is None else prior_of_exact(main, exact)
            exact = replace(exact, prior=own)
        return replace(self, main=main, exact=exact)

    def raw(self, premises: Sequence[str]) -> NDArray[np.float32]:
        """As `LabelScorer.raw`; -inf for labels that are no candidates."""
        wanted = None if self.small is None else self._chosen(self.small.odds(premises))
        return self.settled(premises, self.main.raw(premises, wanted))

    def settled(self, premises: Sequence[str], raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of `main`; what is too close to call has the differences that `exact` gives.

        What all labels of a premise have in common is no error that counts, so the mean of those
        that are scored again stays: else they would be measured against the others by it.
        """
        if self.exact is None:
            return raw
        chances = probabilities(self.main.less_prior(raw), self.crosswalk)
        close = chances >= chances.max(axis=1, keepdims=True) * np.exp(-self.tolerance)
        rows = np.flatnonzero(close.sum(axis=1) > 1)
        if len(rows):
            again = close if self.crosswalk is None else self.crosswalk.leading_to(close)
            again = (again & np.isfinite(raw))[rows]
            scores = self.exact.raw([premises[row] for row in rows.tolist()], again)
            rescored = self.main.with_prior(self.exact.less_prior(scores))
            apart = np.subtract(raw[rows], rescored, where=again, out=np.zeros_like(rescored))
            rescored += (apart.sum(axis=1) / again.sum(axis=1))[:, None]
            raw = raw.copy()
            raw[rows] = np.where(again, rescored, raw[rows])
        return raw

    def _chosen(self, odds: NDArray[np.float32]) -> NDArray[np.bool_]:
        chances = probabilities(odds, self.crosswalk)
        wanted = np.zeros(chances.shape, np.bool_)
        best = np.argsort(-chances, axis=1, kind="stable")[:, : self.candidates]
        np.put_along_axis(wanted, best, True, axis=1)
        return wanted if self.crosswalk is None else self.crosswalk.leading_to(wanted)


def measure_tolerance(coarse: LabelScorer, exact: LabelScorer) -> float:
    """How close two labels must be for `exact` to decide between them, in log-odds.

    It is `CLOSE` standard deviations of the error of `coarse` on everyday sentences. The part of
    an error that all labels of a sentence share does not count.
    """
    error = coarse.raw(_EVERYDAY) - exact.raw(_EVERYDAY)
    return CLOSE * float((error - error.mean(axis=1, keepdims=True)).std())
