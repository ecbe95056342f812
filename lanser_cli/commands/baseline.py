"""lanser baseline: what a linear classifier makes of a labelled corpus, without any network."""

from __future__ import annotations

from typing import Annotated

from lanser_cli.choices import Scaling
from lanser_cli.commands import options, training
from lanser_cli.commands.groups import RUNNING, SOUND
from lanser_cli.lock import claimed_new_folder
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser baseline corpus.jsonl -o runs/linear
lanser baseline corpus.jsonl -o runs/scaled --normalise speaker
"""


def command(
    output: training.RunOutput,
    inputs: options.ShardsOrRecords = None,
    folds: training.Folds = None,
    group: training.Group = "speaker",
    test: training.Test = None,
    protocol: training.StandardProtocol = None,
    min_seconds: options.MinSeconds = 0.0,
    max_seconds: options.MaxSeconds = None,
    fraction: training.Fraction = 1.0,
    subset_seed: training.SubsetSeed = 0,
    normalise: Annotated[
        Scaling,
        SOUND.option(help="Scale features for each speaker, test speakers too: report it apart."),
    ] = "none",
    workers: Annotated[
        int | None,
        RUNNING.option(min=1, help="Decoding processes; default one a processor."),
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
    from lanser_cli.evaluation.findings import of_results
    from lanser_cli.prosody.baseline import baseline
    from lanser_cli.training.folds import Protocol

    how = options.fill(Protocol, locals())
    with Ledger("baseline", rejects, inputs=inputs) as ledger, claimed_new_folder(output):
        made, found = baseline(
            *(inputs, output, how, ledger),
            normalise=normalise,
            processes=workers,
            fetch=fetch,
        )
    return options.result(ledger, made, shown=of_results(found))
