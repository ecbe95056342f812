"""lanser baseline: what a linear classifier makes of a labelled corpus, without any network."""

from __future__ import annotations

from typing import Annotated

import typer

from lanser_cli.choices import Scaling
from lanser_cli.commands import options
from lanser_cli.tally import Ledger


def command(
    inputs: options.ShardsOrRecords = None,
    output: options.RunOutput = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Folds; default the records' own, else 5.")
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
    normalise: Annotated[
        Scaling,
        typer.Option(help="Scale features for each speaker, test speakers too: report it apart."),
    ] = "none",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Decoding processes; default one a processor."),
    ] = None,
    seed: options.Seed = 0,
    fetch: options.Fetch = None,
    rejects: options.Rejects = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Test a linear SVM and logistic regression on functionals of log-mel, MFCC and prosody.

    In the same folds as finetune, each fold's C chosen on its training side alone. Writes
    RUN/svm and RUN/logistic, which eval and compare read like runs, and prints UAR and WA as one
    JSON line.
    """
    from lanser_cli.devices import cpu_count
    from lanser_cli.prosody.baseline import baseline
    from lanser_cli.training.folds import Protocol

    protocol = options.fill(Protocol, locals())
    with Ledger("baseline", rejects) as ledger:
        made = baseline(
            *(inputs, output, protocol, ledger),
            normalise=normalise,
            processes=workers or cpu_count(),
            fetch=fetch,
        )
    return options.result(ledger, made)
