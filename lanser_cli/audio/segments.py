"""Long recordings to utterances of bounded length, by voice activity or by the clock.

A recording is decoded once, piece by piece, and each utterance carries its own samples to the
model. A 10-hour file takes the memory of a minute.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, get_args

import numpy as np

from lanser_cli.audio.sound import SAMPLE_RATE, Waveform, path_of, stream
from lanser_cli.audio.utterance import Utterance
from lanser_cli.audio.vad import FRAME, VoiceActivity
from lanser_cli.choices import Segmenting
from lanser_cli.errors import RecordError, UsageError, of_one_record
from lanser_cli.records import Dropped, Outcome, Record, Reject, make_id

_PIECE = 1024 * FRAME
"""Samples decoded and segmented at a time, 33 s."""

_Cuts: TypeAlias = Iterator[tuple[int, Waveform]]
"""Utterances: the number of the first sample in the recording, and the samples."""

_Cut: TypeAlias = Callable[[Iterable[Waveform]], _Cuts]
"""From the pieces of a recording to its utterances."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """How recordings are cut. Times in seconds.

    Attributes:
        method: `vad`, or `fixed` for pieces of `max_seconds`.
        min_seconds, max_seconds: bounds of an utterance; the last of a recording may be shorter.
        threshold: probability from which a frame counts as speech, 0..1. Speech goes on until the
            probability falls 0.15 below, as in silero-vad's own segmentation.
        min_silence: a pause as long as this may end an utterance.
        min_speech: an utterance with less speech than this is left out, as a click.
        pad: silence kept on each side.

    Raises:
        UsageError: no such method, or the bounds do not fit together.
    """

    method: Segmenting
    min_seconds: float = 2.0
    max_seconds: float = 20.0
    threshold: float = 0.5
    min_silence: float = 0.3
    min_speech: float = 0.25
    pad: float = 0.1

    def __post_init__(self) -> None:
        if self.method == "none" or self.method not in get_args(Segmenting):
            choices = ", ".join(get_args(Segmenting))
            raise UsageError(f"--segment '{self.method}': choose from {choices}")
        if not 0 < 2 * self.min_seconds <= self.max_seconds:
            raise UsageError(
                f"--min-seconds {self.min_seconds:g} and --max-seconds {self.max_seconds:g}: the "
                "longest utterance must be at least twice as long as the shortest"
            )
        if math.inf in (self.max_seconds, self.min_silence):
            raise UsageError("--max-seconds and --min-silence: give seconds, not infinity")


def segment(items: Iterable[Outcome], how: Segmentation, stage: str) -> Iterator[Outcome]:
    """Cut each record into utterances with `offset` and `duration`, in order.

    A record without speech is dropped, with that reason. A recording that is cut off gives the
    utterances before the cut, and becomes a reject.

    Raises:
        LanserError: the extra `vad` is missing; at once, before any record is read.
    """
    cut: _Cut = partial(_by_clock, how)
    if how.method == "vad":
        cut = partial(_by_voice, how, VoiceActivity())
    return _segment(items, cut, stage)


def _segment(items: Iterable[Outcome], cut: _Cut, stage: str) -> Iterator[Outcome]:
    for item in items:
        if not isinstance(item, Record):
            yield item
            continue
        pieces = _Pieces(item)
        count = 0
        for start, samples in cut(pieces):
            count += 1
            yield _utterance(item, start, samples)
        if pieces.fault is not None:
            yield Reject.of(item, stage, pieces.fault)
        elif not count:
            yield Dropped(item.id, "no speech")


class _Pieces:
    """The pieces of a record's sound. A fault ends them and is kept in `fault`."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.fault: RecordError | None = None

    def __iter__(self) -> Iterator[Waveform]:
        record = self._record
        try:
            path, seconds = path_of(record), _PIECE / SAMPLE_RATE
            span = record.offset, record.duration, record.channel
            pieces = stream(path, *span, seconds=seconds)
            while True:  # around the decoder alone, not around those who take its pieces
                with of_one_record():
                    piece = next(pieces, None)
                if piece is None:
                    return
                yield piece
        except RecordError as error:
            self.fault = error


def _utterance(record: Record, start: int, samples: Waveform) -> Utterance:
    offset = round(start / SAMPLE_RATE, 6)
    whole = round(record.offset + offset, 6)
    return Utterance(
        {
            **record.fields,
            "id": make_id(record.id, offset),
            "offset": whole,
            "duration": round(len(samples) / SAMPLE_RATE, 6),
        },
        samples,
    )


