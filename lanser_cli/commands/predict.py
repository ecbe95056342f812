"""lanser predict: audio to emotion."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.commands import options


def predict(
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
    from lanser_cli import predicting, shards, streams, workers
    from lanser_cli.errors import UsageError
    from lanser_cli.pipe import Pipe

    if run is None:
        raise UsageError("predict needs --run RUN, the folder of a trained model")
    inputs = shards.fetch(inputs or ["-"], fetch)
    chosen = streams.parse_part(part)
    shards.check_inputs(inputs)
    pipe = Pipe("predict", output, rejects=rejects, resume=resume, window=predicting.WINDOW)
    items = streams.unique(shards.read(inputs, "predict"), "predict")
    make = partial(predicting.make_predictor, run=run)
    devices = workers.parse_devices(device)
    return pipe.run(streams.take_part(items, chosen), workers.spread(make, devices))
