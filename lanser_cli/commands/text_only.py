"""lanser text-only: what the words alone tell of a labelled corpus."""

from __future__ import annotations

from typing import Annotated

import typer

from lanser_cli.choices import Removing
from lanser_cli.commands import options
from lanser_cli.tally import Ledger


def command(
    inputs: options.Records = None,
    output: options.RunOutput = None,
    taxonomy: Annotated[
        str, typer.Option("--taxonomy", "-t", help="Name (see lanser taxonomies) or .json file.")
    ] = "goemotions",
    crosswalk: Annotated[
        str | None,
        typer.Option(
            help="Taxonomy of the corpus' labels, or a crosswalk file; default: the taxonomy that "
            "ships and has them."
        ),
    ] = None,
    calibrate: Annotated[
        Removing, typer.Option(help="Subtract what labels score on average (batch).")
    ] = "none",
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
    seed: options.Seed = 0,
    device: options.OneDevice = "auto",
    rejects: options.Rejects = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Test what transcripts alone tell: by entailment, and by logistic regression on text.

    In the same folds as finetune. Where all say the same sentences, both are at chance. Writes
    RUN/entailment and RUN/logistic, which eval and compare read like runs, and prints UAR and WA
    as one JSON line.
    """
    from lanser_cli.evaluation.text_only import text_only
    from lanser_cli.training.folds import Protocol

    protocol = options.fill(Protocol, locals())
    with Ledger("text-only", rejects) as ledger:
        made = text_only(
            *(inputs, output, protocol, ledger),
            taxonomy=taxonomy,
            crosswalk=crosswalk,
            calibrate=calibrate,
            device=device,
        )
    return options.result(ledger, made)
