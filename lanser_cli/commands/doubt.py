"""lanser doubt: the labels that are least to be trusted."""

from __future__ import annotations

from typing import Annotated

from lanser_cli.commands import options
from lanser_cli.commands.groups import INPUT

EXAMPLES = """
lanser doubt runs/tuned/predictions.jsonl -o doubted.jsonl
lanser doubt weak.jsonl --label emotion --scores runs/weak/predictions.jsonl > doubted.jsonl
"""


def command(
    inputs: options.Records = None,
    label: Annotated[str, INPUT.option(metavar="KEY", help="Key of the label.")] = "label",
    scores: Annotated[
        str | None,
        INPUT.option(
            metavar="FILE[:FIELD]",
            help="Records of the same ids with a probability of each label, made out of fold; "
            "default: the input's own scores.",
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
    """Mark labels that a model is sure are others: adds `doubt` (0 to 1) and `doubtful`.

    By confident learning (extra quality). The scores must be of models that were not trained on
    the record: finetune's predictions.jsonl has such scores of every record, each by the model of
    the fold that tested it.
    """
    from lanser_cli.trust import doubt

    pipe = options.pipe("doubt", locals(), window=doubt.WINDOW)
    return doubt.doubt(inputs or ["-"], pipe, label=label, scores=scores).exit_code
