"""FFmpeg on the bytes of strangers, through PyAV: runs in a process of its own, which may die.

`pyav` starts it and asks. A request is a line of JSON on standard input, and then the bytes of a
tar's member. The answer is lines of JSON on standard output, each block's with its frames behind.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.decoder import Block, Info, behind_the_end, cut_off, no_sample, regroup
from lanser_cli.audio.source import AudioError, CutOff, Source

_CONTAINERS = (
    "mov matroska flv avi asf ogg mpegts mpeg aac ac3 eac3 dts mp3 amr amrnb amrwb wav w64 aiff au "
    "caf flac ape wv tta tak mpc mpc8 dsf iff gsm nistsphere voc sox truehd mlp oma qcp rm nut mxf"
)
"""Demuxers that read what they are given, and nothing else. Playlists (hls, dash, concat, sdp and
so on) read whatever file or address the bytes name."""

_GUESSED = (
    *("aac", "ac3", "amr", "amrnb", "amrwb", "dts"),
    *("eac3", "mlp", "mp3", "oma", "qcp", "truehd"),
)
"""Frames without a container: FFmpeg guesses from the first how long all of them are."""

_MOST_MISSING = 2.0
"""Seconds that may be missing of what an exact header promises, however long it is."""

_MOST_MEMORY = 4 << 30
"""Bytes of address space: a header that asks for more is refused by the system."""

_PATIENCE = 60.0
"""Seconds of a processor without a frame, after which the process ends itself."""


def serve() -> None:
    """Answer requests until standard input ends, as it does when who asks is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides when this ends
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most in (resource.RLIM_INFINITY, max(most, _MOST_MEMORY)):
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, most))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    for line in requests:
        request = json.loads(line)
        data = None if request["size"] is None else requests.read(request["size"])
        try:
            os.chdir(request["folder"])
            _answer(Source(request["path"], data), request, answers)
            last = {}
        except CutOff as error:
            last = {"cut_off": str(error)}
        except BrokenPipeError:
            return
        except Exception as error:
            known = isinstance(error, AudioError)
            last = {"fault": str(error if known else _undecodable(request["path"], error))}
        _send(answers, last)
        answers.flush()


def _answer(source: Source, request: dict[str, Any], answers: IO[bytes]) -> None:
    _be_patient()
    if request["seconds"] is None:
        info = _probe(source)
        return _send(answers, {"info": [info.duration, info.sample_rate, info.channels]})
    span = request["offset"], request["duration"]
    for frames, rate in regroup(_blocks(source, *span), request["seconds"]):
        _send(answers, {"shape": frames.shape, "rate": rate})
        answers.write(np.ascontiguousarray(frames, "<f4").data)


