"""Reports: numbers as JSON, figures as PNG and SVG, and one HTML file that holds them all."""

from __future__ import annotations

import base64
import html
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lanser_cli import console
from lanser_cli.errors import LanserError, require
from lanser_cli.evaluation.about import TRANSDUCTIVE, About
from lanser_cli.evaluation.curve import Curves
from lanser_cli.evaluation.difference import COMPARED, Difference, signed
from lanser_cli.evaluation.metrics import Result
from lanser_cli.output import write_json, write_whole
from lanser_cli.provenance import command_line, versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 1

MOST_LETTERS = 40
"""Of a label or name in a figure."""

MOST_DRAWN = 60
"""Classes of a confusion matrix that is drawn."""

SCORE_NAMES = dict(zip(COMPARED, ("UAR", "WA", "macro F1"), strict=True))

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .2em .8em; text-align: left; }}
tr {{ border-bottom: 1px solid #ccc; }} img {{ max-width: 100%; }} code {{ color: #555; }}
</style>
<h1>{title}</h1>
{body}
<p>Made by <code>{command}</code> with lanser {version}.</p>
</html>
"""


class Report:
    """A report folder: add tables and figures, then `write` the whole."""

    def __init__(self, folder: Path, title: str) -> None:
        self._folder, self._title = folder, title
        self._parts: list[str] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LanserError(f"{folder}: cannot be made: {error.strerror}") from None
        self.can_plot = _can_plot()

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table of plain text."""
        lines = ["<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in head) + "</tr>"]
        for row in rows:
            cells = "".join(f'<td dir="auto">{html.escape(str(cell))}</td>' for cell in row)
            lines.append(f"<tr>{cells}</tr>")
        self._parts.append("<table>\n" + "\n".join(lines) + "\n</table>")

    def text(self, words: str) -> None:
        self._parts.append(f"<p>{html.escape(words)}</p>")

    def figure(self, name: str, figure: Figure) -> None:
        """Save a figure as NAME.png and NAME.svg, and show the latter in the page.

        Its text is text there, so a browser's fonts have letters that this machine's have not.
        """
        png, svg = (self._folder / f"{name}.{kind}" for kind in ("png", "svg"))
        with warnings.catch_warnings():  # of letters that the font lacks: they are drawn as boxes
            warnings.filterwarnings("ignore", r"Glyph \d+|Matplotlib currently does not support")
            figure.savefig(png, dpi=150, bbox_inches="tight", metadata={"Software": None})
            figure.savefig(svg, bbox_inches="tight", metadata={"Date": None})
        data = base64.b64encode(svg.read_bytes()).decode()
        self._parts.append(f'<p><img alt="{name}" src="data:image/svg+xml;base64,{data}"></p>')

    def write(self, numbers: Mapping[str, Any], name: str = "report.json") -> None:
        """Write the numbers to `name`, and `report.html`."""
        about = {"schema": SCHEMA, "argv": command_line(), "versions": versions()}
        write_json(self._folder / name, {**about, **numbers})
        page = _PAGE.format(
            title=html.escape(self._title),
            body="\n".join(self._parts),
            command=html.escape(" ".join(command_line())),
            version=versions()["lanser"],
        )
        write_whole(self._folder / "report.html", page)


def evaluation(
    folder: Path,
    results: Mapping[str, Result],
    uses: Mapping[str, tuple[str, float]],
    *,
    audit: Mapping[str, Any] | None = None,
    abouts: Mapping[str, About] | None = None,
    perturbed: Mapping[str, Mapping[str, Difference]] | None = None,
) -> None:
    """The report of `lanser eval`: one row and one confusion matrix for each named result.

    Args:
        uses: of results that are runs: what training started from, and the fraction of labels
            it used. Where fractions differ, they are drawn as label-efficiency curves.
        audit: what `certificate.cite` gives.
        abouts: of results that are runs, what they say of themselves.
        perturbed: of results that are runs, by change of sound: the difference it makes.
    """
    report = Report(folder, "Evaluation")
    abouts = abouts or {}
    report.table(
        ["", "records", "UAR", "chance", "WA", "macro F1", "weighted F1"],
        [
            [name, result.n, result.uar, f"{result.chance:.3f}", result.wa]
            + [result.macro_f1, result.weighted_f1]
            for name, result in results.items()
        ],
    )
    report.text(
        "UAR: mean recall over the classes. WA: share of right answers. In brackets: Student's t "
        "on the jackknife over units."
    )
    for name, result in results.items():
        report.text(f"{name}: {result.interval}.")
        _parts_of(report, name, result, abouts.get(name))
    for name, changes in (perturbed or {}).items():
        report.text(f"{name} with the sound changed; the difference is to unchanged sound:")
        table = [(words, lost.scores["uar"]) for words, lost in changes.items()]
        report.table(
            ["sound", "UAR", "difference"],
            [["unchanged", f"{table[0][1].reference:.3f}", ""]]
            + [[words, f"{uar.other:.3f}", signed(uar.difference)] for words, uar in table],
        )
    if report.can_plot:
        for number, (name, result) in enumerate(results.items(), start=1):
            if len(result.labels) > MOST_DRAWN:
                report.text(f"{name}: {len(result.labels)} classes are too many for a figure.")
                continue
            report.figure(f"confusion-{number}", confusion_figure(name, result))
        if len({fraction for _, fraction in uses.values()}) > 1:
            report.figure("label-efficiency", efficiency_figure(results, uses))
    numbers: dict[str, Any] = {
        "results": {name: result.as_json() for name, result in results.items()}
    }
    if abouts:
        numbers["runs"] = {name: about.as_json() for name, about in abouts.items()}
    if perturbed:
        numbers["perturbed"] = {
            name: {words: lost.as_json()["uar"] for words, lost in changes.items()}
            for name, changes in perturbed.items()
        }
    if audit is not None:
        report.text(_audit_words(audit))
        numbers["audit"] = audit
    report.write(numbers)


def comparison(folder: Path, differences: Sequence[Difference]) -> None:
    """The report of `lanser compare`: a row for each score of each comparison."""
    report = Report(folder, "Comparison")
    report.table(
        ["", "against", "score", "other", "reference", "difference", "p", "p (Holm)"]
        + ["detectable", "units"],
        [
            [each.other, each.reference, SCORE_NAMES[name], f"{one.other:.3f}"]
            + [f"{one.reference:.3f}", signed(one.difference), f"{one.p:.4f}", f"{one.p_holm:.4f}"]
            + ["" if one.detectable is None else f"{one.detectable:.3f}"]
            + [f"{each.units} {each.unit}s"]
            for each in differences
            for name, one in each.scores.items()
        ],
    )
    report.text(
        "Difference: other less reference; in brackets: Student's t on the paired jackknife over "
        "units. p: share of sign flips over units that make the difference as large; Holm: "
        f"adjusted for {len(differences)} comparisons. Detectable: the least true difference that "
        "so many units find at 0.05 with a power of 80 %."
    )
    for words in dict.fromkeys(each.reservation for each in differences if each.reservation):
        report.text(f"{words}.")
    for name in sorted({name for each in differences for name in each.transductive}):
        report.text(f"{name} is transductive: {TRANSDUCTIVE}.")
    if report.can_plot:
        report.figure("differences", difference_figure(differences))
    report.write({"differences": [each.as_json() for each in differences]})


def efficiency(folder: Path, curves: Curves, about: About) -> None:
    """The report of `lanser efficiency`: both curves, and what lies between them."""
    report = Report(folder, "Label efficiency")
    first = next(iter(curves.results.values()))[0]
    if about.warning:
        report.text(f"WARNING: --init: {about.warning}.")
    report.table(
        ["labels used", "UAR from scratch", "UAR from --init", "difference"],
        [
            [f"{fraction:g}", scratch.uar, init.uar, difference]
            for fraction, scratch, init, difference in zip(
                curves.fractions, *curves.results.values(), curves.differences, strict=True
            )
        ],
    )
    report.text(f"Mean difference along the logarithm of the labels used: {curves.area}.")
    scratch_best = curves.results["scratch"][-1].uar.value
    if curves.reaches is None:
        report.text(f"--init nowhere has the UAR of scratch with most labels, {scratch_best:.3f}.")
    else:
        most = "at most " if curves.reaches == curves.fractions[0] else ""
        report.text(
            f"--init has the UAR of scratch with most labels, {scratch_best:.3f}, with {most}"
            f"{curves.reaches:g} of the labels."
        )
    report.text(
        f"Both arms make the same steps from the same labels, folds and seeds; {first.interval}, "
        "Student's t on the jackknife, each left out of both curves at once."
    )
    if report.can_plot:
        named = {
            (arm, fraction): result
            for arm, results in curves.results.items()
            for fraction, result in zip(curves.fractions, results, strict=True)
        }
        names = {f"{arm} {fraction:g}": (arm, fraction) for arm, fraction in named}
        results = {name: named[use] for name, use in names.items()}
        report.figure("label-efficiency", efficiency_figure(results, names))
    report.write(curves.as_json() | {"about": about.as_json()})


def _parts_of(report: Report, name: str, result: Result, about: About | None) -> None:
    """What a result is made of: seeds, folds, speakers; and what its run started from had heard."""
    if about and about.warning:
        report.text(f"WARNING: {name}: {about.warning}.")
    if result.seeds:
        report.text(
            f"{name}: mean of {len(result.seeds)} seeds, between which UAR has a standard "
            f"deviation of {result.sd:.3f}; the interval is over {result.unit}s of that mean."
        )
        report.table(
            ["seed", "UAR", "WA"],
            [[seed, f"{one['uar']:.3f}", f"{one['wa']:.3f}"] for seed, one in result.seeds.items()],
        )
    if result.folds:
        report.text(
            f"{name}: UAR of all folds' records pooled {result.uar.value:.3f}, mean of the folds' "
            f"UAR {result.folds_uar:.3f}."
        )
        validation = about.validation if about else {}
        report.table(
            ["fold", "records", "UAR", *(["validation UAR"] if validation else [])],
            [
                [fold, one["n"], f"{one['uar']:.3f}"]
                + ([f"{validation[fold]:.3f}"] if fold in validation else [])
                for fold, one in result.folds.items()
            ],
        )
    if result.by_unit:
        report.table(
            [result.unit, "UAR"], [[unit, f"{uar:.3f}"] for unit, uar in result.by_unit.items()]
        )


def _audit_words(audit: Mapping[str, Any]) -> str:
    """The certificate in a few sentences."""
    sides = ", ".join(f"{side['name']} ({side['records']} records)" for side in audit["sides"])
    words = [f"Audit of {sides}: {'passed' if audit['passed'] else 'WARNING: it FAILED'}."]
    for key, what in (
        ("found", "Shared"),
        ("allowed", "Shared, and allowed"),
        ("not_checked", "Not checked"),
    ):
        if audit[key]:
            words.append(f"{what}: {', '.join(audit[key])}.")
    if rejected := sum(side["rejected"] for side in audit["sides"]):
        words.append(f"{rejected} records could not be audited.")
    return " ".join([*words, f"Certificate: {audit['file']}, SHA-256 {audit['sha256']}."])


def confusion_figure(name: str, result: Result) -> Figure:
    """Share of each true class that got each answer, as a heat map."""
    counts = np.asarray(result.confusion, dtype=float)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)
    figure, axes = canvas(1.6 + 0.55 * len(result.labels), 1.2 + 0.5 * len(result.labels))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(result.labels))
    words = [short(label) for label in result.labels]
    axes.set_xticks(ticks, words, rotation=60, ha="right")
    axes.set_yticks(ticks, words)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    axes.set_title(f"{short(name)}: UAR {result.uar.value:.3f}, WA {result.wa.value:.3f}")
    for row in ticks:
        for column in ticks:
            if shares[row, column] >= 0.005:
                colour = "white" if shares[row, column] > 0.5 else "black"
                text = f"{shares[row, column]:.2f}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    return figure


def efficiency_figure(
    results: Mapping[str, Result], uses: Mapping[str, tuple[str, float]]
) -> Figure:
    """UAR against the fraction of labels used, a line for each thing training started from."""
    figure, axes = canvas(6, 4)
    for start in dict.fromkeys(start for start, _ in uses.values()):
        names = [name for name, (other, _) in uses.items() if other == start]
        names.sort(key=lambda name: uses[name][1])
        uars = [results[name].uar for name in names]
        axes.errorbar(
            [uses[name][1] for name in names],
            [uar.value for uar in uars],
            yerr=[[uar.reach[side] for uar in uars] for side in (0, 1)],
            fmt="o-",
            capsize=3,
            label=short(start),
        )
    axes.set_xscale("log")
    axes.set_xlabel("fraction of the labelled records used for training")
    axes.set_ylabel("UAR")
    axes.legend()
    return figure


def difference_figure(differences: Sequence[Difference]) -> Figure:
    """Difference of UAR and its interval, a line for each comparison."""
    figure, axes = canvas(6, 1.2 + 0.4 * len(differences))
    places = range(len(differences))
    found = [each.scores["uar"].difference for each in differences]
    axes.errorbar(
        [one.value for one in found],
        places,
        xerr=[[one.reach[side] for one in found] for side in (0, 1)],
        fmt="o",
        capsize=3,
    )
    axes.axvline(0, color="black", linewidth=0.8)
    pairs = [f"{short(each.other)}\nless {short(each.reference)}" for each in differences]
    axes.set_yticks(places, pairs)
    axes.set_ylim(len(differences) - 0.5, -0.5)
    axes.set_xlabel("difference of UAR")
    return figure


def short(text: str) -> str:
    """A text as it fits a figure: one line of `MOST_LETTERS`, the middle left out."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    if len(line) <= MOST_LETTERS:
        return line
    half = MOST_LETTERS // 2
    return f"{line[:half]}…{line[-half + 1 :]}"


def canvas(width: float, height: float) -> tuple[Figure, Any]:
    """A figure of so many inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _can_plot() -> bool:
    """Figures are an extra; without it a report has its numbers all the same."""
    try:
        matplotlib = require("matplotlib", "plots")
    except LanserError as error:
        console.warn(f"no figures in the report: {error}")
        return False
    matplotlib.rcParams["text.parse_math"] = False  # a $ in a label is a dollar
    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text
    matplotlib.rcParams["svg.hashsalt"] = "lanser"  # the same figure gives the same bytes
    return True
