"""Perturbations of sound, as `eval --perturb` asks for them: gain, noise, a telephone's band.

Levels are relative to the utterance, and nothing is clipped: what is measured is the change of
level, not what a converter makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.sound import SAMPLE_RATE
from lanser_cli.choices import Perturbing
from lanser_cli.digests import string64
from lanser_cli.errors import UsageError

Sound = NDArray[np.float32]

GAINS_DB = (-12.0, 12.0)
SNRS_DB = (30.0, 20.0, 10.0)
TELEPHONE_HZ = (300.0, 3400.0)


@dataclass(frozen=True, slots=True)
class Perturbation:
    """A change of sound: `[samples]` and the id of the utterance in, `[samples]` out."""

    name: str
    apply: Callable[[Sound, str], Sound]


def perturbations(words: str) -> list[Perturbation]:
    """Those that `gain,noise,telephone`, or some of these, stand for.

    Raises:
        UsageError: there is no such perturbation.
    """
    known = get_args(Perturbing)
    names = list(dict.fromkeys(word.strip() for word in words.split(",")))
    for name in names:
        if name not in known:
            raise UsageError(
                f"--perturb '{name}': choose from {', '.join(known)}, joined by commas"
            )
    return [each for name in names for each in _TABLE[name]]


def _gain(decibels: float) -> Perturbation:
    factor = np.float32(10 ** (decibels / 20))
    return Perturbation(f"gain {decibels:+.0f} dB", lambda sound, _: sound * factor)


def _noise(decibels: float) -> Perturbation:
    """White noise so many dB below the mean power of the utterance, the same for the same id."""

    def apply(sound: Sound, identifier: str) -> Sound:
        draw = np.random.default_rng(string64(identifier) % 2**63)
        power = float(np.mean(np.square(sound, dtype=np.float64))) if len(sound) else 0.0
        level = np.sqrt(power * 10 ** (-decibels / 10))
        return np.asarray(sound + level * draw.standard_normal(len(sound)), np.float32)

    return Perturbation(f"noise {decibels:.0f} dB", apply)


def _telephone(sound: Sound, _: str) -> Sound:
    """A telephone's band, 300 to 3400 Hz: Butterworth of order 8, forwards."""
    from scipy.signal import butter, sosfilt

    if not len(sound):  # which a filter does not take
        return sound
    filter_ = butter(4, TELEPHONE_HZ, "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(filter_, sound), np.float32)


_TABLE: dict[str, list[Perturbation]] = {
    "gain": [_gain(decibels) for decibels in GAINS_DB],
    "noise": [_noise(decibels) for decibels in SNRS_DB],
    "telephone": [Perturbation("telephone band", _telephone)],
}
