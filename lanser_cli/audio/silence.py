"""Silence before and after speech, by level alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.sound import SAMPLE_RATE

_FRAME = SAMPLE_RATE // 50
_BELOW_DB = 40.0
_MARGIN = 3


def sounding(waveform: NDArray[np.int16] | NDArray[np.float32]) -> slice:
    """Where a waveform `[samples]` sounds: without the silence before and after.

    From the first to the last frame of 20 ms that is less than 40 dB below the loudest, and 60 ms
    to either side. All of it, where nothing is louder than the rest.
    """
    count = len(waveform) // _FRAME
    if not count:
        return slice(0, len(waveform))
    frames = waveform[: count * _FRAME].reshape(count, _FRAME).astype(np.float64)
    power = np.square(frames).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() / 10 ** (_BELOW_DB / 10))
    first, last = max(0, loud[0] - _MARGIN), loud[-1] + 1 + _MARGIN
    end = len(waveform) if last >= count else last * _FRAME
    return slice(int(first) * _FRAME, int(end))
