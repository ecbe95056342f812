"""The Whisper that ships in the package, with its real weights, on speech."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import torch
import whisper
from conftest import ROOT, Lanser, read_jsonl, tone
from whisper.normalizers import EnglishTextNormalizer

from lanser_cli.asr import whisper_context, whisper_weights
from lanser_cli.asr.engine import EMBEDDED_WEIGHTS, Engine, Options
from lanser_cli.asr.engines import embedded, make_engine
from lanser_cli.asr.engines.whisper import WhisperEngine
from lanser_cli.asr.quality import Thresholds
from lanser_cli.asr.transcribe import TranscribeSettings, make_transcriber
from lanser_cli.audio import sound
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.models.onednn import int8_pays

SPEECH = ROOT / "examples" / "speech"
NAMES = [f"utt-{number:04d}" for number in range(1, 17)]

Clips = list[np.ndarray]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return make_engine("embedded", Options(precision="float32"))


@pytest.fixture(scope="module")
def engines(engine: Engine) -> dict[str, Engine]:
    """By what they compute in."""
    return {"float32": engine, "int8": make_engine("embedded", Options(precision="int8"))}


PRECISIONS = pytest.mark.parametrize("precision", ["float32", "int8"])


@pytest.fixture(scope="module")
def exact() -> Engine:
    return make_engine("embedded", Options(full_context=True))


@pytest.fixture(scope="module")
def clips() -> Clips:
    """Synthetic speech, which ships with the project."""
    return [sound.read(str(SPEECH / "unlabeled" / f"{name}.ogg")) for name in NAMES]


@pytest.fixture(scope="module")
def said() -> list[str]:
    written = {item["id"]: item["written"] for item in read_jsonl(SPEECH / "written.jsonl")}
    return [written[name] for name in NAMES]


def texts(engine: Engine, clips: Clips) -> list[str]:
    return [transcript.text for transcript in engine.transcribe(clips)]


def word_error_rate(said: list[str], heard: list[str]) -> float:
    normalised = EnglishTextNormalizer()
    return float(jiwer.wer([normalised(t) for t in said], [normalised(t) for t in heard]))


# ---------------------------------------------------------------- what it hears


@PRECISIONS
def test_it_understands_synthetic_speech(
    engines: dict[str, Engine], precision: str, clips: Clips, said: list[str]
) -> None:
    found = engines[precision].transcribe(clips)
    assert word_error_rate(said, [transcript.text for transcript in found]) < 0.12
    for clip, transcript in zip(clips, found, strict=True):
        assert transcript.avg_logprob is not None and -0.8 < transcript.avg_logprob < 0
        assert transcript.no_speech_prob is not None and transcript.no_speech_prob < 0.6
        assert transcript.lang == "en"
        assert transcript.context_seconds == whisper_context.context_seconds(len(clip))
        assert transcript.precision == precision


def test_it_understands_acted_emotion(shared: Path, engine: Engine) -> None:
    """Both sentences in all eight emotions; PocketSphinx had half of RAVDESS's words wrong."""
    paths = sorted((shared / "ravdess" / "Actor_02").glob("03-01-??-01-*-01-02.flac"))
    sentences = {"01": "kids are talking by the door", "02": "dogs are sitting by the door"}
    said = [sentences[path.stem.split("-")[4]] for path in paths]
    assert len(said) == 16
    assert word_error_rate(said, texts(engine, [sound.read(str(path)) for path in paths])) < 0.1


@pytest.mark.slow
def test_full_context_is_what_openai_whisper_writes(exact: Engine, clips: Clips) -> None:
    """Its own `transcribe`, greedy, with the weights as they ship, in full float32."""
    model = embedded.load("cpu")
    expected = [
        whisper.transcribe(
            model, clip, language="en", fp16=False, without_timestamps=True, temperature=0.0
        )["text"].strip()
        for clip in clips[:4]
    ]
    found = exact.transcribe(clips[:4])
    assert [transcript.text for transcript in found] == expected
    assert {transcript.context_seconds for transcript in found} == {30.0}


@pytest.mark.slow
@PRECISIONS
def test_a_text_does_not_depend_on_what_shares_its_batch(
    engines: dict[str, Engine], precision: str, clips: Clips
) -> None:
    """Nor on a neighbour that is silent, or that has to be heard again."""
    engine = engines[precision]
    some = clips[:4]
    alone = [texts(engine, [clip])[0] for clip in some]
    others = [np.zeros(40_000, np.float32), tone(3.0)]
    for batch in (some, some[::-1] + others, others + some):
        found = dict(zip(map(len, batch), texts(engine, batch), strict=True))
        assert [found[len(clip)] for clip in some] == alone


