"""lanser agree: the labels of several voters become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.commands import completion, options
from lanser_cli.commands.groups import LABELS, OUTPUT

EXAMPLES = """
lanser agree small.jsonl large.jsonl answers.jsonl:prediction -o agreed.jsonl
lanser agree a.jsonl b.jsonl c.jsonl --crosswalk ekman6 --summary voters.json > agreed.jsonl
"""


def command(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VOTER...",
            help="FILE or FILE:FIELD: JSONL of the same utterances, and the key that votes "
            "(default emotion). Records are those of the first file that has them.",
            show_default=False,
        ),
    ] = None,
    crosswalk: Annotated[
        str | None,
        LABELS.option(
            autocompletion=completion.taxonomy,
            help="Bring all labels to this taxonomy first: its name, or a crosswalk file.",
        ),
    ] = None,
    summary: Annotated[
        Path | None,
        OUTPUT.option(
            metavar="FILE.json",
            help="Write each voter's estimated accuracy and confusion, and all kappas, to this.",
        ),
    ] = None,
    output: options.Output = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    force: options.Force = False,
    part: options.Part = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Make one label of several: adds `emotion`, its posterior, `votes` and `agreement`.

    Joins records by id, and learns without gold how right each voter is and what it confuses
    (Dawid and Skene). No vote, or an empty one, is an abstention. Voters that share their errors
    are overestimated.
    """
    from lanser_cli.trust import agree

    voters = agree.parse_voters(inputs or [])
    inputs = list(dict.fromkeys(voter.path for voter in voters))
    pipe = options.pipe("agree", locals(), window=agree.WINDOW)
    return agree.agree(voters, pipe, crosswalk=crosswalk, summary=summary).exit_code
