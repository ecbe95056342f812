"""How often a 95 % interval of `lanser eval` holds the true UAR: 1,000 simulated tests a row.

    python tests/bench/intervals.py

Speakers differ (standard deviation `sd` of their recall), classes differ, and with `missing` a
speaker lacks each class but one with that probability. Next to it stands what was reported before,
the percentile bootstrap over speakers. Every row must lie within 93 and 97 %.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))

from lanser_cli.evaluation.metrics import measure
from lanser_cli.records import Record

SIMULATIONS = 1000
SPEAKERS = (5, 6, 10, 12, 24)
CLIPS = 8
"""Of each class and speaker."""
RECALLS = np.array([0.3, 0.4, 0.5, 0.55, 0.6, 0.7])
"""Of the six classes, over all speakers there could be."""


def simulate(
    draw: np.random.Generator, speakers: int, sd: float, missing: float
) -> tuple[list[Record], NDArray[np.int64]]:
    """The records of one test, and its confusions `[speakers, classes, classes]`."""
    classes = len(RECALLS)
    chance = RECALLS + draw.normal(0, sd, (speakers, 1)) + draw.normal(0, 0.05, (speakers, classes))
    counts = np.zeros((speakers, classes, classes), np.int64)
    records = []
    for s, c in product(range(speakers), range(classes)):
        if c != s % classes and draw.random() < missing:
            continue
        hits = int(draw.binomial(CLIPS, np.clip(chance[s, c], 0.01, 0.99)))
        counts[s, c, c] = hits
        counts[s, c, (c + 1) % classes] = CLIPS - hits
        for clip in range(CLIPS):
            answer = c if clip < hits else (c + 1) % classes
            fields = {"speaker": str(s), "label": str(c), "prediction": str(answer)}
            records.append(Record({"id": f"{s}-{c}-{clip}", **fields}))
    return records, counts


def bootstrap(draw: np.random.Generator, counts: NDArray[np.int64]) -> tuple[float, float]:
    """The percentile interval of 300 resamples of speakers."""
    speakers = len(counts)
    times = draw.multinomial(speakers, np.full(speakers, 1 / speakers), size=300)
    drawn = np.einsum("rs,sij->rij", times, counts)
    with np.errstate(invalid="ignore"):
        recalls = np.diagonal(drawn, axis1=1, axis2=2) / drawn.sum(axis=2)
    low, high = np.percentile(np.nanmean(recalls, axis=1), [2.5, 97.5])
    return float(low), float(high)


def covered(speakers: int, sd: float, missing: float, simulations: int) -> tuple[float, float]:
    """How often the truth lies in the interval that is reported, and in the bootstrap's."""
    draw, truth = np.random.default_rng(0), RECALLS.mean()
    ours = theirs = 0
    for _ in range(simulations):
        records, counts = simulate(draw, speakers, sd, missing)
        uar = measure(records).uar
        assert uar.low is not None and uar.high is not None
        ours += uar.low <= truth <= uar.high
        low, high = bootstrap(draw, counts)
        theirs += low <= truth <= high
    return ours / simulations, theirs / simulations


def main() -> int:
    worst = 0.95
    print("| speakers | sd | missing | Student's t on the jackknife | bootstrap |")
    print("|---|---|---|---|---|")
    for setting in product(SPEAKERS, (0.08, 0.12), (0.0, 0.2)):
        ours, theirs = covered(*setting, SIMULATIONS)
        worst = max(worst, ours, key=lambda one: abs(one - 0.95))
        cells = (*setting, f"{ours:.1%}", f"{theirs:.1%}")
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    return 0 if 0.93 <= worst <= 0.97 else 1


if __name__ == "__main__":
    sys.exit(main())