@pytest.mark.slow
@pytest.mark.parametrize("reason", ["loop", "no end", "improbable", "repetitive"])
def test_what_looks_bad_is_heard_again_in_full(
    clips: Clips, exact: Engine, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    limits = Thresholds()
    if reason == "loop":
        monkeypatch.setattr(whisper_context, "is_loop", lambda tokens: len(tokens) == 3)
    elif reason == "no end":
        monkeypatch.setattr(whisper_context, "most_tokens", lambda seconds, limit: 3)
    elif reason == "improbable":
        limits = Thresholds(logprob=-0.001)
        monkeypatch.setattr("lanser_cli.asr.engines.whisper.TEMPERATURES", (0.0,))
    else:
        limits = Thresholds(compression_ratio=0.1)
        monkeypatch.setattr("lanser_cli.asr.engines.whisper.TEMPERATURES", (0.0,))
    (found,) = make_engine("embedded", Options(limits=limits)).transcribe(clips[:1])
    assert found.text == texts(exact, clips[:1])[0]
    assert found.context_seconds == 30.0


def test_a_sentence_said_twice_is_written_twice(engine: Engine, clips: Clips) -> None:
    """That is no loop of the decoder. It looks like one, and is heard again in full."""
    (found,) = engine.transcribe([np.concatenate([clips[5], clips[5]])])
    assert found.text.lower().count("i feel happy every time i hear this") == 2
    assert found.context_seconds == 30.0


@pytest.mark.parametrize("seconds", [0.01, 29.9])
def test_silence_of_any_length_is_heard_without_harm(engine: Engine, seconds: float) -> None:
    (found,) = engine.transcribe([np.zeros(round(seconds * 16_000), np.float32)])
    assert len(found.text.split()) <= 4


@pytest.mark.slow
def test_a_clip_too_long_is_refused_and_one_just_short_enough_is_not(
    lanser: Lanser, clips: Clips, tmp_path: Path
) -> None:
    import soundfile

    speech = np.concatenate(clips)
    for name, seconds in (("short", 0.01), ("whole", 29.9), ("long", 30.1)):
        soundfile.write(tmp_path / f"{name}.wav", speech[: round(seconds * 16_000)], 16_000)
    result = lanser("transcribe", tmp_path, "--rejects", tmp_path / "rejects.jsonl", check=3)
    found = {record["id"]: record for record in read_jsonl(result.stdout)}
    assert set(found) == {"short", "whole"}
    assert found["whole"]["asr"]["context_seconds"] == 30.0
    (reject,) = read_jsonl(tmp_path / "rejects.jsonl")
    assert "30.1 s is longer than the 30 s that embedded hears at once" in reject["error"]


def test_utterances_that_it_cannot_hear_are_not_cut() -> None:
    for method in ("fixed", "vad"):
        with pytest.raises(UsageError, match="--max-seconds 31: embedded hears at most 30 s"):
            make_transcriber("cpu", TranscribeSettings("embedded", segment=method, max_seconds=31))
    make_transcriber("cpu", TranscribeSettings("embedded", segment="fixed", max_seconds=30))


def test_english_only(engine: Engine) -> None:
    for lang in ("en", "en-GB"):
        make_engine("embedded", Options(lang=lang))
    with pytest.raises(UsageError, match="--lang 'de': embedded understands English only"):
        make_engine("embedded", Options(lang="de"))


def test_it_is_the_default_and_says_how_it_heard(
    lanser: Lanser, clips: Clips, tmp_path: Path
) -> None:
    paths = [str(SPEECH / "unlabeled" / f"{name}.ogg") for name in NAMES[:2]]
    nowhere = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    short = read_jsonl(lanser("transcribe", *paths, env=nowhere).stdout)
    assert {record["asr"]["model"] for record in short} == {"embedded"}
    assert all(3.0 <= record["asr"]["context_seconds"] < 10.0 for record in short)
    expected = "int8" if int8_pays() else "float32"
    assert {record["asr"]["precision"] for record in short} == {expected}
    full = read_jsonl(lanser("transcribe", paths[0], "--full-context", env=nowhere).stdout)
    assert {record["asr"]["context_seconds"] for record in full} == {30.0}
    assert {record["asr"]["precision"] for record in full} == {"float32"}  # exact
    asked = read_jsonl(lanser("transcribe", paths[0], "--precision", "int8", env=nowhere).stdout)
    assert asked[0]["asr"]["precision"] == "int8"


@pytest.mark.parametrize("model", ["hf:nowhere"])
def test_a_precision_that_an_engine_does_not_have_is_refused(model: str) -> None:
    with pytest.raises(UsageError, match="--precision: hf: models compute in float32"):
        make_engine(model, Options(precision="int8"))


# ---------------------------------------------------------------- its file


def test_the_file_is_small_and_has_its_card() -> None:
    assert EMBEDDED_WEIGHTS.stat().st_size < 40_000_000
    card = (EMBEDDED_WEIGHTS.parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    import hashlib

    assert hashlib.sha256(EMBEDDED_WEIGHTS.read_bytes()).hexdigest() in card
    assert "MIT License" in card and "OpenAI" in card


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Any]:
    """A random Whisper in the package's format, and the weights it was made from."""
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    model = Whisper(ModelDimensions(80, 1500, 64, 1, 1, 51_864, 24, 64, 1, 1))
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.1)
    whisper_weights.write(tmp_path / "small.safetensors", model.dims, model.state_dict())
    return tmp_path / "small.safetensors", model