def _send(answers: IO[bytes], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")


def _be_patient() -> None:
    signal.setitimer(signal.ITIMER_PROF, _PATIENCE)


def _probe(source: Source) -> Info:
    with _open(source) as (container, track):
        if container.format.name in _GUESSED:
            seconds = _decoded_seconds(source)
        elif track.duration is not None:
            seconds = float(track.duration * track.time_base)
            if _is_short(container, seconds, promised := _promised(container, track)):
                seconds = promised
        elif container.duration is not None:
            seconds = container.duration / 1e6
        else:
            seconds = _decoded_seconds(source)
        return Info(seconds, track.rate, track.channels)


def _decoded_seconds(source: Source) -> float:
    seconds = 0.0
    try:
        for frames, rate in _blocks(source, 0.0, None):
            seconds += len(frames) / rate
    except CutOff:
        seconds += 1.0  # who reads so far is told that it ends before
    return seconds


def _blocks(source: Source, offset: float, duration: float | None) -> Iterator[Block]:
    """The one reader of blocks. It decodes from the beginning, since seeking is not exact."""
    with _open(source) as (container, track):
        rate, seen, start = track.rate, 0, 0
        if duration is not None and not round(duration * rate):
            raise no_sample(source.path, duration)
        fault: Exception | None = None
        try:
            for frames, rate in _decode(container, track):
                start = round(offset * rate)
                stop = None if duration is None else start + round(duration * rate)
                inside = frames[max(0, start - seen) : None if stop is None else stop - seen]
                seen += len(frames)
                if len(inside):
                    yield Block(inside, rate)
                if stop is not None and seen >= stop:
                    return
        except Exception as error:  # PyAV raises all sorts of things on damaged streams
            if not seen:
                raise _undecodable(source.path, error) from None
            fault = error
        promised = _promised(container, track)
        wanted = promised if duration is None else min(promised, offset + duration)
        if _is_short(container, seen / rate, wanted, offset) or (fault and not promised):
            raise cut_off(source.path, seen / rate, promised)
        if 0 < seen <= start:
            raise behind_the_end(source.path, offset, seen / rate)


def _decode(container: Any, track: Any) -> Iterator[Block]:
    """The frames of a track from the beginning, with the rate and channels of the first.

    A stream may change both on its way, such as one that was joined from several.
    """
    import av

    kind: Any = None
    resampler: Any = None
    rate = channels = 0
    for packet in container.demux(track):
        for frame in packet.decode():
            _be_patient()
            rate, channels = rate or frame.rate, channels or frame.layout.nb_channels
            found = (frame.format.name, frame.layout.name, frame.rate)
            if found != kind:
                if resampler is not None:
                    yield from _converted(resampler, None, rate, channels)
                resampler = av.AudioResampler("fltp", frame.layout, rate)
                kind = found
            frame.pts = None  # a gap in the time stamps is no reason to shift what follows
            yield from _converted(resampler, frame, rate, channels)
    if resampler is not None:
        yield from _converted(resampler, None, rate, channels)


def _converted(resampler: Any, frame: Any, rate: int, channels: int) -> Iterator[Block]:
    for planar in resampler.resample(frame):
        if planar is not None:
            frames: NDArray[np.float32] = np.asarray(planar.to_ndarray().T, np.float32)
            if frames.shape[1] != channels:  # the mean of all channels stays what it is
                frames = frames.mean(axis=1, keepdims=True).repeat(channels, axis=1)
            yield Block(frames, rate)


@contextmanager
def _open(source: Source) -> Iterator[tuple[Any, Any]]:
    """The container and its first audio track."""
    import av

    # By its number, a file has no name, from which FFmpeg would guess what it is.
    file = io.BytesIO(source.data) if source.data is not None else _unnamed(source.path)
    options = {"format_whitelist": _CONTAINERS.replace(" ", ","), "protocol_whitelist": "none"}
    with file:
        try:
            container = av.open(file, container_options=options, io_open=_refuse)
        except (av.error.FFmpegError, ValueError, OSError):
            raise AudioError(f"{source.path}: not a readable audio or video file") from None
        with container:
            if not container.streams.audio:
                raise AudioError(f"{source.path}: has no audio track")
            track = container.streams.audio[0]
            if not getattr(track, "rate", None):  # its codec is unknown
                raise AudioError(f"{source.path}: cannot be decoded: unknown sample rate")
            yield container, track


def _unnamed(path: str) -> IO[bytes]:
    return open(os.open(path, os.O_RDONLY), "rb")


def _refuse(url: str, _flags: int, _options: dict[str, str]) -> None:
    raise PermissionError(f"it asks for another file: {url}")


def _promised(container: Any, track: Any) -> float:
    """Seconds that the track's own header promises; 0 in containers that only guess them."""
    if container.format.name == "caf":  # the duration there is that of what is left
        return float(track.frames / track.rate)
    if track.duration is None or not container.format.name.startswith(("mov", "matroska", "avi")):
        return 0.0
    return float(track.duration * track.time_base)


def _is_short(container: Any, seconds: float, promised: float, offset: float = 0.0) -> bool:
    """Whether sound from an offset on is missing, and not only what coders add at both ends.

    AVI's promise is off by some per cent of the whole where frames differ in size.
    """
    rough = container.format.name == "avi"
    slack = 0.05 * promised if rough else min(0.05 * max(0.0, promised - offset), _MOST_MISSING)
    return seconds < promised - slack - 0.2


def _undecodable(path: str, error: Exception) -> AudioError:
    return AudioError(f"{path}: cannot be decoded: {error or type(error).__name__}")
