"""Pre-training: one network on the weak labels of a lot of speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from lanser_cli import console
from lanser_cli.audio.lengths import ANY, Lengths
from lanser_cli.choices import Control, Normalising, Targets
from lanser_cli.devices import Ranks
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.models.front_end import FrontEnd
from lanser_cli.records import Record
from lanser_cli.shards.cache import stream
from lanser_cli.shards.gather import gather
from lanser_cli.shards.index import taxonomy_of
from lanser_cli.shards.side_file import Labels
from lanser_cli.tally import Ledger
from lanser_cli.texts import near
from lanser_cli.training import controls, heard
from lanser_cli.training.examples import WeakUtterance, weak_examples, weak_label_set
from lanser_cli.training.identity import identity
from lanser_cli.training.loop import choose_device, train
from lanser_cli.training.ranks import process_group
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.runs import RunFolder
from lanser_cli.training.speakers import known_speakers
from lanser_cli.training.unread import unread_reject


def pretrain(
    inputs: Sequence[str] | None,
    run: Path,
    recipe: Recipe,
    ledger: Ledger,
    *,
    model: str,
    crop: float,
    trim: bool = False,
    normalise: Normalising = "none",
    targets: Targets = "hard",
    control: Control = "none",
    labels: Path | None = None,
    split: str | None = None,
    lengths: Lengths = ANY,
    device: str = "auto",
    resume: bool = False,
    fetch: Path | None = None,
    fetch_limit: str | None = None,
) -> dict[str, Any]:
    """Train on the weak labels of shards or records, and leave a run folder.

    Args:
        inputs, fetch: as `gather` takes them.
        fetch_limit: what the folder of `fetch` may hold; remote shards then come and go.
        model: name of an architecture.
        crop: seconds the network hears at once.
        trim, normalise: as `Architecture` and `FrontEnd` have them.
        targets: hard or soft.
        control: what takes the place of the weak label.
        labels: JSONL whose weak labels replace, by id, those of the records.
        split: train on the records of this split alone.
        lengths: the utterances to use.

    Returns:
        What was made: run, utterances, labels, and the control if there is one.

    Raises:
        LanserError: fewer than two different weak labels, no scores for soft targets, or none of
            `labels` is for the data.
        UsageError: `run` is there already, or another one than `resume` asks for.
    """
    controls.check(control, targets, recipe.score_weighted)
    where = choose_device(device)
    recipe, folder = recipe.on(where), RunFolder(run)
    architecture = Architecture(model, (), crop, FrontEnd(normalise=normalise), trim)
    if not resume:
        folder.check_new()
    inputs, cache = stream(inputs, fetch, fetch_limit)
    if cache is not None:
        _check_in_blocks(recipe, normalise)
        cache.check_blocks(recipe.shuffle_buffer)
    found = _weak_utterances(
        inputs, ledger, targets, control, normalise, labels, split, lengths, fetch
    )
    found, speakers = known_speakers(found, architecture, ledger)
    if targets == "soft":
        _check_scored(found, ledger)
    records = controls.controlled(found, control, recipe.seed)
    architecture = replace(architecture, labels=weak_label_set(records))
    examples = weak_examples(records, architecture.labels, by_score=recipe.score_weighted)
    ledger.done = len(examples)
    if cache is not None:
        cache.check_blocks(recipe.shuffle_buffer, len(examples))
    learned = (
        (one.record, (one.target, one.weight, *([one.record.speaker] if speakers else [])))
        for one in examples
    )
    same = identity(
        *(architecture, recipe, learned, Ranks.from_environment().count),
        targets=targets,
        control=control,
        split=split,
    )
    if resume:
        folder.check_same(same)
    result = {"run": str(run), "utterances": len(examples), "labels": list(architecture.labels)}
    result |= {} if control == "none" else {"control": control}
    if resume and folder.finished:
        console.info(f"pretrain: {run} is trained already; nothing to do")
        _reject_unread(found, folder, ledger)
        return result
    torch.manual_seed(recipe.seed)
    network = SpeechClassifier(architecture)
    with process_group(where) as ranks:
        if ranks.leads:
            folder.create(resume=resume)
            details = {
                "recipe": asdict(recipe),
                "targets": targets,
                "control": control,
                "identity": same,
                "place": recipe.place(where, ranks.count),
            }
            folder.write_config("pretrain", architecture, **details)
            if not (run / heard.FILE).exists():  # as when it is resumed
                traces = ((record.marks, record.audio_filepath) for record in records)
                heard.write(run, heard.heard(traces), None)
        train(
            *(network, examples, recipe, folder, where),
            resume=resume,
            what="pretrain",
            speakers=speakers,
        )
    _reject_unread(found, folder, ledger)
    return result


def _check_in_blocks(recipe: Recipe, normalise: Normalising) -> None:
    """Refuse to read shards that come and go in an order, or by processes, for which they stay.

    Raises:
        UsageError: by name of the option.
    """
    if not recipe.shuffle_buffer:
        raise UsageError(
            "--fetch-limit: all shards would be read at once: say --shuffle-buffer N, as many "
            "utterances as a few shards have"
        )
    if normalise == "speaker":
        raise UsageError("--normalise speaker reads all sound first: leave --fetch-limit out")


def _check_scored(records: Sequence[WeakUtterance], ledger: Ledger) -> None:
    """Say how many records have no scores, which are learned by their label alone.

    Raises:
        LanserError: none has any.
    """
    bare = sum(not any(record.probabilities) for record in records)
    if bare == len(records):
        raise LanserError(
            "--targets soft: no record has 'emotion_scores': label the data with lanser "
            "entail-label, or take hard targets"
        )
    if bare and ledger.leads:
        console.warn(
            f"pretrain: --targets soft: {bare} of {len(records)} records have no 'emotion_scores', "
            "and are learned by their label alone"
        )


def _reject_unread(records: Sequence[Record], run: RunFolder, ledger: Ledger) -> None:
    """File what could not be read in training, with its own weak label and not a control's."""
    unread = set(run.unread)
    for record in records:
        if record.id in unread:
            ledger.done -= 1
            ledger.reject(unread_reject(record, "pretrain"))


