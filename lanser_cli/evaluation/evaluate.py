"""The verb eval: run folders or records to results and a report."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lanser_cli import console
from lanser_cli.audio.perturbation import Perturbation, perturbations
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.evaluation import certificate, fusion, report
from lanser_cli.evaluation.about import About
from lanser_cli.evaluation.answers import Answers, Reference, predictions_of, read_answers
from lanser_cli.evaluation.compare import pairwise
from lanser_cli.evaluation.difference import Difference, signed
from lanser_cli.evaluation.figures import short
from lanser_cli.evaluation.metrics import Result
from lanser_cli.evaluation.mistakes import Mistakes
from lanser_cli.evaluation.report import Entry
from lanser_cli.evaluation.seeds import result_of_run
from lanser_cli.evaluation.strays import advice
from lanser_cli.jsonl import is_stream
from lanser_cli.tally import Ledger
from lanser_cli.training import runs

MOST_COMPARED = 4
"""Inputs whose differences stand in the report: each may take some seconds."""


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
    fuse: bool = False,
    perturb: str | None = None,
    device: str = "auto",
    audio: bool = True,
) -> dict[str, Entry]:
    """Evaluate each input, and write the report to `output` if there is one.

    Args:
        inputs: run folders, or JSONL with truth and answer.
        truth, answer: keys to compare.
        reference: JSONL to take the truth from, by id.
        audit: a certificate of `lanser audit`, which the report cites.
        by: key whose values the intervals take for independent, as in `measure`.
        fuse: measure what all inputs answer together as well, as one more input.
        perturb: changes of the sound, joined by commas, under which runs are tested once more.
        device: that this is done on.
        audio: whether the report has the sound of the surest mistakes.

    Raises:
        UsageError: there is a certificate but no report, or it is of other records; or there is no
            such change of sound, or another truth or answer than it, or what is fused, is measured
            by; or there are no two files to fuse, or one is called as what is fused.
        LanserError: an input is not there, or has nothing to compare.
    """
    if audit is not None and output is None:
        raise UsageError("--audit is cited in the report: say -o DIR as well")
    cited = None if audit is None else certificate.cite(audit)
    changes = [] if perturb is None else perturbations(perturb)
    if changes and (reference is not None or answer != "prediction"):
        raise UsageError(
            "--perturb answers anew, and measures by the records' own truth: leave --reference "
            "and --answer out"
        )
    if fuse and answer != "prediction":
        raise UsageError("--fuse joins the 'scores' of predictions: leave --answer out")
    if fuse and (len(set(inputs)) < 2 or any(map(is_stream, inputs))):
        raise UsageError(
            "--fuse joins two inputs or more, and reads them twice: name files or runs"
        )
    if fuse and fusion.FUSED in inputs:
        raise UsageError(
            f"--fuse calls what it adds '{fusion.FUSED}', as an input is called: write "
            f"./{fusion.FUSED}"
        )
    for name in inputs:
        predictions_of(name)
        if changes and not os.path.isdir(name):
            raise UsageError(f"--perturb tests runs, and {name} is no run folder")
    folders = [name for name in dict.fromkeys(inputs) if os.path.isdir(name)]
    abouts = {name: About.of(Path(name)) for name in folders}
    of_files = {
        name: found
        for name in inputs
        if name not in abouts and (found := About.of_records(Path(name)))
    }
    truths = None if reference is None else Reference.read(reference, truth, ledger)
    entries: dict[str, Entry] = {}
    kept: dict[str, Answers] = {}
    names = list(dict.fromkeys(inputs))
    measured = [*names, *([fusion.FUSED] if fuse else [])]
    for name in measured:
        mistakes, about = Mistakes(answer), abouts.get(name)
        joins = fuse and name == fusion.FUSED
        if joins:
            answers = fusion.fuse(names, truth=truth, by=by, reference=truths)
        else:
            answers = read_answers(
                *(name, ledger),
                truth=truth,
                answer=answer,
                by=by,
                reference=truths,
                mistakes=None if output is None else mistakes,
            )
        if cited is not None:
            cited.check(name, answers.ids)
        if output is not None and len(measured) <= MOST_COMPARED:
            kept[name] = answers
        result = result_of_run(answers)
        _say(name, result, about or of_files.get(name))
        changed = None
        if changes and not joins:
            changed = _under(changes, name, truth=truth, by=by, device=device)
        use = runs.use_of_labels(Path(name)) if about else None
        joined = [about for n, about in of_files.items() if joins or n == name]
        joined += abouts.values() if joins else []
        entries[name] = Entry(
            *(result, about, use, mistakes.surest, changed, answers.heard), joined
        )
    if output is not None:
        said = None if cited is None else cited.about
        apart = _apart(measured, kept, {n for n, one in entries.items() if one.transductive})
        report.evaluation(output, entries, differences=apart, audit=said, audio=audio)
        if said and not said["passed"]:
            console.warn(f"eval: {audit}: the audit found leaks ({', '.join(said['found'])})")
        console.info(f"eval: report in {output / 'report.html'}")
    return entries


def _apart(
    names: Sequence[str], answers: Mapping[str, Answers], transductive: Collection[str]
) -> list[Difference] | str:
    """How the others differ from the first; or why that cannot be said."""
    first, *others = names
    if len(names) > MOST_COMPARED:
        return f"there are {len(names)} inputs; lanser compare says how some of them differ"
    try:
        found = pairwise([(first, other) for other in others], answers)
    except LanserError as error:
        return str(error)
    return [each.marked(transductive) for each in found]


def line_of(name: str, entry: Entry) -> dict[str, Any]:
    """The result line of an input."""
    line: dict[str, Any] = {"input": name, **entry.result.as_json()}
    if entry.transductive:
        line["transductive"] = True
    if entry.heard:
        line["heard"] = entry.heard
    if entry.perturbed is not None:
        line["perturbed"] = {
            words: lost.as_json()["uar"] for words, lost in entry.perturbed.items()
        }
    return line


def _say(name: str, result: Result, about: About | None) -> None:
    console.info(
        f"eval: {name}: {result}"
        + (f"; sd {result.sd:.3f} over {len(result.seeds)} seeds" if result.seeds else "")
    )
    if about is not None and (warning := about.warning):
        console.warn(f"eval: {name}: {warning}")
    if result.strays or result.missing:
        strays = ", ".join(f"{count} {short(word)}" for word, count in result.strays.items())
        console.warn(
            f"eval: {name}: {result.missing} answers missing, and answers that never are the "
            f"truth: {strays or 'none'}; each counts as wrong"
        )
        for words in advice(result.answered, result.labels):
            console.warn(f"eval: {name}: {words}")


def _under(
    changes: Sequence[Perturbation], name: str, *, truth: str, by: str | None, device: str
) -> dict[str, Difference]:
    """What each change of the sound costs a run."""
    from lanser_cli.evaluation.robustness import robustness  # needs PyTorch, as nothing else here

    changed = robustness(Path(name), changes, truth=truth, by=by, device=device)
    for words, lost in changed.items():
        uar = lost.scores["uar"]
        console.info(f"eval: {name}: {words}: UAR {uar.other:.3f}, {signed(uar.difference)}")
    return changed
