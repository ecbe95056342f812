"""The verb eval: run folders or records to results and a report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lanser_cli import console
from lanser_cli.errors import UsageError
from lanser_cli.evaluation import certificate, report
from lanser_cli.evaluation.answers import Reference, predictions_of, read_answers
from lanser_cli.evaluation.metrics import Result, result_of
from lanser_cli.tally import Ledger
from lanser_cli.training import runs


def evaluate(
    inputs: Sequence[str],
    ledger: Ledger,
    *,
    truth: str = "label",
    answer: str = "prediction",
    reference: Path | None = None,
    output: Path | None = None,
    audit: Path | None = None,
    by: str | None = None,
) -> dict[str, Result]:
    """Evaluate each input, write the report to `output` if there is one, and return the results.

    Args:
        inputs: run folders, or JSONL with truth and answer.
        truth, answer: keys to compare.
        reference: JSONL to take the truth from, by id.
        audit: a certificate of `lanser audit`, which the report cites.
        by: key whose values the intervals take for independent, as in `measure`.

    Raises:
        UsageError: there is a certificate but no report.
        LanserError: an input is not there, or has nothing to compare.
    """
    if audit is not None and output is None:
        raise UsageError("--audit is cited in the report: say -o DIR as well")
    cited = None if audit is None else certificate.cite(audit)
    for name in inputs:
        predictions_of(name)
    truths = None if reference is None else Reference.read(reference, truth, ledger)
    results: dict[str, Result] = {}
    for name in dict.fromkeys(inputs):
        answers = read_answers(name, ledger, truth=truth, answer=answer, by=by, reference=truths)
        result = results[name] = result_of(answers)
        console.info(
            f"eval: {name}: {result.n} records, UAR {result.uar}, WA {result.wa}, "
            f"chance {result.chance:.3f}; {result.interval}"
        )
        if result.strays or result.missing:
            strays = ", ".join(f"{count} {word}" for word, count in result.strays.items())
            console.warn(
                f"eval: {name}: {result.missing} answers missing, and answers that never are the "
                f"truth: {strays or 'none'}; each counts as wrong"
            )
    if output is not None:
        uses = {name: runs.use_of_labels(Path(name)) for name in inputs if os.path.isdir(name)}
        report.evaluation(output, results, uses, audit=cited)
        if cited and not cited["passed"]:
            console.warn(f"eval: {audit}: the audit found leaks ({', '.join(cited['found'])})")
        console.info(f"eval: report in {output / 'report.html'}")
    return results