def _weak_utterances(
    inputs: Sequence[str] | None,
    ledger: Ledger,
    targets: Targets,
    control: Control,
    normalise: Normalising,
    labels: Path | None,
    split: str | None,
    lengths: Lengths,
    fetch: Path | None,
) -> list[WeakUtterance]:
    new = None if labels is None else Labels(str(labels), "--labels")
    named = ("speaker",) if normalise == "speaker" else ()
    kept = tuple(dict.fromkeys((*controls.kept_for(control), *named)))
    relabelled = 0
    splits: set[str] = set()
    taxonomies: set[str] = set()

    def take(record: Record) -> WeakUtterance | str:
        nonlocal relabelled
        splits.add(record.split or "")
        if split is not None and record.split != split:
            return f"split {record.split}" if record.split else "no split"
        if fault := lengths.fault(record):
            return fault
        label = None if new is None else new.get(record.id)
        if label is not None:
            relabelled += 1
            record = record.relabelled(label)
        if not record.emotion:
            return "no weak label"
        if taxonomy := taxonomy_of(record):
            taxonomies.add(taxonomy)
        return controls.missing(record, control) or WeakUtterance.of(record, targets, kept)

    try:
        records = gather(inputs, ledger, fetch, take=take)
    except LanserError as error:
        if split is None or split in splits or not splits:
            raise
        hint = near(split, splits - {""})
        raise type(error)(f"{error}; --split {split} is that of none: {hint}") from None
    if len(taxonomies) > 1 and control != "gold" and ledger.leads:
        console.warn(
            f"pretrain: the weak labels are of several taxonomies ({', '.join(sorted(taxonomies))})"
            ", and what one calls by another word is learned as another class: label all with one"
        )
    if new is not None:
        console.info(f"pretrain: {relabelled} of {ledger.read} records relabelled from {labels}")
        if not relabelled:
            raise LanserError(f"--labels {labels}: none of its ids is in the data")
    return records
