"""Records with `text` in, records with `emotion` out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanser_cli import console
from lanser_cli.entailment import calibration, context
from lanser_cli.entailment.cache import CachedScorer
from lanser_cli.entailment.crosswalk import Crosswalk
from lanser_cli.entailment.judge import Judge, Panel, Scorer, tolerance
from lanser_cli.entailment.scorer import EMBEDDED, PairScorer
from lanser_cli.entailment.taxonomy import Taxonomy
from lanser_cli.entailment.templates import DEFAULT_TEMPLATE, Template
from lanser_cli.errors import UsageError
from lanser_cli.output import warn_of
from lanser_cli.pipe import Process, WindowFunction, watching, windows
from lanser_cli.records import Outcome, Record, Reject

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STAGE = "entail-label"
WINDOW = 256
"""Records whose pairs are sorted by length together."""


@dataclass(frozen=True)
class Settings:
    """What `entail-label` can be told, checked before a model is loaded.

    Attributes:
        model: embedded, hub id or folder; `precision` and `entailment_label` as `PairScorer`.
        calibrate: none, null or batch; the last needs `prior`.
        top_k_first: let the embedded model choose so many candidates, and score only those.
        top_k: how many labels to keep in `emotion_scores`.
        min_score, min_margin: abstain where the best label's probability, or its log-odds over
            the second, is lower.
        keep_flagged: label transcripts that ASR flagged, too.
        cache: folder to keep scores in, of at most `cache_limit` GB.

    Raises:
        UsageError: a combination that makes no sense.
    """

    taxonomy: Taxonomy
    templates: tuple[Template, ...] = (Template(DEFAULT_TEMPLATE),)
    crosswalk: Crosswalk | None = None
    model: str = EMBEDDED
    precision: str = "auto"
    entailment_label: str | None = None
    calibrate: str = "none"
    prior: calibration.Prior | None = None
    top_k_first: int | None = None
    top_k: int | None = None
    min_score: float = 0.0
    min_margin: float = 0.0
    keep_flagged: bool = False
    cache: Path | None = None
    cache_limit: float = 10.0

    def __post_init__(self) -> None:
        if self.top_k_first is not None and self.model == EMBEDDED:
            raise UsageError(
                "--top-k-first lets the embedded model choose the candidates of a larger one: "
                "name that with --model"
            )


def make_judge(
    model: str, settings: Settings, device: str, *, precision: str | None = None
) -> Judge:
    """Load a model on `device`, in front of it the cache if there is one.

    Raises:
        UsageError, LanserError: as `PairScorer`, `CachedScorer`.
    """
    scorer: Scorer = PairScorer(
        model,
        device=device,
        precision=precision or settings.precision,
        entailment_label=settings.entailment_label if model == settings.model else None,
    )
    if settings.cache is not None:
        scorer = CachedScorer(scorer, settings.cache, settings.cache_limit)
    return Judge(scorer, settings.taxonomy, settings.templates)


def make_panel(device: str, settings: Settings) -> Panel:
    """Load what is asked for: the model, its referee unless it computes in float32, the pruner.

    Raises:
        UsageError, LanserError: as `make_judge`; or the prior is of another model.
    """
    judge, referee, close = make_judge(settings.model, settings, device), None, 0.0
    if judge.scorer.precision != "float32":
        referee = make_judge(settings.model, settings, device, precision="float32")
        close = tolerance(judge, referee)
    pruner = None
    if settings.top_k_first is not None:
        pruner = _calibrated(make_judge(EMBEDDED, settings, device), settings)
    return Panel(_calibrated(judge, settings), pruner, settings.top_k_first or 0, referee, close)


def make_labeller(device: str, settings: Settings) -> WindowFunction:
    """Load what is needed on `device` and return the function that labels a window of records.

    Raises:
        UsageError, LanserError: as `make_panel`.
    """
    return Labeller(
        make_panel(device, settings),
        calibrate=settings.calibrate,
        crosswalk=settings.crosswalk,
        top_k=settings.top_k,
        min_score=settings.min_score,
        min_margin=settings.min_margin,
        keep_flagged=settings.keep_flagged,
    )


def batch_prior(
    settings: Settings,
    path: Path | None,
    inputs: Sequence[str],
    read: Callable[[], Iterable[Outcome]],
    device: str,
) -> calibration.Prior:
    """The prior kept in `path`; if it is not there, measured on a sample of the input.

    Raises:
        UsageError: it has to be measured, but the input is a stream, which is not read twice.
    """
    if path is not None and path.exists():
        return calibration.Prior.load(path)
    if not all(os.path.isfile(name) for name in inputs):
        raise UsageError(
            "--calibrate batch reads its input twice, so a stream will not do: measure the prior "
            "on a file of records with --prior FILE once, then name that FILE with the stream"
        )
    models = [settings.model] + ([EMBEDDED] if settings.top_k_first is not None else [])
    judges = [make_judge(model, settings, device) for model in models]
    good = (
        item
        for item in read()
        if isinstance(item, Record)
        and _fault(item) is None
        and reason_to_abstain(item, judges[0].scorer, settings.keep_flagged) is None
    )
    texts = calibration.sample((record.id, premise_of(record)) for record in good)
    prior = calibration.Prior.measure(judges, texts)
    if path is not None:
        prior.save(path)
    return prior


def _calibrated(judge: Judge, settings: Settings) -> Judge:
    prior = None
    if settings.calibrate == "null":
        prior = calibration.mean_odds(judge, calibration.CONTENT_FREE)
    elif settings.prior is not None:
        prior = settings.prior.for_judge(judge, "--prior")
    return Judge(judge.scorer, judge.taxonomy, judge.templates, prior)


def label(
    records: Iterable[Record],
    taxonomy: Taxonomy,
    scorer: Scorer,
    *,
    templates: Sequence[Template] = (Template(DEFAULT_TEMPLATE),),
    on_reject: Callable[[Reject], None] | None = None,
) -> Iterator[Record]:
    """Add the weak label to records, in order. Rejects go to `on_reject` (default: a warning)."""
    labeller = Labeller(Panel(Judge(scorer, taxonomy, tuple(templates))))
    for window in windows(records, WINDOW):
        for outcome in labeller(window):
            if isinstance(outcome, Record):
                yield outcome
            elif isinstance(outcome, Reject):
                (on_reject or warn_of)(outcome)


class Labeller:
    """A window function: score each distinct transcript once, choose the label entailed most.

    A softmax over the taxonomy makes log-odds probabilities; a crosswalk adds them up over the
    labels of another one. A transcript that is empty, holds no words or none the model can read,
    or that ASR flagged, gets `emotion: null` and the reason in `entailment.abstained`; so does one
    whose best label is not good enough, but it keeps its `emotion_scores`.
    """

    def __init__(
        self,
        panel: Panel,
        *,
        calibrate: str = "none",
        crosswalk: Crosswalk | None = None,
        top_k: int | None = None,
        min_score: float = 0.0,
        min_margin: float = 0.0,
        keep_flagged: bool = False,
    ) -> None:
        self._panel, self._judge = panel, panel.judge
        self._crosswalk, self._top_k = crosswalk, top_k
        self._min_score, self._min_margin = min_score, min_margin
        self._keep_flagged = keep_flagged
        self._labels = (crosswalk.target if crosswalk else self._judge.taxonomy).labels
        self._about: dict[str, Any] = {
            "model": self._judge.scorer.name,
            "precision": self._judge.scorer.precision,
            "taxonomy": self._judge.taxonomy.name,
        }
        if crosswalk:
            self._about["crosswalk"] = crosswalk.target.name
        self._about["templates"] = [template.text for template in self._judge.templates]
        self._about["calibration"] = calibrate
        if panel.pruner:
            self._about["candidates"] = panel.candidates

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        judged = [self._premise_or_outcome(record) for record in window]
        premises = list(dict.fromkeys(item for item in judged if isinstance(item, str)))
        answers = dict(zip(premises, self._answers(premises), strict=True))
        return [
            _with_answer(record, answers[item]) if isinstance(item, str) else item
            for record, item in zip(window, judged, strict=True)
        ]

    def _premise_or_outcome(self, record: Record) -> str | Outcome:
        """What is to be judged of a record, or what becomes of it without that."""
        if fault := _fault(record):
            return Reject.of(record, STAGE, fault)
        if reason := reason_to_abstain(record, self._judge.scorer, self._keep_flagged):
            about = {**self._about, "abstained": reason}
            nothing = dict.fromkeys(("emotion", "emotion_score", "emotion_scores"))
            return _with_answer(record, {**nothing, "entailment": about})
        return premise_of(record)

    def _answers(self, premises: Sequence[str]) -> list[dict[str, Any]]:
        """For each premise what is written into its record."""
        import numpy as np

        if not premises:
            return []
        raw = self._panel.raw(premises)
        prior = self._judge.prior
        chances = probabilities(raw if prior is None else raw - prior, self._crosswalk)
        order = np.argsort(-chances, axis=1, kind="stable")
        first, second = np.take_along_axis(chances, order[:, :2], axis=1).T
        margins = np.round(np.log(first) - np.log(np.maximum(second, 1e-300)), 4).tolist()
        before = (
            None if prior is None else probabilities(raw, self._crosswalk).argmax(axis=1).tolist()
        )
        cut = self._judge.scorer.truncates(premises, self._judge.hypotheses)
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
        return answers

    def _kept(self, scores: Sequence[float], order: NDArray[np.intp]) -> dict[str, float]:
        """The labels to write, in the taxonomy's order: the best, and none that was pruned."""
        pruned = self._panel.candidates
        if self._top_k is None and (not pruned or self._crosswalk):
            return dict(zip(self._labels, scores, strict=True))
        most = min(self._top_k or len(scores), pruned or len(scores))
        return {self._labels[index]: scores[index] for index in sorted(order[:most].tolist())}


