"""lanser text-only: what the words alone tell of a labelled corpus."""

from __future__ import annotations

from typing import Annotated

from lanser_cli.choices import Removing
from lanser_cli.commands import completion, options, training
from lanser_cli.commands.groups import LABELS
from lanser_cli.lock import claimed_new_folder
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser text-only corpus.jsonl -o runs/words -t ekman6
lanser text-only corpus.jsonl -o runs/calibrated --calibrate batch --crosswalk ekman6
"""


def command(
    output: training.RunOutput,
    inputs: options.Records = None,
    taxonomy: Annotated[
        str,
        LABELS.option(
            "--taxonomy",
            "-t",
            autocompletion=completion.taxonomy,
            help="Name (see lanser taxonomies) or .json file.",
        ),
    ] = "goemotions",
    crosswalk: Annotated[
        str | None,
        LABELS.option(
            autocompletion=completion.taxonomy,
            help="Taxonomy of the corpus' labels, or a crosswalk file; default: the taxonomy that "
            "ships and has them.",
        ),
    ] = None,
    calibrate: Annotated[
        Removing, LABELS.option(help="Subtract what labels score on average (batch).")
    ] = "none",
    folds: training.Folds = None,
    group: training.Group = "speaker",
    test: training.Test = None,
    protocol: training.StandardProtocol = None,
    fraction: training.Fraction = 1.0,
    subset_seed: training.SubsetSeed = 0,
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
    with Ledger("text-only", rejects, inputs=inputs) as ledger, claimed_new_folder(output):
        made, found = text_only(
            *(inputs, output, how, ledger),
            taxonomy=taxonomy,
            crosswalk=crosswalk,
            calibrate=calibrate,
            device=device,
        )
    return options.result(ledger, made, shown=of_results(found))
