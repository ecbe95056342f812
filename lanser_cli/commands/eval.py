"""lanser eval: how good answers are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.commands import options
from lanser_cli.lock import claimed_folder
from lanser_cli.tally import Ledger


def command(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Run folders, or JSONL with truth and answer; - or nothing reads standard input.",
            show_default=False,
        ),
    ] = None,
    truth: Annotated[str, typer.Option(help="Key of the truth.")] = "label",
    answer: Annotated[str, typer.Option(help="Key of the answer.")] = "prediction",
    reference: Annotated[
        Path | None, typer.Option(help="JSONL to take the truth from, by id.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for report.html and its parts.")
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificate of lanser audit that the report cites."),
    ] = None,
    force: options.Force = False,
    rejects: options.Rejects = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="What the intervals take for independent, such as speaker or voice; default: the "
            "speaker, or each record where not all have one.",
        ),
    ] = None,
    fuse: Annotated[
        bool,
        typer.Option("--fuse", help="Score the mean of all inputs' log-probabilities as well."),
    ] = False,
    perturb: Annotated[
        str | None,
        typer.Option(
            metavar="gain,noise,telephone",
            help="Test runs once more with the sound changed so, and state what they lose.",
        ),
    ] = None,
    device: options.OneDevice = "auto",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Score answers against the truth: UAR, WA, F1 with confidence intervals.

    Prints one JSON line an input. With -o writes report.json, figures and report.html. Runs that
    used different fractions of the labels are drawn as a label-efficiency curve.
    """
    from lanser_cli.evaluation.evaluate import evaluate

    with Ledger("eval", rejects, inputs=inputs) as ledger, claimed_folder(output, force=force):
        lines = evaluate(
            inputs or ["-"],
            ledger,
            truth=truth,
            answer=answer,
            reference=reference,
            output=output,
            audit=audit,
            by=by,
            fuse=fuse,
            perturb=perturb,
            device=device,
        )
    return options.result(ledger, *lines)
