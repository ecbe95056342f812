"""lanser pretrain: weak labels and sound to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lanser_cli.choices import Control, Targets
from lanser_cli.commands import options, training
from lanser_cli.commands.groups import INPUT, LABELS, RUNNING, TRAINING
from lanser_cli.devices import Ranks
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser pretrain shards/ -o runs/pretrained
lanser pretrain shards/ -o runs/soft --targets soft --model resnet18-slim --min-seconds 1
lanser pretrain shards/ -o runs/pretrained --resume
"""


def command(
    output: training.RunOutput,
    inputs: options.ShardsOrRecords = None,
    model: training.Architecture = "resnet50",
    targets: Annotated[
        Targets, LABELS.option(help="hard: the weak label; soft: all of emotion_scores.")
    ] = "hard",
    control: Annotated[
        Control,
        LABELS.option(
            help="Learn something else in its place: labels shuffled within speakers, drawn from "
            "their prior, clusters of transcripts, three-way sentiment, or the human label."
        ),
    ] = "none",
    labels: Annotated[
        Path | None,
        LABELS.option(help="JSONL whose emotion, by id, replaces the one in the shards."),
    ] = None,
    split: Annotated[
        str | None, INPUT.option(metavar="NAME", help="Train on this split alone.")
    ] = None,
    min_seconds: options.MinSeconds = 0.0,
    max_seconds: options.MaxSeconds = None,
    epochs: Annotated[
        int | None,
        TRAINING.option(min=1, help="Passes over the data; default 30, without --steps."),
    ] = None,
    steps: training.Steps = None,
    batch_size: training.BatchSize = 32,
    accumulate: training.Accumulate = 1,
    lr: training.LearningRate = 1e-3,
    weight_decay: training.WeightDecay = 0.05,
    class_weights: training.ClassWeights = "none",
    score_weighted: Annotated[
        bool,
        TRAINING.option("--score-weighted", help="Count each utterance by its emotion_score."),
    ] = False,
    label_smoothing: training.LabelSmoothing = 0.1,
    mixup: training.Mixup = 0.2,
    gain_db: training.GainDb = 0.0,
    noise_db: training.NoiseDb = None,
    tempo: training.Tempo = 0.0,
    crop: training.Crop = 3.0,
    trim: training.Trim = False,
    normalise: training.Normalise = "none",
    precision: training.Precision = "auto",
    compile: training.Compile = False,
    threads: options.Threads = None,
    deterministic: training.Deterministic = False,
    workers: training.LoaderWorkers = 0,
    resampled: Annotated[
        bool,
        TRAINING.option("--resampled", help="Draw with replacement, not each once an epoch."),
    ] = False,
    shuffle_buffer: Annotated[
        int,
        RUNNING.option(
            min=0,
            help="For slow disks: shuffle blocks of this many, a few shards; 0: all at once.",
        ),
    ] = 0,
    checkpoint_every: training.CheckpointEvery = 500,
    checkpoint_minutes: training.CheckpointMinutes = 10.0,
    tensorboard: training.TensorBoard = False,
    resume: options.Resume = False,
    device: options.OneDevice = "auto",
    seed: options.Seed = 0,
    fetch: options.Fetch = None,
    fetch_limit: Annotated[
        str | None,
        RUNNING.option(
            metavar="SIZE",
            help="Hold at most so much in the folder of --fetch, 50G: fetch each shard when it is "
            "read. Needs --shuffle-buffer.",
        ),
    ] = None,
    rejects: options.Rejects = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Pre-train a network on weak labels (`emotion`), from shards or records.

    Under torchrun, or srun with MASTER_ADDR and MASTER_PORT, all processes train one network. On
    Ctrl-C, SIGTERM or SIGUSR1 it stops after a checkpoint; --resume goes on. Prints the run as one
    JSON line.
    """
    from lanser_cli.audio.lengths import Lengths
    from lanser_cli.training.pretrain import pretrain
    from lanser_cli.training.recipe import Recipe

    epochs, steps = training.length(epochs, steps, (30, None))
    recipe = options.fill(Recipe, locals())
    read = [*(inputs or ["-"]), *([] if labels is None else [str(labels)])]
    with Ledger("pretrain", rejects, inputs=read, ranks=Ranks.from_environment()) as ledger:
        made = pretrain(
            *(inputs, output, recipe, ledger),
            model=model,
            crop=crop,
            trim=trim,
            normalise=normalise,
            targets=targets,
            control=control,
            labels=labels,
            split=split,
            lengths=options.fill(Lengths, locals()),
            device=device,
            resume=resume,
            fetch=fetch,
            fetch_limit=fetch_limit,
        )
    return options.result(ledger, made)
