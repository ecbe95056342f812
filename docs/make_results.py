"""Write the tables of docs/method.md from the points in docs/results/*.jsonl.

    python docs/make_results.py

A table stands between two comments, `<!-- results: NAME -->` and `<!-- end -->`, and is all that its
file says: nothing is typed by hand. Where a file is not there, the table says "not run yet".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

PAGE = Path(__file__).parent / "method.md"
FOLDER = Path(__file__).parent / "results"
MARKED = re.compile(r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOT_RUN = "*Not run yet: no point is stored, and nothing is claimed.*\n"
FEWEST = 5
"""Units below which there is no interval, as in `lanser eval`."""

Point = dict[str, Any]


def read(path: Path) -> list[Point]:
    """The points of a file; none where it is not there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def interval(values: Sequence[float]) -> str:
    """Mean and, of enough values, the 95 % interval by Student's t."""
    mean = fmean(values)
    if len(values) < FEWEST:
        return f"{mean:+.3f}"
    from scipy.stats import t

    reach = t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{mean:+.3f} [{mean - reach:+.3f}, {mean + reach:+.3f}]"


def table(head: str, rows: Iterable[Sequence[object]]) -> str:
    lines = [head, "|".join(["", *["---"] * (head.count("|") - 1), ""])]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]) + "\n"


def real_voices(points: list[Point]) -> str:
    """UAR of each corpus, share of labels and arm; its gain over scratch, paired by seed and unit."""
    rows = []
    for where, arms in _by_arm(points, ("corpus", "fraction", "steps", "folds")):
        scratch = arms.get(("scratch", None), {})
        for (arm, p), found in arms.items():
            seeds = sorted(found.keys() & scratch.keys())
            gains = [
                fmean(found[s]["by_unit"][unit] - scratch[s]["by_unit"][unit] for s in seeds)
                for unit in (scratch[seeds[0]]["by_unit"] if seeds else ())
            ]
            gain = interval(gains) if gains and arm != "scratch" else ""
            name = arm if p is None else f"{arm}, p = {p}"
            uar = fmean(one["uar"] for one in found.values())
            rows.append((where[0], f"{where[1]:g}", name, len(found), f"{uar:.3f}", gain, len(gains)))
    head = "| corpus | labels | pre-trained on | seeds | UAR | gain over scratch [95 %] | speakers |"
    return table(head, rows)


def simulate(points: list[Point]) -> str:
    """UAR of each strength and accuracy; its gain over scratch, paired by simulation."""
    rows = []
    scratch = {one["seed"]: one["uar"] for one in points if one["arm"] == "scratch"}
    weak = [one for one in points if one["arm"] == "weak"]

    def key(one: Point) -> tuple[str, str]:
        return str(one["strength"]), str(one["accuracy"])

    for (strength, accuracy), cell in groupby(sorted(weak, key=key), key):
        found = {one["seed"]: one["uar"] for one in cell}
        gains = [uar - scratch[seed] for seed, uar in sorted(found.items()) if seed in scratch]
        gain = interval(gains) if gains else ""
        rows.append((strength, accuracy, len(found), f"{fmean(found.values()):.3f}", gain))
    if scratch:
        rows.append(("", "scratch", len(scratch), f"{fmean(scratch.values()):.3f}", ""))
    head = "| strength | label accuracy | simulations | UAR | gain over scratch [95 %] |"
    return table(head, rows)


def _by_arm(
    points: list[Point], keys: Sequence[str]
) -> Iterable[tuple[tuple[Any, ...], dict[tuple[str, Any], dict[int, Point]]]]:
    """Points with the same keys: of each arm and p, by seed, in the order stored."""
    groups: dict[tuple[Any, ...], dict[tuple[str, Any], dict[int, Point]]] = {}
    for one in points:
        arms = groups.setdefault(tuple(one[key] for key in keys), {})
        arms.setdefault((one["arm"], one["p"]), {})[one["seed"]] = one
    return sorted(groups.items(), key=lambda item: item[0])


TABLES: dict[str, Callable[[list[Point]], str]] = {
    "real-voices": real_voices,
    "simulate": simulate,
}


def rebuilt(page: str, folder: Path = FOLDER) -> str:
    """The page with its tables as the data say."""

    def fill(marked: re.Match[str]) -> str:
        points = read(folder / f"{marked[2]}.jsonl")
        made = TABLES[marked[2]](points) if points else NOT_RUN
        return f"{marked[1]}\n{made}\n{marked[3]}"

    return MARKED.sub(fill, page)


if __name__ == "__main__":
    PAGE.write_text(rebuilt(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
