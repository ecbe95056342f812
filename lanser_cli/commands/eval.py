"""lanser eval: how good answers are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.commands import completion, options
from lanser_cli.commands.groups import INPUT, MEASURE, OUTPUT, RUNNING
from lanser_cli.lock import claimed_folder
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser eval runs/tuned runs/scratch -o report/
lanser eval weak.jsonl --reference truth.jsonl --answer emotion
lanser eval runs/tuned --by voice --perturb noise,telephone
"""


def command(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            autocompletion=completion.run_or_records,
            help="Run folders, or JSONL with truth and answer; - or nothing reads standard input.",
            show_default=False,
        ),
    ] = None,
    truth: options.Truth = "label",
    answer: options.Answer = "prediction",
    reference: Annotated[
        Path | None, INPUT.option(help="JSONL to take the truth from, by id.")
    ] = None,
    output: options.Report = None,
    audit: Annotated[
        Path | None,
        OUTPUT.option(metavar="FILE", help="Certificate of lanser audit that the report cites."),
    ] = None,
    force: options.Force = False,
    rejects: options.Rejects = None,
    by: Annotated[
        str | None,
        MEASURE.option(
            metavar="KEY",
            help="What the intervals take for independent, such as speaker or voice; default: the "
            "speaker, or each record where not all have one.",
        ),
    ] = None,
    fuse: Annotated[
        bool,
        MEASURE.option("--fuse", help="Score the mean of all inputs' log-probabilities as well."),
    ] = False,
    perturb: Annotated[
        str | None,
        MEASURE.option(
            metavar="gain,noise,telephone",
            help="Test runs once more with the sound changed so, and state what they lose.",
        ),
    ] = None,
    no_audio: Annotated[
        bool,
        OUTPUT.option(
            "--no-audio", only_with=("-o",), help="Keep the sound of mistakes out of the report."
        ),
    ] = False,
    device: Annotated[
        str,
        RUNNING.option(
            only_with=("--perturb",),
            autocompletion=completion.device,
            help="Of --perturb: auto, cpu, cuda or cuda:N.",
        ),
    ] = "auto",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Score answers against the truth: UAR, WA, F1 with confidence intervals.

    Prints one JSON line an input. With -o writes report.json, figures and report.html, where the
    surest mistakes can be heard. Runs that used different fractions of the labels are drawn as a
    label-efficiency curve.
    """
    from lanser_cli.evaluation.evaluate import evaluate, line_of
    from lanser_cli.evaluation.findings import of_results

    read = [*(inputs or ["-"]), *map(str, filter(None, (reference, audit)))]
    with Ledger("eval", rejects, inputs=read) as ledger, claimed_folder(output, force=force):
        entries = evaluate(
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
            audio=not no_audio,
        )
    shown = of_results({name: entry.result for name, entry in entries.items()})
    return options.result(ledger, *map(line_of, entries, entries.values()), shown=shown)
