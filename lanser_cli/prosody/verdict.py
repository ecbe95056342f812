"""The verdict: whether the trained representation knows more than the best of its controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.errors import LanserError
from lanser_cli.evaluation.metrics import Estimate
from lanser_cli.prosody.scores import median

FEWEST_SPEAKERS = 6
"""Below that there are values and no verdict."""

ANYWHERE = (-np.inf, np.inf)
SHARE = (0.0, 1.0)
"""Where a recall or a share can lie."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Trained minus the best control.

    Attributes:
        control: the best one, by its mean over speakers.
        difference: its mean over speakers, with an interval where there are enough of them.
        speakers: that have a score of both.
        shown: whether the interval lies above 0; None where there is none.
    """

    control: str
    difference: Estimate
    speakers: int
    shown: bool | None

    @property
    def word(self) -> str:
        return {True: "shown", False: "not shown", None: "no verdict"}[self.shown]

    def as_json(self) -> dict[str, Any]:
        return {"verdict": self.word, **asdict(self)}

    def sentence(self, what: str) -> str:
        """The verdict in plain words, `what` being the thing that may be known."""
        compared = f"Trained minus '{self.control}', the best control: {self.difference}."
        if self.shown is None:
            needs = f"there are {self.speakers} speakers, and it takes {FEWEST_SPEAKERS}"
            return f"No verdict on {what}: {needs}. {compared}"
        if self.shown:
            return f"Shown: training taught the network {what}. {compared}"
        return f"Not shown: nothing here says that training taught the network {what}. {compared}"


def estimate(values: NDArray[np.float64], room: tuple[float, float] = ANYWHERE) -> Estimate:
    """Mean of one value a speaker and Student's t interval within `room`, NaN left out."""
    from scipy.stats import t as student

    values = values[np.isfinite(values)]
    if not len(values):
        return Estimate(float("nan"))
    mean, count = float(values.mean()), len(values)
    if count < FEWEST_SPEAKERS:
        return Estimate.of(mean, None, room)
    reach = float(student.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return Estimate.of(mean, reach, room)


def of_speakers(by_target: NDArray[np.float64]) -> NDArray[np.float64]:
    """One number a speaker: the median over targets of `[speakers, targets]`."""
    return np.array([median(row) for row in by_target])


def judge(trained: NDArray[np.float64], controls: Mapping[str, NDArray[np.float64]]) -> Verdict:
    """Compare, speaker by speaker, with the control that has the highest mean.

    Over no other control is the mean difference smaller. But over one that is a little worse and
    differs more from speaker to speaker the interval is wider, and may hold 0 where this does not.

    Args:
        trained: `[speakers]`, such as R2; NaN where a speaker has none.
        controls: name → the same speakers.

    Raises:
        LanserError: no speaker has a score.
    """
    known = np.isfinite(trained)
    means = {
        name: float(np.mean(values[known & np.isfinite(values)]))
        for name, values in controls.items()
        if (known & np.isfinite(values)).any()
    }
    if not means:
        raise LanserError(
            "probe-prosody: no speaker has enough utterances for a score: give more of each"
        )
    best = max(means, key=lambda name: means[name])
    difference = trained - controls[best]
    found = estimate(difference)
    shown = None if found.low is None else found.low > 0
    return Verdict(best, found, int(np.isfinite(difference).sum()), shown)
