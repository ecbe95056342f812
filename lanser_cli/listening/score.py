"""What marks say of all labels: precision and recall, the margin's curve, and what is certified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lanser_cli import console
from lanser_cli.evaluation.metrics import Estimate
from lanser_cli.listening.estimates import (
    SURE,
    Array,
    Drawn,
    Threshold,
    certify,
    fewest_marks,
    share,
)
from lanser_cli.listening.marks import (
    NONE_OF_THESE,
    STAGE,
    Marks,
    digest,
    read_marks,
    read_sample,
)
from lanser_cli.summary import Summary
from lanser_cli.tally import Ledger

_POINTS = 10
"""Points of a curve: so many shares of the marks are kept."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the curve over `--min-margin`.

    Attributes:
        min_margin: labels of a lower margin are left out.
        coverage: the share of all labels that is kept.
        precision: of those.
    """

    min_margin: float
    coverage: float
    precision: Estimate


@dataclass(frozen=True, slots=True)
class Score:
    """How good a label is, or all of them.

    Attributes:
        label: None for all.
        marks: of clips with this weak label.
        labels: how many of the population have it, estimated.
        precision: the share of these that the listener agrees with; None without a mark.
        recall: the share of the clips that the listener hears it in which have it as weak label.
        effective: how many marks of one weight the precision's and the recall's are worth.
        curve: from no margin on; empty where records have no margin.
        wanted: the precision that was asked for.
        certified: the threshold from which on it is sure.
    """

    label: str | None
    marks: int
    labels: float
    precision: Estimate | None
    recall: Estimate | None
    effective: dict[str, float]
    curve: list[Point]
    wanted: float
    certified: Threshold | None

    @property
    def name(self) -> str:
        return "all labels" if self.label is None else self.label

    @property
    def coverage(self) -> float | None:
        """The share of the labels that the certified threshold keeps."""
        if self.certified is None:
            return None
        return next(p.coverage for p in self.curve if p.min_margin == self.certified.min_margin)

    def as_json(self, page: str) -> dict[str, Any]:
        found = {"page": page, **asdict(self)}
        if self.certified is not None:
            found["certified"]["coverage"] = self.coverage
        return found

    def __str__(self) -> str:
        assert self.certified is not None
        return (
            f"certified: {self.name} >= {self.wanted:g} at margin >= "
            f"{self.certified.min_margin:g}, {SURE:.0%} sure; it keeps {self.coverage:.0%}"
        )


def score_marks(
    inputs: Sequence[str], marks: Path, precision: float, ledger: Ledger
) -> tuple[str, list[Score]]:
    """Read a sample and the marks of its page: the page's digest, and a score for all and each.

    Raises:
        UsageError, LanserError: as `read_sample`, `read_marks`.
    """
    sample = read_sample(inputs, ledger)
    found = read_marks(marks, sample, ledger)
    if found.unheard:
        named = ", ".join(f"'{name}'" for name in found.unheard)
        console.warn(f"{STAGE}: nothing was heard of {named}: the scores are of the other strata")
    scores = list(scores_of(found, precision))
    if not any(one.certified for one in scores):
        fewest = fewest_marks(precision)
        console.info(f"{STAGE}: {precision:g} takes at least {fewest} marks of a label, all right")
    for one in scores:
        if one.certified:
            console.info(f"{STAGE}: {one}")
    return digest(sample), scores


def scores_of(marks: Marks, precision: float) -> Iterator[Score]:
    """Of all labels together, then of each that was given or heard, by name."""
    for label in [None, *sorted({*marks.given.tolist(), *marks.heard.tolist()} - {NONE_OF_THESE})]:
        yield _score(label, marks, precision)


def _score(label: str | None, marks: Marks, precision: float) -> Score:
    every = np.ones_like(marks.weights, np.bool_)
    given = every if label is None else marks.given == label
    there = ~every if label is None else marks.heard == label
    right = marks.given == marks.heard
    drawn = Drawn(right, every, marks.weights, marks.strata, marks.tops(label))
    of_given, of_there = (drawn.within(one) for one in (given, there))
    certified = None
    if has_margins := bool(given.any() and np.isfinite(marks.margins[given]).all()):
        certified = certify(marks.margins, of_given, precision)
    return Score(
        label,
        int(given.sum()),
        round(float(marks.weights[given].sum()), 1),
        share(of_given),
        share(of_there),
        {
            name: round(drawn.effective, 1)
            for name, drawn in (("precision", of_given), ("recall", of_there))
            if drawn.inside.any()
        },
        _curve(marks.margins, of_given, at=certified) if has_margins else [],
        precision,
        certified,
    )


def _curve(margins: Array, drawn: Drawn, at: Threshold | None) -> list[Point]:
    mine = margins[drawn.inside]
    quantiles = np.floor(np.quantile(mine, np.arange(1, _POINTS) / _POINTS) * 10) / 10
    total = drawn.weights[drawn.inside].sum()
    points = []
    for margin in sorted({0.0, *quantiles.tolist(), *([at.min_margin] if at else [])}):
        kept = drawn.within(margins >= margin)
        if (estimate := share(kept)) is not None:
            coverage = float(drawn.weights[kept.inside].sum() / total)
            points.append(Point(margin, round(coverage, 4), estimate))
    return points


def shown(scores: Sequence[Score]) -> Summary:
    """A row a label, for a terminal."""
    rows = [
        [one.name, one.marks, one.precision or "", one.recall or "", _at(one)] for one in scores
    ]
    return Summary(
        ["", "marks", "precision", "recall", f"margin for {scores[0].wanted:g}"],
        rows,
        f"Brackets are 95 % intervals; a margin is {SURE:.0%} sure for its label by itself.",
    )


def _at(score: Score) -> str:
    if score.certified is None:
        return "not certified"
    return f"{score.certified.min_margin:g}, keeps {score.coverage:.0%}"
