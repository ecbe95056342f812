"""The prosody of one utterance as a few numbers, measured on its waveform.

F0 follows Boersma (1993), "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound": the autocorrelation of a windowed frame divided by
that of the window, and the cheapest path through its peaks. Syllable nuclei follow de Jong and
Wempe (2009), "Praat script to detect syllable nuclei and measure speech rate automatically",
itself after Mermelstein (1975): energy peaks between dips, where there is voice. The spectral tilt
is the alpha ratio of eGeMAPS (Eyben et al. 2016).

All thresholds but one are relative to the utterance, so that its gain changes nothing but
`energy_mean`; the exception is `SILENCE`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.sound import SAMPLE_RATE

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

UNITS: dict[str, str] = {
    "f0_mean": "semitones re 100 Hz",
    "f0_sd": "semitones",
    "f0_slope": "semitones/s",
    "energy_mean": "dB re full scale",
    "energy_sd": "dB",
    "spectral_tilt": "dB",
    "voiced_ratio": "0..1",
    "speaking_rate": "syllables/s",
    "duration": "s",
}
"""What each target is measured in, in report order."""

TARGETS: tuple[str, ...] = tuple(UNITS)

FRAME, HOP = 640, 160
"""Samples: 40 ms frames every 10 ms."""

F0_MIN, F0_MAX = 60.0, 450.0
"""Hz; the range in which a voice is looked for."""

SILENCE = 1e-5
"""RMS re full scale (-100 dB): below the rounding of 16-bit audio, never speech."""

ACTIVE_DB = 25.0
"""A frame is speech-active if it is at most this far below the loud frames (de Jong and Wempe)."""

MIN_VOICED = 5
"""Frames (50 ms). Statistics of fewer voiced frames, or a line through them, mean nothing."""

MAX_JUMP = 1.0
"""Octaves. A voice hardly goes further from its median within an utterance; a tracker that takes
a fricative or a creak for one does, and a few such frames would make up most of `f0_sd`."""

_FFT = 1024  # FRAME plus the longest lag, so that the circular autocorrelation does not wrap
_BLOCK = 4096  # frames transformed at once, which bounds the memory
# Boersma's constants, as Praat has them.
_CANDIDATES = 5
_VOICING_THRESHOLD = 0.45
_SILENCE_THRESHOLD = 0.03
_OCTAVE_COST = 0.01
_OCTAVE_JUMP_COST = 0.35
_VOICING_CHANGE_COST = 0.14
_DIP_DB = 2.0  # between two syllables (de Jong and Wempe)


@dataclass(frozen=True, slots=True)
class Frames:
    """What is measured every 10 ms. `rms` re full scale; `f0` in Hz, NaN where not voiced;
    `tilt` in dB. Each `[frames]`."""

    rms: Array
    f0: Array
    tilt: Array


def measure(waveform: NDArray[np.float32]) -> dict[str, float]:
    """The prosodic targets of one utterance; NaN where the sound does not define one.

    * `f0_mean`, `f0_sd`: of the voiced frames within an octave of their median, 12 log2(F0 /
      100 Hz). `f0_slope`: of the straight line of least squares through them.
    * `energy_mean`, `energy_sd`: of the speech-active frames, in dB; a full-scale sine is -3.01.
      The mean says little of a corpus whose files were each scaled to the same peak, as EmoDB's.
    * `spectral_tilt`: mean over voiced frames of the energy in 50-1000 Hz over that in 1-5 kHz.
    * `voiced_ratio`: voiced among the speech-active frames.
    * `speaking_rate`: syllable nuclei per second between the first and the last active frame, so
      that silence around the utterance does not count. It misses about one syllable in five.
    * `duration`: of the whole waveform.

    Args:
        waveform: `[samples]`, mono, 16 kHz, finite. May be empty.

    Returns:
        `TARGETS` → value. Without a speech-active frame only `duration` is a number; with fewer
        than `MIN_VOICED` voiced frames F0 and tilt are not.
    """
    values = dict.fromkeys(TARGETS, float("nan"))
    values["duration"] = len(waveform) / SAMPLE_RATE
    frames = analyse(waveform)
    active = _active(frames.rms)
    if not active.any():
        return values
    voiced = active & np.isfinite(frames.f0)
    level = 20 * np.log10(np.maximum(frames.rms, SILENCE))
    values["energy_mean"] = float(level[active].mean())
    values["energy_sd"] = float(level[active].std())
    values["voiced_ratio"] = float(voiced.sum() / active.sum())
    span = np.flatnonzero(active)
    seconds = (span[-1] - span[0] + 1) * HOP / SAMPLE_RATE
    values["speaking_rate"] = len(_nuclei(level, voiced)) / seconds
    voiced = _near_median(frames.f0, voiced)
    if voiced.sum() >= MIN_VOICED:
        pitch = 12 * np.log2(frames.f0[voiced] / 100.0)
        time = np.flatnonzero(voiced) * HOP / SAMPLE_RATE
        values["f0_mean"] = float(pitch.mean())
        values["f0_sd"] = float(pitch.std())
        values["f0_slope"] = float(np.polyfit(time, pitch, 1)[0])
        values["spectral_tilt"] = float(frames.tilt[voiced].mean())
    return values


def analyse(waveform: NDArray[np.float32]) -> Frames:
    """Cut `[samples]` into frames and measure each; no frame at all below 40 ms."""
    if len(waveform) < FRAME:
        return Frames(np.empty(0), np.empty(0), np.empty(0))
    cut = np.lib.stride_tricks.sliding_window_view(waveform, FRAME)[::HOP]
    parts = [_analyse_block(cut[i : i + _BLOCK]) for i in range(0, len(cut), _BLOCK)]
    rms, tilt, f0, strength = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Frames(rms, _best_path(f0, strength, rms), tilt)


def _analyse_block(frames: NDArray[np.float32]) -> tuple[Array, Array, Array, Array]:
    """rms, tilt `[frames]`, and the F0 (Hz) and strength of the candidates `[frames, candidates]`.

    A candidate that is not there has strength -inf.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(FRAME) + 0.5) / FRAME)
    centred = frames - frames.mean(axis=1, keepdims=True, dtype=np.float64)
    power = np.abs(np.fft.rfft(centred * window, _FFT)) ** 2
    correlation = np.fft.irfft(power, _FFT)
    rms = np.sqrt(np.maximum(correlation[:, 0], 0.0) / (window @ window))

    hertz = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)
    low = power[:, (hertz >= 50) & (hertz < 1000)].sum(axis=1)
    high = power[:, (hertz >= 1000) & (hertz < 5000)].sum(axis=1)
    floor = 1e-10 * power.sum(axis=1) + np.finfo(float).tiny
    tilt = 10 * np.log10(np.maximum(low, floor) / np.maximum(high, floor))

    own = np.fft.irfft(np.abs(np.fft.rfft(window, _FFT)) ** 2, _FFT)
    # Only lags that can be peaks, and a neighbour on either side of them.
    lags = np.arange(int(SAMPLE_RATE / F0_MAX) - 1, int(np.ceil(SAMPLE_RATE / F0_MIN)) + 2)
    heard = rms >= SILENCE
    energy = np.where(heard, correlation[:, 0], 1.0)[:, None]
    r = np.where(heard[:, None], correlation[:, lags] / energy / (own[lags] / own[0]), 0.0)
    before, here, after = r[:, :-2], r[:, 1:-1], r[:, 2:]
    peak = (here > before) & (here >= after) & (here > 0)
    # The top of the parabola through three points.
    bend = np.where(peak, before - 2 * here + after, -1.0)
    shift = np.where(peak, 0.5 * (before - after) / bend, 0.0)
    height = here - 0.25 * (before - after) * shift
    period = (lags[1:-1] + shift) / SAMPLE_RATE
    peak &= (period >= 1 / F0_MAX) & (period <= 1 / F0_MIN)
    # Noise can lift a far lag above 1; and of equal peaks the first is the period.
    strength = np.minimum(height, 1.0) - _OCTAVE_COST * np.log2(F0_MIN * period)
    strength = np.where(peak, strength, -np.inf)
    best = np.argsort(-strength, axis=1, kind="stable")[:, :_CANDIDATES]
    rows = np.arange(len(frames))[:, None]
    return rms, tilt, 1 / period[rows, best], strength[rows, best]


