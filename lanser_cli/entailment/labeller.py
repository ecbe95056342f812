"""Records with `text` in, records with `emotion` out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.asr.events import parted
from lanser_cli.asr.hallucinations import is_known
from lanser_cli.choices import Calibration
from lanser_cli.entailment import context
from lanser_cli.entailment.cascade import Cascade
from lanser_cli.entailment.crosswalk import probabilities
from lanser_cli.entailment.label_scorer import SERVED, LabelScorer, Scorer
from lanser_cli.entailment.taxonomy import ENGLISH, Taxonomy
from lanser_cli.entailment.templates import DEFAULT_TEMPLATE, Template
from lanser_cli.output import warn_of
from lanser_cli.records import Outcome, Record, Reject, attempt
from lanser_cli.stage import applied

STAGE = "entail-label"
WINDOW = 256
"""Records whose pairs are sorted by length together."""


def label(
    records: Iterable[Record],
    taxonomy: Taxonomy,
    scorer: Scorer,
    *,
    templates: Sequence[Template] = (Template(DEFAULT_TEMPLATE),),
    on_reject: Callable[[Reject], None] | None = None,
) -> Iterator[Record]:
    """Add the weak label to records, in order. Rejects go to `on_reject` (default: a warning)."""
    labeller = Labeller(Cascade(LabelScorer(scorer, taxonomy, tuple(templates))))
    yield from applied(labeller, records, WINDOW, on_reject or warn_of)


class Labeller:
    """A window function: score each distinct transcript once, choose the label entailed most.

    A softmax over the taxonomy makes log-odds probabilities; a crosswalk adds them up over the
    labels of another one. Some records get `emotion: null` and the reason in
    `entailment.abstained`: those whose transcript is empty, holds no words or none that the model
    can read, or was flagged by ASR. So do those whose best label is not good enough, but they keep
    their `emotion_scores`.
    """

    def __init__(
        self,
        cascade: Cascade,
        *,
        calibrate: Calibration = "none",
        top_k: int | None = None,
        min_score: float = 0.0,
        min_margin: float = 0.0,
        keep_flagged: bool = False,
    ) -> None:
        self._cascade, self._main = cascade, cascade.main
        self._crosswalk, self._top_k = cascade.crosswalk, top_k
        self._min_score, self._min_margin = min_score, min_margin
        self._keep_flagged = keep_flagged
        taxonomy = self._crosswalk.target if self._crosswalk else self._main.taxonomy
        self._labels = taxonomy.labels
        self._about: dict[str, Any] = {
            "model": self._main.scorer.name,
            "precision": self._main.scorer.precision,
            "taxonomy": self._main.taxonomy.name,
        }
        if self._crosswalk:
            self._about["crosswalk"] = taxonomy.name
        if self._main.taxonomy.lang != ENGLISH:
            self._about["lang"] = self._main.taxonomy.lang
        self._about["templates"] = [template.text for template in self._main.templates]
        self._about["calibration"] = calibrate
        if self._main.scorer.precision == SERVED:
            self._about["server"] = self._main.scorer.fingerprint
        if cascade.small:
            self._about["candidates"] = cascade.candidates
            self._about["first_model"] = cascade.small.scorer.name

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        items = [attempt(self._premise_or_outcome, record, STAGE) for record in window]
        premises = list(dict.fromkeys(item for item in items if isinstance(item, str)))
        answers = self._answers(premises)
        return [
            self._outcome(record, item, answers) if isinstance(item, str) else item
            for record, item in zip(window, items, strict=True)
        ]

    def _outcome(
        self, record: Record, premise: str, answers: Mapping[str, dict[str, Any]]
    ) -> Outcome:
        answer = answers.get(premise)
        if answer is None:
            return Reject.of(record, STAGE, self._main.scorer.fault(premise))
        return _with_answer(record, answer)

    def _premise_or_outcome(self, record: Record) -> str | Outcome:
        """The premise to score for a record, or what becomes of the record without one."""
        if fault := fault_of(record):
            return Reject.of(record, STAGE, fault)
        if reason := reason_to_abstain(record, self._main.scorer, self._keep_flagged):
            about = {**self._about, "abstained": reason}
            nothing = dict.fromkeys(("emotion", "emotion_score", "emotion_scores"))
            return _with_answer(record, {**nothing, "entailment": about})
        return premise_of(record)

    def _answers(self, premises: Sequence[str]) -> dict[str, dict[str, Any]]:
        """For each premise that has scores, what is written into its record."""
        if not premises:
            return {}
        raw = self._cascade.raw(premises)
        self._about["precision"] = self._main.scorer.precision  # NaN may have made it float32
        scored = np.flatnonzero(~np.isnan(raw).any(axis=1))
        if not len(scored):
            return {}
        raw, premises = raw[scored], [premises[row] for row in scored.tolist()]
        chances = probabilities(self._main.less_prior(raw), self._crosswalk)
        order = np.argsort(-chances, axis=1, kind="stable")
        first, second = np.take_along_axis(chances, order[:, :2], axis=1).T
        margins = np.round(np.log(first) - np.log(np.maximum(second, 1e-300)), 4).tolist()
        before: list[int] | None = None
        if self._main.prior is not None:
            before = probabilities(raw, self._crosswalk).argmax(axis=1).tolist()
        cut = self._main.scorer.truncates(premises, self._main.hypotheses)
        rounded = np.round(chances, 6).tolist()
        answers = []
        for row, scores in enumerate(rounded):
            about = {**self._about, "margin": margins[row]}
            if before is not None:
                about["uncalibrated"] = self._labels[before[row]]
            if cut[row]:
                about["truncated"] = True
            best = int(order[row, 0])
            answer: dict[str, Any] = {
                "emotion": self._labels[best],
                "emotion_score": scores[best],
                "emotion_scores": self._kept(scores, order[row]),
                "entailment": about,
            }
            if first[row] < self._min_score:
                about["abstained"] = "low score"
            elif margins[row] < self._min_margin:
                about["abstained"] = "low margin"
            if "abstained" in about:
                answer |= {"emotion": None, "emotion_score": None}
            answers.append(answer)
        return dict(zip(premises, answers, strict=True))

    def _kept(self, scores: Sequence[float], order: NDArray[np.intp]) -> dict[str, float]:
        """The labels to write, in the taxonomy's order: the best of those that were scored."""
        most = min(self._top_k or len(scores), self._cascade.candidates or len(scores))
        return {self._labels[index]: scores[index] for index in sorted(order[:most].tolist())}


