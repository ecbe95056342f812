"""Every reason to distrust a transcript, just before and just behind its threshold."""

from __future__ import annotations

import math

import pytest

from lanser_cli.asr.quality import Thresholds, compression_ratio, flags
from lanser_cli.errors import UsageError

GOOD = "the quick brown fox jumps over the lazy dog"


@pytest.mark.parametrize(
    ("text", "seconds", "logprob", "no_speech", "expected"),
    [
        (GOOD, 3.0, -0.3, 0.01, []),
        (GOOD, 3.0, None, None, []),
        ("", 3.0, -0.3, 0.01, ["empty"]),
        (" \n\t", 3.0, None, None, ["empty"]),
        ("thank you " * 40, 60.0, -0.3, 0.01, ["repetition"]),
        (GOOD, 9 / 6.0, -0.3, 0.01, []),
        (GOOD, 9 / 6.1, -0.3, 0.01, ["speech_rate"]),
        (GOOD, 3.0, -1.0, 0.01, []),
        (GOOD, 3.0, -1.01, 0.01, ["low_logprob"]),
        (GOOD, 3.0, -1.01, 0.6, ["low_logprob"]),
        (GOOD, 3.0, -1.01, 0.61, ["low_logprob", "no_speech"]),
        (GOOD, 3.0, -0.3, 0.99, []),
        (GOOD, 3.0, None, 0.99, []),
        ("no " * 60, 2.0, -2.0, 0.9, ["repetition", "speech_rate", "low_logprob", "no_speech"]),
    ],
)
def test_flags(
    text: str, seconds: float, logprob: float | None, no_speech: float | None, expected: list[str]
) -> None:
    assert flags(text, seconds, logprob, no_speech) == expected


def test_marks_that_stand_alone_are_no_words() -> None:
    assert flags(".", 0.1) == ["empty"]
    assert flags("Oh ! Ah ! Non ! Si !", 1.0) == []


def test_compression_ratio_is_that_of_whisper() -> None:
    from whisper.utils import compression_ratio as reference

    for text in (GOOD, "ja " * 50, "你好" * 9, "a"):
        assert compression_ratio(text) == reference(text)


@pytest.mark.parametrize(
    ("text", "speech", "expected"),
    [
        ("come here", 0.0, ["vad"]),
        ("come here", 0.24, ["vad"]),
        ("come here", 0.25, []),
        ("", 0.0, ["empty"]),
        ("", 0.25, ["empty", "vad"]),
        ("come here", None, []),
    ],
)
def test_voice_activity_and_text_disagree(
    text: str, speech: float | None, expected: list[str]
) -> None:
    assert flags(text, 2.0, speech_seconds=speech) == expected


def test_thresholds_move_the_flags() -> None:
    text = "no " * 12
    assert flags(text, 3.0, -0.5, 0.3) == ["repetition"]
    assert flags(text, 3.0, -0.5, 0.3, limits=Thresholds(5.0, -0.4, 0.2, 3.9)) == [
        "speech_rate",
        "low_logprob",
        "no_speech",
    ]
    assert flags(text, 3.0, -0.5, 0.3, limits=Thresholds(5.0, -0.6, 0.2, 4.0)) == []


def test_a_threshold_that_is_no_number_is_refused_and_one_without_end_is_none() -> None:
    with pytest.raises(UsageError, match="--logprob-threshold: nan is no number"):
        Thresholds(logprob=math.nan)
    never = Thresholds(math.inf, -math.inf, math.inf, math.inf)
    assert flags("no " * 60, 2.0, -2.0, 0.9, limits=never) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no " * 5, []),
        ("no " * 10, []),
        ("no " * 12, ["repetition"]),
        ("stop " * 7, []),
        ("stop " * 8, ["repetition"]),
    ],
)
def test_a_word_said_again_and_again_is_flagged_from_some_number_on(
    text: str, expected: list[str]
) -> None:
    """As docs/formats.md says."""
    assert flags(text.strip(), 10.0, -0.3, 0.01) == expected
