"""lanser finetune: a labelled corpus to a model and an honest test of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.commands import options
from lanser_cli.shards import gather


def command(
    inputs: options.ShardsOrRecords = None,
    output: options.RunOutput = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Run folder to start from; without it training is from scratch."),
    ] = None,
    model: options.ArchitectureOrInit = None,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Keep the backbone as it is; train the last layer.")
    ] = False,
    folds: Annotated[
        int | None,
        typer.Option(
            min=0, help="Folds; default the records' own, else 5. 0: train on all, no test."
        ),
    ] = None,
    group: Annotated[
        str, typer.Option(help="Key whose values are never in training and test at once.")
    ] = "speaker",
    test: Annotated[
        str | None,
        typer.Option(metavar="KEY=A,B", help="One hold-out instead of folds: speaker=09,10."),
    ] = None,
    fraction: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the training labels to use.")
    ] = 1.0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 60,
    batch_size: options.BatchSize = 32,
    lr: options.LearningRate = 1e-3,
    mixup: options.Mixup = 0.2,
    crop: options.CropOrInit = None,
    precision: options.Precision = "auto",
    workers: options.LoaderWorkers = 0,
    checkpoint_every: options.CheckpointEvery = 500,
    resume: options.Resume = False,
    device: options.OneDevice = "auto",
    seed: options.Seed = 0,
    fetch: options.Fetch = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Fine-tune on human labels (`label`), testing on speakers that were not in training.

    The last epoch is what counts: no epoch is chosen by its test result. Writes a run folder with
    one model a fold and predictions.jsonl of all test records, and prints UAR and WA as one JSON
    line. Five folds make five models; lanser predict lets them vote.
    """
    from dataclasses import replace

    from lanser_cli.errors import UsageError
    from lanser_cli.evaluation.metrics import measure
    from lanser_cli.models.classifier import Architecture
    from lanser_cli.training import loop, runs
    from lanser_cli.training.examples import human_label_set
    from lanser_cli.training.finetune import finetune
    from lanser_cli.training.folds import Protocol, parse_test

    if output is None:
        raise UsageError("finetune needs -o RUN, the folder to make")
    if freeze and init is None:
        raise UsageError("--freeze keeps a trained backbone, which only --init RUN can give")
    options.one_of("--precision", precision, loop.PRECISIONS)
    protocol = Protocol(folds, group, parse_test(test), fraction, seed)
    if init is not None:
        architecture = runs.read_architecture(runs.model_folders(init)[0])
        if model not in (None, architecture.name):
            raise UsageError(f"--init {init} is a {architecture.name}, not a {model}")
        architecture = replace(architecture, crop_seconds=crop or architecture.crop_seconds)
    else:
        architecture = Architecture(model or "resnet50", (), crop or 3.0)
    records, rejected = gather.read_all(inputs, "finetune", fetch)
    labels = human_label_set(records)
    recipe = loop.Recipe(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        mixup=mixup,
        freeze=freeze,
        precision=precision,
        workers=workers,
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    tested, unread = finetune(
        records,
        protocol,
        recipe,
        output,
        loop.choose_device(device),
        architecture=replace(architecture, labels=labels),
        init=init,
        resume=resume,
    )
    made: dict[str, object] = {"run": str(output), "labels": list(labels)}
    if tested:
        result = measure(tested, labels=labels, seed=seed)
        made |= {"n": result.n, "uar": result.uar.value, "wa": result.wa.value}
        made |= {"chance": result.chance}
    return options.finish("finetune", made, len(records) - len(unread), rejected + unread)
