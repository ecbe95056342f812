"""WAV, FLAC, Ogg, MP3, AIFF and what else libsndfile decodes, whatever the file is called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from soundfile import LibsndfileError

from lanser_cli.audio import mp3, remainder
from lanser_cli.audio.decoder import (
    Block,
    Info,
    Unsupported,
    behind_the_end,
    cut_off,
    join,
    no_sample,
    no_samples,
    regroup,
)
from lanser_cli.audio.resampler import SAMPLE_RATE
from lanser_cli.audio.source import CutOff, Source

_MOST = 1 << 20
"""Samples read at a time: a damaged header may promise more than fits into memory."""

_UNKNOWN = 1 << 62
"""libsndfile gives at least this many frames where a stream's header leaves the length open."""


class File(soundfile.SoundFile):
    """soundfile's own, but freed once: twice, where Ctrl-C comes right behind it, is an abort."""

    _file: Any

    def close(self) -> None:
        if not self.closed:
            self.flush()
            file, self._file = self._file, None
            soundfile._error_check(soundfile._snd.sf_close(file))


def load(source: Source, offset: float, duration: float | None) -> Block:
    """Decode `[offset, offset + duration)` seconds.

    Raises:
        Unsupported: libsndfile cannot decode it.
        CutOff: the header promises more than can be decoded.
        AudioError: there is no sound in it, more than its header speaks of, or none at `offset`.
    """
    with _open(source, offset, duration) as reader:
        try:
            return join(reader.blocks(_MOST), source.path)
        except LibsndfileError:
            if reader.file.format == "MP3" or not 0 < reader.promised < _UNKNOWN:
                raise Unsupported from None
            raise CutOff(
                f"{source.path}: cut off or damaged: not all of the "
                f"{reader.promised / reader.rate:.3f} s that its header promises can be decoded"
            ) from None


