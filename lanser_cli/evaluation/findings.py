"""What is shown on a terminal of results, differences, curves and audits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lanser_cli.evaluation.difference import Difference, signed
from lanser_cli.evaluation.metrics import Estimate, Result
from lanser_cli.summary import Summary


def of_results(results: Mapping[str, Result]) -> Summary:
    """Scores with their intervals, a row each, and what the intervals are over."""
    return Summary(
        ["", "records", "UAR", "chance", "WA"],
        [[name, one.n, one.uar, f"{one.chance:.3f}", one.wa] for name, one in results.items()],
        " ".join(dict.fromkeys(map(_ground, results.values()))),
    )


def _ground(result: Result) -> str:
    """Chance, intervals, folds and seeds in a sentence."""
    parts = [result.interval]
    if result.folds:
        parts.append(f"{len(result.folds)} folds, no record tested twice")
    if result.seeds:
        parts.append(f"mean of {len(result.seeds)} seeds (UAR ± {result.sd:.3f})")
    return f"Chance is a UAR of {result.chance:.3f}; {'; '.join(parts)}."


def of_differences(differences: Sequence[Difference]) -> Summary:
    """UAR of both, their difference and its p, a row for each comparison, and the verdicts."""
    rows = []
    for each in differences:
        uar = each.scores["uar"]
        rows.append(
            [f"{each.other} less {each.reference}", f"{uar.other:.3f}", f"{uar.reference:.3f}"]
            + [signed(uar.difference), f"{uar.p:.4f}", f"{uar.p_holm:.4f}"]
        )
    notes = dict.fromkeys(f"{each.reservation}." for each in differences if each.reservation)
    return Summary(
        ["", "UAR", "reference", "difference", "p", "p (Holm)"],
        rows,
        " ".join([*(each.verdict for each in differences), *notes]),
    )


def of_curves(made: Mapping[str, Any]) -> Summary | None:
    """UAR of both arms at each fraction, from a result line; None of a part without curves."""
    if "area" not in made:
        return None
    between = signed(Estimate(**made["area"]))
    return Summary(
        ["labels used", "scratch", "--init", "difference"],
        [
            [f"{fraction:g}", f"{scratch:.3f}", f"{init:.3f}", f"{init - scratch:+.3f}"]
            for fraction, scratch, init in zip(
                made["fractions"], made["scratch"], made["init"], strict=True
            )
        ],
        f"--init is {between} in UAR over the curve (95 % interval). {labels_saved(made)}",
    )


def labels_saved(made: Mapping[str, Any]) -> str:
    """With how many labels --init has scratch's best UAR, from a result line."""
    fractions, best, reaches = made["fractions"], made["scratch_best"], made["reaches"]
    if reaches is None:
        there = "nowhere has that UAR"
    else:
        there = f"has that UAR with {'at most ' if reaches == fractions[0] else ''}{reaches:g}"
    said = f"Scratch is best with {best:g} of the labels; --init {there}."
    if best == fractions[-1]:
        return said
    return (
        f"{said} More labels bring scratch nothing: it may be short of --steps, and then steps are "
        "saved and not labels."
    )


def of_audit(certificate: Mapping[str, Any]) -> Summary:
    """What each check found between each two sides, and whether the audit passed."""
    rows = []
    for check in certificate["checks"]:
        sides, records = " and ".join(check["sides"]), "{} and {}".format(*check["records"])
        if check["not_checked"]:
            rows.append([check["check"], sides, "not checked", ""])
        else:
            allowed = " (allowed)" if check["allowed"] and check["shared"] else ""
            rows.append([check["check"], sides, f"{check['shared']}{allowed}", records])
    leaks = [one["check"] for one in certificate["checks"] if one["shared"] and not one["allowed"]]
    missed = [one["check"] for one in certificate["checks"] if one["not_checked"]]
    found = f"Leaks: the sets share {_listed(leaks)}" if leaks else "No leak is found"
    unseen = f"; not checked everywhere: {_listed(missed)}" if missed else ""
    return Summary(["", "sets", "shared", "in records"], rows, f"{found}{unseen}.")


def _listed(words: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(words))
