"""lanser listen: a page to hear a sample on, and what its marks say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lanser_cli.commands import options
from lanser_cli.commands.groups import INSTEAD, OUTPUT
from lanser_cli.destination import check_apart, check_writable
from lanser_cli.errors import UsageError
from lanser_cli.lock import claimed_file
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser listen sample.jsonl -o page.html
lanser listen sample.jsonl --score marks.jsonl --precision 0.8
"""


def command(
    inputs: options.Records = None,
    output: Annotated[
        Path | None, OUTPUT.option("-o", "--output", help="The page (.html) to write.")
    ] = None,
    score: Annotated[
        Path | None,
        INSTEAD.mode(
            metavar="MARKS",
            reads=("inputs", "output", "precision", "rejects"),
            help="Score the labels by the marks that a page exported.",
        ),
    ] = None,
    precision: Annotated[
        float,
        INSTEAD.option(
            only_with=("--score",),
            min=0.05,
            max=0.99,
            help="Find the margin from which on labels are this often right.",
        ),
    ] = 0.8,
    force: options.Force = False,
    rejects: options.Rejects = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Write a page to hear a sample on, and mark what is heard; or score the labels by the marks.

    The page needs no server and no network. With --score, marks are weighed by the probabilities
    of `pick`: precision and recall of each label, and the margin that a wanted precision takes.
    """
    from lanser_cli.listening.page import write_page
    from lanser_cli.listening.score import score_marks, shown

    named = inputs or ["-"]
    if (output is None) == (score is None):
        raise UsageError("listen needs either -o PAGE, to write it, or --score MARKS of a page")
    if score is not None:
        with Ledger("listen", rejects, inputs=[*named, str(score)]) as ledger:
            page, scores = score_marks(named, score, precision, ledger)
        return options.result(ledger, *(one.as_json(page) for one in scores), shown=shown(scores))
    assert output is not None
    check_apart({"-o": output, "--rejects": rejects}, named)
    check_writable(output)
    with claimed_file(output, force=force), Ledger("listen", rejects, inputs=named) as ledger:
        made = write_page(named, output, ledger)
    return options.result(ledger, {"output": str(output), **made})
