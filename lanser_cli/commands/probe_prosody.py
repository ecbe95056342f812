"""lanser probe-prosody: what a representation knows of prosody."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.commands import options
from lanser_cli.errors import UsageError
from lanser_cli.tally import Ledger


def command(
    inputs: options.ShardsOrRecords = None,
    run: Annotated[
        Path | None, typer.Option("--run", "-r", help="Run folder of pretrain or finetune.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds; speakers are kept apart.")] = 5,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for report.html and its parts.")
    ] = None,
    device: options.OneDevice = "auto",
    seed: options.Seed = 0,
    fetch: options.Fetch = None,
    rejects: options.Rejects = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Probe a network's representation for pitch, loudness, rate and pauses.

    Ridge regressions predict prosody measured on the sound from the network's pooled features; the
    same is done for an untrained network, the mean log-mel spectrum, and shuffled utterances.
    Prints R2 as one JSON line.
    """
    from lanser_cli.prosody.probe_run import probe_run

    if run is None:
        raise UsageError("probe-prosody needs --run RUN, the folder of a trained model")
    with Ledger("probe-prosody", rejects) as ledger:
        numbers = probe_run(
            inputs,
            run,
            ledger,
            output=output,
            folds=folds,
            device=device,
            seed=seed,
            fetch=fetch,
        )
    return options.result(ledger, numbers)
