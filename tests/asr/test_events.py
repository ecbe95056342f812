"""What is written but not said, and what is written of silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Lanser, read_jsonl
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt

from lanser_cli.asr.engine import Engine, Options, Transcript
from lanser_cli.asr.engines import make_engine
from lanser_cli.asr.events import parted
from lanser_cli.asr.hallucinations import hallucinations, is_known
from lanser_cli.asr.quality import flags
from lanser_cli.asr.transcriber import Transcriber
from lanser_cli.audio.utterance import Utterance
from lanser_cli.records import Record

# ---------------------------------------------------------------- events


@pytest.mark.parametrize(
    ("text", "words", "events"),
    [
        ("[laughter] Stop it.", "Stop it.", ["laughter"]),
        ("I (sighs) can't.", "I can't.", ["sighs"]),
        ("Well (sighs), I know *coughs*.", "Well, I know.", ["sighs", "coughs"]),
        ("♪ We are the champions ♪", "We are the champions", ["♪", "♪"]),
        ("♪♪♪", "", ["♪♪♪"]),
        ("[BLANK_AUDIO]", "", ["BLANK_AUDIO"]),
        ("[Music] (applause).", "", ["Music", "applause"]),
        ("so <unk> it is", "so it is", ["unk"]),
        ("ja</s>", "ja", ["/s"]),
        (
            "<|en|><|HAPPY|><|Speech|><|woitn|>good morning",
            "good morning",
            ["en", "HAPPY", "Speech", "woitn"],
        ),
        ("good morning 😊", "good morning", ["😊"]),
        ("（拍手）ありがとう", "ありがとう", ["拍手"]),
        ("[] no", "no", []),
    ],
)
def test_events_are_parted_from_words(text: str, words: str, events: list[str]) -> None:
    assert parted(text) == (words, events)


@pytest.mark.parametrize(
    "text",
    [
        "f*ck this sh*t",
        "f*** you and s*** happens",
        "It's 20° here, 3 < 4 and 5 > 2",
        "don't -- well...",
        "5 * 3 * 2",
        "he said: (",
        "",
        "  spaces   stay  ",
    ],
)
def test_other_texts_are_left_as_they_are(text: str) -> None:
    assert parted(text) == (text, [])


@given(st.text(st.sampled_from("ab .,!?[]()<>|*♪😊【】_"), max_size=30))
def test_what_is_left_has_no_more_events(text: str) -> None:
    words, events = parted(text)
    if events:
        assert not any(sign in words for sign in "♪😊")
        assert words == "" or any(character.isalnum() for character in words)


class Says:
    """An engine that always says the same, and counts what it hears."""

    name = "says"
    max_seconds = None

    def __init__(self, text: str, no_speech: float | None = None) -> None:
        self.transcript, self.heard = Transcript(text, -0.1, no_speech), 0

    def transcribe(self, clips: object) -> list[Transcript]:
        self.heard += len(clips)  # type: ignore[arg-type]
        return [self.transcript] * len(clips)  # type: ignore[arg-type]


def described(engine: object, samples: np.ndarray) -> dict:
    (found,) = Transcriber(engine, 4)([Utterance({"id": "a"}, samples)])  # type: ignore[arg-type]
    assert isinstance(found, Record)
    return found.fields


def noise(seconds: float = 2.0, level: float = 0.05) -> np.ndarray:
    draws = np.random.default_rng(0).standard_normal(round(seconds * 16_000))
    return (level * draws).astype(np.float32)


def test_the_text_that_is_judged_has_no_events_and_nothing_is_lost() -> None:
    found = described(Says("[laughter] Stop it. (sighs)"), noise())
    assert found["text"] == "Stop it."
    assert found["asr"]["events"] == ["laughter", "sighs"]
    assert found["asr"]["raw"] == "[laughter] Stop it. (sighs)"
    assert found["asr"]["words_per_second"] == 1.0
    assert found["asr"]["flags"] == []
    plain = described(Says("Stop it."), noise())
    assert "events" not in plain["asr"] and "raw" not in plain["asr"]


@pytest.mark.parametrize("text", ["[laughter]", "♪", "(sighs) [Music]", ".", "..."])
def test_a_text_without_words_is_flagged_empty(text: str) -> None:
    assert described(Says(text), noise())["asr"]["flags"] == ["empty"]


def test_what_has_only_events_gets_no_label(lanser: Lanser, tmp_path: Path) -> None:
    from conftest import write_jsonl

    record = described(Says("[laughter]"), noise())
    path = write_jsonl(tmp_path / "a.jsonl", [record])
    (answer,) = read_jsonl(lanser("entail-label", path).stdout)
    assert answer["emotion"] is None
    assert answer["entailment"]["abstained"] == "empty"
    assert answer["asr"]["events"] == ["laughter"]


# ---------------------------------------------------------------- silence


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(16_000, np.float32),
        np.full(16_000, 0.25, np.float32),
        noise(1.0, 2e-5),
        np.zeros(1, np.float32),
    ],
    ids=["zeros", "offset", "last bits", "one sample"],
)
def test_silence_is_given_to_no_engine(samples: np.ndarray) -> None:
    engine = Says("Thank you for watching!")
    found = described(engine, samples)
    assert engine.heard == 0
    assert (found["text"], found["asr"]["flags"]) == ("", ["empty"])
    assert found["asr"]["model"] == "says"


def test_silence_among_speech_changes_nothing_for_the_others() -> None:
    engine = Says("good morning")
    clips = [noise(1), np.zeros(30 * 16_000, np.float32), noise(2), noise(3)]
    items = [Utterance({"id": str(index)}, clip) for index, clip in enumerate(clips)]
    found = Transcriber(engine, 4)(items)  # type: ignore[arg-type]
    assert engine.heard == 3
    assert [item.id for item in found] == ["0", "1", "2", "3"]
    texts = [item.text for item in found if isinstance(item, Record)]
    assert texts == ["good morning", "", "good morning", "good morning"]


# ---------------------------------------------------------------- inventions


def test_every_invention_is_documented_and_recognised() -> None:
    known = hallucinations()
    assert len(known) > 50
    assert len({item["text"] for item in known}) == len(known)
    for item in known:
        assert set(item) == {"text", "lang", "source"}
        assert item["source"].startswith("https://")
        assert is_known(item["text"]) and is_known(f" {item['text']} {item['text']}...")


@pytest.mark.parametrize(
    "text", ["", "...", "thank you for coming", "you know", "you and me", "watching"]
)
def test_other_texts_are_no_inventions(text: str) -> None:
    assert not is_known(text)


@pytest.mark.parametrize(
    ("no_speech", "speech", "peak", "expected"),
    [
        (0.9, None, -20.0, ["hallucination"]),
        (0.61, None, None, ["hallucination"]),
        (0.59, None, -20.0, []),
        (None, None, -20.0, []),
        (None, None, -51.0, ["hallucination"]),
        (0.1, None, -49.0, []),
        (0.1, 0.0, -20.0, ["hallucination", "vad"]),
        (0.9, 1.0, -51.0, []),
    ],
)
def test_an_invention_is_flagged_where_no_speech_supports_it(
    no_speech: float | None, speech: float | None, peak: float | None, expected: list[str]
) -> None:
    found = flags("Thank you.", 2.0, -0.1, no_speech, speech_seconds=speech, peak=peak)
    assert found == expected
    other = flags("Come here.", 2.0, -0.1, no_speech, speech_seconds=speech, peak=peak)
    assert "hallucination" not in other


def chords(seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * 16_000)) / 16_000
    notes = [220.0, 277.2, 329.6, 440.0]
    fading = np.exp(-3 * (time % 1))
    return sum(0.05 * np.sin(2 * np.pi * note * time) * fading for note in notes).astype(np.float32)


def breath(seconds: float) -> np.ndarray:
    band = butter(2, [400, 3500], "band", fs=16_000, output="sos")
    time = np.arange(round(seconds * 16_000)) / 16_000
    swell = np.clip(np.sin(2 * np.pi * time / 3), 0, 1)
    return (0.03 * sosfilt(band, noise(seconds, 1.0)) * swell).astype(np.float32)


@pytest.fixture(scope="module")
def embedded() -> Engine:
    return make_engine("embedded", Options())


@pytest.mark.parametrize("seconds", [1.0, 5.0])
@pytest.mark.parametrize("sound", [noise, chords, breath], ids=lambda sound: sound.__name__)
def test_what_the_embedded_model_makes_of_no_speech_is_flagged(
    sound: Callable[[float], np.ndarray], seconds: float, embedded: Engine
) -> None:
    found = described(embedded, sound(seconds))
    assert {"hallucination", "empty"} & set(found["asr"]["flags"]), found


def test_a_word_said_five_times_on_purpose_is_written_and_not_flagged(embedded: Engine) -> None:
    """Cut out of synthetic speech: "no way that ..."."""
    from conftest import ROOT

    from lanser_cli.audio import sound

    speech = sound.read(str(ROOT / "examples" / "speech" / "unlabeled" / "utt-0200.ogg"))
    first = int(np.flatnonzero(np.abs(speech) > 0.02)[0])
    word = speech[max(0, first - 800) : first + 4480].copy()
    word[-800:] *= np.linspace(1, 0, 800, dtype=np.float32)
    said = np.concatenate([word, np.zeros(3200, np.float32)] * 5)
    found = described(embedded, said)
    assert found["text"].lower().count("no") >= 5
    assert found["asr"]["flags"] == []


def test_the_embedded_model_says_nothing_of_silence_next_to_speech(
    lanser: Lanser, tmp_path: Path
) -> None:
    from conftest import ROOT

    speech, rate = soundfile.read(ROOT / "examples" / "speech" / "unlabeled" / "utt-0001.ogg")
    soundfile.write(tmp_path / "speech.wav", speech, rate)
    (alone,) = read_jsonl(lanser("transcribe", tmp_path).stdout)
    soundfile.write(tmp_path / "silence.wav", np.zeros(30 * 16_000), 16_000)
    found = {item["id"]: item for item in read_jsonl(lanser("transcribe", tmp_path).stdout)}
    assert found["silence"]["text"] == "" and found["silence"]["asr"]["flags"] == ["empty"]
    assert found["speech"]["text"] == alone["text"] != ""
