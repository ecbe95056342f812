"""Write the tables of README.md and docs/evidence.md, and their figures, from docs/results/*.jsonl.

    python docs/make_results.py

A table stands between two comments, `<!-- results: NAME -->` and `<!-- end -->`, and is what its
file says: nothing is typed by hand. Where a file is not there, the table says "not run yet".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from statistics import fmean, linear_regression, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.evaluation.figures import canvas
from lanser_cli.prosody.table import TRAINED
from lanser_cli.prosody.verdict import Verdict, judge

PAGES = (Path(__file__).parents[1] / "README.md", Path(__file__).parent / "evidence.md")
FOLDER = Path(__file__).parent / "results"
MARKED = re.compile(r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOT_RUN = "*Not run yet: no point is stored, and nothing is claimed.*\n"
FEWEST = 5
"""Units below which there is no interval, as in `lanser eval`."""

DECIDES = 0.1
"""The share of labels whose gain the claims are about."""

DRAWN = "ravdess"
"""The corpus whose curves are drawn: on the other no gain is shown."""

CHANCE = 1 / 6
"""What p = chance is, of six emotions."""

REAL_SETTINGS = (
    *("corpus", "fraction", "model", "crop", "folds", "clips", "labeller", "batch_size"),
    *("pretrain_steps", "steps"),
)
SIMULATED_SETTINGS = (
    *("model", "crop", "recordings", "batch_size", "pretrain_steps", "fraction", "steps"),
)
"""What points must share to be compared."""

PROBED = ("within", "fixed_sentence")
"""What the probe has a verdict on: prosody within speakers, emotion within a sentence."""

TRANSDUCTIVE = "normalise-speaker"
"""The change of settings with which a model hears the test speakers' other clips."""

Point = dict[str, Any]


def read(path: Path) -> list[Point]:
    """The points of a file; none where it is not there."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def interval(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Mean and 95 % interval by Student's t; None of too few values."""
    if len(values) < FEWEST:
        return None
    from scipy.stats import t

    mean, reach = fmean(values), t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return mean, mean - reach, mean + reach


def shown(values: Sequence[float]) -> str:
    """Mean and, of enough values, the interval."""
    if not values:
        return ""
    found = interval(values)
    if found is None:
        return f"{fmean(values):+.3f}"
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*found)


def table(head: str, rows: Iterable[Sequence[object]]) -> str:
    lines = [head, "|".join(["", *["---"] * (head.count("|") - 1), ""])]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]) + "\n"


def groups(points: list[Point], *keys: str) -> list[tuple[tuple[Any, ...], list[Point]]]:
    """Points that share these keys, in the order of their values."""
    found: dict[tuple[Any, ...], list[Point]] = {}
    for one in points:
        found.setdefault(tuple(one[key] for key in keys), []).append(one)
    return sorted(found.items(), key=lambda item: tuple(map(str, item[0])))


def told(points: list[Point], keys: Sequence[str], *there: str) -> list[str]:
    """The settings in which points differ that are alike in those that a table has anyway."""
    alike = [one for _, one in groups(points, *there)]
    left = (key for key in keys if key not in there)
    return [key for key in left if any(len({one[key] for one in here}) > 1 for here in alike)]


def columns(keys: Sequence[str]) -> str:
    """The head of a table's columns for these settings."""
    return "".join(f"| {key.replace('_', ' ')} " for key in keys)


def named(keys: Sequence[str], values: Sequence[Any]) -> list[str]:
    """These settings in words."""
    return [f"{key.replace('_', ' ')} {value}" for key, value in zip(keys, values, strict=True)]


def by_network(points: Iterable[Point]) -> list[list[Point]]:
    """Points of each pre-trained network, by its seed; one network where none is named."""
    found: dict[int, list[Point]] = {}
    for one in points:
        found.setdefault(one.get("pretrain_seed") or 0, []).append(one)
    return [found[seed] for seed in sorted(found)]


def counted(points: Iterable[Point]) -> str:
    """How many seeds each network was fine-tuned with: "5", or "5 + 3" of two."""
    return " + ".join(str(len(one)) for one in by_network(points))


