"""The verb eval: run folders or records to results and a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lanser_cli import console, jsonl
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.evaluation import certificate, report
from lanser_cli.evaluation.about import About
from lanser_cli.evaluation.metrics import Result
from lanser_cli.evaluation.seeds import measure_run
from lanser_cli.pipe import unique
from lanser_cli.records import Record, Reject
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
    paths = {name: _predictions(name) for name in inputs}
    truths = None if reference is None else _by_id(reference, truth)
    folders = [name for name in inputs if os.path.isdir(name)]
    abouts = {name: About.of(Path(name)) for name in folders}
    results: dict[str, Result] = {}
    for name, path in paths.items():
        records = _judged(path, ledger, truth, truths)
        if not records:
            where = f"is in {reference}" if reference else f"has '{truth}'"
            raise LanserError(f"{name}: none of its records {where}: nothing to compare with")
        result = results[name] = measure_run(records, truth=truth, answer=answer, by=by)
        ledger.done += len(records)
        console.info(
            f"eval: {name}: {result.n} records, UAR {result.uar}, WA {result.wa}, "
            f"chance {result.chance:.3f}; {result.interval}"
            + (f"; sd {result.sd:.3f} over {len(result.seeds)} seeds" if result.seeds else "")
        )
        if name in abouts and (warning := abouts[name].warning):
            console.warn(f"eval: {name}: {warning}")
        if result.strays or result.missing:
            strays = ", ".join(f"{count} {word}" for word, count in result.strays.items())
            console.warn(
                f"eval: {name}: {result.missing} answers missing, and answers that never are the "
                f"truth: {strays or 'none'}; each counts as wrong"
            )
    if output is not None:
        uses = {name: runs.use_of_labels(Path(name)) for name in folders}
        report.evaluation(output, results, uses, audit=cited, abouts=abouts)
        if cited and not cited["passed"]:
            console.warn(f"eval: {audit}: the audit found leaks ({', '.join(cited['found'])})")
        console.info(f"eval: report in {output / 'report.html'}")
    return results


def _predictions(name: str) -> str:
    """The JSONL that an input stands for."""
    if not os.path.isdir(name):
        jsonl.check_files([name])
        return name
    runs.read_config(Path(name))
    path = os.path.join(name, "predictions.jsonl")
    if not os.path.exists(path):
        raise LanserError(f"{name}: no predictions.jsonl in this run: it tested on nothing")
    return path


def _judged(
    path: str, ledger: Ledger, truth: str, truths: Mapping[str, object] | None
) -> list[Record]:
    """The records that have a truth, their own or that of the reference."""
    records = []
    for item in unique(jsonl.read_records([path], "eval"), "eval"):
        ledger.read += 1
        if isinstance(item, Reject):
            ledger.reject(item)
        elif isinstance(item, Record):
            if truths is not None and item.id not in truths:
                ledger.dropped["not in the reference"] += 1
                continue
            record = item if truths is None else item.with_fields(**{truth: truths[item.id]})
            if record.fields.get(truth) is None:
                ledger.dropped[f"no {truth}"] += 1
            else:
                records.append(record)
    return records


def _by_id(path: Path, key: str) -> dict[str, object]:
    truths: dict[str, object] = {}
    for item in jsonl.read_records([str(path)], "eval"):
        if isinstance(item, Reject):
            raise LanserError(f"--reference: {item.error}")
        if item.fields.get(key) is not None:
            truths[item.id] = item.fields[key]
    if not truths:
        raise LanserError(f"--reference {path}: no record in it has '{key}'")
    return truths
