"""An utterance as one vector: functionals of log-mel and MFCC, and its prosody.

What a speech emotion recogniser was before networks: statistics over time of what is measured every
10 ms (Schuller, Steidl and Batliner 2009, "The INTERSPEECH 2009 Emotion Challenge").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lanser_cli.audio import sound
from lanser_cli.errors import RecordError
from lanser_cli.models.front_end import FrontEnd, LogMel
from lanser_cli.prosody.targets import measure
from lanser_cli.records import Outcome, Record, Reject

Array = NDArray[np.float64]

MELS, CEPSTRA = 40, 20
FLOOR = 1e-3
"""Power of a mel band under which nothing is speech: so the noise floor of a room weighs little."""

SCALES = (5, 15, 45)
"""Frames that a contour is smoothed over before its spread is taken: slow changes and fast ones."""

FEWEST = sound.SAMPLE_RATE // 10
"""Samples of an utterance: a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Measured(Record):
    """A record and its vector, float64 as bytes."""

    vector: bytes = b""


class Measurer:
    """A window function: loads the sound of records and adds their vectors."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._front_end = LogMel(FrontEnd(mels=MELS)).eval()

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        return [self._measured(record) for record in window]

    def _measured(self, record: Record) -> Outcome:
        try:
            vector = functionals(sound.load(record), self._front_end)
        except RecordError as error:
            return Reject.of(record, self._stage, error)
        return Measured(record.fields, vector.tobytes())


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
