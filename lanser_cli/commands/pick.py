"""lanser pick: a sample of labels to hear."""

from __future__ import annotations

from typing import Annotated

from lanser_cli.choices import Stratifying
from lanser_cli.commands import options
from lanser_cli.commands.groups import SELECTION

EXAMPLES = """
lanser pick weak.jsonl -n 200 -o sample.jsonl
lanser pick weak.jsonl -n 300 --by margin --seed 7 > sample.jsonl
"""


def command(
    inputs: options.Records = None,
    count: Annotated[int, SELECTION.option("--count", "-n", min=1, help="Records to pick.")] = 200,
    by: Annotated[
        Stratifying,
        SELECTION.option(
            help="Pick alike of each weak label, number of answers of the voters, or margin."
        ),
    ] = "label",
    seed: options.Seed = 0,
    output: options.Output = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    force: options.Force = False,
    part: options.Part = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Pick a stratified sample of labelled records, for `listen`.

    Each gets `pick`, with its stratum and the probability that it was picked. The sample depends on
    the seed and the ids alone, not on their order. Records without a weak label are left out.
    With --part each part writes its share of one sample: merge them before you hear it.
    """
    from lanser_cli.listening.pick import pick_files

    pipe = options.pipe("pick", locals())
    return pick_files(inputs or ["-"], count, by, seed, pipe).exit_code