def paired(arm: list[Point], scratch: list[Point]) -> list[Point]:
    """Those of an arm whose seed scratch has too, of which a gain is."""
    seeds = {one["seed"] for one in scratch}
    return [one for one in arm if one["seed"] in seeds]


def gains(arm: list[Point], scratch: list[Point]) -> list[float]:
    """Of each unit, UAR less that of scratch.

    The mean over the seeds that both have, then over the arm's networks; where another arm stands
    for scratch, each seed is the mean over its networks.
    """
    others = {seed: same for (seed,), same in groups(scratch, "seed")}
    networks = by_network(paired(arm, scratch))
    if not networks:
        return []

    def gain(one: Point, unit: str) -> float:
        return one["by_unit"][unit] - fmean(o["by_unit"][unit] for o in others[one["seed"]])

    return [
        fmean(fmean(gain(one, unit) for one in network) for network in networks)
        for unit in sorted(scratch[0]["by_unit"])
    ]


def gained(arm: list[Point], scratch: list[Point]) -> str:
    """The gain with its interval; the seeds, if not all; of several networks the gain of each."""
    both = paired(arm, scratch)
    networks = by_network(both)
    more = []
    if both and counted(both) != counted(scratch):
        more.append(f"{counted(both)} seeds")
    if len(networks) > 1:
        each = (f"{fmean(gains(one, scratch)):+.3f}" for one in networks)
        more.append(f"networks {', '.join(each)}")
    return shown(gains(arm, scratch)) + (f" ({'; '.join(more)})" if more else "")


def beside_scratch(
    here: list[Point], *keys: str, scratch: tuple[Any, ...]
) -> tuple[dict[Any, list[Point]], list[Point], dict[Any, list[float]]]:
    """Points by arm, those from scratch apart, and the gain of each arm."""
    arms = dict(groups(here, *keys))
    base = arms.pop(scratch, [])
    return arms, base, {arm: gains(one, base) for arm, one in arms.items()}


def real_voices(points: list[Point]) -> str:
    """Of each corpus and share of labels, UAR from scratch and the gain of each arm."""
    rows, held = [], []
    points = without_further(whole(points))
    apart = told(points, REAL_SETTINGS, "corpus", "fraction", "pretrain_steps", "steps")
    arms = sorted({(one["arm"], one["p"]) for one in points} - {SCRATCH}, key=in_order)
    for where, here in groups(points, *REAL_SETTINGS):
        other = [here[0][key] for key in apart]
        by_arm, scratch, found = beside_scratch(here, "arm", "p", scratch=SCRATCH)
        gain = (gained(by_arm.get(arm, []), scratch) for arm in arms)
        uar = f"{fmean(one['uar'] for one in scratch):.3f}" if scratch else ""
        shares = (f"{where[1]:g}", f"{where[-2]}, {where[-1]}")
        rows.append((*other, where[0], *shares, len(scratch), uar, *gain))
        if where[1] == DECIDES:
            which = [where[0], *named(apart, other), f"{where[-2]} and {where[-1]} steps"]
            held.append(outcomes(which, REAL, found, DECIDES, trend(found)))
    head = columns(apart) + "| corpus | labels | steps | seeds | scratch, UAR |"
    head += "".join(f" {called(arm)} |" for arm in arms)
    return table(head, rows) + ("\n" + "".join(held) if held else "")


SCRATCH = ("scratch", None)
"""The arm without pre-training."""

FURTHER = ("prior", "clusters", "sentiment")
CONTROLS = ("shuffled", *FURTHER, "gold")
"""Controls on the weak label; some of them stand in a table of their own alone."""

BEST = ("weak", 1)
"""The weak labels that the controls are of."""

COMPARED = (BEST, *((name, None if name == "gold" else 1) for name in CONTROLS))
"""The rows of that table."""


def without_further(points: list[Point]) -> list[Point]:
    return [one for one in points if one["arm"] not in FURTHER]


