"""An utterance as one vector: functionals of log-mel and MFCC, and its prosody.

What a speech emotion recogniser was before networks: statistics over time of what is measured every
10 ms (Schuller, Steidl and Batliner 2009, "The INTERSPEECH 2009 Emotion Challenge").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from lanser_cli.audio import sound
from lanser_cli.errors import RecordError
from lanser_cli.models.front_end import FrontEnd, LogMel
from lanser_cli.prosody.targets import measure

Array = NDArray[np.float64]

MELS, CEPSTRA = 40, 20
FLOOR = 1e-3
"""Power of a mel band under which nothing is speech: so the noise floor of a room weighs little."""

SCALES = (5, 15, 45)
"""Frames that a contour is smoothed over before its spread is taken: slow changes and fast ones."""

FEWEST = sound.SAMPLE_RATE // 10
"""Samples of an utterance: a tenth of a second."""


def measurer() -> Callable[[NDArray[np.float32]], Array]:
    """What gives the vector of a waveform."""
    return partial(functionals, front_end=LogMel(FrontEnd(mels=MELS)).eval())


def functionals(waveform: NDArray[np.float32], front_end: LogMel) -> Array:
    """The vector of `[samples]`, 16 kHz mono: `[d]`, NaN where prosody is not defined.

    Of each log-mel band the mean over time. Of each cepstral coefficient mean, standard deviation,
    that of its steps, skewness, kurtosis, five percentiles, how its first and last third differ
    from the middle, and the spread of its contour smoothed over 50, 150 and 450 ms.

    Raises:
        RecordError: it is shorter than 0.1 s.
    """
    from scipy.fft import dct

    if len(waveform) < FEWEST:
        raise RecordError(f"{len(waveform)} samples at 16 kHz are too short for functionals")
    with torch.inference_mode():
        power = front_end.mel(torch.from_numpy(waveform)).T.double().numpy()
    logmel = 10 * np.log10(power + FLOOR)
    cepstra = np.asarray(dct(logmel, axis=1, norm="ortho")[:, :CEPSTRA])
    prosody = np.array(list(measure(waveform).values()))
    return np.concatenate([logmel.mean(axis=0), *_contours(cepstra), prosody])


def _contours(values: Array) -> list[Array]:
    """Functionals of contours `[frames, d]`, each `[d]`."""
    from scipy.ndimage import uniform_filter1d

    mean, spread = values.mean(axis=0), values.std(axis=0)
    scaled = (values - mean) / np.maximum(spread, 1e-6)
    third = len(values) // 3
    first, middle, last = (
        part.mean(axis=0)
        for part in (values[:third], values[third : 2 * third], values[2 * third :])
    )
    return [
        *(mean, spread, np.diff(values, axis=0).std(axis=0)),
        *((scaled**3).mean(axis=0), (scaled**4).mean(axis=0) - 3),
        *np.percentile(values, (5, 25, 50, 75, 95), axis=0),
        *(first - middle, last - middle),
        *(uniform_filter1d(values, frames, axis=0).std(axis=0) for frames in SCALES),
    ]