def test_eight_bits_are_within_half_a_step(small: tuple[Path, Any]) -> None:
    path, model = small
    found = whisper_weights.read(path)
    assert asdict(found.dims) == asdict(model.dims)
    restored = found.state_dict()
    for name, weight in model.state_dict().items():
        if weight.dim() == 1 or "positional" in name:
            assert torch.equal(restored[name], weight.half().float()), name
        else:
            rows = weight.flatten(1)
            steps = rows.abs().amax(1, keepdim=True) / 127
            apart = (restored[name].flatten(1) - rows).abs()
            assert bool((apart <= 0.5001 * steps).all()), name


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def another_size(path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, "pt") as file:
        dims = json.loads(file.metadata()["dims"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {"dims": json.dumps({**dims, "n_audio_state": 128})})


def no_whisper(path: Path) -> None:
    shutil.copy(ROOT / "lanser_cli" / "entailment" / "embedded" / "model.safetensors", path)


def gone(path: Path) -> None:
    path.unlink()


def pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\n")


@pytest.mark.parametrize("harm", [cut, another_size, no_whisper, gone, pointer])
def test_a_damaged_file_is_one_kind_sentence(small: tuple[Path, Any], harm: Any) -> None:
    path, _ = small
    harm(path)
    with pytest.raises(LanserError, match="the weights of --model embedded cannot be read") as e:
        embedded.load("cpu", path)
    message = str(e.value)
    assert str(path) in message and "install lanser again" in message and "\n" not in message


@pytest.mark.parametrize("full", [False, True], ids=["short", "full"])
def test_in_float16_as_on_a_gpu_it_hears_the_same(
    full: bool, engine: Engine, exact: Engine, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanser_cli.asr.whisper_onednn.accelerate", lambda *_: None)
    half = WhisperEngine(embedded.load("cpu"), "embedded", Options(full_context=full))
    half.precision = "float16"
    some = clips[:4]
    wanted = (exact if full else engine).transcribe(some)
    for ours, theirs in zip(half.transcribe(some), wanted, strict=True):
        assert ours.text.rstrip(".") == theirs.text.rstrip("."), "all words"
        assert ours.precision == "float16"


def test_what_is_too_large_for_float16_is_heard_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on GPUs whose float16 overflows: from NaN Whisper makes exclamation marks."""
    monkeypatch.setattr("lanser_cli.asr.whisper_onednn.accelerate", lambda *_: None)
    loud, soft = (level * np.sin(np.arange(16_000) / 8).astype(np.float32) for level in (0.5, 1e-3))
    options = Options(precision="float32", lang="en")
    heard, asked = {}, Counter[bool]()
    task = WhisperEngine._task

    def counted(self: WhisperEngine, *given: Any) -> Any:
        asked[self._half] += 1
        return task(self, *given)

    monkeypatch.setattr(WhisperEngine, "_task", counted)
    for half in (False, True):
        model = embedded.load("cpu")
        with torch.no_grad():
            model.encoder.conv1.weight *= 1e6
            model.encoder.conv1.bias *= 1e6
            model.encoder.conv2.weight *= 1e-6
        engine = WhisperEngine(model, "embedded", options)
        engine.precision = "float16" if half else "float32"
        heard[half] = engine.transcribe([loud, soft])
        assert engine.precision == ("float16" if half else "float32")
    assert [one.text for one in heard[True]] == [one.text for one in heard[False]]
    assert [one.precision for one in heard[True]] == ["float32", "float32"]
    assert asked[True] == 2, "once in short, once in full, and not at six temperatures"
