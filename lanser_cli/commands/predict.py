"""lanser predict: audio to emotion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.choices import Removing
from lanser_cli.commands import options


def command(
    inputs: options.AudioOrRecords = None,
    run: Annotated[
        Path | None, typer.Option("--run", "-r", help="Run folder of pretrain or finetune.")
    ] = None,
    crosswalk: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE:TARGET",
            help="Sum the probabilities of the run's labels, of taxonomy SOURCE, into those of "
            "TARGET (a name, or a crosswalk file): goemotions:ravdess8.",
        ),
    ] = None,
    calibrate: Annotated[
        Removing, typer.Option(help="Divide probabilities by their mean over the input (batch).")
    ] = "none",
    channel: options.Channel = "mix",
    output: options.Output = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    force: options.Force = False,
    part: options.Part = None,
    device: options.Device = "auto",
    fetch: options.Fetch = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Predict the emotion of speech with a trained model: adds `prediction` and `scores`.

    A run with folds votes: the mean of its models' probabilities. Do not score such a vote on the
    records the folds were trained on; use the run's own predictions.jsonl.
    """
    from lanser_cli.shards import remote
    from lanser_cli.training import predict

    pipe = options.pipe("predict", locals(), window=predict.WINDOW)
    sources = remote.fetch(inputs or ["-"], fetch)
    tally = predict.predict_files(
        *(sources, run, pipe),
        channel=channel,
        crosswalk=crosswalk,
        calibrate=calibrate,
        device=device,
    )
    return tally.exit_code
