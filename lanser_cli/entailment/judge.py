"""The judge: a model with its hypotheses, that says how much each text entails each label.

A panel is a judge and those beside it: one that chooses the candidates, one for close calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lanser_cli.entailment.taxonomy import Taxonomy
from lanser_cli.entailment.templates import Template

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Scorer(Protocol):
    """What scores pairs: `PairScorer`, or a cache in front of one."""

    @property
    def name(self) -> str:
        """The model as the user called it."""

    @property
    def precision(self) -> str:
        """What it computes in: float32, bfloat16 or int8."""

    @property
    def fingerprint(self) -> str:
        """Equal for two scorers if and only if they give the same scores."""

    def score(
        self,
        premises: Sequence[str],
        hypotheses: Sequence[str],
        wanted: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Log-odds of entailment `[premises, hypotheses]`, NaN where not `wanted`."""

    def truncates(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[bool]:
        """Whether each premise is too long, so that its end is not read."""

    def knows(self, text: str) -> bool:
        """Whether the text is in a script that the model can read."""


@dataclass(frozen=True)
class Judge:
    """A scorer, the hypotheses for the labels of a taxonomy, and what is subtracted as prior.

    Attributes:
        prior: float32 `[labels]`, log-odds; None for no calibration.
    """

    scorer: Scorer
    taxonomy: Taxonomy
    templates: tuple[Template, ...]
    prior: NDArray[np.float32] | None = None

    @property
    def hypotheses(self) -> list[str]:
        """Template by template, the labels of the taxonomy in order."""
        return [text for template in self.templates for text in template.hypotheses(self.taxonomy)]

    def raw(
        self, premises: Sequence[str], wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Log-odds of entailment, averaged over the templates: float32 `[premises, labels]`.

        Where `wanted` `[premises, labels]` is false, nothing is scored and the entry is -inf.
        """
        import numpy as np

        templates, labels = len(self.templates), len(self.taxonomy.labels)
        spread = None if wanted is None else np.tile(wanted, (1, templates))
        scores = self.scorer.score(premises, self.hypotheses, spread)
        odds = scores.reshape(len(premises), templates, labels).mean(axis=1)
        return odds if wanted is None else np.where(wanted, odds, np.float32(-np.inf))

    def odds(
        self, premises: Sequence[str], wanted: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """The same, less the prior."""
        raw = self.raw(premises, wanted)
        return raw if self.prior is None else raw - self.prior


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
class Panel:
    """A judge; with a pruner it is asked about the pruner's `candidates` best labels only; with a
    referee, the same model in float32, labels within `tolerance` of the best are scored by that.
    """

    judge: Judge
    pruner: Judge | None = None
    candidates: int = 0
    referee: Judge | None = None
    tolerance: float = 0.0

    def raw(self, premises: Sequence[str]) -> NDArray[np.float32]:
        """As `Judge.raw`; -inf for labels that were pruned."""
        import numpy as np

        wanted = None if self.pruner is None else self._chosen(self.pruner.odds(premises))
        raw = self.judge.raw(premises, wanted)
        if self.referee is None:
            return raw
        odds = raw if self.judge.prior is None else raw - self.judge.prior
        close = odds >= odds.max(axis=1, keepdims=True) - self.tolerance
        rows = np.flatnonzero(close.sum(axis=1) > 1)
        if len(rows):
            exact = self.referee.raw([premises[row] for row in rows.tolist()], close[rows])
            raw[rows] = np.where(close[rows], exact, raw[rows])
        return raw

    def _chosen(self, odds: NDArray[np.float32]) -> NDArray[np.bool_]:
        import numpy as np

        wanted = np.zeros(odds.shape, np.bool_)
        best = np.argsort(-odds, axis=1, kind="stable")[:, : self.candidates]
        np.put_along_axis(wanted, best, True, axis=1)
        return wanted


def tolerance(judge: Judge, referee: Judge) -> float:
    """How close two labels of `judge` must be for `referee` to decide, in log-odds.

    `CLOSE` standard deviations of what the judge's scores of everyday sentences are off by, an
    error that all labels of a sentence share left out.
    """
    off = judge.raw(_EVERYDAY) - referee.raw(_EVERYDAY)
    return CLOSE * float((off - off.mean(axis=1, keepdims=True)).std())
