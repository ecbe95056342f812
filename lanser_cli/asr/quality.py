"""Reasons to distrust a transcript. Nothing is dropped here, only marked in `asr.flags`."""

from __future__ import annotations

import zlib

COMPRESSION_RATIO = 2.4
LOG_PROBABILITY = -1.0
NO_SPEECH = 0.6
"""The thresholds of Whisper's own decoding (openai-whisper, `transcribe.py`)."""

WORDS_PER_SECOND = 6.0
"""Conversation runs at 2 to 4 words a second; above this the text cannot have been said."""


def compression_ratio(text: str) -> float:
    """Bytes before over bytes after zlib; high for text that repeats itself. As in Whisper."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))


def flags(
    text: str,
    seconds: float,
    avg_logprob: float | None = None,
    no_speech_prob: float | None = None,
) -> list[str]:
    """Names of what is suspicious: `empty`, `repetition`, `speech_rate`, `low_logprob`, `no_speech`.

    Args:
        text: the transcript.
        seconds: length of the audio it is of.
        avg_logprob: mean natural-log probability of a token, where the engine knows it.
        no_speech_prob: 0..1, where the engine knows it.
    """  # noqa: E501
    found = []
    if not text.strip():
        found.append("empty")
    if compression_ratio(text) > COMPRESSION_RATIO:
        found.append("repetition")
    if seconds > 0 and len(text.split()) / seconds > WORDS_PER_SECOND:
        found.append("speech_rate")
    unsure = avg_logprob is not None and avg_logprob < LOG_PROBABILITY
    if unsure:
        found.append("low_logprob")
    if unsure and no_speech_prob is not None and no_speech_prob > NO_SPEECH:
        found.append("no_speech")
    return found
