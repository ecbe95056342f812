"""lanser finetune: a labelled corpus to a model and an honest test of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lanser_cli.commands import completion, options, training
from lanser_cli.commands.groups import MODEL, TEST, TRAINING
from lanser_cli.devices import Ranks
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser finetune corpus.jsonl -o runs/tuned --init runs/pretrained
lanser finetune corpus.jsonl -o runs/scratch --model resnet18-slim
lanser finetune corpus.jsonl -o runs/held-out --init runs/pretrained --test speaker=05,06
"""


def command(
    output: training.RunOutput,
    inputs: options.ShardsOrRecords = None,
    init: Annotated[
        Path | None,
        MODEL.option(
            metavar="RUN",
            autocompletion=completion.run,
            help="Run folder to start from; without it training is from scratch.",
        ),
    ] = None,
    shrink: training.Shrink = 0.0,
    allow_seen: training.AllowSeen = False,
    model: training.ArchitectureOrInit = None,
    freeze: Annotated[
        bool, MODEL.option("--freeze", help="Keep the backbone as it is; train the last layer.")
    ] = False,
    folds: training.Folds = None,
    group: training.Group = "speaker",
    test: training.Test = None,
    protocol: training.StandardProtocol = None,
    validation: Annotated[
        int,
        TEST.option(
            min=0, help="Speakers of each training side to set apart, to be measured at the end."
        ),
    ] = 0,
    min_seconds: options.MinSeconds = 0.0,
    max_seconds: options.MaxSeconds = None,
    fraction: training.Fraction = 1.0,
    subset_seed: training.SubsetSeed = 0,
    seeds: Annotated[
        int, TEST.option(min=1, help="Trainings over the same folds, from --seed on.")
    ] = 1,
    epochs: Annotated[
        int | None,
        TRAINING.option(
            min=1, help="Passes over the data; default 60, or as many as make 3,000 steps."
        ),
    ] = None,
    steps: training.Steps = None,
    batch_size: training.BatchSize = 16,
    accumulate: training.Accumulate = 1,
    lr: training.LearningRate = 1e-3,
    weight_decay: training.WeightDecay = 0.05,
    class_weights: training.ClassWeights = "none",
    label_smoothing: training.LabelSmoothing = 0.1,
    mixup: training.Mixup = 0.2,
    gain_db: training.GainDb = 0.0,
    noise_db: training.NoiseDb = None,
    tempo: training.Tempo = 0.0,
    crop: training.CropOrInit = None,
    trim: training.Trim = False,
    normalise: training.NormaliseOrInit = None,
    precision: training.Precision = "auto",
    compile: training.Compile = False,
    threads: options.Threads = None,
    deterministic: training.Deterministic = False,
    workers: training.LoaderWorkers = 0,
    checkpoint_every: training.CheckpointEvery = 500,
    checkpoint_minutes: training.CheckpointMinutes = 10.0,
    tensorboard: training.TensorBoard = False,
    resume: options.Resume = False,
    device: options.OneDevice = "auto",
    seed: options.Seed = 0,
    fetch: options.Fetch = None,
    rejects: options.Rejects = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Fine-tune on human labels (`label`), testing on speakers that were not in training.

    The last epoch is used: no epoch is chosen by its test result. Writes a run folder with
    one model a fold and predictions.jsonl of all test records, and prints UAR and WA as one JSON
    line. Five folds make five models; lanser predict lets them vote. With --seeds the folder has
    a run folder for each seed, and the line has their means.
    """
    from lanser_cli.evaluation.findings import of_results
    from lanser_cli.evaluation.seeds import measure_run
    from lanser_cli.training.finetune import finetune
    from lanser_cli.training.folds import Protocol
    from lanser_cli.training.recipe import Recipe
    from lanser_cli.training.start import Start

    epochs, steps = training.length(epochs, steps, (60, 3000))
    how, recipe = options.fill(Protocol, locals()), options.fill(Recipe, locals())
    with Ledger("finetune", rejects, inputs=inputs, ranks=Ranks.from_environment()) as ledger:
        tested = finetune(
            *(inputs, output, how, recipe, ledger),
            start=options.fill(Start, locals()),
            seeds=seeds,
            device=device,
            resume=resume,
            fetch=fetch,
        )
    line = {"run": str(output), **tested.summary()}
    if not tested.records:
        return options.result(ledger, line)
    found = measure_run(tested.records)
    shown = of_results({str(output): found})
    return options.result(ledger, line | found.summary(), shown=shown)
