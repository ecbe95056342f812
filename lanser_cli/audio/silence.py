"""Silence before and after speech, by level alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.sound import SAMPLE_RATE

FRAME = SAMPLE_RATE // 50
"""Samples of a frame: 20 ms."""

BELOW_DB = 40.0
"""How far below the loudest a frame may be that sounds."""

MARGIN = 3
"""Frames that are kept before and after."""


def sounding(waveform: NDArray[np.int16] | NDArray[np.float32]) -> slice:
    """Where a waveform `[samples]` sounds: without the silence before and after.

    From the first to the last frame of 20 ms that is less than 40 dB below the loudest, and 60 ms
    to either side. All of it, where nothing is louder than the rest.
    """
    count = len(waveform) // FRAME
    if not count:
        return slice(0, len(waveform))
    frames = waveform[: count * FRAME].reshape(count, FRAME).astype(np.float64)
    power = np.square(frames).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() / 10 ** (BELOW_DB / 10))
    first, last = max(0, loud[0] - MARGIN), loud[-1] + 1 + MARGIN
    end = len(waveform) if last >= count else last * FRAME
    return slice(int(first) * FRAME, int(end))
