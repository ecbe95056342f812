"""Fingerprints of sound that outlast recoding, and an index to find them in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio import sound

FRAME = 4096
"""Samples a word looks at: 256 ms."""


HOP = 256
"""Samples between words: 16 ms, so that a cut between two of them moves a frame by 3 % at most."""


MIN_WORDS = 32
"""Less sound than this (0.77 s) has too few independent bits to be told from other sound."""


MAX_BIT_ERRORS = 0.25
"""Share of bits that may differ between two recodings of the same sound; docs/formats.md has the
measured distributions on either side."""


_COVERED = 0.7


_LOW_HZ, _HIGH_HZ, _BANDS = 300.0, 3000.0, 33


_BLOCK = 256


def fingerprint(waveform: sound.Waveform) -> NDArray[np.uint32]:
    """One word of 32 bits every 16 ms: Haitsma and Kalker's robust hash (2002).

    A bit is the sign of the difference, over time and over neighbouring bands, of log band
    energies, so that gain and any slow change of the spectrum fall out. 33 bands from 300 to
    3000 Hz survive telephone bandwidth. Silence before and after, 40 dB below the loudest frame,
    is cut off.

    Args:
        waveform: float32 `[samples]`, 16 kHz.

    Returns:
        `[words]`, empty where there is less than 0.77 s of sound.
    """
    from scipy.fft import rfft

    count = (len(waveform) - FRAME) // HOP + 1
    if count <= MIN_WORDS:
        return np.empty(0, np.uint32)
    edges = np.geomspace(_LOW_HZ, _HIGH_HZ, _BANDS + 1) * FRAME / sound.SAMPLE_RATE
    starts = np.rint(edges).astype(int)
    window = np.hanning(FRAME).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME)[::HOP]
    energies = np.empty((count, _BANDS), np.float32)
    for start in range(0, count, _BLOCK):
        power = np.abs(rfft(frames[start : start + _BLOCK] * window)) ** 2
        energies[start : start + _BLOCK] = np.add.reduceat(power, starts, axis=1)[:, :_BANDS]
    total = energies.sum(axis=1)
    loud = np.flatnonzero(total > 1e-4 * total.max())
    if len(loud) == 0 or loud[-1] - loud[0] < MIN_WORDS:
        return np.empty(0, np.uint32)
    kept = np.log(energies[loud[0] : loud[-1] + 1] + 1e-20)
    bits = np.diff(np.diff(kept, axis=1), axis=0) > 0
    return np.packbits(bits, axis=1).view(">u4")[:, 0].astype(np.uint32)


class Prints:
    """Fingerprints of one side, with an index from each word to the places where it is.

    Two recodings of the same sound differ in some bits of nearly every word, but have a few words
    whole: those name the candidates and how the two lie to each other, so that not all pairs have
    to be compared.
    """

    MOST = 64
    """Places of a word that are looked at; a word of steady sound may be all over the set."""

    def __init__(self, prints: Sequence[NDArray[np.uint32]]) -> None:
        self._ends = np.cumsum([len(words) for words in prints])
        self._words = np.concatenate([np.empty(0, np.uint32), *prints])
        self._order = np.argsort(self._words, kind="stable")
        self._sorted = self._words[self._order]
        self._ones = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)

    def find(self, words: NDArray[np.uint32]) -> tuple[int, float] | None:
        """The most similar print that is near enough: its place, and the share of bits that differ.

        One lies within the other, for at least 0.7 of the shorter, or they are as long.
        """
        first = np.searchsorted(self._sorted, words, "left")
        counts = np.minimum(np.searchsorted(self._sorted, words, "right") - first, self.MOST)
        if not counts.any():
            return None
        where = np.repeat(np.arange(len(words)), counts)
        within = np.arange(len(where)) - np.repeat(np.cumsum(counts) - counts, counts)
        places = self._order[np.repeat(first, counts) + within]
        owners = np.searchsorted(self._ends, places, "right")
        found: tuple[int, float] | None = None
        for owner, start in np.unique(np.stack([owners, places - where], axis=1), axis=0).tolist():
            rate = self._bit_errors(owner, start, words)
            if rate <= MAX_BIT_ERRORS and (found is None or rate < found[1]):
                found = owner, rate
        return found

    def _bit_errors(self, owner: int, start: int, words: NDArray[np.uint32]) -> float:
        """Share of bits that differ where `words` is laid at `start`; 1 if too few lie together."""
        begin, end = int(self._ends[owner - 1]) if owner else 0, int(self._ends[owner])
        low, high = max(begin, start), min(end, start + len(words))
        if high - low < max(MIN_WORDS, _COVERED * min(end - begin, len(words))):
            return 1.0
        ours, theirs = self._words[low:high], words[low - start : high - start]
        heard = int(((ours | theirs) != 0).sum())  # digital silence in both says nothing
        if heard < MIN_WORDS:
            return 1.0
        different = ours ^ theirs
        ones = int(self._ones[different >> 16].sum()) + int(self._ones[different & 0xFFFF].sum())
        return ones / (32 * heard)
