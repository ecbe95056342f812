"""Fine-tuning on a labelled corpus, tested on speakers that were not in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lanser_cli import console
from lanser_cli.choices import Normalising
from lanser_cli.devices import Ranks
from lanser_cli.errors import UsageError
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.models.front_end import FrontEnd
from lanser_cli.output import write_whole
from lanser_cli.pipe import windows
from lanser_cli.records import Record, Reject, to_json
from lanser_cli.shards.gather import gather
from lanser_cli.tally import Ledger
from lanser_cli.training import runs
from lanser_cli.training.examples import human_examples, human_label_set
from lanser_cli.training.folds import Fold, Protocol, divide
from lanser_cli.training.identity import identity
from lanser_cli.training.loop import choose_device, train
from lanser_cli.training.predict import WINDOW, Predictor
from lanser_cli.training.ranks import process_group
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.runs import RunFolder


@dataclass(frozen=True, slots=True)
class Tested:
    """What fine-tuning leaves besides its run folder.

    Attributes:
        labels: the classes.
        records: the test records of all folds with their `prediction`, in input order; empty where
            there is no test.
    """

    labels: tuple[str, ...]
    records: list[Record]


def finetune(
    inputs: Sequence[str] | None,
    run: Path,
    protocol: Protocol,
    recipe: Recipe,
    ledger: Ledger,
    *,
    init: Path | None = None,
    model: str | None = None,
    crop: float | None = None,
    trim: bool = False,
    normalise: Normalising | None = None,
    device: str = "auto",
    resume: bool = False,
    fetch: Path | None = None,
) -> Tested:
    """Train and test every fold; write `fold-NAME/` folders and the pooled `predictions.jsonl`.

    Args:
        inputs, fetch: as `gather` takes them.
        init: run folder to take the front-end and backbone from; None starts from scratch.
        model, crop: name of an architecture, and the seconds it hears at once; None: those of
            `init`, or the defaults.
        trim, normalise: as `Architecture` and `FrontEnd` have them; off and None: those of `init`.

    Raises:
        LanserError: fewer than two labels, or records that cannot be divided so.
        UsageError: `init` is another architecture, or has the models of several folds.
    """
    if recipe.freeze and init is None:
        raise UsageError("--freeze keeps a trained backbone, which only --init RUN can give")
    where = choose_device(device)
    architecture = _architecture(init, model, crop, trim, normalise)
    records = gather(inputs, ledger, fetch, take=_labelled)
    labels = human_label_set(records)
    architecture = replace(architecture, labels=labels)
    folds = divide(records, protocol)
    used = {record.id for fold in folds for side in (fold.training, fold.test) for record in side}
    if unused := len(records) - len(used):
        ledger.dropped[f"beyond --fraction {protocol.fraction:g}"] += unused
    recipe, top = recipe.on(where), RunFolder(run)
    source = None if init is None else runs.one_model(init, "--init")
    divided = ((one, (one.label, one.word(protocol.group), one.word("fold"))) for one in records)
    ranks_now = Ranks.from_environment().count
    same = identity(architecture, recipe, divided, ranks_now, init=source, **asdict(protocol))
    if resume:
        top.check_same(same)
    top.create(resume=resume)
    details: dict[str, Any] = {
        "recipe": asdict(recipe),
        "protocol": asdict(protocol),
        "init": str(init) if init else None,
        "identity": same,
    }
    predicted: dict[str, Record] = {}
    with process_group(where) as ranks:
        if ranks.leads:
            details["place"] = recipe.place(where, ranks.count)
            top.write_config("finetune", architecture, **details)
        for fold in folds:
            folder = RunFolder(run / f"fold-{fold.name}")
            network = _model_of_fold(
                fold, folder, recipe, where, architecture, init, details, resume, ranks.leads
            )
            if not ranks.leads:
                continue
            predictor = Predictor([network], "finetune")
            for window in windows(fold.test, WINDOW):
                for outcome in predictor(window):
                    if isinstance(outcome, Record):
                        predicted[outcome.id] = outcome
                    elif isinstance(outcome, Reject):
                        ledger.reject(outcome)
                        used.discard(str(outcome.id))
    ledger.done = len(used)
    ordered = [predicted[record.id] for record in records if record.id in predicted]
    if ordered:
        lines = [to_json(record.fields) + "\n" for record in ordered]
        write_whole(run / "predictions.jsonl", "".join(lines))
    return Tested(labels, ordered)


def _labelled(record: Record) -> Record | str:
    return record if record.label is not None else "no label"


def _architecture(
    init: Path | None,
    model: str | None,
    crop: float | None,
    trim: bool,
    normalise: Normalising | None,
) -> Architecture:
    """What to fine-tune; its labels are filled in from the data."""
    if init is None:
        front_end = FrontEnd(normalise=normalise or "none")
        return Architecture(model or "resnet50", (), crop or 3.0, front_end, trim)
    found = runs.read_architecture(runs.one_model(init, "--init"))
    if model not in (None, found.name):
        raise UsageError(f"--init {init} is a {found.name}, not a {model}")
    if normalise not in (None, found.front_end.normalise):
        raise UsageError(f"--init {init} has --normalise {found.front_end.normalise}")
    return replace(found, crop_seconds=crop or found.crop_seconds, trim=trim or found.trim)


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