def stream(
    source: Source, offset: float, duration: float | None, seconds: float
) -> Iterator[Block]:
    """What `load` gives, in blocks of about `seconds`, up to where the sound is cut off or damaged.

    Raises:
        Unsupported: libsndfile cannot decode the beginning.
        CutOff: the header promises more than can be decoded; after the last block.
        AudioError: there is no sound at `offset`.
    """
    with _open(source, offset, duration) as reader:
        if reader.file.frames >= _UNKNOWN:
            raise Unsupported
        try:
            # In small steps: a step that meets damage is lost with all that is in it.
            yield from regroup(reader.blocks(reader.rate // 4 + 1), seconds)
        except LibsndfileError:
            raise (reader.cut_off() if reader.done else Unsupported()) from None


def probe(source: Source) -> Info:
    """Read the header. The length is what it promises: who reads so far is told what is missing.

    An MP3 whose first frames seem to promise far more than its frames hold is decoded.

    Raises:
        Unsupported: libsndfile cannot read it, or does not find the end.
        AudioError: there is no sound in it, or more than its header speaks of.
    """
    with _opened(source) as (file, promised):
        if file.frames >= _UNKNOWN:
            raise Unsupported
        if file.frames == 0:
            raise no_samples(source.path)
        length = max(file.frames, promised)
        if file.format == "MP3" and not promised and _holds_less(source, length):
            length = _count(file)
        return Info(length / file.samplerate, file.samplerate, file.channels)


def load_pcm16(
    source: Source,
    offset: float,
    duration: float | None,
    size: int,
    choose: Callable[[int], int],
) -> NDArray[np.int16] | None:
    """At most `size` samples, from number `choose(length)` on, of 16-bit mono sound at 16 kHz.

    Returns:
        `[samples]`; None of other sound, and of what is not whole.

    Raises:
        AudioError: there is no sound at `offset`.
    """
    try:
        with _open(source, offset, duration) as reader:
            file, length = reader.file, reader.stop - reader.start
            kind = (file.samplerate, file.channels, file.subtype)
            if kind != (SAMPLE_RATE, 1, "PCM_16") or reader.promised > file.frames:
                return None
            if not 0 < length < _UNKNOWN:
                return None
            first = choose(length)
            count = min(size, length - first)
            if reader.start + first:
                file.seek(reader.start + first)
            pieces, left = [], count
            while left and len(piece := file.read(min(left, _MOST), "int16")):
                pieces.append(piece)
                left -= len(piece)
    except (LibsndfileError, Unsupported):
        return None
    if left or not pieces:
        return None
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _holds_less(source: Source, guessed: int) -> bool:
    """Whether an MP3 seems to hold far fewer samples than libsndfile guesses."""
    with source.stream() as stream:
        return mp3.samples(stream) < 0.99 * guessed - mp3.SLACK


def _count(file: Any) -> int:
    """How many frames can be decoded."""
    count = 0
    try:
        while frames := len(file.read(_MOST // file.channels, "int16")):
            count += frames
    except LibsndfileError:
        raise Unsupported from None
    return count


@dataclass(slots=True)
class _Reader:
    """The one reader of blocks. Positions are frames of the file.

    Attributes:
        start, stop: the span to be read; `stop` is at most the length that libsndfile finds.
        promised: the length that the header speaks of; 0 if it speaks of none.
        wanted: where the span would stop if the header were true.
        done: how many frames have been read.
    """

    file: Any
    path: str
    rate: int
    start: int
    stop: int
    promised: int
    wanted: int
    done: int = 0

    def blocks(self, step: int) -> Iterator[Block]:
        """The span, at most `step` frames at a time.

        Raises:
            LibsndfileError: libsndfile meets damage.
            CutOff: the header promises more.
        """
        step = max(1, min(step, _MOST // self.file.channels))
        if self.start:
            self.file.seek(self.start)
        while (left := self.stop - self.start - self.done) > 0:
            frames = self.file.read(min(step, left), "float32", always_2d=True)
            if not len(frames):
                break
            self.done += len(frames)
            yield Block(frames, self.rate)
        wanted = float(self.wanted - self.start)
        if self.file.format != "OGG":
            wanted *= 0.99
        if self.file.format == "MP3":
            wanted -= mp3.SLACK
        if 0 < self.promised < _UNKNOWN and self.done < wanted:
            raise self.cut_off()

    def cut_off(self) -> CutOff:
        promised = None if self.file.format == "OGG" else self.promised / self.rate
        return cut_off(self.path, (self.start + self.done) / self.rate, promised)


@contextmanager
def _opened(source: Source) -> Iterator[tuple[Any, int]]:
    """The file, and what `_promised` says of it."""
    remainder.check_wav(source)
    try:
        file = File(source.open())
    except (LibsndfileError, TypeError):  # TypeError: a name that means sound without a header
        raise Unsupported from None
    with file:
        is_torn = remainder.check(source, file.format, file.frames, file.samplerate)
        yield file, _promised(source, file, is_torn)


@contextmanager
def _open(source: Source, offset: float, duration: float | None) -> Iterator[_Reader]:
    with _opened(source) as (file, promised):
        rate, length = file.samplerate, file.frames
        start = round(offset * rate)
        if start >= length > 0:
            raise behind_the_end(source.path, offset, length / rate)
        stop, wanted = length, promised
        if duration is not None:
            end = start + round(duration * rate)
            if end == start and length:
                raise no_sample(source.path, duration)
            stop, wanted = min(stop, end), min(wanted, end)
        yield _Reader(file, source.path, rate, start, stop, promised, wanted)


_CUT = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile says of a WAV, AIFF or AU that ends before its header says: bytes."""


def _promised(source: Source, file: Any, is_torn: bool) -> int:
    """Frames that the header speaks of, 0 if it speaks of none.

    Of a WAV and the like libsndfile gives what it finds, not that; of an MP3 a guess, unless it has
    a header that counts its frames.
    """
    if file.format == "MP3":
        with source.stream() as stream:
            return int(file.frames) if mp3.is_counted(stream) else 0
    if file.format == "FLAC":
        return int(file.frames)
    if file.format == "OGG":
        # It speaks of no length: whoever reads for longer is told that it ends before.
        return int(file.frames) + file.samplerate if is_torn else 0
    if file.format in ("W64", "RF64"):
        return _promised_in_64_bits(file)
    cut = _CUT.search(file.extra_info)
    if file.format not in ("WAV", "WAVEX", "AIFF", "AU") or not cut:
        return 0
    promised, there = map(int, cut.groups())
    if promised > 0x7F000000 or there == 0:  # a recorder that wrote to a pipe could not know
        return 0
    return round(file.frames * promised / there)


_CUT_IN_64_BITS = re.compile(r"^ *(?:riff|Riff size) *: \d+ \(should be", re.MULTILINE)
_DATA_IN_64_BITS = re.compile(r"^ *(?:data|Data size) *: (\d+)", re.MULTILINE)
_ALIGN = re.compile(r"^ *Block Align *: (\d+)", re.MULTILINE)
_HEAD_OF_W64 = 24
"""Bytes of the head of a chunk of a W64, which its size counts."""


def _promised_in_64_bits(file: Any) -> int:
    """Frames that the header of a W64 or RF64 of plain samples speaks of, if it is cut; else 0."""
    about, is_plain = file.extra_info, file.subtype.startswith(("PCM", "FLOAT", "DOUBLE"))
    data, align = _DATA_IN_64_BITS.search(about), _ALIGN.search(about)
    if not (is_plain and data and align and _CUT_IN_64_BITS.search(about)):
        return 0
    size = int(data[1]) - (_HEAD_OF_W64 if file.format == "W64" else 0)
    frames = size // max(1, int(align[1]))
    return frames if frames < 1 << 40 else 0  # a recorder that wrote to a pipe could not know
