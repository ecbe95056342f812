"""Which model, template and calibration label best, measured on text that people have labelled."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli import console
from lanser_cli.choices import Calibration
from lanser_cli.destination import check_writable
from lanser_cli.devices import parse_devices
from lanser_cli.entailment import EMBEDDED, Template, labeller
from lanser_cli.entailment.calibration import null_odds, sample
from lanser_cli.entailment.cascade import Cascade, measure_tolerance
from lanser_cli.entailment.context import NO_CONTEXT, InContext
from lanser_cli.entailment.crosswalk import probabilities
from lanser_cli.entailment.entail_label import (
    LabelSettings,
    make_cascade,
    read_transcripts,
)
from lanser_cli.entailment.server import PREFIX
from lanser_cli.entailment.task import Task
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.evaluation import metrics
from lanser_cli.jsonl import check_files
from lanser_cli.output import write_jsonl
from lanser_cli.records import Dropped, Record, Reject
from lanser_cli.stage import windows
from lanser_cli.tally import Ledger


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to label, and how well it did.

    Attributes:
        words: the options that its scores depend on, besides the model and what is swept.
    """

    words: tuple[str, ...]
    model: str
    templates: tuple[str, ...]
    calibration: Calibration
    result: metrics.Result

    @property
    def command(self) -> str:
        """The command line that labels this way."""
        words = ["lanser", "entail-label", *self.words]
        words += ["--model", self.model] if self.model != EMBEDDED else []
        for template in self.templates:
            words += ["--template", template]
        words += ["--calibrate", self.calibration] if self.calibration != "none" else []
        return shlex.join(words)

    def as_json(self, rank: int) -> dict[str, Any]:
        """One line of the ranking."""
        measured = self.result.as_json()
        return {
            "rank": rank,
            "model": self.model,
            "templates": list(self.templates),
            "calibration": self.calibration,
            "n": self.result.n,
            **{name: measured[name] for name in ("uar", "wa", "weighted_f1")},
            "command": self.command,
        }


