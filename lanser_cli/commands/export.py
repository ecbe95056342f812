"""lanser export: a trained model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.choices import Exporting
from lanser_cli.commands import completion, options
from lanser_cli.commands.groups import OUTPUT
from lanser_cli.output import result_line

EXAMPLES = """
lanser export runs/tuned --to onnx -o tuned.onnx
lanser export runs/pretrained --to torch -o pretrained.pt2
"""


def command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            autocompletion=completion.run,
            help="Run folder of pretrain or finetune, or a fold's.",
        ),
    ],
    to: Annotated[
        Exporting,
        OUTPUT.option(
            help="onnx (extra export), for ONNX Runtime and others; torch: torch.export's .pt2."
        ),
    ],
    output: Annotated[
        Path,
        OUTPUT.option(
            "-o", "--output", metavar="FILE", help="File to make: NAME.onnx or NAME.pt2."
        ),
    ],
    force: options.Force = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Export a trained model: sound and lengths in, probabilities out, no lanser needed.

    Log-mel, crops and the vote of a run's folds are inside; name one fold's folder to have it
    alone. The file is tried before it appears, and answers as predict does, within 1e-5.
    """
    from lanser_cli.training.export import export

    made = export(run, to, output, force=force)
    with result_line() as write:
        write(made)
    return 0