def _by_clock(how: Segmentation, pieces: Iterable[Waveform]) -> _Cuts:
    """Utterances of `max_seconds`; the last two are as long if the last would be too short."""
    longest, shortest = round(how.max_seconds * SAMPLE_RATE), round(how.min_seconds * SAMPLE_RATE)
    buffer = _Buffer()
    for piece in pieces:
        buffer.append(piece)
        while buffer.end - buffer.start >= longest + shortest:
            yield buffer.start, buffer.take(buffer.start, buffer.start + longest)
    rest = buffer.end - buffer.start
    if rest > longest:
        yield buffer.start, buffer.take(buffer.start, buffer.start + rest // 2)
    if rest:
        yield buffer.start, buffer.take(buffer.start, buffer.end)


class _Buffer:
    """Samples from `start` on, counted from the beginning of the recording, up to `end`."""

    def __init__(self) -> None:
        self._pieces: deque[Waveform] = deque()
        self.start = self.end = 0

    def append(self, piece: Waveform) -> None:
        if len(piece):
            self._pieces.append(piece)
            self.end += len(piece)

    def take(self, start: int, end: int) -> Waveform:
        """A copy of `[start, end)`; what lies before `end` is forgotten."""
        self.forget(start)
        joined = np.concatenate(self._pieces)
        self._pieces = deque([joined])
        found = joined[: end - start].copy()
        self.forget(end)
        return found

    def forget(self, until: int) -> None:
        """Free the samples before `until`."""
        while self._pieces and self.start < until:
            first = self._pieces.popleft()
            if self.start + len(first) > until:
                self._pieces.appendleft(first[until - self.start :])
                self.start = until
            else:
                self.start += len(first)


def _by_voice(how: Segmentation, voice: VoiceActivity, pieces: Iterable[Waveform]) -> _Cuts:
    buffer, cutter = _Buffer(), _Cutter(how)

    def probabilities() -> Iterator[float]:
        voice.reset()
        for piece in pieces:
            buffer.append(piece)
            yield from voice.push(piece).tolist()
            buffer.forget(cutter.needed * FRAME)
        yield from voice.flush().tolist()

    for start, end in cutter.cut(probabilities()):
        # The last frame may be only in part sound.
        stop = min(end * FRAME, buffer.end)
        yield start * FRAME, buffer.take(start * FRAME, stop)


class _Cutter:
    """From probabilities of speech, frame by frame, to utterances `[start, end)`, in frames.

    An utterance ends at the first pause after `min_seconds`. If none comes in time, it ends at the
    quietest place of its second half. One that is too short takes in the silence behind it.
    """

    def __init__(self, how: Segmentation) -> None:
        def frames(seconds: float) -> int:
            return max(1, round(seconds * SAMPLE_RATE / FRAME))

        # Rounded to the inside, so that the bounds hold to the sample.
        self._shortest = -int(-how.min_seconds * SAMPLE_RATE // FRAME)
        self._longest = int(how.max_seconds * SAMPLE_RATE // FRAME)
        self._pad = frames(how.pad)
        self._pause = max(frames(how.min_silence), self._pad + 1)
        # No more than the shortest utterance can hold: what is all speech is no click.
        self._least = min(frames(how.min_speech), self._shortest)
        self._on = how.threshold
        self._off = max(how.threshold - 0.15, 0.01)
        self._now = 0
        self._behind = 0
        """Where the last utterance ended; none may begin before."""
        self._start: int | None = None
        self._heard: list[float] = []
        """Probabilities since `_start`."""
        self._last = 0
        """The last frame that was speech."""

    @property
    def needed(self) -> int:
        """The first frame that may belong to a later utterance."""
        if self._start is not None:
            return self._first()
        return max(self._behind, self._now - max(self._pad, self._shortest))

    def cut(self, probabilities: Iterable[float]) -> Iterator[tuple[int, int]]:
        for probability in probabilities:
            yield from self._push(probability)
        yield from self._flush()

    def _push(self, probability: float) -> Iterator[tuple[int, int]]:
        now, self._now = self._now, self._now + 1
        if self._start is None:
            if probability < self._on:
                return
            self._start, self._heard = max(self._behind, now - self._pad), []
            self._heard = [0.0] * (now - self._start)
        self._heard.append(probability)
        if probability >= self._off:
            self._last = now
        length = self._now - self._start
        if now - self._last >= self._pause and length >= self._shortest:
            yield from self._close(max(self._last + 1 + self._pad, self._start + self._shortest))
        elif length >= self._longest:
            yield from self._close(self._start + self._quietest())

    def _flush(self) -> Iterator[tuple[int, int]]:
        """The utterance that the recording's end closes."""
        if self._start is None:
            return
        end = max(self._last + 1 + self._pad, self._start + self._shortest)
        end = min(end, self._now)
        self._start = self._first(end)
        yield from self._close(end)

    def _first(self, end: int | None = None) -> int:
        """Where an utterance begins that may reach back to be long enough."""
        assert self._start is not None
        end = self._now if end is None else end
        return max(self._behind, min(self._start, end - self._shortest))

    def _quietest(self) -> int:
        """Frames up to the middle of the quietest 0.16 s in the second half."""
        width, half = 5, max(self._shortest, len(self._heard) // 2)
        half = min(half, len(self._heard) - width)
        sums = [
            sum(self._heard[at : at + width]) for at in range(half, len(self._heard) - width + 1)
        ]
        return half + sums.index(min(sums)) + width // 2 + 1

    def _close(self, end: int) -> Iterator[tuple[int, int]]:
        """The utterance `[_start, end)`, if it holds speech; what comes after it is kept."""
        assert self._start is not None
        start, begun = self._start, self._now - len(self._heard)
        inside, rest = self._heard[: end - begun], self._heard[end - begun :]
        if sum(probability >= self._off for probability in inside) >= self._least:
            yield start, end
            self._behind = end
        self._start, self._heard = None, []
        if any(probability >= self._off for probability in rest):
            self._start, self._heard = end, rest
            self._last = end + max(
                at for at, probability in enumerate(rest) if probability >= self._off
            )
