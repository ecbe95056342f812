"""Digests: of ids, of files, of sound."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def sound_sha256(samples: NDArray[np.int16]) -> str:
    """SHA-256 of the samples (little-endian), so that the same sound is found under two names."""
    return hashlib.sha256(samples.astype("<i2", copy=False).tobytes()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        found = hashlib.sha256()
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


class Digests:
    """A set of ids, 60 bits of each: what duplicate detection and resuming must remember.

    Python's integers take half as much memory again from 61 bits on.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    @staticmethod
    def _digest(identifier: str) -> int:
        data = identifier.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 4

    def add(self, identifier: str) -> bool:
        """Remember an id; False if it was known."""
        digest = self._digest(identifier)
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True

    def __contains__(self, identifier: str) -> bool:
        return bool(self._seen) and self._digest(identifier) in self._seen

    def __len__(self) -> int:
        return len(self._seen)
