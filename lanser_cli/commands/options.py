"""The options that several verbs share, worded once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lanser_cli import choices, console, surroundings
from lanser_cli.commands import completion
from lanser_cli.commands.groups import INPUT, MODEL, OUTPUT, RUNNING, SOUND, TEST, TRAINING
from lanser_cli.errors import missing_extra
from lanser_cli.models.architectures import architectures_in_words
from lanser_cli.output import result_line
from lanser_cli.pipe import Pipe
from lanser_cli.summary import Summary
from lanser_cli.tally import Tally

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")


def _quiet(value: bool) -> bool:
    console.configure(quiet_=value)
    return value


def _verbose(value: bool) -> bool:
    console.configure(verbose_=value)
    return value


def _threads(value: int | None) -> int | None:
    if value is not None:
        surroundings.use_threads(value)
    return value


def _tensorboard(value: bool) -> bool:
    if value and find_spec("tensorboard") is None:
        raise missing_extra("tensorboard", "tensorboard")
    return value


Records = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        help="JSONL files (.jsonl, .gz, .zst); - or nothing reads standard input.",
        show_default=False,
    ),
]


AudioOrRecords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        help="Audio files, folders, globs or JSONL of records; - or nothing reads records from "
        "standard input.",
        show_default=False,
    ),
]


Channel = Annotated[
    choices.Channel,
    INPUT.option(
        help="What is heard of several channels: their mean (mix), left, right, or each as a "
        "record."
    ),
]


Output = Annotated[
    Path | None,
    OUTPUT.option("-o", "--output", help="Write records to this file; it appears when complete."),
]


Rejects = Annotated[
    Path | None,
    OUTPUT.option(help="Write records that cannot be processed to this file, with the reason."),
]


NoText = Annotated[bool, OUTPUT.option("--no-text", help="Write no word that was said.")]


TextKey = Annotated[
    str | None,
    OUTPUT.option(metavar="FILE", help="With --no-text: key of text hashes, a file or env:NAME."),
]


Resume = Annotated[
    bool, OUTPUT.option("--resume", help="Continue a killed run that had the same -o.")
]


Force = Annotated[bool, OUTPUT.option("--force", help="Overwrite the -o of a run that is over.")]


Part = Annotated[
    str | None,
    RUNNING.option(
        metavar="I/N",
        help="Take every N-th record, from the I-th; in a job on a cluster: slurm/N, k8s/N or "
        "env:NAME/N.",
    ),
]


Device = Annotated[
    str,
    RUNNING.option(
        autocompletion=completion.device,
        help="auto, cpu, cuda, cuda:0,cuda:1 or all (one process a device).",
    ),
]


OneDevice = Annotated[
    str, RUNNING.option(autocompletion=completion.device, help="auto, cpu, cuda or cuda:N.")
]


Seed = Annotated[int, RUNNING.option(help="Seed of all random choices.")]


Quiet = Annotated[
    bool, RUNNING.option("--quiet", "-q", callback=_quiet, help="Only errors and losses on stderr.")
]


Verbose = Annotated[
    bool, RUNNING.option("--verbose", "-v", callback=_verbose, help="Show a traceback on errors.")
]


MinSeconds = Annotated[float, INPUT.option(min=0.0, help="Leave shorter utterances out.")]


MaxSeconds = Annotated[float | None, INPUT.option(min=0.0, help="Leave longer utterances out.")]


ShardsOrRecords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        help="Shard folders, tars (shards/train-{000000..000012}.tar) or JSONL; - or nothing "
        "reads records from standard input.",
        show_default=False,
    ),
]


Fetch = Annotated[
    Path | None,
    RUNNING.option(
        metavar="DIR",
        help="Copy shards given as s3://, gs://, https:// or pipe:COMMAND to this folder first.",
    ),
]


Run = Annotated[
    Path,
    MODEL.option(
        "-r",
        "--run",
        metavar="RUN",
        autocompletion=completion.run,
        help="Run folder of pretrain or finetune, with all its folds.",
    ),
]


RunOutput = Annotated[
    Path, OUTPUT.option("-o", "--output", help="Run folder to make.", metavar="RUN")
]


_ARCHITECTURE = MODEL.option(
    autocompletion=completion.architecture, help=f"{architectures_in_words()}."
)


Architecture = Annotated[str, _ARCHITECTURE]
ArchitectureOrInit = Annotated[str | None, _ARCHITECTURE]


BatchSize = Annotated[int, TRAINING.option(min=1, help="Utterances a step, on each device.")]


Steps = Annotated[
    int | None,
    TRAINING.option(min=1, help="Optimizer steps in all, instead of --epochs: alike for any data."),
]


LearningRate = Annotated[float, TRAINING.option(min=0.0, help="Peak learning rate of AdamW.")]


Mixup = Annotated[float, SOUND.option(min=0.0, help="Alpha of mixup; 0 for none.")]


_CROP = SOUND.option(min=0.1, max=600, help="Seconds of sound seen at once.")


Crop = Annotated[float, _CROP]
CropOrInit = Annotated[float | None, _CROP]


Precision = Annotated[
    choices.TrainingPrecision, TRAINING.option(help="Numeric precision of training.")
]


LoaderWorkers = Annotated[
    int, RUNNING.option(min=0, help="Decoding processes; 0 decodes in the training process.")
]


CheckpointEvery = Annotated[int, RUNNING.option(min=1, help="Steps between checkpoints.")]


CheckpointMinutes = Annotated[
    float, RUNNING.option(min=0.0, help="Minutes after which there is a checkpoint too.")
]


Accumulate = Annotated[
    int, TRAINING.option(min=1, help="Batches whose gradients add up to one step.")
]


WeightDecay = Annotated[
    float, TRAINING.option(min=0.0, help="Weight decay of AdamW; norms and biases have none.")
]


LabelSmoothing = Annotated[
    float, TRAINING.option(min=0.0, max=1.0, help="Share of a target spread over all labels.")
]


ClassWeights = Annotated[
    choices.ClassWeights,
    TRAINING.option(help="Rare classes count more: by one over their frequency, or its root."),
]


GainDb = Annotated[
    float, SOUND.option(min=0.0, max=60.0, help="Make each crop up to this much louder or softer.")
]


NoiseDb = Annotated[
    str | None,
    SOUND.option(metavar="LOW..HIGH", help="White noise so many dB below each crop: 10..40."),
]


Tempo = Annotated[
    float,
    SOUND.option(
        min=0.0, max=0.5, help="Make each crop up to this share faster or slower, at its pitch."
    ),
]


Trim = Annotated[
    bool, SOUND.option("--trim", help="Leave silence before and after speech out, for good.")
]


_NORMALISE = SOUND.option(
    help="Free log-mel of mean and deviation, for good: of each utterance, or over all of a "
    "speaker's sound (transductive: test speakers' too)."
)


Normalise = Annotated[choices.Normalising, _NORMALISE]
NormaliseOrInit = Annotated[choices.Normalising | None, _NORMALISE]


Compile = Annotated[bool, RUNNING.option("--compile", help="Compile the network, on a GPU.")]


Threads = Annotated[
    int | None, RUNNING.option(min=1, callback=_threads, help="Threads of PyTorch on a CPU.")
]


Deterministic = Annotated[
    bool, RUNNING.option("--deterministic", help="Only algorithms with the same bits each time.")
]


TensorBoard = Annotated[
    bool,
    OUTPUT.option(
        "--tensorboard",
        callback=_tensorboard,
        help="Write events for TensorBoard into the run folder.",
    ),
]


Folds = Annotated[
    int | None,
    TEST.option(min=0, help="Folds; default the records' own, else 5. 0: train on all, no test."),
]


Group = Annotated[
    str,
    TEST.option(
        metavar="KEY,...", help="Keys whose values are never in training and test at once."
    ),
]


Test = Annotated[
    str | None,
    TEST.option(metavar="KEY=A,B", help="One hold-out instead of folds: speaker=09,10."),
]


StandardProtocol = Annotated[
    str | None,
    TEST.option(
        metavar="NAME",
        autocompletion=completion.protocol,
        help="A standard protocol, such as emodb-7-loso, in place of these three; a wrong name "
        "lists all.",
    ),
]


Fraction = Annotated[
    float, TEST.option(min=0.0, max=1.0, help="Share of the training labels to use.")
]


SubsetSeed = Annotated[int, TEST.option(help="Seed of the choice of a share of the labels.")]


AllowSeen = Annotated[
    bool,
    TEST.option("--allow-seen", help="Test also on what --init has heard; reports say so."),
]


def fill(kind: type[S], given: Mapping[str, Any]) -> S:
    """Settings from the options that have the names of their fields: `fill(Recipe, locals())`."""
    return kind(**{field.name: given[field.name] for field in fields(kind) if field.name in given})


def pipe(stage: str, given: Mapping[str, Any], **more: Any) -> Pipe:
    """The pipe of a filter, from the options that all of them have: `pipe("predict", locals())`."""
    common = {name: given[name] for name in ("rejects", "resume", "force", "part")}
    return Pipe(stage, given["output"], inputs=given["inputs"] or ["-"], **common, **more)


def passes(epochs: int | None, steps: int | None, default: int) -> int | None:
    """The passes over the data: the verb's own number where neither option says how long."""
    return default if epochs is None and steps is None else epochs


def result(
    tally: Tally, *lines: Mapping[str, object], note: str = "", shown: Summary | None = None
) -> int:
    """Say the closing line, print what was made as JSON lines, and return the exit code.

    On a terminal people see what is `shown` in place of the lines. Of several ranks that train
    together the first alone does all this.
    """
    if not tally.leads:
        return 0
    tally.close(note)
    if shown is not None and sys.stdout.isatty():
        shown.show()
        return tally.exit_code
    with result_line() as write:
        for line in lines:
            write(line)
    return tally.exit_code