def controls(points: list[Point]) -> str:
    """Where all controls were run, the gain of each, and what weak labels have over it."""
    rows = []
    for where, here in groups(whole(points), *REAL_SETTINGS):
        by_arm, scratch, _ = beside_scratch(here, "arm", "p", scratch=SCRATCH)
        if not by_arm.keys() >= set(COMPARED):
            continue
        for arm in COMPARED:
            one = by_arm[arm]
            uar = f"{fmean(each['uar'] for each in one):.3f}"
            less = "" if arm == BEST else shown(gains(by_arm[BEST], one))
            rows.append((where[0], called(arm), len(one), uar, gained(one, scratch), less))
    head = "| corpus | pre-trained on | seeds | UAR | gain over scratch | weak, p = 1, less this |"
    return table(head, rows)


def whole(points: list[Point]) -> list[Point]:
    """Those that start from all of a network, or from none."""
    return [one for one in points if "shrink" not in one]


def shrunk(points: list[Point]) -> str:
    """Where fine-tuning began between a network and fresh weights, beside both."""
    rows = []
    for where, here in groups(points, *REAL_SETTINGS):
        by_arm = dict(groups(whole(here), "arm", "p"))
        tried = [one for one in here if "shrink" in one]
        for (arm, p, shrink), some in groups(tried, "arm", "p", "shrink"):
            scratch, base = (by_arm.get(one, []) for one in (SCRATCH, (arm, p)))
            alike = (paired(each, some) for each in (scratch, base, some))
            uars = (f"{fmean(one['uar'] for one in each):.3f}" if each else "" for each in alike)
            less = (shown(gains(some, each)) for each in (scratch, base))
            about = (where[0], f"{where[1]:g}", where[-1], called((arm, p)), f"{shrink:g}")
            rows.append((*about, len(some), *uars, *less))
    head = (
        "| corpus | labels | steps | pre-trained on | shrink | seeds | UAR, scratch | whole start "
        "| shrunk | shrunk, less scratch | less whole start |"
    )
    return table(head, rows)


def in_order(arm: tuple[str, Any]) -> tuple[int, float]:
    """Weak labels by how many are right, then the controls."""
    name, p = arm
    return ("weak", *CONTROLS).index(name), CHANCE if p == "chance" else p or 0


def called(arm: tuple[str, Any]) -> str:
    """An arm in words."""
    name, p = arm
    return name if p is None else f"{name}, p = {p}"


REAL = (
    (("weak", 1), "a gain at p = 1"),
    (("weak", "chance"), "no gain at p = chance"),
    (("shuffled", 1), "no gain from shuffled labels"),
    (("gold", None), "a gain from the acted emotions"),
)
SIMULATED = (
    ((1, 1), "a gain at strength 1 from labels that are right"),
    ((1, "chance"), "no gain at strength 1 from labels right by chance"),
    ((0.5, "chance"), "no gain at strength 0.5 from labels right by chance"),
    ((0, 1), "no gain at strength 0 from labels that are right"),
    ((0, 0.7), "no gain at strength 0 from labels right in 7 of 10"),
    ((0, "chance"), "no gain at strength 0 from labels right by chance"),
)
"""Arms that have an answer beforehand, and which."""

Claims = Sequence[tuple[tuple[Any, ...], str]]


def judged(
    claims: Claims, found: dict[tuple[Any, ...], list[float]]
) -> Iterator[tuple[tuple[Any, ...], str, str]]:
    """Of each claim of the gains that was tested its arm, its words, and whether it came out."""
    for arm, words in claims:
        if not (values := found.get(arm)):
            continue
        if (seen := interval(values)) is None:
            answer = f"too few speakers for an interval, {len(values)}"
        elif words.startswith("no"):
            answer = "not refuted" if seen[1] <= 0 else "did not come out"
        else:
            answer = "came out" if seen[1] > 0 else "did not come out"
        yield arm, words, answer


def outcomes(
    which: Sequence[str],
    claims: Claims,
    found: dict[tuple[Any, ...], list[float]],
    share: float,
    more: Sequence[str] = (),
) -> str:
    """What came out, with this share of the labels, of what is claimed of the gains: a line."""
    where = ", ".join([*which, f"{share:.0%} of the labels"])
    said = [f"{words}: {answer}" for _, words, answer in judged(claims, found)]
    return f"* {where}: {'; '.join([*said, *more])}.\n" if said else ""


