"""The label scorer: a model and its hypotheses, which score how much a text entails each label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lanser_cli.entailment.scorer import EMBEDDED
from lanser_cli.entailment.taxonomy import ENGLISH, Taxonomy
from lanser_cli.entailment.templates import Template
from lanser_cli.errors import UsageError

SERVED = "server"
"""The precision of a model that a server runs: that is the server's own affair."""


class Scorer(Protocol):
    """What scores pairs: `PairScorer`, `GliclassScorer`, `LlmScorer`, or a cache before one."""

    @property
    def name(self) -> str:
        """The model as the user called it."""

    @property
    def precision(self) -> str:
        """What it computes in: float32, bfloat16, int8, or `SERVED`."""

    @property
    def fingerprint(self) -> str:
        """Equal for two scorers if and only if they give the same scores."""

    def score(
        self,
        premises: Sequence[str],
        hypotheses: Sequence[str],
        wanted: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Log-odds of entailment `[premises, hypotheses]`, NaN where not `wanted` or at fault."""

    def fault(self, premise: str) -> str | None:
        """Why the last `score` has a NaN that was wanted for this premise; None: it has none."""

    def truncates(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[bool]:
        """Whether each premise is too long, so that its end is not read."""

    def knows(self, text: str) -> bool:
        """Whether the text is in a script that the model can read."""

    def tokens(self, text: str) -> list[int]:
        """What the model reads in place of the text."""


@dataclass(frozen=True)
class LabelScorer:
    """A scorer, the hypotheses for the labels of a taxonomy, and the prior to subtract.

    Attributes:
        prior: float32 `[labels]`, log-odds; None for no calibration.

    Raises:
        UsageError: the model cannot read a label's word or a template, or reads two labels alike;
            or the hypotheses are in a language that the embedded model was not trained on.
    """

    scorer: Scorer
    taxonomy: Taxonomy
    templates: tuple[Template, ...]
    prior: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.scorer.name == EMBEDDED and self.taxonomy.lang != ENGLISH:
            raise UsageError(
                f"--lang {self.taxonomy.lang}: the embedded model reads English alone: name a "
                "multilingual NLI model with --model, and leave --top-k-first out"
            )
        words = list(
            dict.fromkeys(word for one in self.templates for word in one.words(self.taxonomy))
        )
        frames = [template.frame for template in self.templates]
        unread = [text for text in [*words, *frames] if not self.scorer.knows(text)]
        if unread:
            raise UsageError(
                f"model '{self.scorer.name}' cannot read {_quoted(unread)}: it has no pieces for "
                "this script or these symbols; use words that it can read, or a --model that reads "
                "these"
            )
        for template in self.templates:
            alike: defaultdict[tuple[int, ...], dict[str, str]] = defaultdict(dict)
            for name, word in zip(self.taxonomy.labels, template.words(self.taxonomy), strict=True):
                alike[tuple(self.scorer.tokens(word))][name] = word
            for same in alike.values():
                if len(same) > 1:
                    said = list(dict.fromkeys(same.values()))
                    what = f"reads {_quoted(said)} alike"
                    if len(said) == 1:
                        what = f"is asked for {_quoted(list(same))} by one word, {_quoted(said)}"
                    raise UsageError(
                        f"model '{self.scorer.name}' {what}, so it could not tell these labels "
                        "apart: use other words for them"
                    )

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
        templates, labels = len(self.templates), len(self.taxonomy.labels)
        hypotheses = self.hypotheses
        places = {text: place for place, text in enumerate(dict.fromkeys(hypotheses))}
        columns = np.array([places[text] for text in hypotheses])  # two templates may say the same
        asked = None
        if wanted is not None:
            asked = np.zeros((len(premises), len(places)), np.bool_)
            for each in columns.reshape(templates, labels):
                asked[:, each] |= wanted
        scores = self.scorer.score(premises, list(places), asked)[:, columns]
        odds = scores.reshape(len(premises), templates, labels).mean(axis=1)
        return odds if wanted is None else np.where(wanted, odds, np.float32(-np.inf))

    def odds(self, premises: Sequence[str]) -> NDArray[np.float32]:
        """`raw` less the prior."""
        return self.less_prior(self.raw(premises))

    def less_prior(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw log-odds `[..., labels]` less the prior."""
        return raw if self.prior is None else raw - self.prior

    def with_prior(self, odds: NDArray[np.float32]) -> NDArray[np.float32]:
        """What `less_prior` makes these log-odds of."""
        return odds if self.prior is None else odds + self.prior


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)
