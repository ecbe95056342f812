"""MP4, M4A, WebM, FLV and what else FFmpeg decodes, through PyAV (extra `video`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.decoder import Block, Info, behind_the_end, cut_off, join, regroup
from lanser_cli.audio.source import AudioError, Source
from lanser_cli.errors import LanserError, require


def load(source: Source, offset: float, duration: float | None) -> Block:
    """Decode `[offset, offset + duration)` seconds.

    Raises:
        AudioError: PyAV is missing or cannot decode it, or there is no sound in it or at `offset`.
        CutOff: the header promises more than can be decoded.
    """
    return join(_blocks(source, offset, duration), source.path)


def stream(
    source: Source, offset: float, duration: float | None, seconds: float
) -> Iterator[Block]:
    """What `load` gives, in blocks of about `seconds`, up to where the sound is cut off.

    Raises:
        AudioError: as in `load`.
        CutOff: as in `load`; after the last block.
    """
    return regroup(_blocks(source, offset, duration), seconds)


def probe(source: Source) -> Info:
    """Read the header, or decode the whole if the header gives no length.

    Raises:
        AudioError: as in `load`.
    """
    with _open(source) as (container, track):
        if track.duration is not None:
            seconds = float(track.duration * track.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1e6
        else:
            frames, rate = load(source, 0.0, None)
            seconds = len(frames) / rate
        return Info(seconds, track.rate, track.channels)


def _blocks(source: Source, offset: float, duration: float | None) -> Iterator[Block]:
    """The one reader of blocks. It decodes from the beginning, since seeking is not exact."""
    with _open(source) as (container, track):
        rate, seen = track.rate, 0
        start = round(offset * rate)
        stop = None if duration is None else start + round(duration * rate)
        try:
            for frames in _decode(container, track):
                inside = frames[max(0, start - seen) : None if stop is None else stop - seen]
                seen += len(frames)
                if len(inside):
                    yield Block(inside, rate)
                if stop is not None and seen >= stop:
                    break
        except Exception as error:  # PyAV raises all sorts of things on damaged streams
            if not seen:
                raise AudioError(f"{source.path}: cannot be decoded: {error}") from None
        promised = _promised(container, track)
        wanted = promised if duration is None else min(promised, offset + duration)
        if seen / rate < 0.95 * wanted - 0.2:
            raise cut_off(source.path, seen / rate, promised)
        if 0 < seen <= start:
            raise behind_the_end(source.path, offset, seen / rate)


def _decode(container: Any, track: Any) -> Iterator[NDArray[np.float32]]:
    """The frames of a track, `[frames, channels]`, from the beginning."""
    av = require("av", "video")
    resampler = av.AudioResampler(format="fltp", layout=track.layout, rate=track.rate)
    for packed in container.decode(track):
        for planar in resampler.resample(packed):
            yield np.asarray(planar.to_ndarray().T, np.float32)


@contextmanager
def _open(source: Source) -> Iterator[tuple[Any, Any]]:
    """The container and its first audio track."""
    try:
        av = require("av", "video")
    except LanserError as error:
        raise AudioError(f"{source.path}: not WAV, FLAC, Ogg, MP3 or AIFF: {error}") from None
    try:
        container = av.open(source.open())
    except (av.error.FFmpegError, ValueError, OSError):
        raise AudioError(f"{source.path}: not a readable audio or video file") from None
    with container:
        if not container.streams.audio:
            raise AudioError(f"{source.path}: has no audio track")
        track = container.streams.audio[0]
        if not getattr(track, "rate", None):  # its codec is unknown
            raise AudioError(f"{source.path}: cannot be decoded: unknown sample rate")
        yield container, track


def _promised(container: Any, track: Any) -> float:
    """Seconds that the track's own header promises; 0 in containers that only guess them."""
    if track.duration is None or not container.format.name.startswith(("mov", "matroska", "avi")):
        return 0.0
    return float(track.duration * track.time_base)
