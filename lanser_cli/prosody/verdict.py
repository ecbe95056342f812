"""The verdict: whether the trained representation knows more than each of its controls."""

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
    """Trained minus the control that is hardest to surpass.

    Attributes:
        control: that over which the interval of the difference begins lowest.
        difference: its mean over speakers, with an interval where there are enough of them.
        speakers: that have a score of both.
        shown: whether the interval lies above 0, and so over every control; None: there is none.
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
        compared = f"Trained minus '{self.control}', the hardest control: {self.difference}."
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
    """Compare, speaker by speaker, with each control: the network must surpass them all.

    Over each the chance to be "shown" though it is no better is at most one in forty, so it is for
    all together, whichever looks best (an intersection-union test; Berger 1982).

    Args:
        trained: `[speakers]`, such as R2; NaN where a speaker has none.
        controls: name → the same speakers.

    Raises:
        LanserError: no speaker has a score.
    """
    less = {name: trained - values for name, values in controls.items()}
    found = {name: estimate(each) for name, each in less.items() if np.isfinite(each).any()}
    if not found:
        raise LanserError(
            "probe-prosody: no speaker has enough utterances for a score: give more of each"
        )
    hardest = min(found, key=lambda name: _bar(found[name]))
    difference = found[hardest]
    shown = None if difference.low is None else difference.low > 0
    return Verdict(hardest, difference, int(np.isfinite(less[hardest]).sum()), shown)


def _bar(difference: Estimate) -> tuple[bool, float]:
    """Lower for a control that is harder to surpass; lowest where there is no interval."""
    end = difference.value if difference.low is None else difference.low
    return difference.low is not None, end