def trend(found: dict[tuple[str, Any], list[float]]) -> list[str]:
    """Whether the gain falls in p: of each unit the least-squares slope over p."""
    by_p = {CHANCE if p == "chance" else p: one for (arm, p), one in found.items() if arm == "weak"}
    if len(by_p) < 3 or len({len(one) for one in by_p.values()}) > 1:
        return []
    slopes = [linear_regression(list(by_p), one).slope for one in zip(*by_p.values(), strict=True)]
    if (seen := interval(slopes)) is None:
        return []
    answer = "did not come out" if seen[2] < 0 else "not refuted"
    return [f"no fall of the gain in p: {answer}, its slope over p, by speaker, is {shown(slopes)}"]


def simulate(points: list[Point]) -> str:
    """Of each strength and accuracy the gain over scratch, as above, and what its probes say."""
    rows, held = [], []
    apart = told(points, SIMULATED_SETTINGS)
    for where, here in groups(points, *SIMULATED_SETTINGS):
        other = [here[0][key] for key in apart]
        cells = dict(groups(here, "strength", "accuracy"))
        tuned = {cell: [one for one in found if "uar" in one] for cell, found in cells.items()}
        scratch = tuned.get((None, None), [])
        found = {cell: gains(one, scratch) for cell, one in tuned.items() if cell[0] is not None}
        for cell, one in tuned.items():
            name = ("scratch", "") if cell[0] is None else cell
            uar = f"{fmean(each['uar'] for each in one):.3f}" if one else ""
            said = (probed(cells[cell], way) for way in PROBED)
            rows.append((*other, *name, len(one), uar, shown(found.get(cell, [])), *said))
        held.append(outcomes(named(apart, other), SIMULATED, found, where[-2]))
    head = columns(apart) + (
        "| strength | label accuracy | seeds | UAR | gain over scratch [95 %] | "
        "prosody within speakers, R² | emotion within a sentence, UAR |"
    )
    return table(head, rows) + ("\n" + "".join(held) if held else "")


def difference(verdict: dict[str, Any]) -> str:
    """Trained minus the hardest control."""
    return "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**verdict["difference"])


def less_control(verdict: dict[str, Any]) -> str:
    """Trained minus the hardest control, and which that is."""
    return f"{difference(verdict)} ({verdict['control']})"


def probed(points: list[Point], way: str, *, briefly: bool = False) -> str:
    """What the probes of a cell say, all seeds together.

    Args:
        briefly: without the control, and how many seeds say "shown" alone.
    """
    found = [one["by_unit"][way] for one in points if "verdicts" in one]
    if not found:
        return ""
    pooled = over_seeds(found)
    verdict = pooled.as_json()
    if briefly:
        return f"{pooled.word}, {difference(verdict)}"
    count = sum(bool(over_seeds([one]).shown) for one in found)
    alone = f"; shown by {count} of {len(found)} seeds alone" if len(found) > 1 else ""
    return f"{pooled.word}, {less_control(verdict)}{alone}"


def over_seeds(found: Sequence[dict[str, dict[str, float | None]]]) -> Verdict:
    """The probe's verdict on the mean over seeds of each speaker's scores.

    Args:
        found: of each seed, column → speaker → score.
    """
    columns = means(found)
    return judge(columns.pop(TRAINED), columns)


def means(found: Sequence[dict[str, dict[str, float | None]]]) -> dict[str, NDArray[np.float64]]:
    """Column → the mean over seeds of each speaker's score."""
    return {
        name: np.mean([np.array(list(seed[name].values()), dtype=float) for seed in found], axis=0)
        for name in found[0]
    }


def over_controls(points: list[Point]) -> str:
    """Of the cell of `simulate` that must gain, what the network has over each control."""
    probes = [one for one in points if "verdicts" in one]
    here = [one for one in probes if (one["strength"], one["accuracy"]) == SIMULATED[0][0]]
    less: dict[str, dict[str, str]] = {}
    for way in PROBED:
        columns = means([one["by_unit"][way] for one in here])
        trained = columns.pop(TRAINED)
        for name, scores in columns.items():
            less.setdefault(name, {})[way] = difference(judge(trained, {name: scores}).as_json())
    rows = [(name, *(ways.get(way, "") for way in PROBED)) for name, ways in less.items()]
    return table("| control | prosody within speakers, R² | emotion within a sentence, UAR |", rows)