def probabilities(
    odds: NDArray[np.float32], crosswalk: Crosswalk | None = None
) -> NDArray[np.float64]:
    """Softmax of log-odds `[n, labels]` over the taxonomy, then the crosswalk if there is one."""
    import numpy as np

    weights = np.exp(odds.astype(np.float64) - odds.max(axis=1, keepdims=True))
    chances = weights / weights.sum(axis=1, keepdims=True)
    return crosswalk.sum(chances) if crosswalk else chances


def reason_to_abstain(record: Record, scorer: Scorer, keep_flagged: bool) -> str | None:
    text = (record.text or "").strip()
    if not text:
        return "empty"
    flags = (record.fields.get("asr") or {}).get("flags") or []
    if flags and not keep_flagged:
        return str(flags[0])
    if not any(character.isalnum() for character in text):
        return "no words"
    if not scorer.knows(text):
        return "unknown script"
    return None


def premise_of(record: Record) -> str:
    """What is judged: the transcript, after the context that came with it."""
    text = (record.text or "").strip()
    said = _context(record)
    return context.premise(text, said) if said else text


def _context(record: Record) -> Sequence[str]:
    """What `with_context` sent along."""
    found = (record.fields.get("entailment") or {}).get("context")
    return found if isinstance(found, list) else ()


