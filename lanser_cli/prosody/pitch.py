"""F0 by SwiftF0, and how steady and how clean the voice is: jitter, shimmer, harmonics to noise.

SwiftF0 (MIT) is a small network in its wheel. On real voices it and pYIN agree where our
autocorrelation, which stood here, did not: docs/evidence.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.sound import SAMPLE_RATE

Array = NDArray[np.float64]
Sound = NDArray[np.float32]

FRAME, HOP = 640, 160
"""Samples: 40 ms frames every 10 ms; the middle of frame `i` is at sample `i * HOP + FRAME / 2`."""

F0_MIN, F0_MAX = 50.0, 1000.0
"""Hz; the range in which a voice is looked for: a low man to a child that screams."""

_VOICED = 0.5  # confidence; SwiftF0 is calibrated so
_SWIFT_HOP = 256
_HISS = 1e-3  # of the sound's level: 60 dB below it
_FFT, _FINE = 1024, 4  # FRAME and the longest lag; lags a sample, as 900 Hz has only 18 samples
_CLEANEST = 1 - 1e-4  # harmonics 40 dB above the noise: more is beyond a frame's precision
_FEWEST_PERIODS = 20  # 0.1 s of a woman's voice; a mean over fewer means nothing
# A longer step between neighbours is a mistake of the marks and not of the voice, as in Praat.
_PERIOD_FACTOR, _AMPLITUDE_FACTOR = 1.3, 1.6


@dataclass(frozen=True, slots=True)
class Steadiness:
    """How the periods of a voice differ from their neighbours; NaN where there are too few.

    `jitter` is the mean difference of neighbouring periods over the mean period, `shimmer` that of
    their amplitudes (Praat's "local"), both in per cent.
    """

    jitter: float
    shimmer: float


def track(waveform: Sound) -> Array:
    """F0 in Hz of each frame, NaN where not voiced: `[frames]`, none below a frame's length."""
    count = max(0, (len(waveform) - FRAME) // HOP + 1)
    if not count:
        return np.empty(0)
    centred = waveform - waveform.mean(dtype=np.float64)
    # The network was taught on recordings: some sounds without any noise it takes for unvoiced.
    hiss = np.random.default_rng(0).standard_normal(len(centred))
    centred += _HISS * centred.std() * hiss
    found = _detector().detect(centred.astype(np.float32), SAMPLE_RATE, F0_MIN, F0_MAX)
    f0 = np.where(found.confidence >= _VOICED, found.pitch_hz, np.nan)
    middles = np.arange(count) * HOP + FRAME / 2
    nearest = np.minimum(np.round(middles / _SWIFT_HOP).astype(np.intp), len(f0) - 1)
    return np.asarray(f0[nearest])


def harmonics_to_noise(frames: Sound, f0: Array) -> Array:
    """Energy of the harmonics over that of the noise, in dB, of voiced frames `[n, FRAME]`.

    NaN below 75 Hz, of which a frame does not hold three periods.

    From the autocorrelation a period away: P. Boersma (1993), "Accurate short-term analysis of the
    fundamental frequency and the harmonics-to-noise ratio of a sampled sound", Proceedings of the
    Institute of Phonetic Sciences 17.
    """
    from scipy.fft import irfft, rfft

    window = np.hanning(FRAME + 2)[1:-1]
    centred = frames - frames.mean(axis=1, keepdims=True, dtype=np.float64)
    power = np.abs(rfft(centred * window, _FFT, axis=1)) ** 2
    longest = int(_FINE * SAMPLE_RATE / F0_MIN * 1.1) + 2
    own = irfft(np.abs(rfft(window, _FFT)) ** 2, _FFT * _FINE)[:longest]
    # Zeros behind the last bin put more lags between the samples.
    r = irfft(power, _FFT * _FINE, axis=1)[:, :longest]
    r = r / np.maximum(r[:, :1], np.finfo(float).tiny) / (own / own[0])
    lags = np.arange(longest)
    period = _FINE * SAMPLE_RATE / f0[:, None]
    near = (lags > 0.9 * period) & (lags < 1.1 * period)
    height = np.where(near, r, 0.0).max(axis=1, initial=0.0)
    height = np.clip(height, 1 - _CLEANEST, _CLEANEST)
    decibels = 10 * np.log10(height / (1 - height))
    return np.asarray(np.where(f0 >= 3 * SAMPLE_RATE / FRAME, decibels, np.nan))


def steadiness(waveform: Sound, f0: Array) -> Steadiness:
    """Jitter and shimmer over the voiced stretches of a `track`.

    From one period to the next by the lag at which the sound is most like itself (the
    cross-correlation of Praat's "To PointProcess (cc)"), between the samples by a parabola.
    """
    steps: list[float] = []
    swings: list[float] = []
    periods: list[float] = []
    amplitudes: list[float] = []
    for begin, end in _runs(np.isfinite(f0)):
        first = begin * HOP + (FRAME - HOP) // 2
        found = np.array(list(_periods(waveform, f0, first, (end - 1) * HOP + (FRAME + HOP) // 2)))
        if len(found) < 2:
            continue
        for row, (differences, factor) in enumerate(
            ((steps, _PERIOD_FACTOR), (swings, _AMPLITUDE_FACTOR))
        ):
            low, high = np.sort([found[:-1, row], found[1:, row]], axis=0)
            differences.extend((high - low)[high <= factor * low])
        periods.extend(found[:, 0])
        amplitudes.extend(found[:, 1])
    if min(len(steps), len(swings)) < _FEWEST_PERIODS:
        return Steadiness(float("nan"), float("nan"))
    return Steadiness(
        float(100 * np.mean(steps) / np.mean(periods)),
        float(100 * np.mean(swings) / np.mean(amplitudes)),
    )


def _runs(voiced: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last but one of each stretch of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], voiced, [False]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _periods(waveform: Sound, f0: Array, first: int, last: int) -> Iterator[tuple[float, float]]:
    """Length (samples) and root mean square of each period between two samples."""
    guess = SAMPLE_RATE / float(f0[(first - (FRAME - HOP) // 2) // HOP])
    sound = waveform.astype(np.float64)
    place = first + int(np.argmax(np.abs(sound[first : first + round(guess)])))
    frames = len(f0)
    while True:
        here = f0[min(max((place - FRAME // 2 + HOP // 2) // HOP, 0), frames - 1)]
        guess = SAMPLE_RATE / float(here) if np.isfinite(here) else guess
        half, least, most = round(guess / 2), int(0.8 * guess), int(np.ceil(1.25 * guess))
        if place - half < 0 or place + most + half > min(last, len(sound)):
            return
        template = sound[place - half : place + half]
        beyond = sound[place - half + least : place + half + most + 1]
        energy = np.concatenate([[0.0], np.cumsum(beyond * beyond)])
        energy = energy[len(template) :] - energy[: -len(template)]
        like = np.correlate(beyond, template, "valid") / np.sqrt(energy + 1e-12)
        top = int(like.argmax())
        shift = 0.0
        if 0 < top < len(like) - 1:
            before, at, after = like[top - 1 : top + 2]
            if (bend := before - 2 * at + after) < 0:
                shift = 0.5 * (before - after) / bend
        length = least + top + shift
        cycle = sound[place - half // 2 : place - half // 2 + round(length)]
        yield length, float(np.sqrt(np.mean(cycle * cycle)))
        place += max(1, least + top)


@cache
def _detector() -> Any:
    """One network a process. A thread each, since clips are shared among processes."""
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1, spin=False)