def sweep(
    gold: Path,
    task: Task,
    settings: LabelSettings,
    ledger: Ledger,
    *,
    output: Path | None = None,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Rank every model x template (and all templates together) x calibration.

    The command line of the winner is said on stderr.

    Args:
        gold: JSONL of records with `text` and `label`.
        output: file for the ranking.
        device: the first of the devices it names is used.

    Returns:
        The ranking, the best by UAR first; empty if it went to `output`.

    Raises:
        LanserError: no record has a text and one of the labels.
        UsageError: the settings ask for something that a sweep does not do.
    """
    if settings.top_k_first is not None:
        raise UsageError("--sweep scores every label: leave --top-k-first out")
    if settings.no_text:
        raise UsageError("--sweep writes no records: leave --no-text out")
    if output is not None:
        check_writable(output)
    first = parse_devices(device)[0]
    check_files([str(gold)])
    records = _gold(gold, task, settings, ledger)
    trials = [
        trial
        for model in settings.models
        for trial in _trials(records, model, task, settings, first)
    ]
    trials.sort(key=lambda trial: -trial.result.uar.value)
    best = trials[0]
    console.info(
        f"{labeller.STAGE}: best of {len(trials)} on {len(records)} texts, UAR {best.result.uar} "
        f"(chance {best.result.chance:.3f}):"
    )
    console.info(f"  {best.command}")
    ranking = [trial.as_json(rank) for rank, trial in enumerate(trials, 1)]
    if output is None:
        return ranking
    write_jsonl(output, ranking)
    return []


def _gold(path: Path, task: Task, settings: LabelSettings, ledger: Ledger) -> list[Record]:
    """Records with a text and a label of the task; the others are dropped, with a reason."""
    gold: list[Record] = []
    strange: Counter[str] = Counter()
    for item in read_transcripts([str(path)], settings.context):
        ledger.read += 1
        if isinstance(item, Reject):
            ledger.reject(item)
        elif isinstance(item, Dropped):
            ledger.dropped[item.reason] += 1
        elif item.label is None:
            ledger.dropped["no label"] += 1
        elif item.label not in task.labels:
            strange[item.label] += 1
            ledger.dropped["the taxonomy has no such label"] += 1
        elif not labeller.premise_of(item):
            ledger.dropped["no text"] += 1
        else:
            gold.append(item)
    if strange:
        names = ", ".join(f"{count} {name}" for name, count in strange.most_common(8))
        console.warn(f"{labeller.STAGE}: the taxonomy has no such label: {names}")
    if not gold:
        raise LanserError(
            f"--sweep: no record has a text and a label among {', '.join(task.labels)}: choose the "
            "--taxonomy of these labels, or bring them to it with --crosswalk"
        )
    if settings.context and not any(isinstance(one, InContext) for one in gold):
        console.warn(f"{labeller.STAGE}: {NO_CONTEXT}")
    ledger.done += len(gold)
    return gold


def _words(model: str, settings: LabelSettings) -> Iterator[str]:
    """Options besides the task's that a model's scores depend on, or that it cannot do without."""
    if settings.llm_mode == "choice" and model.startswith(PREFIX):
        yield from ("--llm-mode", "choice")
    if settings.allow_remote and model.startswith(PREFIX):
        yield "--allow-remote"
    if settings.entailment_label is not None and model == settings.model:
        yield from ("--entailment-label", settings.entailment_label)
    if settings.precision != "auto":
        yield from ("--precision", settings.precision)
    if settings.context:
        yield from ("--context", str(settings.context))


def _trials(
    gold: Sequence[Record], model: str, task: Task, settings: LabelSettings, device: str
) -> Iterator[Trial]:
    """Every way to label with one model; `main` scores each premise once for each template."""
    one = replace(
        settings,
        models=[model],
        entailment_label=settings.entailment_label if model == settings.model else None,
        llm_mode=settings.llm_mode if model.startswith(PREFIX) else "pair",
    )
    plain = make_cascade(device, task, replace(one, calibrate="none", prior=None))
    scorer = plain.main.scorer
    words = (*task.words, *_words(model, settings))
    ways: list[tuple[Template, ...]] = [(template,) for template in task.templates]
    premises = [labeller.premise_of(record) for record in gold]
    raw: dict[tuple[Template, ...], NDArray[np.float32]] = {}
    with console.progress(f"sweep {model}", len(gold) * len(ways)) as meter:
        for way in ways:
            blocks = []
            for window in windows(premises, labeller.WINDOW):
                blocks.append(replace(plain.main, templates=way).raw(window))
                if fault := next(filter(None, map(scorer.fault, window)), None):
                    raise LanserError(f"--sweep: {model} does not score every text: {fault}")
                meter.advance(len(window))
            raw[way] = np.concatenate(blocks)
    if len(ways) > 1:
        raw[task.templates] = np.mean([raw[way] for way in ways], axis=0)
    sampled = [int(row) for row in sample((one.id, str(row)) for row, one in enumerate(gold))]
    for way, odds in raw.items():
        cascade = _by(way, plain)
        priors: dict[Calibration, NDArray[np.float32] | None] = {
            "none": None,
            "null": null_odds(cascade.main),
            "batch": odds[sampled].mean(axis=0, dtype=np.float64).astype(np.float32),
        }
        for method, prior in priors.items():
            settled = _settled(cascade.calibrated(prior), premises, odds)
            chances = probabilities(settled, task.crosswalk)
            answered = [
                record.with_fields(emotion=task.labels[index])
                for record, index in zip(gold, chances.argmax(axis=1), strict=True)
            ]
            yield Trial(
                words,
                model,
                tuple(template.text for template in way),
                method,
                metrics.measure(answered, answer="emotion"),
            )


def _by(templates: tuple[Template, ...], cascade: Cascade) -> Cascade:
    """The same by other templates."""
    main = replace(cascade.main, templates=templates)
    if cascade.exact is None:
        return replace(cascade, main=main)
    exact = replace(cascade.exact, templates=templates)
    close = measure_tolerance(main, exact)
    return replace(cascade, main=main, exact=exact, tolerance=close)


def _settled(
    cascade: Cascade, premises: Sequence[str], raw: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Scores of `main` less its prior, where close calls are those of `exact`."""
    starts = range(0, len(premises), labeller.WINDOW)
    slices = [slice(start, start + labeller.WINDOW) for start in starts]
    blocks = [cascade.settled(premises[each], raw[each]) for each in slices]
    return cascade.main.less_prior(np.concatenate(blocks))
