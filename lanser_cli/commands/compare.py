"""lanser compare: whether one run is better than another."""

from __future__ import annotations

from typing import Annotated

import typer

from lanser_cli.commands import completion, options
from lanser_cli.commands.groups import INPUT, MEASURE
from lanser_cli.lock import claimed_folder
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser compare runs/scratch runs/tuned
lanser compare runs/linear/svm runs/scratch runs/tuned --by voice -o comparison/
"""


def command(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN...",
            autocompletion=completion.run_or_records,
            help="Run folders, folders of runs seed-0, seed-1 and so on, or JSONL with truth and "
            "answer (- reads standard input). The first is the reference of the others.",
            show_default=False,
        ),
    ] = None,
    pair: Annotated[
        list[str] | None,
        INPUT.option(
            metavar="A,B", help="Compare B with A as well, such as on another corpus. Repeatable."
        ),
    ] = None,
    truth: options.Truth = "label",
    answer: options.Answer = "prediction",
    by: Annotated[
        str | None,
        MEASURE.option(
            metavar="KEY",
            help="What is taken for independent, such as speaker or voice; default: the speaker, "
            "or each record where not all have one.",
        ),
    ] = None,
    output: options.Report = None,
    seed: options.Seed = 0,
    force: options.Force = False,
    rejects: options.Rejects = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Compare runs on the same records: differences with intervals, and exact p.

    Units such as speakers are paired. p is that of sign flips over units, adjusted by Holm for
    all comparisons of the command. Says what difference so many units could have found. Prints one
    JSON line a comparison.
    """
    from lanser_cli.evaluation.compare import compare
    from lanser_cli.evaluation.findings import of_differences

    read = [*(inputs or []), *(name for words in pair or [] for name in words.split(","))]
    with Ledger("compare", rejects, inputs=read) as ledger, claimed_folder(output, force=force):
        found = compare(
            *(inputs or [], pair or [], ledger),
            truth=truth,
            answer=answer,
            by=by,
            output=output,
            seed=seed,
        )
    lines = (each.as_json() for each in found)
    return options.result(ledger, *lines, shown=of_differences(found))
