"""Fine-tuning on a labelled corpus, tested on speakers that were not in training."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lanser_cli import console, runs
from lanser_cli.data import human_examples
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.metrics import Result, measure
from lanser_cli.model import Architecture, SpeechClassifier
from lanser_cli.predicting import WINDOW, Predictor
from lanser_cli.records import Record, Reject, to_json
from lanser_cli.runs import RunFolder
from lanser_cli.streams import windows, write_whole
from lanser_cli.training import Recipe, process_group, train


@dataclass(frozen=True, slots=True)
class Fold:
    """Records to train on and records to test on; no speaker is on both sides."""

    name: str
    training: list[Record]
    test: list[Record]


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a corpus is divided.

    Attributes:
        folds: number of folds; 0 trains on everything and tests on nothing; None uses the
            records' own `fold` if all have one, otherwise five.
        group: the key whose values never straddle training and test.
        test: (key, values) of a single hold-out instead of folds.
        fraction: of the training records to use, stratified by label; smaller ones are nested
            in larger ones, for label-efficiency curves.
        seed: of the fraction's choice.
    """

    folds: int | None = None
    group: str = "speaker"
    test: tuple[str, tuple[str, ...]] | None = None
    fraction: float = 1.0
    seed: int = 0


def parse_test(text: str | None) -> tuple[str, tuple[str, ...]] | None:
    """`KEY=VALUE,VALUE` -> (key, values).

    Raises:
        UsageError: not of this form.
    """
    if text is None:
        return None
    key, mark, values = text.partition("=")
    if not (key and mark and values):
        raise UsageError(f"--test '{text}': write KEY=VALUE,VALUE such as speaker=09,10")
    return key, tuple(values.split(","))


def divide(records: Sequence[Record], protocol: Protocol) -> list[Fold]:
    """The folds of a protocol.

    Raises:
        LanserError: too few groups, a record without its group, or a group on both sides.
    """
    if protocol.test is not None:
        key, values = protocol.test
        test = [record for record in records if record.fields.get(key) in values]
        training = [record for record in records if record.fields.get(key) not in values]
        folds = [Fold("1", training, test)]
        missing = sorted(set(values) - {str(record.fields.get(key)) for record in test})
        if missing:
            raise LanserError(f"--test: no record has {key} {', '.join(missing)}")
    elif protocol.folds == 0:
        folds = [Fold("1", list(records), [])]
    elif protocol.folds is None and all(record.fields.get("fold") for record in records):
        names = sorted({str(record.fields["fold"]) for record in records})
        folds = [
            Fold(
                name,
                [record for record in records if record.fields["fold"] != name],
                [record for record in records if record.fields["fold"] == name],
            )
            for name in names
        ]
    else:
        folds = _by_group(records, protocol)
    for fold in folds:
        if not fold.training or (not fold.test and protocol.folds != 0):
            raise LanserError(f"fold {fold.name}: nothing left to train on or to test on")
        _check_disjoint(fold, protocol.group)
    return [
        Fold(fold.name, subset(fold.training, protocol.fraction, protocol.seed), fold.test)
        for fold in folds
    ]


def subset(records: Sequence[Record], fraction: float, seed: int) -> list[Record]:
    """A stratified part of the records, at least one a label; nested for growing fractions."""
    if fraction >= 1.0:
        return list(records)
    by_label: dict[str | None, list[Record]] = {}
    for record in records:
        by_label.setdefault(record.label, []).append(record)
    chosen: set[str] = set()
    for group in by_label.values():
        group.sort(key=lambda record: hashlib.sha256(f"{seed}/{record.id}".encode()).digest())
        count = max(1, math.floor(fraction * len(group) + 0.5))
        chosen.update(record.id for record in group[:count])
    return [record for record in records if record.id in chosen]


def finetune(
    records: Sequence[Record],
    labels: tuple[str, ...],
    protocol: Protocol,
    recipe: Recipe,
    run: Path,
    device: torch.device,
    *,
    architecture: Architecture,
    init: Path | None = None,
    resume: bool = False,
) -> tuple[Result | None, list[Reject]]:
    """Train and test every fold; write `fold-NAME/` folders and the pooled `predictions.jsonl`.

    Args:
        init: run folder to take the front-end and backbone from; None starts from scratch.

    Returns:
        The result on all test records together (None without any), and the records whose sound
        could not be read.
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
    if not ordered:
        return None, rejected
    lines = [to_json(record.fields) + "\n" for record in ordered]
    write_whole(run / "predictions.jsonl", "".join(lines))
    return measure(ordered, labels=labels, seed=recipe.seed), rejected


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


def _by_group(records: Sequence[Record], protocol: Protocol) -> list[Fold]:
    from sklearn.model_selection import GroupKFold

    groups = []
    for record in records:
        value = record.fields.get(protocol.group)
        if value is None:
            raise LanserError(
                f"record '{record.id}' has no '{protocol.group}': folds keep its values apart; "
                "name another key with --group, or a hold-out with --test KEY=VALUES"
            )
        groups.append(str(value))
    wanted = 5 if protocol.folds is None else protocol.folds
    count = min(wanted, len(set(groups)))
    if count < 2:
        raise LanserError(
            f"all records have the same '{protocol.group}': folds need at least two; name another "
            "key with --group, or train on everything with --folds 0"
        )
    if count < wanted:
        console.info(f"finetune: {count} folds, one for each '{protocol.group}'")
    order = sorted(range(len(records)), key=lambda index: groups[index])
    splits = GroupKFold(count).split(order, groups=[groups[index] for index in order])
    folds = []
    for number, (_, test) in enumerate(splits, start=1):
        held_out = {order[index] for index in test}
        folds.append(
            Fold(
                str(number),
                [record for index, record in enumerate(records) if index not in held_out],
                [record for index, record in enumerate(records) if index in held_out],
            )
        )
    return folds


def _check_disjoint(fold: Fold, group: str) -> None:
    sides = [
        {record.fields.get(group) for record in side} - {None}
        for side in (fold.training, fold.test)
    ]
    if shared := sides[0] & sides[1]:
        raise LanserError(
            f"fold {fold.name}: {group} {', '.join(sorted(map(str, shared)))} is in training and "
            f"in test, which makes results too good; name another key with --group"
        )
