"""Records with audio in, records with `text` and `asr` out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lanser_cli import audio
from lanser_cli.asr.engines import Engine, Transcript, make_engine
from lanser_cli.asr.quality import compression_ratio, flags
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.pipe import WindowFunction
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.segmenting import Utterance
from lanser_cli.streams import warn_of, windows

if TYPE_CHECKING:
    from lanser_cli.audio import Waveform

STAGE = "transcribe"
WINDOW = 64
"""Records sorted by length together, for engines that gain from a batch of like lengths."""

SMALL_WINDOW = 8
"""For engines that take clips one by one: the smaller, the more evenly processes are loaded."""


def make_transcriber(
    device: str, *, model: str, batch_size: int = 16, lang: str | None = None
) -> WindowFunction:
    """Load an engine on `device` and return the function that transcribes a window of records.

    Raises:
        UsageError, LanserError: as `make_engine`.
    """
    return Transcriber(make_engine(model, device=device, lang=lang), batch_size)


def transcribe(
    records: Iterable[Record],
    engine: Engine,
    *,
    batch_size: int = 16,
    on_reject: Callable[[Reject], None] | None = None,
) -> Iterator[Record]:
    """Add `text` and `asr` to records, in order. Rejects go to `on_reject` (default: a warning)."""
    transcriber = Transcriber(engine, batch_size)
    for window in windows(records, WINDOW):
        for outcome in transcriber(window):
            if isinstance(outcome, Record):
                yield outcome
            elif isinstance(outcome, Reject):
                (on_reject or warn_of)(outcome)


class Transcriber:
    """A window function: decode, sort by length, transcribe in batches, put back in order."""

    def __init__(self, engine: Engine, batch_size: int) -> None:
        self._engine, self._batch_size = engine, batch_size

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(window)
        clips: dict[int, Waveform] = {}
        for index, record in enumerate(window):
            try:
                clips[index] = self._load(record)
            except RecordError as error:
                outcomes[index] = Reject.of(record, STAGE, error)
        by_length = sorted(clips, key=lambda index: len(clips[index]))
        for batch in windows(by_length, self._batch_size):
            answers = self._answers([clips[index] for index in batch])
            for index, answer in zip(batch, answers, strict=True):
                record = window[index]
                if isinstance(answer, Transcript):
                    outcomes[index] = self._described(record, answer, len(clips[index]))
                else:
                    outcomes[index] = Reject.of(record, STAGE, answer)
        return [outcome for outcome in outcomes if outcome is not None]

    def _load(self, record: Record) -> Waveform:
        clip = record.samples if isinstance(record, Utterance) else audio.load(record)
        longest = self._engine.max_seconds
        seconds = len(clip) / audio.SAMPLE_RATE
        if longest is not None and seconds > longest:
            raise RecordError(
                f"{record.audio_filepath}: {seconds:.1f} s is longer than the {longest:.0f} s that "
                f"{self._engine.name} hears at once: cut it with --segment vad, or "
                "give records with 'offset' and 'duration'"
            )
        return clip

    def _answers(self, clips: list[Waveform]) -> list[Transcript | str]:
        """A transcript for each clip. If a batch fails, its clips are tried one by one."""
        try:
            return list(self._engine.transcribe(clips))
        except LanserError:
            raise
        except Exception as error:
            if len(clips) == 1:
                return [f"{self._engine.name} failed on it: {type(error).__name__}: {error}"]
            return [answer for clip in clips for answer in self._answers([clip])]

    def _described(self, record: Record, heard: Transcript, samples: int) -> Record:
        seconds = samples / audio.SAMPLE_RATE
        text = heard.text
        details: dict[str, Any] = {
            "model": self._engine.name,
            "avg_logprob": _rounded(heard.avg_logprob),
            "no_speech_prob": _rounded(heard.no_speech_prob),
            "compression_ratio": _rounded(compression_ratio(text)),
            "words_per_second": _rounded(len(text.split()) / seconds),
            "flags": flags(text, seconds, heard.avg_logprob, heard.no_speech_prob),
        }
        known = {key: value for key, value in details.items() if value is not None}
        lang = {"lang": heard.lang} if heard.lang and not record.fields.get("lang") else {}
        duration = {} if record.duration is not None else {"duration": round(seconds, 6)}
        return record.with_fields(**duration, **lang, text=text, asr=known)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
