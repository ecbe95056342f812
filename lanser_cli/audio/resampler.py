"""Decoded frames to what models hear: mono, finite, 16 kHz."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.source import AudioError

Waveform: TypeAlias = NDArray[np.float32]
"""`[samples]`, mono, about -1..1."""

SAMPLE_RATE = 16_000
"""Hz; what every model of this package hears."""

_CANCELLED = 1e-3
"""Power of the mean over that of a channel; two channels that have nothing in common give 0.5."""


_MOST = 2.0**31
"""Beyond what 32-bit samples have that were not scaled down; squares and sums stay finite."""


def mono(
    frames: NDArray[np.float32],
    path: str,
    channel: int | None = None,
    *,
    rate: int = SAMPLE_RATE,
    at: int = 0,
) -> Waveform:
    """One channel of `[frames, channels]`, or their mean; one of them, where they cancel out.

    Two channels of one voice of which one is upside down, by a cable, have nothing as their mean.
    That is judged for each second of the file.

    Args:
        rate, at: Hz, and which frame of the file the first is.

    Raises:
        AudioError: there is no such channel, or there are NaN, infinite or huge samples.
    """
    channels = frames.shape[1]
    if channel is not None:
        check_channel(channel, channels, path)
    one = 0 if channels == 1 else channel
    heard = frames if one is None else frames[:, one]
    if not (heard.min(initial=0.0) >= -_MOST and heard.max(initial=0.0) <= _MOST):
        raise AudioError(f"{path}: NaN, infinite or huge samples in it: decode or record it again")
    # A mean over one channel takes as long as decoding.
    mixed = frames.mean(axis=1) if one is None else heard
    if one is None:
        edges = [0, *range(rate - at % rate, len(frames), rate), len(frames)]
        for second in map(slice, edges, edges[1:]):
            _sound_if_cancelled(mixed[second], frames[second])
    return np.ascontiguousarray(mixed, dtype=np.float32)


def _sound_if_cancelled(mixed: Waveform, frames: NDArray[np.float32]) -> None:
    """Write the first loud channel over the mean of channels that cancel out."""
    powers = np.einsum("fc,fc->c", frames, frames)
    if np.vdot(mixed, mixed) < _CANCELLED * powers.mean():
        mixed[:] = frames[:, np.argmax(powers >= powers.max() / 2)]


def check_channel(channel: int, channels: int, path: str) -> None:
    """Refuse a channel that is not there.

    Raises:
        AudioError: naming it, and how many there are.
    """
    if channel >= channels:
        raise AudioError(
            f"{path}: has no channel {channel}, counted from 0: it has {channels}: name one that "
            "is there, or hear their mix"
        )


def check_rate(rate: int, path: str) -> None:
    """Refuse what no recorder writes: it would become much sound, or a filter of gigabytes.

    Raises:
        AudioError: the rate is not from 1 to 768 kHz.
    """
    if not 1_000 <= rate <= 768_000:
        raise AudioError(f"{path}: a sample rate of {rate} Hz, but sound has 1000 to 768000 Hz")


def resample(samples: Waveform, rate: int) -> Waveform:
    """A whole waveform of `rate` Hz at 16 kHz, by a polyphase filter."""
    ratio = _ratio(rate)
    return samples if ratio == 1 else _filter(samples, ratio)


class Resampler:
    """What `resample` does, piece by piece, with the samples that the whole would give.

    Each piece is filtered together with as much of its neighbours as the filter reaches. Pieces
    begin at multiples of `down`, where input and output samples fall together.
    """

    def __init__(self, rate: int) -> None:
        self._ratio = _ratio(rate)
        self._up, self._down = self._ratio.numerator, self._ratio.denominator
        reach = 10 * max(self._up, self._down) // self._up + 1  # scipy's half_len, in input samples
        self._margin = -(-reach // self._down) * self._down
        self._kept: list[Waveform] = []
        """Input that is still needed."""
        self._lead = 0
        """How many samples of it have given their output."""

    def push(self, samples: Waveform) -> Waveform:
        """The output that these samples complete."""
        if self._ratio == 1:
            return samples
        self._kept.append(samples)
        total = sum(map(len, self._kept))
        complete = (total - self._margin) // self._down * self._down
        if complete <= self._lead:
            return np.empty(0, np.float32)
        joined = np.concatenate(self._kept)
        output = _filter(joined, self._ratio)[self._place(self._lead) : self._place(complete)]
        start = max(0, complete - self._margin)
        self._kept, self._lead = [joined[start:]], complete - start
        return output

    def flush(self) -> Waveform:
        """The output that is left, once the last samples are in."""
        if not self._kept:
            return np.empty(0, np.float32)
        joined = np.concatenate(self._kept)
        return _filter(joined, self._ratio)[self._place(self._lead) :]

    def _place(self, position: int) -> int:
        """The output sample that falls together with this input sample."""
        return position // self._down * self._up


def _ratio(rate: int) -> Fraction:
    """Output samples for an input sample; exact where the filter is not far too long.

    Its length grows with the denominator: rates such as 191,999 Hz are off by at most 10 ppm.
    """
    return Fraction(SAMPLE_RATE, rate).limit_denominator(50_000)


def _filter(samples: Waveform, ratio: Fraction) -> Waveform:
    from scipy.signal import resample_poly  # slow to import, and most sound is at 16 kHz

    return np.asarray(resample_poly(samples, ratio.numerator, ratio.denominator), np.float32)
