"""The options that several verbs share, worded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lanser_cli import choices, console
from lanser_cli.errors import missing_extra
from lanser_cli.models.architectures import architectures_in_words
from lanser_cli.output import result_line
from lanser_cli.pipe import Pipe
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


Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Write records to this file; it appears when complete."),
]


Rejects = Annotated[
    Path | None,
    typer.Option(help="Write records that cannot be processed to this file, with the reason."),
]


Resume = Annotated[
    bool, typer.Option("--resume", help="Continue a killed run that had the same -o.")
]


Force = Annotated[bool, typer.Option("--force", help="Overwrite the -o of a run that is over.")]


Part = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Take every N-th record, from the I-th; in a job on a cluster: slurm/N, k8s/N or "
        "env:NAME/N.",
    ),
]


Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:0,cuda:1 or all (one process a device).")
]


OneDevice = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


Seed = Annotated[int, typer.Option(help="Seed of all random choices.")]


Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", callback=_quiet, help="Only errors and losses on stderr.")
]


Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", callback=_verbose, help="Show a traceback on errors.")
]


MinSeconds = Annotated[float, typer.Option(min=0.0, help="Leave shorter utterances out.")]


MaxSeconds = Annotated[float | None, typer.Option(min=0.0, help="Leave longer utterances out.")]


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
    typer.Option(
        metavar="DIR",
        help="Copy shards given as s3://, gs://, https:// or pipe:COMMAND to this folder first.",
    ),
]


RunOutput = Annotated[
    Path | None, typer.Option("-o", "--output", help="Run folder to make.", metavar="RUN")
]


_ARCHITECTURE = typer.Option(help=f"{architectures_in_words()}.")


Architecture = Annotated[str, _ARCHITECTURE]


ArchitectureOrInit = Annotated[str | None, _ARCHITECTURE]


BatchSize = Annotated[int, typer.Option(min=1, help="Utterances a step, on each device.")]


Steps = Annotated[
    int | None,
    typer.Option(min=1, help="Optimizer steps in all, instead of --epochs: alike for any data."),
]


LearningRate = Annotated[float, typer.Option(min=0.0, help="Peak learning rate of AdamW.")]


Mixup = Annotated[float, typer.Option(min=0.0, help="Alpha of mixup; 0 for none.")]


_CROP = typer.Option(min=0.1, help="Seconds of sound seen at once.")


Crop = Annotated[float, _CROP]


CropOrInit = Annotated[float | None, _CROP]


Precision = Annotated[
    choices.TrainingPrecision, typer.Option(help="Numeric precision of training.")
]


LoaderWorkers = Annotated[
    int, typer.Option(min=0, help="Decoding processes; 0 decodes in the training process.")
]


CheckpointEvery = Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")]


CheckpointMinutes = Annotated[
    float, typer.Option(min=0.0, help="Minutes after which there is a checkpoint too.")
]


Accumulate = Annotated[int, typer.Option(min=1, help="Batches whose gradients add up to one step.")]


WeightDecay = Annotated[
    float, typer.Option(min=0.0, help="Weight decay of AdamW; norms and biases have none.")
]


LabelSmoothing = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Share of a target spread over all labels.")
]


ClassWeights = Annotated[
    choices.ClassWeights,
    typer.Option(help="Rare classes count more: by one over their frequency, or its root."),
]


GainDb = Annotated[
    float, typer.Option(min=0.0, help="Make each crop up to this much louder or softer.")
]


NoiseDb = Annotated[
    str | None,
    typer.Option(metavar="LOW..HIGH", help="White noise so many dB below each crop: 10..40."),
]


Tempo = Annotated[
    float,
    typer.Option(
        min=0.0, max=0.5, help="Make each crop up to this share faster or slower, at its pitch."
    ),
]


Trim = Annotated[
    bool, typer.Option("--trim", help="Leave silence before and after speech out, for good.")
]


_NORMALISE = typer.Option(
    help="Free log-mel of mean and deviation, for good: of each utterance, or over all of a "
    "speaker's sound (transductive: test speakers' too)."
)


Normalise = Annotated[choices.Normalising, _NORMALISE]


NormaliseOrInit = Annotated[choices.Normalising | None, _NORMALISE]


Compile = Annotated[bool, typer.Option("--compile", help="Compile the network, on a GPU.")]


Threads = Annotated[int | None, typer.Option(min=1, help="Threads of PyTorch on a CPU.")]


Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Only algorithms with the same bits each time.")
]


TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        callback=_tensorboard,
        help="Write events for TensorBoard into the run folder.",
    ),
]


Folds = Annotated[
    int | None,
    typer.Option(min=0, help="Folds; default the records' own, else 5. 0: train on all, no test."),
]


Group = Annotated[
    str,
    typer.Option(
        metavar="KEY,...", help="Keys whose values are never in training and test at once."
    ),
]


Test = Annotated[
    str | None,
    typer.Option(metavar="KEY=A,B", help="One hold-out instead of folds: speaker=09,10."),
]


StandardProtocol = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A standard protocol, such as emodb-7-loso, in place of these three; a wrong name "
        "lists all.",
    ),
]


Fraction = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Share of the training labels to use.")
]


SubsetSeed = Annotated[int, typer.Option(help="Seed of the choice of a share of the labels.")]


AllowSeen = Annotated[
    bool,
    typer.Option("--allow-seen", help="Test also on what --init has heard; reports say so."),
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


def result(tally: Tally, *lines: Mapping[str, object], note: str = "") -> int:
    """Say the closing line, print what was made as JSON lines, and return the exit code.

    Of several ranks that train together the first alone does.
    """
    if not tally.leads:
        return 0
    tally.close(note)
    with result_line() as write:
        for line in lines:
            write(line)
    return tally.exit_code
