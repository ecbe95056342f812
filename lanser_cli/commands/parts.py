"""lanser parts: what became of the parts of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli import console
from lanser_cli.commands import options
from lanser_cli.commands.groups import INPUT, OUTPUT
from lanser_cli.destination import is_stdout
from lanser_cli.errors import EXIT_FAILED
from lanser_cli.job import find_job
from lanser_cli.output import result_line

EXAMPLES = """
lanser parts parts/ --of 2
lanser parts parts/ --of 2 --merge merged.jsonl
"""


def command(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder with the parts of one stage, called anything."),
    ],
    of: Annotated[int, INPUT.option("--of", metavar="N", help="How many parts there are to be.")],
    merge: Annotated[
        Path | None,
        OUTPUT.option(
            metavar="OUT", help="Write all records to this file, in the order of the input."
        ),
    ] = None,
    force: Annotated[
        bool, OUTPUT.option("--force", only_with=("--merge",), help="Overwrite that of --merge.")
    ] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Find which parts of a job are whole, and merge them.

    Parts are the outputs of --part I/N. Prints one JSON line with the numbers of those that are
    whole, running, unfinished, missing, there twice, or made with other options or another input
    than most; `array` has those to submit again. Exits with 1 until all are whole.
    """
    job = find_job(folder, of)
    console.info(f"parts: {job}")
    merged = None if merge is None else job.merge(merge, force=force)
    if merge is not None and is_stdout(merge):
        return 0  # it holds the records, and nothing else
    with result_line() as write:
        write({**job.as_json(), "merged": merged})
    return 0 if job.is_whole else EXIT_FAILED
