"""The options that several verbs share, worded once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lanser_cli import choices, console, surroundings
from lanser_cli.commands import completion
from lanser_cli.commands.groups import INPUT, MODEL, OUTPUT, RUNNING
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


Report = Annotated[
    Path | None, OUTPUT.option("-o", "--output", help="Folder for report.html and its parts.")
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


def _force(*only_with: str) -> Any:
    """`--force`, which is of one of these outputs."""
    help = f"Overwrite the {' and '.join(only_with)} of a run that is over."
    return OUTPUT.option("--force", only_with=only_with, help=help)


Force = Annotated[bool, _force("-o")]
ForceOfRows = Annotated[bool, _force("-o", "--embed")]


Part = Annotated[
    str | None,
    RUNNING.option(
        metavar="I/N",
        help="Take every N-th record, from the I-th; in a job on a cluster: slurm/N, k8s/N or "
        "env:NAME/N.",
    ),
]


AllowRemote = Annotated[
    bool, MODEL.option("--allow-remote", help="Let llm: send transcripts to another machine.")
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


# No library takes less than 0, and scikit-learn no more than 32 bits.
Seed = Annotated[int, RUNNING.option(min=0, max=2**32 - 1, help="Seed of all random choices.")]


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


Truth = Annotated[str, INPUT.option(help="Key of the truth.")]
Answer = Annotated[str, INPUT.option(help="Key of the answer.")]


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


Threads = Annotated[
    int | None, RUNNING.option(min=1, callback=_threads, help="Threads of PyTorch on a CPU.")
]


def fill(kind: type[S], given: Mapping[str, Any]) -> S:
    """Settings from the options that have the names of their fields: `fill(Recipe, locals())`."""
    return kind(**{field.name: given[field.name] for field in fields(kind) if field.name in given})


def pipe(stage: str, given: Mapping[str, Any], **more: Any) -> Pipe:
    """The pipe of a filter, from the options that all of them have: `pipe("predict", locals())`."""
    common = {name: given[name] for name in ("rejects", "resume", "force", "part")}
    return Pipe(stage, given["output"], inputs=given["inputs"] or ["-"], **common, **more)


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
