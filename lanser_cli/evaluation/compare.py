"""The verb compare: runs on the same records, in pairs, to differences and a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from lanser_cli import console
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.evaluation import report
from lanser_cli.evaluation.about import About
from lanser_cli.evaluation.answers import Answers, heard_in_words, predictions_of
from lanser_cli.evaluation.difference import Difference, difference, holm
from lanser_cli.evaluation.seeds import read_run, runs_of
from lanser_cli.tally import Ledger
from lanser_cli.training.heard import TRANSDUCTIVE

STAGE = "compare"


def compare(
    inputs: Sequence[str],
    pairs: Sequence[str],
    ledger: Ledger,
    *,
    truth: str = "label",
    answer: str = "prediction",
    by: str | None = None,
    output: Path | None = None,
    seed: int = 0,
) -> list[Difference]:
    """Compare answers pair by pair, adjust p for all of them, and write the report.

    Args:
        inputs: run folders, folders of runs `seed-N`, or JSONL; the first is the reference of the
            others. A comparison that is named twice counts once; one of a run with itself only
            where there is no other.
        pairs: further comparisons, `REFERENCE,OTHER`, such as those on other corpora.
        truth, answer, by: as `Answers.of` takes them.
        output: folder for the report.
        seed: of the sign flips, where there are too many to take all.

    Raises:
        UsageError: there is nothing to compare, a pair is not of this form, or a record lacks the
            key `by`.
        LanserError: an input is not there, or two are not of the same records or seeds.
    """
    if len(inputs) == 1 or not (inputs or pairs):
        raise UsageError("compare needs two runs: the reference, and another of the same records")
    every = [(inputs[0], other) for other in inputs[1:]] + [_pair(words) for words in pairs]
    # `RUN runs/*` names RUN twice, and p is adjusted for the number of comparisons.
    wanted = [pair for pair in dict.fromkeys(every) if pair[0] != pair[1]] or every[:1]
    names = list(dict.fromkeys(name for pair in wanted for name in pair))
    runs = {name: list(runs_of(name).values()) or [name] for name in names}
    for run in chain(*runs.values()):
        predictions_of(run)
    answers = {name: read_run(name, ledger, truth=truth, answer=answer, by=by) for name in names}
    abouts = {
        run: about
        for run in chain(*runs.values())
        if (about := (About.of if os.path.isdir(run) else About.of_records)(Path(run)))
    }
    apart = {
        name for name in names if any(abouts[r].transductive for r in runs[name] if r in abouts)
    }
    doubts = {run: about.doubt for run, about in abouts.items() if about.doubt}
    found = [each.marked(apart) for each in pairwise(wanted, answers, seed)]
    for each in found:
        console.info(f"{STAGE}: {each}")
    for words in dict.fromkeys(each.reservation for each in found if each.reservation):
        console.info(f"{STAGE}: {words}")
    for name in sorted(apart):
        console.warn(f"{STAGE}: {name} is transductive: {TRANSDUCTIVE}")
    for each in found:
        if each.uneven:
            console.warn(f"{STAGE}: {each.other} less {each.reference}: {each.uneven}")
    for name, doubt in doubts.items():
        console.warn(f"{STAGE}: {name}: {doubt}")
    heard = {
        name: heard_in_words(one.heard, len(one.ids)) for name, one in answers.items() if one.heard
    }
    if output is not None:
        report.comparison(output, found, heard | doubts)  # of what was heard the reading has warned
        console.info(f"{STAGE}: report in {output / 'report.html'}")
    return found


def pairwise(
    wanted: Sequence[tuple[str, str]], answers: Mapping[str, Answers], seed: int = 0
) -> list[Difference]:
    """The difference of each pair, reference and other; p is adjusted for all of them.

    Raises:
        LanserError: two are not of the same records or seeds.
    """
    return holm([_difference(pair, answers, seed) for pair in wanted])


def _difference(pair: tuple[str, str], answers: Mapping[str, Answers], seed: int) -> Difference:
    first, second = (answers[name] for name in pair)
    if first.seeds and second.seeds and first.seeds.keys() != second.seeds.keys():
        seeds_of = [f"{name} has seeds {', '.join(answers[name].seeds)}" for name in pair]
        raise LanserError(f"{' and '.join(seeds_of)}: compare runs of the same seeds")
    seeds = list(first.seeds or second.seeds)
    return difference(pair, first.pooled(seeds), second.pooled(seeds), seed=seed)


def _pair(words: str) -> tuple[str, str]:
    reference, _, other = words.partition(",")
    if not (reference and other) or "," in other:
        raise UsageError(f"--pair '{words}': write REFERENCE,OTHER such as runs/a,runs/b")
    return reference, other
