"""Digests: of strings, of files, of sound."""

from __future__ import annotations

import hashlib
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def string64(text: str) -> int:
    """64 bits of a string's BLAKE2b, 0 to 2^64 - 1; lone surrogates of odd file names included."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def short_sha256(text: str) -> str:
    """12 hex digits of the SHA-256 of a text, names of files that are not UTF-8 included."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def sampled_sha256(path: Path) -> str:
    """SHA-256 of a file's size and of 64 blocks throughout it, in hexadecimal.

    Quick for large weights, of which no other training leaves all the blocks as they are.
    """
    size = path.stat().st_size
    found = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for number in range(64):
            stream.seek(size * number // 64)
            found.update(stream.read(4096))
    return found.hexdigest()


def sound_sha256(samples: NDArray[np.int16]) -> str:
    """SHA-256 of samples `[samples]` as little-endian integers, in hexadecimal.

    So the same sound is found under two names.
    """
    return hashlib.sha256(samples.astype("<i2", copy=False).tobytes()).hexdigest()


class StringSet:
    """A set of strings that holds 64 bits of each: what finding repeats and resuming remember.

    They stand in one table that is doubled when it is two thirds full: 12 to 24 bytes a string, a
    third of what a set of integers takes. That two of ten million strings are taken for one has a
    chance of 3e-6.
    """

    def __init__(self) -> None:
        self._table = array("Q", [0]) * 8
        self._count = 0

    def add(self, text: str) -> bool:
        """Remember a string; False if it was known."""
        digest = _key(text)
        place = self._find(digest)
        if self._table[place]:
            return False
        self._table[place] = digest
        self._count += 1
        if 3 * self._count > 2 * len(self._table):
            self._grow()
        return True

    def __contains__(self, text: str) -> bool:
        return bool(self._count) and bool(self._table[self._find(_key(text))])

    def __len__(self) -> int:
        return self._count

    def _find(self, digest: int) -> int:
        """The place of a digest, or the empty one where it belongs."""
        table, last = self._table, len(self._table) - 1
        place = digest & last
        while table[place] not in (0, digest):
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        before, self._table = self._table, array("Q", [0]) * (2 * len(self._table))
        for digest in filter(None, before):
            self._table[self._find(digest)] = digest


def _key(text: str) -> int:
    """A string's digest, which is never 0: that is an empty place."""
    return string64(text) or 1
