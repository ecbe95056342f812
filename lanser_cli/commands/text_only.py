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
    folds: options.Folds = None,
    group: options.Group = "speaker",
    test: options.Test = None,
    protocol: options.StandardProtocol = None,
    fraction: options.Fraction = 1.0,
    subset_seed: options.SubsetSeed = 0,
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
    from lanser_cli.evaluation.findings import of_results
    from lanser_cli.evaluation.text_only import text_only
    from lanser_cli.training.folds import Protocol

    how = options.fill(Protocol, locals())
    with Ledger("text-only", rejects, inputs=inputs) as ledger:
        made, found = text_only(
            *(inputs, output, how, ledger),
            taxonomy=taxonomy,
            crosswalk=crosswalk,
            calibrate=calibrate,
            device=device,
        )
    return options.result(ledger, made, shown=of_results(found))
