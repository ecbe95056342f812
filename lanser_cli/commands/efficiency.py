"""lanser efficiency: how many labels a pre-trained start saves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lanser_cli.commands import completion, options, training
from lanser_cli.commands.groups import MODEL, OUTPUT, RUNNING, TEST, TRAINING
from lanser_cli.devices import Ranks
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser efficiency corpus.jsonl -o curve/ --init runs/pretrained --fractions .1,1 --seeds 2
lanser efficiency corpus.jsonl -o large/ --init runs/pretrained --part 1/2
lanser efficiency corpus.jsonl -o large/ --init runs/pretrained --resume
"""


def command(
    output: Annotated[Path, OUTPUT.option("-o", "--output", help="Folder to make.", metavar="DIR")],
    inputs: options.ShardsOrRecords = None,
    init: Annotated[
        Path | None,
        MODEL.option(
            metavar="RUN",
            autocompletion=completion.run,
            help="Run folder that the one arm starts from.",
        ),
    ] = None,
    shrink: training.Shrink = 0.0,
    allow_seen: training.AllowSeen = False,
    fractions: Annotated[
        str, TEST.option(metavar="F,F,...", help="Shares of the training labels.")
    ] = ".05,.1,.25,.5,1",
    seeds: Annotated[
        int, TEST.option(min=1, help="Trainings of each arm and fraction, from --seed on.")
    ] = 5,
    steps: Annotated[int, TRAINING.option(min=1, help="Optimizer steps of each training.")] = 1500,
    folds: training.Folds = None,
    group: training.Group = "speaker",
    test: training.Test = None,
    protocol: training.StandardProtocol = None,
    batch_size: training.BatchSize = 32,
    lr: training.LearningRate = 1e-3,
    weight_decay: training.WeightDecay = 0.05,
    class_weights: training.ClassWeights = "none",
    label_smoothing: training.LabelSmoothing = 0.1,
    mixup: training.Mixup = 0.2,
    gain_db: training.GainDb = 0.0,
    noise_db: training.NoiseDb = None,
    tempo: training.Tempo = 0.0,
    precision: training.Precision = "auto",
    threads: options.Threads = None,
    deterministic: training.Deterministic = False,
    workers: training.LoaderWorkers = 0,
    checkpoint_every: training.CheckpointEvery = 500,
    checkpoint_minutes: training.CheckpointMinutes = 10.0,
    by: Annotated[
        str | None,
        TEST.option(metavar="KEY", help="What the intervals take for independent, as in eval."),
    ] = None,
    part: Annotated[
        str | None,
        RUNNING.option(
            metavar="I/N", help="Train every N-th point, from the I-th; then call once without."
        ),
    ] = None,
    resume: options.Resume = False,
    device: options.OneDevice = "auto",
    min_seconds: options.MinSeconds = 0.0,
    max_seconds: options.MaxSeconds = None,
    seed: options.Seed = 0,
    subset_seed: training.SubsetSeedOfCurve = 0,
    fetch: options.Fetch = None,
    rejects: options.Rejects = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Draw the label-efficiency curve: UAR against the share of labels, with and without --init.

    Both arms have the same architecture, folds, seeds, labels and number of steps. Each point is a
    run folder in DIR/points. Prints the curves, the area between them and the labels saved as one
    JSON line, and writes points.jsonl and report.html. Parts run side by side on one DIR, and are
    then put together by --resume: see the examples.
    """
    from lanser_cli.evaluation.efficiency import Grid, efficiency
    from lanser_cli.evaluation.findings import of_curves
    from lanser_cli.training.folds import Protocol
    from lanser_cli.training.recipe import Recipe
    from lanser_cli.training.start import Start

    how = options.fill(Protocol, locals())
    recipe = options.fill(Recipe, locals() | {"epochs": None})
    ranks = Ranks.from_environment()
    with Ledger("efficiency", rejects, inputs=inputs, ranks=ranks) as ledger:
        made = efficiency(
            *(inputs, output, how, recipe, ledger),
            grid=Grid.parse(fractions, seeds),
            start=options.fill(Start, locals()),
            by=by,
            part=part,
            device=device,
            resume=resume,
            fetch=fetch,
        )
    return options.result(ledger, made, shown=of_curves(made))
