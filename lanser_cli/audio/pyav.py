"""MP4, M4A, WebM, FLV and what else FFmpeg decodes, through PyAV (extra `video`).

FFmpeg works in a process of its own: damage that it does not survive is a fault of one record.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from io import BufferedReader
from subprocess import DEVNULL, PIPE, Popen
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.decoder import Block, Info, cut_off, join
from lanser_cli.audio.source import AudioError, CutOff, Source
from lanser_cli.errors import missing_extra

_Answer: TypeAlias = tuple[dict[str, Any], NDArray[np.float32] | None]
"""What the helper says, and the frames `[frames, channels]` behind it, if it gives some."""


def load(source: Source, offset: float, duration: float | None) -> Block:
    """Decode `[offset, offset + duration)` seconds.

    Raises:
        AudioError: PyAV is missing or cannot decode it, or there is no sound in it or at `offset`.
        CutOff: the header promises more than can be decoded.
    """
    return join(stream(source, offset, duration, 10.0), source.path)


def stream(
    source: Source, offset: float, duration: float | None, seconds: float
) -> Iterator[Block]:
    """What `load` gives, in blocks of about `seconds`, up to where the sound is cut off.

    Raises:
        AudioError: as in `load`.
        CutOff: as in `load`; after the last block.
    """
    there = 0.0
    for answer, frames in _ask(source, offset=offset, duration=duration, seconds=seconds):
        if frames is not None:
            there += len(frames) / answer["rate"]
            yield Block(frames, answer["rate"])
        elif "died" in answer and there:
            raise cut_off(source.path, offset + there, None)
        else:
            _check(answer, source)


def probe(source: Source) -> Info:
    """Read the header, or decode the whole if the header gives no length.

    Raises:
        AudioError: as in `load`.
    """
    info: Info | None = None
    for answer, _ in _ask(source, seconds=None):
        _check(answer, source)
        info = Info(*answer["info"]) if "info" in answer else info
    assert info is not None
    return info


def _check(answer: dict[str, Any], source: Source) -> None:
    if "cut_off" in answer:
        raise CutOff(answer["cut_off"])
    if "fault" in answer:
        raise AudioError(answer["fault"])
    if "died" in answer:
        how = f"exit {answer['died']}" if answer["died"] >= 0 else f"signal {-answer['died']}"
        raise AudioError(f"{source.path}: cannot be decoded: FFmpeg died of it ({how})")


class _Helper:
    """A process that serves `lanser_cli.audio.ffmpeg`; it ends when its input does."""

    def __init__(self) -> None:
        code = "import sys; sys.path[:] = sys.argv[1:]; from lanser_cli.audio.ffmpeg import serve"
        # Not by multiprocessing, which refuses children to a worker that loads training data.
        command = [sys.executable, "-c", f"{code}; serve()", *sys.path]
        self._process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests = self._process.stdin
        self._answers = cast(BufferedReader, self._process.stdout)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], data: bytes) -> None:
        with suppress(BrokenPipeError):  # it died, as its answer will say
            self._requests.write(json.dumps(request).encode() + b"\n" + data)
            self._requests.flush()

    def answer(self) -> _Answer:
        """The next answer; of one that died, how: `{"died": -11}`."""
        line = self._answers.readline()
        answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        if "shape" in answer:
            frames = np.empty(answer["shape"], "<f4")
            if self._answers.readinto(frames.data.cast("B")) == frames.nbytes:
                return answer, frames
        elif line.endswith(b"\n"):
            return answer, None
        return {"died": self._process.wait()}, None

    def end(self) -> None:
        self._process.kill()
        self.let_go()
        self._process.wait()

    def let_go(self) -> None:
        for pipe in (self._requests, self._answers):
            with suppress(BrokenPipeError):
                pipe.close()


_idle: list[_Helper] = []
"""Helpers that wait for the next file."""


def _ask(source: Source, **request: Any) -> Iterator[_Answer]:
    """The answers to a request; the last is `{}`, a fault, or that the helper died."""
    if find_spec("av") is None:
        why = missing_extra("av", "video")
        raise AudioError(f"{source.path}: libsndfile cannot read it, or not all of it: {why}")
    helper, data, healthy = _helper(), source.data, False
    request |= {"path": source.path, "size": None if data is None else len(data)}
    try:
        helper.ask({**request, "folder": os.getcwd()}, data or b"")
        while True:
            answer, frames = helper.answer()
            last = not answer.keys() & {"shape", "info"}
            healthy = last and "died" not in answer
            yield answer, frames
            if last:
                break
    finally:  # whoever asked may have heard enough: then the rest of the answer is in the way
        _idle.append(helper) if healthy else helper.end()


def _helper() -> _Helper:
    with suppress(IndexError):  # which comes from the list: a thread that reads ahead takes too
        while True:
            helper = _idle.pop()
            if helper.lives:
                return helper
            helper.end()
    return _Helper()


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()


def _forget_all() -> None:
    """In a process that was forked: the helpers are its parent's."""
    for helper in _idle:
        helper.let_go()
    _strangers.extend(_idle)  # never finalised: they cannot be waited for from here
    _idle.clear()


_strangers: list[_Helper] = []

os.register_at_fork(after_in_child=_forget_all)
