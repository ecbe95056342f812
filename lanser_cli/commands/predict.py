"""lanser predict: audio to emotion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lanser_cli.choices import Removing
from lanser_cli.commands import options
from lanser_cli.commands.groups import LABELS, OUTPUT

EXAMPLES = """
lanser predict speech/ -r runs/tuned -o predicted.jsonl
lanser predict speech/ -r runs/pretrained --crosswalk ekman6:iemocap4 > four.jsonl
"""


def command(
    run: options.Run,
    inputs: options.AudioOrRecords = None,
    crosswalk: Annotated[
        str | None,
        LABELS.option(
            metavar="SOURCE:TARGET",
            help="Sum the probabilities of the run's labels, of taxonomy SOURCE, into those of "
            "TARGET (a name, or a crosswalk file): goemotions:ravdess8.",
        ),
    ] = None,
    calibrate: Annotated[
        Removing, LABELS.option(help="Divide probabilities by their mean over the input (batch).")
    ] = "none",
    embed: Annotated[
        Path | None,
        OUTPUT.option(
            metavar="FILE.npy",
            help="Write the representation of each record to this file: one row a record.",
        ),
    ] = None,
    channel: options.Channel = "mix",
    output: options.Output = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    force: options.ForceOfRows = False,
    part: options.Part = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
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

    pipe = options.pipe("predict", locals(), window=predict.WINDOW, rows=embed)
    sources = remote.fetch(inputs or ["-"], fetch)
    tally = predict.predict_files(
        *(sources, run, pipe),
        channel=channel,
        crosswalk=crosswalk,
        calibrate=calibrate,
        device=device,
    )
    return tally.exit_code
