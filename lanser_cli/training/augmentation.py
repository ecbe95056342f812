"""Augmentation: crops at another gain, in noise, at another tempo, so that a model minds none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.sound import SAMPLE_RATE
from lanser_cli.errors import UsageError

_WINDOW = SAMPLE_RATE // 25
"""Samples of a grain: 40 ms, some periods of any voice."""

_SEARCH = SAMPLE_RATE // 100
"""Samples to either side in which a grain looks for its best place: a period of 100 Hz."""


_MOST_DB = 100
"""More than 16 bits can tell."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to crops in training.

    Attributes:
        gain_db: up to this much louder or softer, dB.
        noise_db: white noise so many dB below the crop's power, low and high; None for none.
        tempo: up to this share faster or slower.
    """

    gain_db: float = 0.0
    noise_db: tuple[float, float] | None = None
    tempo: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.gain_db or self.noise_db or self.tempo)

    def rate(self, draw: np.random.Generator) -> float:
        """How many seconds of sound become one."""
        return 1.0 + self.tempo * draw.uniform(-1, 1) if self.tempo else 1.0

    def __call__(
        self, crop: NDArray[np.int16], rate: float, draw: np.random.Generator
    ) -> NDArray[np.int16]:
        """A crop at another tempo, in noise, louder or softer; what is too loud is clipped."""
        wave = crop.astype(np.float32)
        if rate != 1.0:
            wave = stretched(wave, rate)
        if self.noise_db is not None and len(wave):
            below = draw.uniform(*self.noise_db)
            power = math.sqrt(float(np.mean(np.square(wave))) / 10 ** (below / 10))
            wave += power * draw.standard_normal(len(wave), np.float32)
        if self.gain_db:
            wave *= 10 ** (self.gain_db * draw.uniform(-1, 1) / 20)
        return np.clip(np.rint(wave), -32768, 32767).astype(np.int16)


def stretched(wave: NDArray[np.float32], rate: float) -> NDArray[np.float32]:
    """A waveform `rate` times as fast, at the same pitch: `[samples]` to `[samples / rate]`.

    WSOLA (Verhelst and Roelands 1993): grains overlap by half, and each is taken from where it
    goes on best from the one before.
    """
    hop, length = _WINDOW // 2, round(len(wave) / rate)
    source = np.pad(wave, (_SEARCH, _WINDOW + 2 * _SEARCH + hop))
    window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    made = np.zeros(length + 2 * _WINDOW, np.float32)
    at = _SEARCH
    made[:hop] = source[at : at + hop]  # the first grain has none before it to fade from
    made[:_WINDOW] += window * source[at : at + _WINDOW] * (np.arange(_WINDOW) >= hop)
    for start in range(hop, length, hop):
        natural = source[at + hop : at + hop + _WINDOW]
        middle = min(round(start * rate), len(wave)) + _SEARCH
        around = source[middle - _SEARCH : middle + _SEARCH + _WINDOW]
        at = middle - _SEARCH + int(np.correlate(around, natural).argmax())
        made[start : start + _WINDOW] += window * source[at : at + _WINDOW]
    return made[:length]


def parse_range(text: str, option: str) -> tuple[float, float]:
    """`10..40` as two numbers.

    Raises:
        UsageError: it is something else.
    """
    low, dots, high = text.partition("..")
    try:
        found = float(low), float(high)
    except ValueError:
        dots = ""
    if not dots or not -_MOST_DB <= found[0] <= found[1] <= _MOST_DB:
        raise UsageError(
            f"{option} {text}: write LOW..HIGH, such as 10..40, within {_MOST_DB} dB to either side"
        )
    return found