def _with_answer(record: Record, answer: dict[str, Any]) -> Record:
    entailment = record.fields.get("entailment") or {}
    if "context" not in entailment:
        return record.with_fields(**answer)
    about = {**answer["entailment"], "context": len(_context(record))}
    fields: Mapping[str, Any] = {k: v for k, v in record.fields.items() if k != "entailment"}
    return Record({**fields, **answer, "entailment": about})


def _fault(record: Record) -> str | None:
    """Why this record cannot be labelled at all."""
    if record.text is None:
        return "has no 'text': run lanser transcribe before lanser entail-label"
    try:
        record.text.encode("utf-8")
    except UnicodeEncodeError:
        return "'text' is not valid Unicode: it holds half of a surrogate pair"
    return None


@dataclass
class Summary:
    """Which labels were given, and why none was; said before the run's closing line."""

    labels: Counter[str] = field(default_factory=Counter)
    before: Counter[str] = field(default_factory=Counter)
    abstained: Counter[str] = field(default_factory=Counter)
    truncated: int = 0

    def watching(self, process: Process) -> Process:
        """The same process; what it makes is counted on its way."""
        return watching(process, self._see, self.say)

    def _see(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Record):
                self._count(outcome)

    def _count(self, record: Record) -> None:
        about = record.fields["entailment"]
        if reason := about.get("abstained"):
            self.abstained[reason] += 1
        else:
            self.labels[str(record.emotion)] += 1
        if before := about.get("uncalibrated"):
            self.before[before] += 1
        self.truncated += "truncated" in about

    def say(self) -> None:
        """A line on stderr for each thing there is to say."""
        if self.before:
            console.info(f"{STAGE}: labels before calibration: {_histogram(self.before)}")
        if self.labels:
            after = " after it" if self.before else ""
            console.info(f"{STAGE}: labels{after}: {_histogram(self.labels)}")
        if self.abstained:
            reasons = ", ".join(f"{count} {name}" for name, count in self.abstained.most_common())
            console.info(f"{STAGE}: abstained: {reasons}")
        if self.truncated:
            console.info(
                f"{STAGE}: {self.truncated} too long for the model: their end was not read"
            )


def _histogram(counts: Counter[str]) -> str:
    total = counts.total()
    return ", ".join(f"{name} {count / total:.1%}" for name, count in counts.most_common())