def settings(points: list[Point]) -> str:
    """UAR with the defaults and with each change of them; the difference, paired by unit."""
    rows = []
    for where, here in groups(points, "corpus", "model", "folds", "steps", "options"):
        by_arm = dict(groups(here, "arm"))
        default = by_arm.pop(("default",), [])
        found = [("default", default, "")] if default else []
        found += [(arm, one, shown(gains(one, default))) for (arm,), one in by_arm.items()]
        for arm, one, gain in found:
            uars = [each["uar"] for each in one]
            sd = f"{stdev(uars):.3f}" if len(uars) > 1 else ""
            change = f"{arm} (transductive)" if arm == TRANSDUCTIVE else arm
            rows.append((*where, change, len(one), f"{fmean(uars):.3f}", sd, gain))
    head = (
        "| corpus | model | folds | steps | options of all | change | seeds | UAR "
        "| sd over seeds | difference [95 %] |"
    )
    return table(head, rows)


def probes(points: list[Point]) -> str:
    """What probes of one corpus found: R2 within speakers, and emotion within a sentence."""

    rows = []
    for one in points:
        within, fixed = one["verdicts"]["within"], one["fixed_sentence"]
        r2 = f"{one['median']['trained']['within_by_speaker'][0]:.3f}"
        uar = f"{fixed['uar']['trained']['value']:.3f}"
        which = (one["network"], one["pretrain_steps"])
        rows.append((*which, r2, less_control(within), within["verdict"]))
        rows[-1] += (uar, less_control(fixed), fixed["verdict"])
    less = "less the best control [95 %] | verdict"
    head = (
        f"| pre-trained on | steps | R² within speakers | {less} | UAR within a sentence | {less} |"
    )
    return table(head, rows)


def decisive(points: list[Point]) -> list[Point]:
    """Those with the share of labels that the claims are about."""
    return [one for one in points if one["fraction"] == DECIDES]


def real_voices_decides(points: list[Point]) -> str:
    """What must come out of `real_voices` with the longest pre-training, and what did."""
    most = max(one["pretrain_steps"] for one in points)
    longest = [one for one in whole(points) if one["pretrain_steps"] == most]
    rows, points = [], decisive(longest)
    apart = told(points, REAL_SETTINGS, "corpus", "pretrain_steps", "steps")
    for where, here in groups(points, *REAL_SETTINGS):
        other = [here[0][key] for key in apart]
        by_arm, scratch, found = beside_scratch(here, "arm", "p", scratch=SCRATCH)
        for arm, words, answer in judged(REAL, found):
            row = (where[-1], words, len(scratch), gained(by_arm[arm], scratch), answer)
            rows.append((*other, where[0], *row))
    head = columns(apart) + (
        "| corpus | steps | must come out | seeds | gain, UAR [95 %] | outcome |"
    )
    return table(head, rows)


def simulate_decides(points: list[Point]) -> str:
    """What must come out of `simulate`, what did, and what the probe says."""
    rows, points = [], decisive(points)
    apart = told(points, SIMULATED_SETTINGS)
    for _, here in groups(points, *SIMULATED_SETTINGS):
        other = [here[0][key] for key in apart]
        cells = dict(groups(here, "strength", "accuracy"))
        tuned, scratch, found = beside_scratch(
            [one for one in here if "uar" in one], "strength", "accuracy", scratch=(None, None)
        )
        for cell, words, answer in judged(SIMULATED, found):
            said = (probed(cells[cell], way, briefly=True) for way in PROBED)
            count = len(paired(tuned[cell], scratch))
            row = (words, count, shown(found[cell]), answer, *said)
            rows.append((*other, *row))
    head = columns(apart) + (
        "| must come out | seeds | gain, UAR [95 %] | outcome | prosody, R² | emotion, UAR |"
    )
    return table(head, rows)


