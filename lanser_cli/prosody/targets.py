"""The prosody of one utterance as a few numbers, measured on its waveform.

The rate follows de Jong and Wempe (2009), "Praat script to detect syllable nuclei and measure
speech rate automatically", itself after Mermelstein (1975): energy peaks between dips, where there
is voice. The spectral tilt is the alpha ratio of eGeMAPS (Eyben et al. 2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.sound import SAMPLE_RATE
from lanser_cli.prosody import pitch
from lanser_cli.prosody.pitch import FRAME, HOP

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

UNITS: dict[str, str] = {
    "f0_mean": "semitones re 100 Hz",
    "f0_range": "semitones",
    "f0_variability": "semitones",
    "f0_slope": "semitones/s",
    "intensity_mean": "dB re full scale",
    "intensity_range": "dB",
    "speaking_rate": "syllables/s",
    "pause_ratio": "0..1",
    "jitter": "%",
    "shimmer": "%",
    "harmonics_to_noise": "dB",
    "spectral_tilt": "dB",
    "duration": "s",
}
"""What each number is measured in, in report order."""

TARGETS: tuple[str, ...] = tuple(name for name in UNITS if name != "duration")
"""What a probe is asked for. Not the duration: the zeros behind a short clip give it away."""

SILENCE = 1e-5
"""RMS re full scale (-100 dB): below the rounding of 16-bit audio, never speech."""

ACTIVE_DB = 25.0
"""A frame is speech-active if it is at most this far below the loud frames (de Jong and Wempe)."""

PAUSE = 0.15
"""Seconds; the silence of a stop consonant is shorter."""

MIN_VOICED = 5
"""Frames (50 ms). Statistics of fewer voiced frames, or a line through them, mean nothing."""

MAX_JUMP = 12.0
"""Semitones. A voice hardly goes further from its median within an utterance; a tracker that takes
a fricative or a creak for one does, and a few such frames would make up most of the range."""

_DIP_DB = 2.0  # between two syllables (de Jong and Wempe)


def measurer() -> Callable[[NDArray[np.float32]], dict[str, float]]:
    """What gives the prosody of a waveform: `measure`, which needs no setting up."""
    return measure


def measure(waveform: NDArray[np.float32]) -> dict[str, float]:
    """The prosody of one utterance; NaN where the sound does not define a target.

    * `f0_mean`, `f0_variability` (standard deviation), `f0_range` (5th to 95th percentile): of the
      voiced frames within an octave of their median, 12 log2(F0 / 100 Hz). `f0_slope`: of the
      straight line of least squares through them.
    * `intensity_mean`, `intensity_range` (5th to 95th percentile): of the speech-active frames, in
      dB; a full-scale sine is -3.01. The mean says little of a corpus whose files were each scaled
      to the same peak, as EmoDB's.
    * `speaking_rate`: syllable nuclei per second between the first and the last active frame, so
      that silence around the utterance does not count. It misses about one syllable in five.
    * `pause_ratio`: share of that time in pauses, which are inactive for `PAUSE` at least.
    * `jitter`, `shimmer`: as `pitch.Steadiness`. `harmonics_to_noise`: mean over voiced frames.
    * `spectral_tilt`: mean over voiced frames of the energy in 50-1000 Hz over that in 1-5 kHz.
    * `duration`: of the whole waveform.

    Args:
        waveform: `[samples]`, mono, 16 kHz, finite. May be empty.

    Returns:
        `UNITS` → value. Without a speech-active frame only `duration` is a number; with fewer
        than `MIN_VOICED` voiced frames F0, the quality of the voice and tilt are not.
    """
    values = dict.fromkeys(UNITS, float("nan"))
    values["duration"] = len(waveform) / SAMPLE_RATE
    if len(waveform) < FRAME:
        return values
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME)[::HOP]
    level = _level(frames)
    active = level >= max(float(np.percentile(level, 99)) - ACTIVE_DB, 20 * np.log10(SILENCE))
    if not active.any():
        return values
    f0 = np.where(active, pitch.track(waveform), np.nan)
    voiced = np.isfinite(f0)
    low, high = np.percentile(level[active], (5, 95))
    values["intensity_mean"] = float(level[active].mean())
    values["intensity_range"] = float(high - low)
    first, last = np.flatnonzero(active)[[0, -1]]
    seconds = (last - first + 1) * HOP / SAMPLE_RATE
    values["speaking_rate"] = len(_nuclei(level, voiced)) / seconds
    values["pause_ratio"] = _pauses(active[first : last + 1]) / seconds
    values.update(_voice(waveform, frames, f0))
    return values


def _voice(
    waveform: NDArray[np.float32], frames: NDArray[np.float32], f0: Array
) -> dict[str, float]:
    """The targets that need a voice; none with too little of it."""
    semitones = 12 * np.log2(f0 / 100)
    voiced = np.isfinite(f0)
    if voiced.any():
        voiced &= np.abs(semitones - np.median(semitones[voiced])) <= MAX_JUMP
    if voiced.sum() < MIN_VOICED:
        return {}
    contour, time = semitones[voiced], np.flatnonzero(voiced) * HOP / SAMPLE_RATE
    low, high = np.percentile(contour, (5, 95))
    steady = pitch.steadiness(waveform, np.where(voiced, f0, np.nan))
    cleanness = pitch.harmonics_to_noise(frames[voiced], f0[voiced])
    cleanness = cleanness[np.isfinite(cleanness)]
    return {
        "f0_mean": float(contour.mean()),
        "f0_range": float(high - low),
        "f0_variability": float(contour.std()),
        "f0_slope": float(np.polyfit(time, contour, 1)[0]),
        "jitter": steady.jitter,
        "shimmer": steady.shimmer,
        "harmonics_to_noise": float(cleanness.mean()) if len(cleanness) else math.nan,
        "spectral_tilt": float(_tilt(frames[voiced]).mean()),
    }


def _level(frames: NDArray[np.float32]) -> Array:
    """dB re full scale `[n]` of frames `[n, FRAME]`, less their mean, under a Hann window."""
    window = _window()
    centred = frames - frames.mean(axis=1, keepdims=True, dtype=np.float64)
    power = np.square(centred) @ np.square(window) / (window @ window)
    return np.asarray(10 * np.log10(np.maximum(power, (SILENCE / 10) ** 2)))


def _tilt(frames: NDArray[np.float32]) -> Array:
    from scipy.fft import rfft

    power = np.abs(rfft(frames * _window(), 1024, axis=1)) ** 2
    hertz = np.fft.rfftfreq(1024, 1 / SAMPLE_RATE)
    low = power[:, (hertz >= 50) & (hertz < 1000)].sum(axis=1)
    high = power[:, (hertz >= 1000) & (hertz < 5000)].sum(axis=1)
    floor = 1e-10 * power.sum(axis=1) + np.finfo(float).tiny
    return np.asarray(10 * np.log10(np.maximum(low, floor) / np.maximum(high, floor)))


def _window() -> Array:
    return np.hanning(FRAME + 2)[1:-1]


def _pauses(active: Mask) -> float:
    """Seconds in stretches of false of at least `PAUSE`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], active, [True]])))
    lengths = np.diff(edges.reshape(-1, 2), axis=1) * HOP / SAMPLE_RATE
    return float(lengths[lengths >= PAUSE].sum())


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
