"""From run folders or records to results and a report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lanser_cli import console, jsonl, pipe
from lanser_cli.errors import EXIT_REJECTED, LanserError, UsageError
from lanser_cli.evaluation import certificate, report
from lanser_cli.evaluation.metrics import Result, measure
from lanser_cli.output import file_rejects, result_line
from lanser_cli.records import Record, Reject
from lanser_cli.training import runs


def evaluate(
    inputs: Sequence[str],
    *,
    truth: str = "label",
    answer: str = "prediction",
    reference: Path | None = None,
    output: Path | None = None,
    audit: Path | None = None,
    rejects: Path | None = None,
    seed: int = 0,
) -> int:
    """Evaluate each input, print a JSON line for each, and return the exit code.

    Args:
        audit: a certificate of `lanser audit`, which the report in `output` cites.

    Raises:
        UsageError: there is a certificate but no report.
        LanserError: an input is not there, or has nothing to compare.
    """
    if audit is not None and output is None:
        raise UsageError("--audit is cited in the report: say -o DIR as well")
    cited = None if audit is None else certificate.cite(audit)
    found: dict[str, Path | str] = {}
    uses: dict[str, tuple[str, float]] = {}
    for name in inputs:
        if os.path.isdir(name):
            config = runs.read_config(Path(name))
            fraction = (config.get("protocol") or {}).get("fraction", 1.0)
            uses[name] = (config.get("init") or "from scratch", fraction)
            found[name] = Path(name) / "predictions.jsonl"
            if not Path(found[name]).exists():
                raise LanserError(f"{name}: no predictions.jsonl in this run: it tested on nothing")
        else:
            jsonl.check_files([name])
            found[name] = name
    truths = _by_id(reference, truth) if reference is not None else None
    results: dict[str, Result] = {}
    refused: list[Reject] = []
    for name, path in found.items():
        records = []
        for item in pipe.unique(jsonl.read_records([str(path)], "eval"), "eval"):
            if isinstance(item, Record):
                records.append(item)
            elif isinstance(item, Reject):
                refused.append(item)
        if truths is not None:
            records = [
                record.with_fields(**{truth: truths[record.id]})
                for record in records
                if record.id in truths
            ]
            if not records:
                raise LanserError(f"{name}: none of its ids is in {reference}")
        results[name] = measure(records, truth=truth, answer=answer, seed=seed)
        result = results[name]
        console.info(
            f"eval: {name}: {result.n} records, UAR {result.uar}, WA {result.wa}, "
            f"chance {result.chance:.3f}"
        )
    file_rejects(refused, rejects)
    if output is not None:
        report.evaluation(output, results, uses, audit=cited)
        if cited and not cited["passed"]:
            console.warn(f"eval: {audit}: the audit found leaks ({', '.join(cited['found'])})")
        console.info(f"eval: report in {output / 'report.html'}")
    with result_line() as write:
        for name, result in results.items():
            write({"input": name, **result.as_json()})
    return EXIT_REJECTED if refused else 0


def _by_id(path: Path, key: str) -> dict[str, object]:
    truths: dict[str, object] = {}
    records: Iterable[Record | Reject] = jsonl.read_records([str(path)], "eval")
    for item in records:
        if isinstance(item, Reject):
            raise LanserError(f"--reference: {item.error}")
        if item.fields.get(key) is not None:
            truths[item.id] = item.fields[key]
    if not truths:
        raise LanserError(f"--reference {path}: no record in it has '{key}'")
    return truths
