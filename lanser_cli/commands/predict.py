"""lanser predict: audio to emotion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.commands import options
from lanser_cli.errors import UsageError
from lanser_cli.pipe import Pipe


def command(
    inputs: options.AudioOrRecords = None,
    run: Annotated[
        Path | None, typer.Option("--run", "-r", help="Run folder of pretrain or finetune.")
    ] = None,
    output: options.Output = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
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
    from lanser_cli.shards import reader, remote
    from lanser_cli.training import predict

    if run is None:
        raise UsageError("predict needs --run RUN, the folder of a trained model")
    pipe = Pipe("predict", output, rejects=rejects, resume=resume, part=part, window=predict.WINDOW)
    sources = remote.fetch(inputs or ["-"], fetch)
    reader.check_inputs(sources)
    items = reader.records_of(sources, "predict")
    return predict.predict_records(items, run, pipe, device=device).exit_code
