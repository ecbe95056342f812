"""The figures of reports: confusions, scores and differences with their intervals, losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lanser_cli.evaluation.difference import Difference
from lanser_cli.evaluation.history import Losses
from lanser_cli.evaluation.metrics import Estimate, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LETTERS = 40
"""Of a label or name in a figure."""

MOST_DRAWN = 60
"""Classes of a confusion matrix that is drawn."""

MOST_NAMED = 10
"""Lines of a figure that are named in it."""


def confusion_figure(name: str, result: Result) -> Figure:
    """Share of each true class that got each answer, as a heat map; the diagonal is recall."""
    counts = np.asarray(result.confusion, dtype=float)
    shares = counts / np.asarray(result.support)[:, None]
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
            label=_legend(start),
        )
    axes.set_xscale("log")
    fractions = sorted({fraction for _, fraction in uses.values()})
    axes.set_xticks(fractions, [f"{fraction:g}" for fraction in fractions])
    axes.set_xticks([], minor=True)  # whose numbers would be mathematics, which is not parsed
    axes.set_xlabel("fraction of the labelled records used for training")
    axes.set_ylabel("UAR")
    axes.legend()
    return figure


def difference_figure(differences: Sequence[Difference]) -> Figure:
    """Difference of UAR and its interval, a line for each comparison."""
    figure, axes = canvas(6, 1.2 + 0.4 * len(differences))
    pairs = [f"{short(each.other)}\nless {short(each.reference)}" for each in differences]
    _lines(axes, pairs, [each.scores["uar"].difference for each in differences])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("difference of UAR")
    return figure


def scores_figure(results: Mapping[str, Result]) -> Figure:
    """UAR of each result and its interval, a line each, and what guessing gives."""
    figure, axes = canvas(6, 1.2 + 0.35 * len(results))
    _lines(axes, list(map(short, results)), [result.uar for result in results.values()])
    for place, result in enumerate(results.values()):
        axes.plot([result.chance] * 2, [place - 0.3, place + 0.3], color="grey", linestyle=":")
    axes.set_xlim(0, 1)
    axes.set_xlabel("UAR; dotted: chance")
    return figure


def _lines(axes: Any, names: Sequence[str], found: Sequence[Estimate]) -> None:
    """A line for each estimate, from the top: its name, its value and its interval."""
    places = range(len(found))
    axes.errorbar(
        [one.value for one in found],
        places,
        xerr=[[one.reach[side] for one in found] for side in (0, 1)],
        fmt="o",
        capsize=3,
    )
    axes.set_yticks(places, names)
    axes.set_ylim(len(found) - 0.5, -0.5)


def losses_figure(losses: Losses) -> Figure:
    """Loss against the epoch, a line for each network of a run."""
    figure, axes = canvas(6, 3.2)
    few = len(losses) <= MOST_NAMED
    for name, points in losses.items():
        epochs, values = zip(*points, strict=True)
        label = _legend(name) if few and len(losses) > 1 else None
        axes.plot(epochs, values, linewidth=1.2 if few else 0.8, label=label)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss of training")
    if few and len(losses) > 1:
        axes.legend(fontsize=8)
    return figure


def _legend(name: str) -> str:
    """A name as a legend shows it; Matplotlib leaves out what begins with an underscore."""
    return f" {short(name)}" if name.startswith("_") else short(name)


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
