"""The report of the probe: `probe.json`, a heat map, bars with intervals, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lanser_cli import console
from lanser_cli.evaluation.figures import canvas
from lanser_cli.evaluation.page import Page
from lanser_cli.prosody import verdict
from lanser_cli.prosody.table import TRAINED, Table
from lanser_cli.prosody.targets import UNITS
from lanser_cli.summary import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "probe.json"


def write_report(folder: Path, numbers: dict[str, Any], table: Table) -> None:
    """Write `probe.json`, `report.html` and its figures."""
    page = Page(folder, "What the representation knows of prosody")
    page.text(table.decisive.sentence("prosody within a speaker"))
    page.text(table.verdicts["r2"].sentence("prosody over all speakers"))
    page.text(
        f"{numbers['utterances']} utterances by {numbers['speakers']} speakers; {numbers['folds']} "
        f"folds over {_count(numbers['networks'], 'network')}, no speaker in training and test of "
        f"a {numbers['probe']} probe. Speakers held out from the networks: {numbers['held_out']}."
    )
    for line in numbers["left_out"]:
        page.text(f"Left out: {line}.")
    page.table(
        ["", "median R2", "within speakers", "mean over speakers of within [95 %]", "Spearman"],
        [
            [name, _show(one["r2"]), _show(one["within"]), _interval(one["within_by_speaker"])]
            + [_show(one["spearman"])]
            for name, one in numbers["median"].items()
        ],
    )
    page.table(
        ["R2 within speakers", "n", *table.columns],
        [
            [f"{target} ({UNITS[target]})", table.columns[TRAINED].n[k]]
            + [_show(one.within[k]) for one in table.columns.values()]
            for k, target in enumerate(table.targets)
        ],
    )
    if apart := numbers["duration"]:
        page.text(
            "Apart, since the zeros behind a short clip give it away: duration, R2 "
            + ", ".join(f"{name} {_show(one['r2'])}" for name, one in apart.items())
            + "."
        )
    _words(page, numbers)
    if page.can_plot:
        seen = "R2 within speakers of each representation, with its interval"
        page.figure("controls", controls_figure(table), seen)
        page.figure("layers", layers_figure(table), "R2 of the trained network, layer by target")
    page.write(numbers, NAME)
    console.info(f"probe-prosody: report in {folder / 'report.html'}")


def in_short(numbers: Mapping[str, Any]) -> Summary:
    """The medians over targets of each representation, and the verdict, for a terminal."""
    within = numbers["verdicts"]["within"]
    what = f"Prosody within a speaker: {within['verdict']}"
    return Summary(
        ["", "median R2", "within speakers", "mean over speakers [95 %]"],
        [
            [name, _show(one["r2"]), _show(one["within"]), _interval(one["within_by_speaker"])]
            for name, one in numbers["median"].items()
        ],
        f"{what}; trained minus '{within['control']}', the hardest control, "
        f"{_estimate(within['difference'])} over {within['speakers']} speakers, "
        f"{numbers['folds']} folds.",
    )


def controls_figure(table: Table) -> Figure:
    """R2 within speakers of each column: a bar, its interval over speakers."""
    names = list(table.columns)
    found = [
        verdict.estimate(verdict.of_speakers(one.by_speaker[1])) for one in table.columns.values()
    ]
    figure, axes = canvas(1.5 + 0.8 * len(names), 4)
    axes.bar(
        range(len(names)),
        [one.value for one in found],
        yerr=[[one.reach[side] for one in found] for side in (0, 1)],
        capsize=4,
        color=["tab:blue" if name == TRAINED else "silver" for name in names],
    )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_ylabel("R2 within speakers, median over targets")
    axes.set_title(f"Trained against its controls: {table.decisive.word}")
    return figure


def layers_figure(table: Table) -> Figure:
    """R2 of the trained network, layer by target, as a heat map."""
    values = np.stack(list(table.by_layer.values()))
    figure, axes = canvas(2.5 + 0.7 * values.shape[1], 1.5 + 0.4 * len(values))
    drawn = axes.imshow(values, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    axes.set_xticks(range(values.shape[1]), table.targets, rotation=40, ha="right")
    axes.set_yticks(range(len(values)), list(table.by_layer))
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if abs(value) > 0.6 else "black"
            axes.text(
                column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8
            )
    figure.colorbar(drawn, label="R2")
    axes.set_title("The trained network, layer by layer")
    return figure


def _words(page: Page, numbers: dict[str, Any]) -> None:
    if fixed := numbers["fixed_sentence"]:
        page.text(
            f"Emotion within fixed sentences: {fixed['utterances']} utterances of "
            f"{_count(fixed['sentences'], 'sentence')}, each in all {len(fixed['labels'])} labels. "
            f"UAR, chance {fixed['chance']:.3f}; trained minus the hardest control "
            f"('{fixed['control']}') {_estimate(fixed['difference'])}: {fixed['verdict']}."
        )
        page.table(["", "UAR"], [[name, _estimate(one)] for name, one in fixed["uar"].items()])
    if torn := numbers["words_against_voice"]:
        page.text(
            f"Words against voice: of {torn['utterances']} utterances whose words say another "
            f"emotion than the voice, {_estimate(torn['voice'])} of the answers follow the voice "
            f"and {_estimate(torn['words'])} the words."
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _show(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return ""
    return f"{round(value, 3) + 0.0:.3f}"  # never -0.000


def _interval(three: list[float | None]) -> str:
    value, low, high = map(_show, three)
    return f"{value} [{low}, {high}]" if low else value


def _estimate(one: dict[str, Any]) -> str:
    return _interval([one["value"], one["low"], one["high"]])
