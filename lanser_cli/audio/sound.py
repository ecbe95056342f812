"""Any container in, mono float32 at 16 kHz out.

libsndfile decodes WAV, FLAC, Ogg, MP3 and AIFF whatever the file is called; what it cannot read is
tried with PyAV (extra `video`): MP4, M4A, WebM, FLV and so on.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from lanser_cli import kind
from lanser_cli.audio import libsndfile, pyav
from lanser_cli.audio.decoder import Block, Info, Unsupported, no_samples, on_seconds
from lanser_cli.audio.resampler import (
    SAMPLE_RATE,
    Resampler,
    Waveform,
    check_channel,
    check_rate,
    mono,
    resample,
)
from lanser_cli.audio.source import AudioError, CutOff, Place, Source, locate, source_of
from lanser_cli.records import Record

__all__ = [
    "SAMPLE_RATE",
    "AudioError",
    "CutOff",
    "Info",
    "Waveform",
    "check",
    "load",
    "load_available",
    "load_int16",
    "locate",
    "path_of",
    "peak",
    "probe",
    "read",
    "read_crop",
    "stream",
    "to_int16",
]


def path_of(record: Record) -> str:
    """Where a record's sound lies.

    Raises:
        AudioError: it does not say.
    """
    if not record.audio_filepath:
        raise AudioError("has no 'audio_filepath'")
    return record.audio_filepath


def load(record: Record) -> Waveform:
    """The sound of a record: float32 `[samples]`, mono, 16 kHz, finite, about -1..1.

    Args:
        record: its `audio_filepath`, `offset`, `duration` and `audio_channel` say what to read.

    Raises:
        AudioError: no path, no such file or channel, not audio, nothing in it, or NaN in it.
    """
    return read(path_of(record), record.offset, record.duration, record.channel)


def load_int16(record: Record, most: int = sys.maxsize) -> NDArray[np.int16]:
    """What `load` gives, or its first `most` samples, as 16 bits: `[samples]`, -32768..32767.

    Raises:
        AudioError: as in `load`.
    """
    span = path_of(record), record.offset, record.duration, record.channel
    return read_crop(*span, most, lambda _length: 0)


def load_available(record: Record) -> tuple[Waveform, bool]:
    """As much of a record's sound as can be decoded, and whether it is cut off.

    Raises:
        AudioError: as in `load`, but of sound that is cut off only if nothing can be decoded.
    """
    try:
        return load(record), False
    except CutOff:
        return _load_before_cut(record), True


def read(
    path: str, offset: float = 0.0, duration: float | None = None, channel: int | None = None
) -> Waveform:
    """Decode `[offset, offset + duration)` seconds of a file or of `shard.tar#member`.

    Args:
        channel: the one that is read, from 0 on; None: their mean.

    Raises:
        AudioError: as in `load`.
    """
    return _read(source_of(path), offset, duration, channel)


def read_crop(
    path: str,
    offset: float,
    duration: float | None,
    channel: int | None,
    size: int,
    choose: Callable[[int], int],
    place: Place | None = None,
) -> NDArray[np.int16]:
    """At most `size` samples of what `read` gives, from number `choose(length)` on, as int16.

    16-bit mono sound at 16 kHz, which shards hold, is decoded only there.

    Args:
        place: what `locate` found for the path.

    Raises:
        AudioError: as in `load`.
    """
    source = source_of(path, place)
    crop = None if channel else libsndfile.load_pcm16(source, offset, duration, size, choose)
    if crop is None:
        whole = to_int16(_read(source, offset, duration, channel))
        start = choose(len(whole))
        crop = whole[start : start + size]
    return crop


def peak(waveform: Waveform) -> float:
    """Half of the way from the lowest sample to the highest, in dBFS; an offset does not count."""
    swing = float(np.ptp(waveform)) / 2 if len(waveform) else 0.0
    return 20 * math.log10(swing) if swing else -math.inf


def to_int16(waveform: Waveform) -> NDArray[np.int16]:
    """A waveform as 16-bit samples, clipped, not wrapped: the inverse of how they are read."""
    # libsndfile reads 16 bits as n / 32768 but would write n as 32767 x: round as it reads.
    scaled = waveform * np.float32(32768)
    return np.clip(np.rint(scaled, out=scaled), -32768, 32767, out=scaled).astype(np.int16)


def stream(
    path: str,
    offset: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
    *,
    seconds: float = 30.0,
) -> Iterator[Waveform]:
    """The sound that `read` gives, in pieces of about `seconds`: memory does not grow with length.

    Raises:
        AudioError: as in `load`; of what is cut off or damaged, after the pieces before.
    """
    resampler: Resampler | None = None
    at = 0
    for block in on_seconds(_stream(source_of(path), offset, duration, seconds), offset):
        if resampler is None:
            check_rate(block.rate, path)
            resampler, at = Resampler(block.rate), round(offset * block.rate)
        yield resampler.push(mono(block.frames, path, channel, rate=block.rate, at=at))
        at += len(block.frames)
    if resampler is None:
        raise no_samples(path)
    yield resampler.flush()


def probe(path: str) -> Info:
    """Read a file's header only, if it gives the length.

    Raises:
        AudioError: no such file, or not audio.
    """
    source = source_of(path)
    try:
        info = libsndfile.probe(source)
    except Unsupported:
        _check_that_sound(source)
        info = pyav.probe(source)
    check_rate(info.sample_rate, path)
    return info


def check(record: Record) -> None:
    """Read the header of a record's sound, unless it is in a shard, whose sound was checked.

    Raises:
        AudioError: no path, no such file or channel, or not audio.
    """
    path = path_of(record)
    if "#" not in path:
        info = probe(path)
        if record.channel is not None:
            check_channel(record.channel, info.channels, path)


def _read(source: Source, offset: float, duration: float | None, channel: int | None) -> Waveform:
    try:
        try:
            block = libsndfile.load(source, offset, duration)
        except Unsupported:
            _check_that_sound(source)
            block = pyav.load(source, offset, duration)
        check_rate(block.rate, source.path)
        at = round(offset * block.rate)
        heard = mono(block.frames, source.path, channel, rate=block.rate, at=at)
        return resample(heard, block.rate)
    except MemoryError:
        raise AudioError(f"{source.path}: takes more memory than there is") from None


def _stream(
    source: Source, offset: float, duration: float | None, seconds: float
) -> Iterator[Block]:
    try:
        yield from libsndfile.stream(source, offset, duration, seconds)
    except Unsupported:  # raised before the first block
        _check_that_sound(source)
        yield from pyav.stream(source, offset, duration, seconds)


def _check_that_sound(source: Source) -> None:
    """Refuse what is no sound by its first bytes, before FFmpeg sees it.

    Raises:
        AudioError: naming what it is.
    """
    if name := kind.other(source.read(0, kind.HEAD)):
        raise AudioError(f"{source.path}: is no sound but {name}")


def _load_before_cut(record: Record) -> Waveform:
    pieces: list[Waveform] = []
    try:
        for piece in stream(path_of(record), record.offset, record.duration, record.channel):
            pieces.append(piece)
    except CutOff:
        if not any(map(len, pieces)):
            raise
    return np.concatenate(pieces)
