"""Reasons to distrust a transcript. Nothing is dropped here, only marked in `asr.flags`."""

from __future__ import annotations

import math
import zlib
from dataclasses import asdict, dataclass
from functools import lru_cache

from lanser_cli.asr.hallucinations import is_known
from lanser_cli.errors import UsageError

MIN_SPEECH = 0.25
"""Seconds; less speech than this silero-vad's own segmentation takes for none."""

SILENCE = -70.0
"""dBFS of the peak: 10 steps of 16-bit sound. Below it is nothing to transcribe."""

FAINT = -50.0
"""dBFS of the peak; no evidence of speech, where no voice activity was asked for."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a transcript is distrusted.

    All but the last are those of Whisper's own decoding (openai-whisper, `transcribe.py`), where
    they also decide which clip is decoded again at a higher temperature.

    Attributes:
        compression_ratio: text that compresses better repeats itself.
        logprob: a lower mean natural-log probability of a token is unsure.
        no_speech: an unsure text with a higher no-speech probability is of no speech, 0..1.
        words_per_second: conversation runs at 2 to 4; what is faster cannot have been said.

    Raises:
        UsageError: one is NaN, with which nothing would be distrusted.
    """

    compression_ratio: float = 2.4
    logprob: float = -1.0
    no_speech: float = 0.6
    words_per_second: float = 6.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if math.isnan(value):
                raise UsageError(f"--{name.replace('_', '-')}-threshold: nan is no number")


DEFAULTS = Thresholds()


@lru_cache(maxsize=2)  # asked for twice, for the flags and for the record
def compression_ratio(text: str) -> float:
    """Bytes before over bytes after zlib; high for text that repeats itself. As in Whisper."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))


def count_words(text: str) -> int:
    """Words between blanks; marks that stand alone, as in French before "!", are none."""
    return sum(any(map(str.isalnum, word)) for word in text.split())


def flags(
    text: str,
    seconds: float,
    avg_logprob: float | None = None,
    no_speech_prob: float | None = None,
    *,
    speech_seconds: float | None = None,
    peak: float | None = None,
    limits: Thresholds = DEFAULTS,
) -> list[str]:
    """Names of what is suspicious, in this order.

    `empty` (no words), `repetition`, `speech_rate`, `low_logprob`, `no_speech`; `hallucination` for
    a text that Whisper is known to invent, if no speech supports it; and `vad` where voice activity
    and text disagree: words without speech, or speech without words. Speech supports a text where
    voice activity found some; if none was asked, where the no-speech probability is low and the
    sound not faint.

    Args:
        text: the transcript.
        seconds: length of the audio it is of.
        avg_logprob: mean natural-log probability of a token, where the engine knows it.
        no_speech_prob: 0..1, where the engine knows it.
        speech_seconds: how much of the audio a voice activity detector takes for speech; None
            where none was asked.
        peak: of the audio, dBFS.
    """
    found = []
    words = count_words(text)
    has_words = words > 0
    if not has_words:
        found.append("empty")
    if compression_ratio(text) > limits.compression_ratio:
        found.append("repetition")
    if seconds > 0 and words / seconds > limits.words_per_second:
        found.append("speech_rate")
    unsure = avg_logprob is not None and avg_logprob < limits.logprob
    if unsure:
        found.append("low_logprob")
    silent = no_speech_prob is not None and no_speech_prob > limits.no_speech
    if unsure and silent:
        found.append("no_speech")
    supported = not silent and (peak is None or peak >= FAINT)
    if speech_seconds is not None:
        supported = speech_seconds >= MIN_SPEECH
    if not supported and is_known(text):
        found.append("hallucination")
    if speech_seconds is not None and supported != has_words:
        found.append("vad")
    return found
