"""Which model, template and calibration label best, measured on text that people have labelled."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lanser_cli import console
from lanser_cli.entailment import EMBEDDED, Judge, Template, labeller
from lanser_cli.entailment.calibration import CONTENT_FREE, mean_odds
from lanser_cli.errors import EXIT_REJECTED, LanserError, UsageError
from lanser_cli.evaluation import metrics
from lanser_cli.output import file_rejects, result_line, write_whole
from lanser_cli.pipe import windows
from lanser_cli.records import Outcome, Record, Reject, to_json


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to label, and how well it did."""

    model: str
    templates: tuple[str, ...]
    calibration: str
    result: metrics.Result

    def command(self, taxonomy: Sequence[str]) -> str:
        """The command line that labels this way; `taxonomy` are the words that name the labels."""
        words = ["lanser", "entail-label", *taxonomy]
        words += ["--model", self.model] if self.model != EMBEDDED else []
        for template in self.templates:
            words += ["--template", template]
        words += ["--calibrate", self.calibration] if self.calibration != "none" else []
        return shlex.join(words)


def sweep(
    items: Iterable[Outcome],
    models: Sequence[str],
    settings: labeller.Settings,
    device: str,
    taxonomy: Sequence[str],
    output: Path | None = None,
) -> int:
    """Rank every model x template (and all templates together) x calibration; return the exit code.

    One JSON line a trial goes to `output` or stdout, the best by UAR first; the command line of
    the winner is said on stderr.

    Raises:
        LanserError: no record has a text and one of the labels.
        UsageError: the settings ask for something that a sweep does not do.
    """
    if settings.top_k_first is not None:
        raise UsageError("--sweep scores every label: leave --top-k-first out")
    gold, rejected = _gold(items, settings)
    trials = [
        trial for model in models for trial in _trials(gold, replace(settings, model=model), device)
    ]
    trials.sort(key=lambda trial: -trial.result.uar.value)
    lines = [
        {
            "rank": rank,
            "model": trial.model,
            "templates": list(trial.templates),
            "calibration": trial.calibration,
            "n": trial.result.n,
            **{name: trial.result.as_json()[name] for name in ("uar", "wa", "weighted_f1")},
            "command": trial.command(taxonomy),
        }
        for rank, trial in enumerate(trials, 1)
    ]
    if output is not None:
        write_whole(output, "".join(to_json(line) + "\n" for line in lines))
    else:
        with result_line() as write:
            for line in lines:
                write(line)
    file_rejects(rejected, None)
    best = trials[0]
    console.info(
        f"{labeller.STAGE}: best of {len(trials)} on {len(gold)} texts, UAR {best.result.uar} "
        f"(chance {best.result.chance:.3f}):\n  {best.command(taxonomy)}"
    )
    return EXIT_REJECTED if rejected else 0


def _gold(
    items: Iterable[Outcome], settings: labeller.Settings
) -> tuple[list[Record], list[Reject]]:
    """Records with a text and a label of the taxonomy (of the crosswalk's target, if any)."""
    labels = (settings.crosswalk.target if settings.crosswalk else settings.taxonomy).labels
    gold: list[Record] = []
    rejected: list[Reject] = []
    strange: Counter[str] = Counter()
    for item in items:
        if isinstance(item, Reject):
            rejected.append(item)
        elif isinstance(item, Record) and item.label not in labels:
            strange[str(item.label)] += 1
        elif isinstance(item, Record) and labeller.premise_of(item):
            gold.append(item)
    if strange:
        names = ", ".join(f"{count} {name}" for name, count in strange.most_common(8))
        console.warn(f"{labeller.STAGE}: left out, since the taxonomy has no such label: {names}")
    if not gold:
        raise LanserError(
            f"--sweep: no record has a text and a label among {', '.join(labels)}: choose the "
            "--taxonomy of these labels, or bring them to it with --crosswalk"
        )
    return gold, rejected


def _trials(gold: Sequence[Record], settings: labeller.Settings, device: str) -> Iterable[Trial]:
    import numpy as np

    scorer = labeller.make_judge(settings.model, settings, device).scorer
    emotions = settings.taxonomy
    labels = (settings.crosswalk.target if settings.crosswalk else emotions).labels
    ways: list[tuple[Template, ...]] = [(template,) for template in settings.templates]
    raw = {}
    with console.progress(f"sweep {settings.model}", len(gold) * len(ways)) as meter:
        for way in ways:
            blocks = []
            for window in windows(gold, labeller.WINDOW):
                premises = [labeller.premise_of(record) for record in window]
                blocks.append(Judge(scorer, emotions, way).raw(premises))
                meter.advance(len(window))
            raw[way] = np.concatenate(blocks)
    if len(ways) > 1:
        raw[settings.templates] = np.mean([raw[way] for way in ways], axis=0)
    for way, odds in raw.items():
        priors = {
            "none": np.zeros(len(emotions.labels), np.float32),
            "null": mean_odds(Judge(scorer, emotions, way), CONTENT_FREE),
            "batch": odds.mean(axis=0),
        }
        for method, prior in priors.items():
            chances = labeller.probabilities(odds - prior, settings.crosswalk)
            answered = [
                record.with_fields(emotion=labels[index])
                for record, index in zip(gold, chances.argmax(axis=1), strict=True)
            ]
            yield Trial(
                settings.model,
                tuple(template.text for template in way),
                method,
                metrics.measure(answered, answer="emotion"),
            )