def reason_to_abstain(record: Record, scorer: Scorer, keep_flagged: bool) -> str | None:
    """Why a record gets no label, or None; the record has a text."""
    text = (record.text or "").strip()
    if not text:
        return "empty"
    if record.flags and not keep_flagged:
        return record.flags[0]
    words, _ = parted(text)
    if not any(character.isalnum() for character in words):
        return "no words"
    if not scorer.knows(words):
        return "unknown script"
    return None


def premise_of(record: Record) -> str:
    """The words of the transcript, after the context that came with it.

    Not what a recogniser wrote that nobody said, such as `[Music]` or SenseVoice's tags.
    """
    text, _ = parted((record.text or "").strip())
    said = record.said if isinstance(record, context.InContext) else ()
    return context.premise(text, said) if said else text


def fault_of(record: Record) -> str | None:
    """Why this record cannot be labelled at all."""
    if record.text is None:
        return "has no 'text': run lanser transcribe before lanser entail-label"
    try:
        record.text.encode("utf-8")
    except UnicodeEncodeError:
        return "'text' is not valid Unicode: it holds half of a surrogate pair"
    return None


def _with_answer(record: Record, answer: dict[str, Any]) -> Record:
    """The record with its answer, which says how many utterances of context came with it.

    And whether the text is one that Whisper is known to invent, if no `asr` says what it heard.
    """
    about: dict[str, Any] = {}
    if isinstance(record, context.InContext):
        about["context"] = len(record.said)
    if not record.fields.get("asr") and is_known(record.text or ""):
        about["doubt"] = "hallucination"
    if about:
        answer = {**answer, "entailment": {**answer["entailment"], **about}}
    return record.relabelled(answer)