def _best_path(f0: Array, strength: Array, rms: Array) -> Array:
    """Viterbi through the candidates: F0 in Hz `[frames]`, NaN where unvoiced is the best answer.

    A path gains the strengths and pays for octaves jumped and for voicing switched on or off.
    """
    # Unvoiced is one more candidate, the stronger the weaker the frame is in the utterance.
    quiet = rms / max(_loud(rms), SILENCE) * (1 + _VOICING_THRESHOLD) / _SILENCE_THRESHOLD
    unvoiced = _VOICING_THRESHOLD + np.maximum(0.0, 2.0 - quiet)
    strength = np.concatenate([strength, unvoiced[:, None]], axis=1)
    octave = np.log2(f0)
    count, states = strength.shape
    cost = np.full((count - 1, states, states), _VOICING_CHANGE_COST)
    cost[:, :-1, :-1] = _OCTAVE_JUMP_COST * np.abs(octave[:-1, :, None] - octave[1:, None, :])
    cost[:, -1, -1] = 0.0
    came_from = np.empty((count - 1, states), dtype=np.intp)
    score = strength[0]
    columns = np.arange(states)
    for t in range(count - 1):
        options = score[:, None] - cost[t]
        came_from[t] = options.argmax(axis=0)
        score = options[came_from[t], columns] + strength[t + 1]
    path = np.empty(count, dtype=np.intp)
    path[-1] = score.argmax()
    for t in range(count - 2, -1, -1):
        path[t] = came_from[t, path[t + 1]]
    chosen = np.concatenate([f0, np.full((count, 1), np.nan)], axis=1)
    return np.asarray(chosen[np.arange(count), path])


def _loud(rms: Array) -> float:
    """The level of the loud frames: the 99th percentile, which one click does not move far."""
    return float(np.percentile(rms, 99)) if len(rms) else 0.0


def _active(rms: Array) -> Mask:
    return np.asarray(rms >= max(_loud(rms) * 10 ** (-ACTIVE_DB / 20), SILENCE))


def _near_median(f0: Array, voiced: Mask) -> Mask:
    """Voiced frames within `MAX_JUMP` of their median."""
    octaves = np.log2(f0, where=voiced, out=np.full(len(f0), np.inf))
    middle = np.median(octaves[voiced]) if voiced.any() else 0.0
    return np.asarray(np.abs(octaves - middle) <= MAX_JUMP)


def _nuclei(level: Array, voiced: Mask) -> NDArray[np.intp]:
    """Frames of the syllable nuclei: voiced peaks of the level (dB), a dip on either side."""
    from scipy.ndimage import convolve1d
    from scipy.signal import find_peaks

    kernel = np.hanning(7)[1:-1]  # 50 ms: what is faster than syllables
    smooth = convolve1d(level, kernel / kernel.sum(), mode="nearest")
    # Silence around it, so that a syllable cut by the clip's edge is a peak as well.
    ends = smooth.min() - 2 * _DIP_DB
    peaks = find_peaks(np.concatenate([[ends], smooth, [ends]]), prominence=_DIP_DB)[0] - 1
    return np.asarray(peaks[voiced[peaks]])
