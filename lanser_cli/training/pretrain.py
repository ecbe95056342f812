"""Pre-training: one network on the weak labels of a lot of speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from lanser_cli import console
from lanser_cli.errors import LanserError
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.records import Record
from lanser_cli.shards.relabel import Labels, overlay
from lanser_cli.training.examples import weak_examples, weak_label_set
from lanser_cli.training.loop import Recipe, train
from lanser_cli.training.ranks import process_group
from lanser_cli.training.runs import RunFolder

TARGETS = ("hard", "soft")


def relabel_records(records: Sequence[Record], path: Path) -> list[Record]:
    """Give records the weak labels that a JSONL file has for their ids.

    Raises:
        LanserError: as `Labels`, or none of the ids is in the data.
    """
    labels = Labels(str(path), "--labels")
    new = [labels.get(record.id) for record in records]
    found = len(new) - new.count(None)
    console.info(f"pretrain: {found} of {len(records)} records relabelled from {path}")
    if not found:
        raise LanserError(f"--labels {path}: none of its ids is in the data")
    return [
        record if label is None else overlay(record, label)
        for record, label in zip(records, new, strict=True)
    ]


def slim(record: Record, *, soft: bool) -> Record:
    """What training reads of a record: there may be millions, of some kilobytes each.

    Hard targets need only the names of the labels that were scored, for their order.
    """
    kept = ("id", "audio_filepath", "offset", "duration", "emotion")
    fields = {key: record.fields[key] for key in kept if record.fields.get(key) is not None}
    if scores := record.emotion_scores:
        names = _shared(tuple(scores))
        fields["emotion_scores"] = dict(zip(names, scores.values(), strict=True)) if soft else names
    return Record(fields)


@cache
def _shared(names: tuple[str, ...]) -> dict[str, float]:
    """One object for all records that were scored for the same labels."""
    return dict.fromkeys(names, 0.0)


def pretrain(
    records: Sequence[Record],
    recipe: Recipe,
    run: Path,
    device: torch.device,
    *,
    architecture: Architecture,
    soft: bool = False,
    resume: bool = False,
) -> dict[str, Any]:
    """Train on weak labels, hard or soft, and leave a run folder.

    Args:
        architecture: its labels are filled in from the data.

    Returns:
        What was made: run, utterances, labels.

    Raises:
        LanserError: fewer than two different weak labels.
    """
    architecture = replace(architecture, labels=weak_label_set(records))
    examples = weak_examples(records, architecture.labels, soft=soft)
    folder = RunFolder(run)
    result = {"run": str(run), "utterances": len(examples), "labels": list(architecture.labels)}
    if resume and folder.finished:
        console.info(f"pretrain: {run} is trained already; nothing to do")
        return result
    torch.manual_seed(recipe.seed)
    model = SpeechClassifier(architecture)
    with process_group(device) as ranks:
        if ranks.leads:
            folder.create(resume=resume)
            targets = "soft" if soft else "hard"
            folder.write_config("pretrain", architecture, recipe=asdict(recipe), targets=targets)
        train(model, examples, recipe, folder, device, resume=resume, what="pretrain")
    return result
