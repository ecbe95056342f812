"""How much sound an MP3 holds, by the headers of its frames.

libsndfile takes the word of a header that counts them, and without one guesses from the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

SLACK = 4 * 1152
"""Samples by which counts may differ: coders add silence at both ends, some decoders leave it."""

_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Hz, by the two bits of the version: 3 is MPEG-1, 2 MPEG-2, 0 MPEG-2.5."""

_KBPS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
"""Of layer III, in MPEG-2 and 2.5, and in MPEG-1; 0 is of no known size."""


_HEADER = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")
"""How a frame of layer III begins."""

_LARGEST = 1445
"""Bytes of the largest frame of layer III, and of the header behind it."""


def samples(stream: IO[bytes]) -> int:
    """Samples of a channel, by the headers of all frames; damage between them is passed over."""
    return sum(count for count, _ in _frames(stream))


def is_counted(stream: IO[bytes]) -> bool:
    """Whether a header of the whole file (Xing, Info) counts its frames."""
    return next((counted for _, counted in _frames(stream)), False)


def _frames(stream: IO[bytes]) -> Iterator[tuple[int, bool]]:
    """Of each frame, tags passed over, its samples and whether it counts those of the file.

    One that says how many frames and bytes there are stands for them all: only those behind are
    looked for. Layout: ISO/IEC 11172-3, section 2.4.1.3; ID3v2.4.0, section 3.1.
    """
    begun = False
    while len(head := stream.read(10)) == 10:
        start = stream.tell() - 10
        if head.startswith(b"ID3"):  # its size is in four bytes of seven bits
            size = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
            stream.seek(start + 10 + size)
            continue
        size, count = _frame(head)
        if not size:
            if _find(stream, start):
                continue
            return
        found = None if begun else _counted(head + stream.read(46))
        if found is not None and all(found):
            frames, size = found
            count *= frames
        begun = True
        yield count, found is not None
        stream.seek(start + size)


def _find(stream: IO[bytes], at: int) -> bool:
    """Go to the next frame behind a place, if there is one that another of its kind follows."""
    stream.seek(at)
    block = b""
    while more := stream.read(1 << 16):
        block += more
        for found in _HEADER.finditer(block):
            head = block[found.start() : found.start() + _LARGEST]
            if len(head) < _LARGEST:
                break  # it is looked at with what follows; at the end of a file, not at all
            size, _ = _frame(head)
            other = head[size:] if size else b""
            if other[:2] == found[0] and _frame(other)[0] and not (head[2] ^ other[2]) & 12:
                stream.seek(at + found.start())
                return True
        kept = block[-_LARGEST:]
        at, block = at + len(block) - len(kept), kept
    return False


def _frame(head: bytes) -> tuple[int, int]:
    """Bytes and samples of the frame that a header of layer III begins; (0, 0) if it is none."""
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate, kbps = head[2] >> 2 & 3, head[2] >> 4
    if head[0] != 0xFF or head[1] < 0xE0 or version == 1 or layer != 1 or rate == 3 or kbps == 15:
        return 0, 0
    samples = 1152 if version == 3 else 576
    size = samples * 125 * _KBPS[version == 3][kbps] // _RATES[version][rate]
    return (size + (head[2] >> 1 & 1), samples) if size else (0, 0)


def _counted(frame: bytes) -> tuple[int, int] | None:
    """How many frames and bytes the first frame says that there are; 0 for what it does not say."""
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0:
        return None
    flags, *numbers = (int.from_bytes(frame[at + n : at + n + 4], "big") for n in (4, 8, 12))
    return (numbers[0] if flags & 1 else 0, numbers[1] if flags & 3 == 3 else 0)
