"""Records with `text` in, records with `emotion` out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lanser_cli.entailment.scorer import EMBEDDED, PairScorer
from lanser_cli.entailment.taxonomy import Taxonomy
from lanser_cli.entailment.templates import DEFAULT_TEMPLATE, Template
from lanser_cli.pipe import WindowFunction
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.streams import warn_of, windows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STAGE = "entail-label"
WINDOW = 64
"""Records whose pairs are sorted by length together."""


def make_labeller(
    device: str,
    *,
    taxonomy: Taxonomy,
    templates: Sequence[Template] = (Template(DEFAULT_TEMPLATE),),
    model: str = EMBEDDED,
    entailment_label: str | None = None,
    top_k: int | None = None,
    keep_flagged: bool = False,
) -> WindowFunction:
    """Load the NLI model on `device` and return the function that labels a window of records.

    Raises:
        UsageError, LanserError: as `PairScorer`.
    """
    scorer = PairScorer(model, device=device, entailment_label=entailment_label)
    return Labeller(scorer, taxonomy, templates, top_k=top_k, keep_flagged=keep_flagged)


def label(
    records: Iterable[Record],
    taxonomy: Taxonomy,
    scorer: PairScorer,
    *,
    templates: Sequence[Template] = (Template(DEFAULT_TEMPLATE),),
    on_reject: Callable[[Reject], None] | None = None,
) -> Iterator[Record]:
    """Add the weak label to records, in order. Rejects go to `on_reject` (default: a warning)."""
    labeller = Labeller(scorer, taxonomy, templates)
    for window in windows(records, WINDOW):
        for outcome in labeller(window):
            if isinstance(outcome, Record):
                yield outcome
            elif isinstance(outcome, Reject):
                (on_reject or warn_of)(outcome)


class Labeller:
    """A window function: score each distinct transcript once, choose the label entailed most.

    Scores of several templates are averaged in log-odds; a softmax over the taxonomy makes them
    probabilities. A transcript that is empty, or that ASR flagged, gets `emotion: null` and the
    reason in `entailment.abstained`, unless `keep_flagged`.
    """

    def __init__(
        self,
        scorer: PairScorer,
        taxonomy: Taxonomy,
        templates: Sequence[Template],
        *,
        top_k: int | None = None,
        keep_flagged: bool = False,
    ) -> None:
        self._scorer, self._taxonomy, self._top_k = scorer, taxonomy, top_k
        self._keep_flagged = keep_flagged
        self._hypotheses = [
            hypothesis for template in templates for hypothesis in template.hypotheses(taxonomy)
        ]
        self._about = {
            "model": scorer.name,
            "taxonomy": taxonomy.name,
            "templates": [template.text for template in templates],
            "calibration": "none",
        }

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        premises = {
            (record.text or "").strip(): None
            for record in window
            if _fault(record) is None and self._reason_to_abstain(record) is None
        }
        odds = self.log_odds(list(premises))
        by_premise = dict(zip(premises, odds, strict=True))
        outcomes: list[Outcome] = []
        for record in window:
            if why := _fault(record):
                outcomes.append(Reject.of(record, STAGE, why))
            elif reason := self._reason_to_abstain(record):
                about = {**self._about, "abstained": reason}
                outcomes.append(
                    record.with_fields(
                        emotion=None, emotion_score=None, emotion_scores=None, entailment=about
                    )
                )
            else:
                outcomes.append(self._labelled(record, by_premise[(record.text or "").strip()]))
        return outcomes

    def log_odds(self, premises: Sequence[str]) -> NDArray[np.float32]:
        """Log-odds of entailment, averaged over the templates: float32 `[premises, labels]`."""
        scores = self._scorer.score(premises, self._hypotheses)
        labels = len(self._taxonomy.labels)
        by_template = scores.reshape(len(premises), len(self._hypotheses) // labels, labels)
        return by_template.mean(axis=1)

    def _labelled(self, record: Record, odds: NDArray[np.float32]) -> Record:
        import numpy as np

        weights = np.exp(odds.astype(np.float64) - odds.max())
        probabilities = weights / weights.sum()
        order = np.argsort(-probabilities, kind="stable")
        kept = order if self._top_k is None else order[: self._top_k]
        scores = {
            self._taxonomy.labels[index]: round(float(probabilities[index]), 6)
            for index in sorted(kept)
        }
        best, second = order[:2]
        about: dict[str, Any] = {
            **self._about,
            "margin": round(float(odds[best] - odds[second]), 4),
        }
        return record.with_fields(
            emotion=self._taxonomy.labels[best],
            emotion_score=round(float(probabilities[best]), 6),
            emotion_scores=scores,
            entailment=about,
        )

    def _reason_to_abstain(self, record: Record) -> str | None:
        if not (record.text or "").strip():
            return "empty"
        flags = (record.fields.get("asr") or {}).get("flags") or []
        if flags and not self._keep_flagged:
            return str(flags[0])
        return None


def _fault(record: Record) -> str | None:
    """Why this record cannot be labelled at all."""
    if record.text is None:
        return "has no 'text': run lanser transcribe before lanser entail-label"
    try:
        record.text.encode("utf-8")
    except UnicodeEncodeError:
        return "'text' is not valid Unicode: it holds half of a surrogate pair"
    return None
