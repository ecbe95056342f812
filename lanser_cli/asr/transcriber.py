"""Records with audio in, records with `text` and `asr` out."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lanser_cli import console
from lanser_cli.asr.engine import Engine, Transcript
from lanser_cli.asr.events import parted
from lanser_cli.asr.quality import (
    DEFAULTS,
    SILENCE,
    Thresholds,
    compression_ratio,
    count_words,
    flags,
)
from lanser_cli.audio import sound
from lanser_cli.audio.lengths import NEAR
from lanser_cli.audio.utterance import Utterance, with_sound
from lanser_cli.audio.vad import VoiceActivity
from lanser_cli.errors import LanserError, RecordError, first_line
from lanser_cli.records import Outcome, Record, Reject, attempt

STAGE = "transcribe"
WINDOW = 64
"""Records sorted by length together, for engines that gain from a batch of like lengths."""


@dataclass(frozen=True, slots=True)
class Transcribed(Record):
    """A record with its transcript, and what that took. Two are equal if their fields are.

    Attributes:
        seconds: of sound.
        decoding: seconds that decoding it took.
        model: its share of the seconds that its batch took.
    """

    seconds: float = field(default=0.0, compare=False)
    decoding: float = field(default=0.0, compare=False)
    model: float = field(default=0.0, compare=False)


class Transcriber:
    """A window function: decode, sort by length, transcribe in batches, put back in order.

    What is silent has no text, whatever the engine would make of it.
    """

    def __init__(
        self,
        engine: Engine,
        batch_size: int,
        limits: Thresholds = DEFAULTS,
        voice: VoiceActivity | None = None,
        speech_threshold: float = 0.5,
    ) -> None:
        self._engine, self._batch_size = engine, batch_size
        self._limits, self._voice = limits, voice
        self._speech_threshold = speech_threshold
        self._said = self._said_lang = False

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(window)
        loaded: dict[int, Utterance] = {}
        for index, record in enumerate(window):
            found = attempt(self._load, record, STAGE)
            if isinstance(found, Reject):
                outcomes[index] = found
            else:
                loaded[index] = found
        todo = deque(sorted(loaded, key=lambda index: len(loaded[index].samples)))
        while todo:
            batch = [todo.popleft() for _ in range(min(self._batch_size, len(todo)))]
            answers = self._transcribed([loaded[index] for index in batch])
            for index, outcome in zip(batch, answers, strict=True):
                outcomes[index] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def _load(self, record: Record) -> Utterance:
        longest = self._engine.max_seconds
        if longest is None:
            return with_sound(record)
        clip = with_sound(record, longest + 1)  # hours of sound are not decoded to be refused
        if clip.seconds > longest:
            length = "it" if record.duration is None else f"{record.duration:.1f} s"
            raise RecordError(
                f"{record.audio_filepath}: {length} is longer than the {longest:.0f} s that "
                f"{self._engine.name} hears at once: cut it with --segment vad, or "
                "give records with 'offset' and 'duration'"
            )
        return clip

    def _transcribed(self, clips: Sequence[Utterance]) -> list[Outcome]:
        """The outcomes of a batch; each has an equal share of the time that the batch took."""
        begun = time.perf_counter()
        peaks = [sound.peak(clip.samples) for clip in clips]
        loud = [c.samples for c, peak in zip(clips, peaks, strict=True) if peak >= SILENCE]
        heard = iter(self._answers(loud) if loud else [])
        answers = [next(heard) if peak >= SILENCE else Transcript("") for peak in peaks]
        outcomes = [
            self._described(clip, answer, peak)
            if isinstance(answer, Transcript)
            else Reject.of(clip, STAGE, answer)
            for clip, answer, peak in zip(clips, answers, peaks, strict=True)
        ]
        share = (time.perf_counter() - begun) / len(clips)
        return [
            Transcribed(outcome.fields, clip.seconds, clip.decoding, share)
            if isinstance(outcome, Record)
            else outcome
            for clip, outcome in zip(clips, outcomes, strict=True)
        ]

    def _answers(self, clips: list[sound.Waveform]) -> list[Transcript | str]:
        """A transcript for each clip. If a batch fails, its clips are tried one by one.

        If it fails for want of memory, halves of it are tried, and later batches are smaller.

        Raises:
            LanserError: the GPU itself failed: it would fail on every later clip as well.
        """
        try:
            return list(self._engine.transcribe(clips))
        except LanserError:
            raise
        except Exception as error:
            if _is_of_the_gpu(error):
                raise LanserError(
                    f"{self._engine.name}: {first_line(error)}: once a GPU has failed, it fails "
                    "on all that follows: go on with --resume, on another --device if it does again"
                ) from error
            if len(clips) == 1:
                return [f"{self._engine.name} failed on it: {type(error).__name__}: {error}"]
            parts = [[clip] for clip in clips]
            if _is_out_of_memory(error):
                half = (len(clips) + 1) // 2
                parts = [clips[:half], clips[half:]]
                self._shrink(len(clips), half)
        # Behind the handler: while the error is alive, so are the tensors of the frames it was in.
        _give_back_memory()
        return [answer for part in parts for answer in self._answers(part)]

    def _shrink(self, size: int, half: int) -> None:
        self._batch_size = min(self._batch_size, half)
        if not self._said:
            self._said = True
            console.warn(
                f"{STAGE}: {self._engine.name} ran out of memory with {size} clips at once: going "
                "on with fewer (--batch-size sets how many)"
            )

    def _described(self, record: Utterance, heard: Transcript, peak: float) -> Record:
        seconds = record.seconds
        speech = None
        text, events = parted(heard.text)
        if self._voice is not None:
            speech = self._voice.speech_seconds(record.samples, self._speech_threshold)
        found = flags(
            text,
            seconds,
            heard.avg_logprob,
            heard.no_speech_prob,
            speech_seconds=speech,
            peak=peak,
            limits=self._limits,
        )
        details: dict[str, Any] = {
            "model": self._engine.name,
            "avg_logprob": _rounded(heard.avg_logprob),
            "no_speech_prob": _rounded(heard.no_speech_prob),
            "compression_ratio": _rounded(compression_ratio(text)),
            "words_per_second": _rounded(count_words(text) / seconds),
            "speech_seconds": _rounded(speech),
            "context_seconds": heard.context_seconds,
            "precision": heard.precision,
            "raw": heard.text if events else None,
            "events": events or None,
            "flags": found + (["cut_off"] if record.cut_off else []),
        }
        known = {key: value for key, value in details.items() if value is not None}
        self._compare(record, heard.lang)
        lang = {"lang": heard.lang} if heard.lang and not record.fields.get("lang") else {}
        # Of a file that breaks off, or ends before the record does, less is there than is said.
        said = record.duration
        wrong = said is None or record.cut_off or said > seconds + NEAR
        duration = {"duration": round(seconds, 6)} if wrong else {}
        return record.with_fields(**duration, **lang, text=text, asr=known)

    def _compare(self, record: Record, heard: str | None) -> None:
        """Say once that a text is in another language than its record, as of an English model."""
        said = record.word("lang")
        if self._said_lang or not said or not heard or said.lower().startswith(heard):
            return
        self._said_lang = True
        console.warn(
            f"{STAGE}: '{record.id}' has the 'lang' '{said}', but {self._engine.name} wrote down "
            f"'{heard}': if there are more of these, choose a --model that understands '{said}'"
        )


def _is_out_of_memory(error: Exception) -> bool:
    words = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in words
        or "can't allocate memory" in words
        or "alloc_failed" in words  # of cuBLAS and cuDNN
    )


def _is_of_the_gpu(error: Exception) -> bool:
    """Whether it is an error of CUDA, which no call of this process survives."""
    words = str(error).lower()
    return ("cuda error" in words or "cuda failed" in words) and not _is_out_of_memory(error)


def _give_back_memory() -> None:
    """Free what a failed batch left in PyTorch's cache on CUDA, if PyTorch is in use at all."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
