"""The remainder: sound behind the end that a header speaks of, which libsndfile does not read.

Of an MP3 without a header it is behind the end that libsndfile guesses from the first frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from lanser_cli.audio import mp3
from lanser_cli.audio.decoder import Unsupported
from lanser_cli.audio.source import AudioError, Source

_LEAST = 0.1
"""Seconds behind a WAV's end from which it is sound, and no odd bytes that a program has left."""

_UNTOLD = 0x7F000000
"""Bytes from which on the size in a WAV's header says that nobody knew it."""

_MOST_CHUNKS = 1000
"""Of a WAV, that are passed over."""

_TAGS = (b"ID3", b"TAG", b"APETAGEX")

_TAIL = 1 << 16
"""Bytes at the end of a FLAC in which its last frame begins, unless that is unusually large."""


def check(source: Source, kind: str, frames: int, rate: int) -> bool:
    """Refuse a file of which only the first `frames` frames would be read.

    Args:
        kind: `OGG`, `FLAC` or `MP3`; nothing is known of others.

    Returns:
        Whether it is an Ogg that is torn, which its pages tell in the same pass.

    Raises:
        AudioError: there is more in it.
        Unsupported: there is more in it, which FFmpeg would read.
    """
    if kind == "MP3":
        with source.stream() as stream:
            if mp3.samples(stream) > 1.01 * frames + mp3.SLACK:
                raise Unsupported
    is_torn = False
    if kind == "OGG":
        with source.stream() as stream:
            is_chain, is_torn = _ogg(stream)
        if is_chain:
            raise AudioError(
                f"{source.path}: a chain of several Ogg streams, of which only the first, "
                f"{frames / rate:.3f} s, can be read: make one of them, e.g. with ffmpeg"
            )
    if kind == "FLAC":
        with source.stream() as stream:
            there = _flac_frames(stream)
        if there > frames:
            raise AudioError(
                f"{source.path}: holds {there / rate:.3f} s, but its header promises "
                f"{frames / rate:.3f} s: write it anew, e.g. with ffmpeg"
            )
    return is_torn


def check_wav(source: Source) -> None:
    """Refuse a WAV with sound behind the end of its data, as of a recorder that died.

    Python's `wave`, for one, writes a length of 0 and mends it at the end. Of WAVs that were joined
    libsndfile reads none, and FFmpeg the first.

    Raises:
        AudioError: naming how much there is.
    """
    with source.stream() as stream:
        promised, behind = _wav_seconds(stream)
    if behind > _LEAST:
        raise AudioError(
            f"{source.path}: its header promises {promised:.3f} s, and {behind:.3f} s lie behind: "
            "write it anew, e.g. with  ffmpeg -ignore_length 1 -i OLD.wav NEW.wav"
        )


def _wav_seconds(stream: IO[bytes]) -> tuple[float, float]:
    """How much the header of a WAV promises, and what lies behind it that is no chunk."""
    head = stream.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return 0.0, 0.0
    end, at, bytes_a_second, data = stream.seek(0, 2), 12, 0, -1
    for _ in range(_MOST_CHUNKS):
        stream.seek(at)
        chunk = stream.read(8)
        name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"fmt ":
            bytes_a_second = int.from_bytes(stream.read(12)[8:], "little")
        elif name == b"data" and data < 0:
            data = size
        elif data >= 0 and (name == b"RIFF" or not _is_name(name) or at + 8 + size > end):
            break
        at += 8 + size + size % 2
    if not 0 <= data < _UNTOLD or not bytes_a_second or at >= end:
        return 0.0, 0.0
    stream.seek(at)
    block = stream.read(1 << 20)
    if block.startswith(_TAGS):
        return 0.0, 0.0
    while block and not block.strip(b"\0"):  # some recorders fill up a block of their disk
        block = stream.read(1 << 20)
    behind = end - at if block else 0
    return data / bytes_a_second, behind / bytes_a_second


def _is_name(name: bytes) -> bool:
    return all(32 <= byte < 127 for byte in name)


def _ogg(stream: IO[bytes]) -> tuple[bool, bool]:
    """Whether an Ogg is a chain, a stream behind the end of others, and whether it is torn.

    A torn one ends within a page. One that ends with a page may be all there is. That the last page
    says so cannot be asked: streams that were recorded do not.
    """
    end, begun, is_chain = 0, False, False
    for is_first, end in _pages(stream):  # noqa: B007 - of the last it is read below
        is_chain = is_chain or (is_first and begun)
        begun = begun or not is_first
    length = stream.seek(0, 2)
    stream.seek(min(end, length))
    return is_chain, end > length or (end < length and b"OggS".startswith(stream.read(4)))


def _pages(stream: IO[bytes]) -> Iterator[tuple[bool, int]]:
    """Of each page whether it is the first of its stream, and where it ends: RFC 3533, section 6.

    The last may end behind the end of the file.
    """
    at = 0
    while (head := stream.read(27 + 255)).startswith(b"OggS") and len(head) > 27:
        table = head[27 : 27 + head[26]]
        at += 27 + head[26] + sum(table)
        yield bool(head[5] & 2), at
        stream.seek(at)


def _flac_frames(stream: IO[bytes]) -> int:
    """Where the last frame of a FLAC ends, by its own number; 0 if it is not found.

    Of what looks like the header of a frame only one with the parameters of the first is one.
    Layout: RFC 9639, sections 8 and 9.1.
    """
    if stream.read(4) != b"fLaC":
        return 0
    block, size = 0, b""
    while not block & 0x80:
        head = stream.read(4)
        if len(head) < 4:
            return 0
        block, length = head[0], int.from_bytes(head[1:], "big")
        size = size or stream.read(2)  # of a block, first in the first of all, STREAMINFO
        stream.seek(length - 2 if stream.tell() == 10 else length, 1)
    if len(first := stream.read(4)) < 4:  # nothing but a header
        return 0
    start, end = stream.tell() - 4, stream.seek(0, 2)
    stream.seek(max(start, end - _TAIL))
    tail = stream.read()
    at = len(tail)
    while (at := tail.rfind(first[:2], 0, at)) >= 0:
        head = tail[at : at + 16]
        if len(head) < 16 or head[2] & 15 != first[2] & 15 or (head[3] ^ first[3]) & 15:
            continue
        if found := _end_of(head, int.from_bytes(size, "big")):
            return found
    return 0


def _end_of(head: bytes, size: int) -> int:
    """The frame behind the block that this header, of at least 16 bytes, begins; 0 if it is none.

    Args:
        size: of the blocks before, where all have the same.
    """
    ones = 8 - (head[4] ^ 0xFF).bit_length()  # as in UTF-8, they say how many bytes follow
    if ones == 1 or ones > 7:
        return 0
    more = max(0, ones - 1)
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    at, code = 5 + more, head[2] >> 4
    if code == 0:
        return 0
    if code in (6, 7):
        here = int.from_bytes(head[at : at + code - 5], "big") + 1
        at += code - 5
    else:
        here = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    at += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if _crc8(head[:at]) != head[at]:
        return 0
    return (number if head[1] & 1 else number * size) + here


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ (0x107 if crc & 0x80 else 0)
    return crc