def curves(points: list[Point]) -> str:
    """Gain over scratch against the share of labels, of each arm, as SVG.

    Of the settings that were run with most shares of `DRAWN`.
    """
    apart = [key for key in REAL_SETTINGS if key != "fraction"]
    points = [one for one in without_further(whole(points)) if one["corpus"] == DRAWN]
    (corpus, *_, steps), here = max(
        groups(points, *apart), key=lambda item: len({one["fraction"] for one in item[1]})
    )
    lines: Lines = {}
    for (fraction,), one in groups(here, "fraction"):
        _, _, found = beside_scratch(one, "arm", "p", scratch=SCRATCH)
        for (arm, p), values in found.items():
            name = f"{arm} labels, p = {p}" if arm == "weak" else f"{arm} labels"
            lines.setdefault(name, {})[fraction] = values
    shares = {share: f"{share:.0%}" for share in sorted({one["fraction"] for one in here})}
    about = f"share of the labels of {corpus}, {steps} steps of fine-tuning"
    return drawn(lines, shares, about, scale="log")


def doses(points: list[Point]) -> str:
    """Gain over scratch against how often weak labels are right, of each strength, as SVG."""
    lines: Lines = {}
    ticks = {CHANCE: "chance"}
    points = [one for one in points if "uar" in one]
    _, here = max(groups(points, *SIMULATED_SETTINGS), key=lambda item: len(item[1]))
    _, _, found = beside_scratch(here, "strength", "accuracy", scratch=(None, None))
    for (strength, accuracy), values in found.items():
        right = CHANCE if accuracy == "chance" else accuracy
        ticks.setdefault(right, f"{right:.0%}")
        lines.setdefault(f"strength {strength}", {})[right] = values
    return drawn(lines, ticks, "weak labels that are right")


Lines = dict[str, dict[float, list[float]]]
"""Of each line of a figure, x -> the gain of each unit."""


def drawn(lines: Lines, ticks: dict[float, str], about: str, scale: str = "linear") -> str:
    """Gains with their intervals as SVG, a line each; those of one x stand side by side.

    Args:
        ticks: x -> its name.
        about: what x is.
    """
    import matplotlib

    figure, axes = canvas(7, 4)
    for place, (name, line) in enumerate(sorted(lines.items())):
        seen = {x: each for x, one in sorted(line.items()) if (each := interval(one))}
        beside = place - len(lines) / 2
        axes.errorbar(
            [x * 1.03**beside if scale == "log" else x + 0.01 * beside for x in seen],
            [mean for mean, _, _ in seen.values()],
            yerr=[high - mean for mean, _, high in seen.values()],
            fmt="o-",
            markersize=4,
            capsize=3,
            label=name,
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale(scale)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xticks([], minor=True)
    axes.set_xlabel(about)
    axes.set_ylabel("UAR less scratch's, 95 % interval")
    axes.legend(fontsize=8)
    written = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lanser"}):
        figure.savefig(written, format="svg", bbox_inches="tight", metadata={"Date": None})
    return re.sub(r" +$", "", written.getvalue(), flags=re.MULTILINE)


TABLES: dict[str, tuple[str, Callable[[list[Point]], str]]] = {
    "real-voices": ("real-voices", real_voices),
    "real-voices-decides": ("real-voices", real_voices_decides),
    "real-voices-controls": ("real-voices", controls),
    "real-voices-shrunk": ("real-voices", shrunk),
    "probes": ("probes", probes),
    "simulate": ("simulate", simulate),
    "simulate-decides": ("simulate", simulate_decides),
    "simulate-controls": ("simulate", over_controls),
    "settings": ("settings", settings),
}
"""Of each table the file, without its suffix, and what makes it."""

FIGURES: dict[str, Callable[[list[Point]], str]] = {"real-voices": curves, "simulate": doses}
"""Of each file its figure, which is beside it."""


def rebuilt(page: str, folder: Path = FOLDER) -> str:
    """The page with its tables as the data say."""

    def fill(marked: re.Match[str]) -> str:
        file, make = TABLES[marked[2]]
        points = read(folder / f"{file}.jsonl")
        made = make(points) if points else NOT_RUN
        return f"{marked[1]}\n{made}\n{marked[3]}"

    return MARKED.sub(fill, page)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rebuilt(page.read_text(encoding="utf-8")), encoding="utf-8")
    for file, make in FIGURES.items():
        drawing = make(read(FOLDER / f"{file}.jsonl"))
        (FOLDER / f"{file}.svg").write_text(drawing, encoding="utf-8")
