"""The verb entail-label: files of transcripts to records with a weak label."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lanser_cli import console, jsonl, origin
from lanser_cli.choices import Calibration, LlmMode, ScoringPrecision
from lanser_cli.destination import check_writable
from lanser_cli.devices import parse_devices
from lanser_cli.entailment import calibration, gliclass_scorer, server
from lanser_cli.entailment.cache import CachedScorer
from lanser_cli.entailment.cascade import Cascade, measure_tolerance
from lanser_cli.entailment.context import NO_CONTEXT, with_context
from lanser_cli.entailment.gliclass_scorer import GliclassScorer
from lanser_cli.entailment.label_scorer import SERVED, LabelScorer, Scorer
from lanser_cli.entailment.labeller import (
    STAGE,
    Labeller,
    fault_of,
    premise_of,
    reason_to_abstain,
)
from lanser_cli.entailment.last_server import find_server
from lanser_cli.entailment.llm_scorer import LlmScorer
from lanser_cli.entailment.scorer import EMBEDDED, EMBEDDED_FOLDER, PairScorer
from lanser_cli.entailment.server import Server
from lanser_cli.entailment.task import Task
from lanser_cli.entailment.taxonomy import ENGLISH
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.models.hub import snapshot
from lanser_cli.pipe import Pipe
from lanser_cli.records import Outcome, Record
from lanser_cli.stage import Process, WindowFunction, unique, watching
from lanser_cli.tally import Tally
from lanser_cli.workers import spread

_PREFIXES = (server.PREFIX, gliclass_scorer.PREFIX)

_NOT_OF_LABELS = (
    "models",
    "first_model",
    "prior",
    "cache",
    "cache_limit",
    "allow_remote",
    "no_text",
)
"""Settings that labels do not depend on, or that are told otherwise."""


@dataclass(frozen=True)
class LabelSettings:
    """How a task is done, checked before a model is loaded.

    Attributes:
        models: embedded, a hub id, a folder, llm:NAME@URL or gliclass:ID; several are for a sweep.
        entailment_label, precision: as `PairScorer`.
        llm_mode: what a model on a server is asked.
        allow_remote: whether that server may be another machine.
        calibrate: which prior is subtracted.
        prior: file of the batch prior; made if it is not there.
        context: how many earlier utterances of a dialogue come before each.
        top_k_first: let another model choose so many candidates, and score only those.
        first_model: which model that is.
        top_k: how many labels to keep in `emotion_scores`.
        min_score: abstain where the best label's probability is lower.
        min_margin: abstain where the best label's log-odds over the second are lower.
        keep_flagged: label transcripts that ASR flagged, too.
        cache: folder to keep scores in, of at most `cache_limit` GB.
        no_text: no word of a transcript may be left anywhere.

    Raises:
        UsageError: a combination that makes no sense.
    """

    models: list[str] = field(default_factory=lambda: [EMBEDDED])
    entailment_label: str | None = None
    precision: ScoringPrecision = "auto"
    llm_mode: LlmMode = "pair"
    allow_remote: bool = False
    calibrate: Calibration = "none"
    prior: Path | None = None
    context: int = 0
    top_k_first: int | None = None
    first_model: str = EMBEDDED
    top_k: int | None = None
    min_score: float = 0.0
    min_margin: float = 0.0
    keep_flagged: bool = False
    cache: Path | None = None
    cache_limit: float = 10.0
    no_text: bool = False

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("--model is an empty list: name a model, or leave it out")
        if self.top_k_first is not None and self.model == self.first_model:
            raise UsageError(
                f"--top-k-first lets the model '{self.first_model}' choose the candidates of a "
                "larger one: name that with --model"
            )
        if self.top_k_first is None and self.first_model != EMBEDDED:
            raise UsageError("--first-model goes with --top-k-first")
        if self.first_model.startswith(server.PREFIX):
            raise UsageError("--first-model is an NLI model or gliclass:ID: it is to be quick")
        plain = not any(model.startswith(_PREFIXES) for model in self.models)
        if not plain and (self.precision != "auto" or self.entailment_label is not None):
            raise UsageError("--precision and --entailment-label are for NLI models alone")
        at_once = self.llm_mode == "choice" or self.model.startswith(gliclass_scorer.PREFIX)
        if at_once and self.top_k_first is not None:
            raise UsageError(
                f"--model {self.model} is asked for all labels at once: it takes no "
                "candidates of --top-k-first"
            )
        if self.llm_mode == "choice" and not self.model.startswith(server.PREFIX):
            raise UsageError(f"--llm-mode choice is for --model {server.PREFIX}NAME@URL")
        if self.prior is not None and self.calibrate != "batch":
            raise UsageError("--prior FILE goes with --calibrate batch")
        if self.no_text and self.cache is not None:
            raise UsageError(
                "--no-text: a cache knows texts by a hash without a key, which can be guessed: "
                "leave --cache out"
            )

    @property
    def model(self) -> str:
        """The first of the models."""
        return self.models[0]


def label_files(
    inputs: Sequence[str], task: Task, settings: LabelSettings, pipe: Pipe, *, device: str = "auto"
) -> Tally:
    """Label the records of JSONL files, and say which labels were given.

    Raises:
        UsageError, LanserError: the settings do not fit the input or the device; or as
            `make_labeller`.
    """
    if len(settings.models) > 1:
        raise UsageError("--model may be repeated with --sweep only")
    pipe.check_apart({"--prior": settings.prior}, inputs)
    devices = parse_devices(device)[: 1 if settings.model.startswith(server.PREFIX) else None]
    jsonl.check_files(inputs)
    prior = None
    if settings.calibrate == "batch":
        prior = batch_prior(inputs, task, settings, devices[0])
    if settings.calibrate == "null" and task.taxonomy.lang != ENGLISH:
        console.warn(
            f"{STAGE}: the prior of --calibrate null is of English sentences, not of any in "
            f"--lang {task.taxonomy.lang}: --calibrate batch takes one of the input"
        )
    make = partial(make_labeller, task=task, settings=settings, prior=prior)
    process = Summary(settings.context).watching(spread(make, devices))
    items = read_transcripts(inputs, settings.context)
    made = made_with(task, settings) | ({} if pipe.output is None else _snapshots(settings))
    return pipe.run(items, process, made, count=lambda: jsonl.count_lines(inputs))


def made_with(task: Task, settings: LabelSettings) -> dict[str, object]:
    """What the labels depend on besides the transcripts, by option."""
    crosswalk, weights = task.crosswalk, EMBEDDED_FOLDER / "model.safetensors"
    return {
        "--model": origin.named(settings.model, weights),
        "--taxonomy": task.taxonomy.in_short,
        "--crosswalk": crosswalk and crosswalk.in_short,
        "--template": " | ".join(template.text for template in task.templates),
        **origin.options(settings, but=_NOT_OF_LABELS),
        "--first-model": settings.top_k_first and origin.named(settings.first_model, weights),
        "--prior": settings.prior and origin.of_files([settings.prior]),
    }


def _snapshots(settings: LabelSettings) -> dict[str, object]:
    """Which files of a hub or a folder, or what of a server, the models are, by option."""
    chosen = {"--model": settings.model}
    if settings.top_k_first is not None:
        chosen["--first-model"] = settings.first_model
    return {
        option + origin.ITS_FILES: found
        for option, model in chosen.items()
        if model != EMBEDDED and (found := _snapshot(model, settings))
    }


def _snapshot(model: str, settings: LabelSettings) -> str | None:
    """What a model is now, if anything says it."""
    if not model.startswith(server.PREFIX):
        return snapshot(model.removeprefix(gliclass_scorer.PREFIX))
    try:
        return _server(model, settings).identity
    except LanserError:  # the labeller will say it, if anything is left to label
        return None


def _server(model: str, settings: LabelSettings) -> Server:
    remote, no_text = settings.allow_remote, settings.no_text
    return find_server(model, settings.cache, allow_remote=remote, no_text=no_text)


def read_transcripts(inputs: Sequence[str], context: int = 0) -> Iterator[Outcome]:
    """The records of JSONL files, each id once, with their context if there is to be any."""
    items = unique(jsonl.read_records(inputs, STAGE), STAGE)
    return with_context(items, context) if context else items


def make_labeller(
    device: str, task: Task, settings: LabelSettings, prior: calibration.Prior | None = None
) -> WindowFunction:
    """Load what is needed on `device` and return the function that labels a window of records.

    Raises:
        UsageError, LanserError: as `make_cascade`.
    """
    return labeller_of(make_cascade(device, task, settings, prior), settings)


def labeller_of(cascade: Cascade, settings: LabelSettings) -> Labeller:
    """What labels by a cascade as the settings say."""
    return Labeller(
        cascade,
        calibrate=settings.calibrate,
        top_k=settings.top_k,
        min_score=settings.min_score,
        min_margin=settings.min_margin,
        keep_flagged=settings.keep_flagged,
    )


def make_cascade(
    device: str, task: Task, settings: LabelSettings, prior: calibration.Prior | None = None
) -> Cascade:
    """Load the model, the same in float32 if it computes in less, and the small one if asked for.

    Raises:
        UsageError, LanserError: as `make_label_scorer`; or the prior is of another model.
    """
    main, exact, close = make_label_scorer(settings.model, task, settings, device), None, 0.0
    if main.scorer.precision not in ("float32", SERVED):
        in_float32 = replace(settings, precision="float32")
        exact = make_label_scorer(settings.model, task, in_float32, device)
        close = measure_tolerance(main, exact)
    small = None
    if settings.top_k_first is not None:
        small = make_label_scorer(settings.first_model, task, settings, device)
        small = replace(small, prior=_prior_of(small, settings.calibrate, prior))
    plain = Cascade(main, small, settings.top_k_first or 0, exact, close, task.crosswalk)
    return plain.calibrated(_prior_of(main, settings.calibrate, prior))


def make_label_scorer(model: str, task: Task, settings: LabelSettings, device: str) -> LabelScorer:
    """Load a model on `device`, or find it on its server; in front of it the cache, if any.

    Raises:
        UsageError, LanserError: as `PairScorer`, `GliclassScorer`, `Server`, `CachedScorer`.
    """
    scorer = _load(model, task, settings, device)
    if settings.cache is not None:
        scorer = CachedScorer(scorer, settings.cache, settings.cache_limit)
    return LabelScorer(scorer, task.taxonomy, task.templates)


def _load(model: str, task: Task, settings: LabelSettings, device: str) -> Scorer:
    if model.startswith(server.PREFIX):
        one = _server(model, settings)
        at_once = settings.llm_mode == "choice"
        return LlmScorer(one, task.hypothesis_sets(model) if at_once else ())
    if model.startswith(gliclass_scorer.PREFIX):
        return GliclassScorer(model, task.hypothesis_sets(model), device=device)
    label = settings.entailment_label if model == settings.model else None
    precision = settings.precision
    return PairScorer(model, device=device, precision=precision, entailment_label=label)


def _prior_of(
    label_scorer: LabelScorer, calibrate: Calibration, prior: calibration.Prior | None
) -> NDArray[np.float32] | None:
    if calibrate == "none":
        return None
    if calibrate == "null":
        return calibration.null_odds(label_scorer)
    assert prior is not None
    return prior.of_labels(label_scorer, "--prior")


def batch_prior(
    inputs: Sequence[str], task: Task, settings: LabelSettings, device: str
) -> calibration.Prior:
    """The prior kept in a file; if it is not there, measured on a sample of the input.

    Raises:
        UsageError: it has to be measured, but the input is a stream, which is not read twice.
    """
    path = settings.prior
    if path is not None and path.exists():
        return calibration.Prior.load(path)
    if not all(os.path.isfile(name) for name in inputs):
        raise UsageError(
            "--calibrate batch reads its input twice, so a stream will not do: measure the prior "
            "on a file of records with --prior FILE once, then name that FILE with the stream"
        )
    if path is not None:
        check_writable(path)
    models = [settings.model] + ([settings.first_model] if settings.top_k_first is not None else [])
    label_scorers = [make_label_scorer(model, task, settings, device) for model in models]
    scorer = label_scorers[0].scorer
    good = (
        item
        for item in read_transcripts(inputs, settings.context)
        if isinstance(item, Record)
        and fault_of(item) is None
        and reason_to_abstain(item, scorer, settings.keep_flagged) is None
    )
    texts = calibration.sample((record.id, premise_of(record)) for record in good)
    prior = calibration.Prior.measure(label_scorers, texts)
    if path is not None:
        prior.save(path)
    return prior


@dataclass
class Summary:
    """Which labels were given, and why none was; said before the run's closing line.

    Attributes:
        context: how many earlier utterances were asked for, and `in_context` how many records are
            of a dialogue, so that they could have some.
    """

    context: int = 0
    in_context: int = 0
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
        self.in_context += "context" in about

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
        if self.context and not self.in_context and (self.labels or self.abstained):
            console.warn(f"{STAGE}: {NO_CONTEXT}")
        if self.truncated:
            console.info(
                f"{STAGE}: {self.truncated} too long for the model: their end was not read"
            )


def _histogram(counts: Counter[str]) -> str:
    total = counts.total()
    return ", ".join(f"{name} {count / total:.1%}" for name, count in counts.most_common())
