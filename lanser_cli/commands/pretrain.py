"""lanser pretrain: weak labels and sound to a model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.commands import options


def command(
    inputs: options.ShardsOrRecords = None,
    output: options.RunOutput = None,
    model: options.Architecture = "resnet50",
    targets: Annotated[
        str, typer.Option(help="hard: the weak label; soft: all of emotion_scores.")
    ] = "hard",
    labels: Annotated[
        Path | None,
        typer.Option(help="JSONL whose emotion, by id, replaces the one in the shards."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Train on this split alone.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 30,
    batch_size: options.BatchSize = 32,
    lr: options.LearningRate = 1e-3,
    mixup: options.Mixup = 0.2,
    crop: options.Crop = 3.0,
    precision: options.Precision = "auto",
    workers: options.LoaderWorkers = 0,
    resampled: Annotated[
        bool,
        typer.Option("--resampled", help="Draw with replacement; else each once an epoch."),
    ] = False,
    shuffle_buffer: Annotated[
        int,
        typer.Option(
            min=0,
            help="Shuffle in blocks of this many, some shards of it (slow disks); 0: all at once.",
        ),
    ] = 0,
    checkpoint_every: options.CheckpointEvery = 500,
    resume: options.Resume = False,
    device: options.OneDevice = "auto",
    seed: options.Seed = 0,
    fetch: options.Fetch = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Pre-train a network on weak labels (`emotion`), from shards or records.

    Under torchrun or srun every rank makes the same number of steps. Prints the run as one JSON
    line.
    """
    from lanser_cli.errors import UsageError
    from lanser_cli.models.classifier import Architecture
    from lanser_cli.shards import gather
    from lanser_cli.training import loop
    from lanser_cli.training.pretrain import TARGETS, pretrain, relabel_records, slim

    if output is None:
        raise UsageError("pretrain needs -o RUN, the folder to make")
    options.one_of("--targets", targets, TARGETS)
    options.one_of("--precision", precision, loop.PRECISIONS)
    if resampled and shuffle_buffer:
        raise UsageError("--resampled draws from everything at once: leave --shuffle-buffer out")
    light = partial(slim, soft=targets == "soft")
    records, rejected = gather.read_all(inputs, "pretrain", fetch, slim=light, split=split)
    if labels is not None:
        records = [light(record) for record in relabel_records(records, labels)]
    recipe = loop.Recipe(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        mixup=mixup,
        precision=precision,
        workers=workers,
        checkpoint_every=checkpoint_every,
        seed=seed,
        resampled=resampled,
        shuffle_buffer=shuffle_buffer,
    )
    result = pretrain(
        records,
        recipe,
        output,
        loop.choose_device(device),
        architecture=Architecture(model, (), crop),
        soft=targets == "soft",
        resume=resume,
    )
    return options.finish("pretrain", result, len(records), rejected)
