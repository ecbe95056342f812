"""Digests: of strings, of files, of sound."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def string64(text: str) -> int:
    """64 bits of a string's BLAKE2b, 0 to 2^64 - 1; lone surrogates of odd file names included."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def sound_sha256(samples: NDArray[np.int16]) -> str:
    """SHA-256 of samples `[samples]` as little-endian integers, in hexadecimal.

    So the same sound is found under two names.
    """
    return hashlib.sha256(samples.astype("<i2", copy=False).tobytes()).hexdigest()


class StringSet:
    """A set of strings that holds 60 bits of each: what finding repeats and resuming remember.

    Python's integers take half as much memory again from 61 bits on.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def add(self, text: str) -> bool:
        """Remember a string; False if it was known."""
        digest = string64(text) >> 4
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True

    def __contains__(self, text: str) -> bool:
        return bool(self._seen) and string64(text) >> 4 in self._seen

    def __len__(self) -> int:
        return len(self._seen)
