"""Fine-tuning on a labelled corpus, tested on speakers that were not in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lanser_cli import console
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.output import write_whole
from lanser_cli.pipe import windows
from lanser_cli.records import Record, Reject, to_json
from lanser_cli.training import runs
from lanser_cli.training.examples import human_examples
from lanser_cli.training.folds import Fold, Protocol, divide
from lanser_cli.training.loop import Recipe, train
from lanser_cli.training.predict import WINDOW, Predictor
from lanser_cli.training.ranks import process_group
from lanser_cli.training.runs import RunFolder


def finetune(
    records: Sequence[Record],
    protocol: Protocol,
    recipe: Recipe,
    run: Path,
    device: torch.device,
    *,
    architecture: Architecture,
    init: Path | None = None,
    resume: bool = False,
) -> tuple[list[Record], list[Reject]]:
    """Train and test every fold; write `fold-NAME/` folders and the pooled `predictions.jsonl`.

    Args:
        init: run folder to take the front-end and backbone from; None starts from scratch.

    Returns:
        The test records of all folds with their `prediction`, in input order, and the records
        whose sound could not be read.
    """
    labelled = [record for record in records if record.label is not None]
    folds = divide(labelled, protocol)
    top = RunFolder(run)
    top.create(resume=resume)
    details: dict[str, Any] = {
        "recipe": asdict(recipe),
        "protocol": asdict(protocol),
        "init": str(init) if init else None,
    }
    predicted: dict[str, Record] = {}
    rejected: list[Reject] = []
    with process_group(device) as ranks:
        if ranks.leads:
            top.write_config("finetune", architecture, **details)
        for fold in folds:
            folder = RunFolder(run / f"fold-{fold.name}")
            model = _model_of_fold(
                fold, folder, recipe, device, architecture, init, details, resume, ranks.leads
            )
            if not ranks.leads:
                continue
            predictor = Predictor([model], "finetune")
            for window in windows(fold.test, WINDOW):
                for outcome in predictor(window):
                    if isinstance(outcome, Record):
                        predicted[outcome.id] = outcome
                    elif isinstance(outcome, Reject):
                        rejected.append(outcome)
    ordered = [predicted[record.id] for record in labelled if record.id in predicted]
    if ordered:
        lines = [to_json(record.fields) + "\n" for record in ordered]
        write_whole(run / "predictions.jsonl", "".join(lines))
    return ordered, rejected


def _model_of_fold(
    fold: Fold,
    folder: RunFolder,
    recipe: Recipe,
    device: torch.device,
    architecture: Architecture,
    init: Path | None,
    details: dict[str, Any],
    resume: bool,
    leads: bool,
) -> SpeechClassifier:
    if resume and folder.finished:
        console.info(f"fold {fold.name}: trained already")
        return runs.load_model(folder.path, str(device))
    torch.manual_seed(recipe.seed)
    model = SpeechClassifier(architecture)
    if init is not None:
        runs.transfer(model, init)
    if leads:
        folder.create(resume=True)
        speakers = sorted({record.speaker for record in fold.test if record.speaker})
        folder.write_config("finetune", architecture, **details, test_speakers=speakers)
    examples = human_examples(fold.training, architecture.labels)
    what = f"finetune fold {fold.name}"
    return train(model, examples, recipe, folder, device, resume=resume, what=what)
