"""Whisper, faster-whisper and transformers: the same text whoever shares the batch."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tone

from lanser_cli.asr.engine import Engine, Options
from lanser_cli.asr.engines import make_engine
from lanser_cli.asr.transcriber import Transcriber
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record, Reject


def some_clips() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    lengths = (0.5, 0.9, 1.4, 2.2, 3.0)
    return [
        tone(seconds, 100 + 60 * index)
        + (0.05 * generator.standard_normal(round(seconds * 16_000))).astype(np.float32)
        for index, seconds in enumerate(lengths)
    ]


def texts(engine: Engine, clips: list[np.ndarray]) -> list[str]:
    return [transcript.text for transcript in engine.transcribe(clips)]


def garbage(path: Path) -> Path:
    path.write_bytes(bytes(range(256)) * 40)
    return path


# ---------------------------------------------------------------- openai-whisper


@pytest.fixture(scope="module")
def unsure_whisper(tiny_whisper: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with smaller embeddings, so that it is unsure of everything it writes."""
    import torch

    torch.manual_seed(0)
    checkpoint = torch.load(tiny_whisper, weights_only=True)
    weights = checkpoint["model_state_dict"]
    weights["decoder.token_embedding.weight"] *= 0.2
    # Whisper leaves these as it finds them in memory, for a checkpoint to fill.
    torch.nn.init.normal_(weights["decoder.positional_embedding"], std=0.1)
    path = tmp_path_factory.mktemp("unsure") / "unsure.pt"
    torch.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def whisper_engine(unsure_whisper: Path) -> Engine:
    return make_engine(f"whisper:{unsure_whisper}", Options(full_context=True))


def test_whisper_in_a_batch_and_one_by_one(whisper_engine: Engine) -> None:
    """Also where no temperature satisfies, so that the text is drawn at the highest."""
    clips = some_clips()
    together = whisper_engine.transcribe(clips)
    assert all((transcript.avg_logprob or 0.0) < -1.0 for transcript in together)
    for order in ([0], [1], [2], [3], [4], [4, 2], [3, 1, 0]):
        found = whisper_engine.transcribe([clips[index] for index in order])
        for index, transcript in zip(order, found, strict=True):
            assert transcript.text == together[index].text
            assert transcript.avg_logprob == pytest.approx(together[index].avg_logprob, abs=1e-3)
            assert transcript.no_speech_prob == pytest.approx(
                together[index].no_speech_prob, abs=1e-3
            )


def test_whisper_gives_the_same_text_twice_and_leaves_the_global_generator_alone(
    whisper_engine: Engine,
) -> None:
    import torch

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = texts(whisper_engine, some_clips())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert texts(whisper_engine, some_clips()) == first


def test_whispers_draws_follow_the_probabilities() -> None:
    """The draws of `_sampler` against the softmax that they are drawn from."""
    import torch

    from lanser_cli.asr.engines.whisper import _sampler

    logits = torch.tensor([[2.0, 1.0, 0.0, -20.0], [0.0, 1.0, 2.0, -20.0]])
    temperature = 0.8
    decoder = _sampler(temperature, 3)
    counts = torch.zeros(2, 4)
    sums = torch.zeros(2)
    expected_sums = torch.zeros(2)
    tokens = torch.zeros(2, 1, dtype=torch.long)
    for _ in range(1200):
        tokens, _ = decoder.update(tokens[:, -1:], logits, sums)
        counts[[0, 1], tokens[:, -1]] += 1
        expected_sums += torch.log_softmax(logits, -1)[[0, 1], tokens[:, -1]]
    expected = torch.softmax(logits / temperature, -1)
    assert torch.allclose(counts / 1200, expected, atol=0.05)
    assert torch.allclose(sums, expected_sums, rtol=1e-4)


def test_whisper_stops_at_the_end_token() -> None:
    import torch

    from lanser_cli.asr.engines.whisper import _sampler

    decoder = _sampler(0.5, 3)
    tokens, sums = torch.tensor([[3], [0]]), torch.zeros(2)
    tokens, done = decoder.update(tokens, torch.tensor([[9.0, 0, 0, 0], [0, 0, 0, 99.0]]), sums)
    assert tokens[:, -1].tolist() == [3, 3]
    assert done and sums[0] == 0


def test_whisper_hears_thirty_seconds(whisper_engine: Engine, tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "long.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, 31 * 16_000)  # silence is given to no engine
    soundfile.write(path, noise, 16_000)
    record = Record({"id": "long", "audio_filepath": str(path)})
    (reject,) = Transcriber(whisper_engine, 4)([record])
    assert isinstance(reject, Reject)
    assert "it is longer than the 30 s that whisper:" in reject.error
    (part,) = Transcriber(whisper_engine, 4)([record.with_fields(offset=29.0, duration=1.0)])
    assert isinstance(part, Record)
    assert part.fields["asr"]["model"] == whisper_engine.name
    assert part.fields["lang"] == "en"


def test_whisper_sizes_and_files(tmp_path: Path) -> None:
    for name in ("huge.xx", str(tmp_path), str(tmp_path / "gone.pt")):
        with pytest.raises(UsageError, match=r"no such size and no such file; sizes: .*base\.en"):
            make_engine(f"whisper:{name}", Options())


def test_a_whisper_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    import torch

    path = garbage(tmp_path / "garbage.pt")
    with pytest.raises(LanserError, match=r"whisper:.*garbage\.pt") as caught:
        make_engine(f"whisper:{path}", Options())
    assert "\n" not in str(caught.value)
    torch.save({"something": torch.zeros(3)}, path)
    with pytest.raises(LanserError, match=r"garbage\.pt is not a Whisper checkpoint: KeyError"):
        make_engine(f"whisper:{path}", Options())


def test_nothing_is_unpickled_from_a_whisper_file(tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "trap.pt"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(LanserError, match=r"trap\.pt"):
        make_engine(f"whisper:{path}", Options())
    assert not (tmp_path / "sprung").exists()


def test_whisper_languages(tiny_whisper: Path) -> None:
    for lang in ("en", "en-US", "EN"):
        make_engine(f"whisper:{tiny_whisper}", Options(lang=lang))
    with pytest.raises(UsageError, match=r"--lang 'de': .* understands English only"):
        make_engine(f"whisper:{tiny_whisper}", Options(lang="de"))
    with pytest.raises(UsageError, match="--lang 'xx': Whisper knows no such language"):
        make_engine(f"whisper:{tiny_whisper}", Options(lang="xx"))


def test_whisper_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(LanserError) as caught:
        make_engine("whisper:base.en", Options())
    message = str(caught.value)
    assert "whisper:base.en" in message and ".cache/whisper" in message
    assert "no route to host" in message
    assert "--model embedded" in message


def test_whisper_encodes_once_and_decodes_again_only_what_needs_it(
    whisper_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In full context. Two of five clips are good enough at once, one at the second temperature."""
    from whisper.decoding import DecodingTask

    from lanser_cli.asr.engines import whisper as room

    batches: list[tuple[float, int]] = []
    run = DecodingTask.run

    def counting(self: Any, mel: Any) -> Any:
        assert mel.shape[-2:] == (1500, 64), "encoded already"
        batches.append((self.options.temperature, len(mel)))
        return run(self, mel)

    answers = iter([False, True, False, True, True] + [True, False, True] + [False, False])
    monkeypatch.setattr(DecodingTask, "run", counting)
    monkeypatch.setattr(room, "_is_bad", lambda result, limits: next(answers))
    encoded: list[int] = []
    hook = whisper_engine._model.encoder.register_forward_hook(
        lambda module, inputs, output: encoded.append(len(output))
    )
    assert len(whisper_engine.transcribe(some_clips())) == 5
    hook.remove()
    assert encoded == [4, 1], "each once, and few at a time"
    assert batches == [(0.0, 5), (0.2, 3), (0.4, 2)]


def test_whispers_thresholds_decide_what_is_decoded_again() -> None:
    from types import SimpleNamespace

    from lanser_cli.asr.engines.whisper import _is_bad
    from lanser_cli.asr.quality import DEFAULTS, Thresholds

    def result(ratio: float, logprob: float, no_speech: float) -> Any:
        return SimpleNamespace(
            compression_ratio=ratio, avg_logprob=logprob, no_speech_prob=no_speech
        )

    assert not _is_bad(result(1.0, -0.5, 0.9), DEFAULTS)
    assert _is_bad(result(2.5, -0.5, 0.1), DEFAULTS)
    assert _is_bad(result(1.0, -1.1, 0.1), DEFAULTS)
    assert not _is_bad(result(1.0, -1.1, 0.7), DEFAULTS), "silence"
    assert not _is_bad(result(2.5, -1.1, 0.1), Thresholds(2.6, -1.2))
    assert _is_bad(result(1.0, -1.1, 0.7), Thresholds(no_speech=0.8))


@pytest.mark.slow
def test_whisper_detects_the_language_of_each_clip_of_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    dims = ModelDimensions(80, 1500, 64, 2, 1, 51_865, 24, 64, 2, 1)
    model = Whisper(dims)
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.1)
    torch.nn.init.normal_(model.encoder.blocks[0].mlp[2].weight, std=3.0)
    torch.save({"dims": vars(dims), "model_state_dict": model.state_dict()}, tmp_path / "m.pt")
    engine = make_engine(f"whisper:{tmp_path / 'm.pt'}", Options())
    clips = [*some_clips(), np.zeros(48_000, np.float32)]
    found = engine.transcribe(clips)
    langs = [transcript.lang for transcript in found]
    assert all(langs)
    assert [engine.transcribe([clip])[0].lang for clip in clips] == langs
    assert [engine.transcribe([clip])[0].text for clip in clips] == [t.text for t in found]
    german = make_engine(f"whisper:{tmp_path / 'm.pt'}", Options(lang="de"))
    assert {transcript.lang for transcript in german.transcribe(clips)} == {"de"}


@pytest.mark.parametrize(("lang", "short"), [("en", True), ("de", False), (None, False)])
def test_only_what_is_english_for_sure_is_heard_in_short_windows(
    tmp_path: Path, lang: str | None, short: bool
) -> None:
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    dims = ModelDimensions(80, 1500, 64, 2, 1, 51_865, 24, 64, 2, 1)
    model = Whisper(dims)
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.1)
    torch.save({"dims": vars(dims), "model_state_dict": model.state_dict()}, tmp_path / "m.pt")
    engine: Any = make_engine(f"whisper:{tmp_path / 'm.pt'}", Options(lang=lang))
    heard: list[int] = []
    engine._model.encoder.register_forward_hook(
        lambda module, inputs, output: heard.append(output.shape[1])
    )
    engine.transcribe(some_clips()[:1])
    assert (100 in heard) is short, "2 s: half a second, a margin of one, up to whole seconds"


# ---------------------------------------------------------------- faster-whisper


class FakeFaster:
    """As much of faster_whisper as the engine asks for. It hears a clip's length in seconds."""

    def __init__(self, multilingual: bool) -> None:
        self.multilingual = multilingual
        self.asked: dict[str, Any] = {}

    def module(self) -> Any:
        from types import ModuleType, SimpleNamespace

        fake = self

        class Extractor:
            n_samples = 480_000

            def __call__(self, waveform: np.ndarray, padding: int) -> np.ndarray:
                assert padding == 0 and waveform.shape == (480_000,)
                return np.full((80, 3000), np.count_nonzero(waveform) / 16_000, np.float32)

        class Inner:
            is_multilingual = fake.multilingual

            def detect_language(self, heard: np.ndarray) -> list[list[tuple[str, float]]]:
                found = [("<|en|>", 0.9), ("<|de|>", 0.1)]
                return [found if clip[0, 0] < 1 else found[::-1] for clip in heard]

            def generate(self, heard: np.ndarray, prompts: list[Any], **options: Any) -> list[Any]:
                fake.asked = {"prompts": prompts, **options}
                return [
                    SimpleNamespace(
                        sequences_ids=[[int(10 * clip[0, 0]), 7, 7]],
                        scores=[-0.4],
                        no_speech_prob=0.25,
                    )
                    for clip in heard
                ]

        class WhisperModel:
            def __init__(self, name: str, **options: Any) -> None:
                if name == "huge":
                    raise ValueError("Invalid model size 'huge', expected one of: tiny, base")
                if name == "nobody/nothing":
                    raise OSError("no route to host")
                fake.asked = options
                self.model = Inner()
                self.supported_languages = ["en", "de"] if fake.multilingual else ["en"]
                self.feature_extractor = Extractor()
                self.hf_tokenizer = None
                self.max_length = 448

            def encode(self, features: np.ndarray) -> np.ndarray:
                assert features.ndim == 3
                return features

            def get_prompt(self, tokenizer: Any, before: list[int], **options: Any) -> list[Any]:
                assert options == {"without_timestamps": True} and before == []
                return ["start", tokenizer.language]

        class Tokenizer:
            def __init__(self, inner: Any, multilingual: bool, task: str, language: str) -> None:
                assert task == "transcribe"
                self.language = language

            def decode(self, tokens: list[int]) -> str:
                return f" {tokens[0]} tenths in {self.language} "

        module = ModuleType("faster_whisper")
        module.WhisperModel = WhisperModel  # type: ignore[attr-defined]
        module.tokenizer = SimpleNamespace(Tokenizer=Tokenizer)  # type: ignore[attr-defined]
        module.transcribe = SimpleNamespace(  # type: ignore[attr-defined]
            get_suppressed_tokens=lambda tokenizer, which: [1, 2]
        )
        return module


@pytest.fixture(params=[True, False], ids=["multilingual", "english"])
def faster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FakeFaster:
    import sys

    fake = FakeFaster(request.param)
    monkeypatch.setitem(sys.modules, "faster_whisper", fake.module())
    return fake


def test_faster_in_batches(faster: FakeFaster) -> None:
    engine = make_engine("faster:small", Options())
    assert faster.asked == {"device": "cpu", "device_index": 0}
    assert (engine.name, engine.max_seconds) == ("faster:small", 30.0)
    clips = [np.ones(8_000, np.float32), np.ones(24_000, np.float32)]
    first, second = engine.transcribe(clips)
    lang = "de" if faster.multilingual else "en"
    assert (first.text, first.lang) == ("5 tenths in en", "en")
    assert (second.text, second.lang) == (f"15 tenths in {lang}", lang)
    assert first.avg_logprob == pytest.approx(-0.4 * 3 / 4), "the end token counts, as in Whisper"
    assert first.no_speech_prob == 0.25
    assert faster.asked["prompts"] == [["start", "en"], ["start", lang]]
    assert (faster.asked["beam_size"], faster.asked["suppress_tokens"]) == (5, [1, 2])


def test_faster_on_a_gpu_and_in_a_language(faster: FakeFaster) -> None:
    make_engine("faster:small", Options(device="cuda:1"))
    assert faster.asked == {"device": "cuda", "device_index": 1, "compute_type": "float16"}
    if faster.multilingual:
        engine = make_engine("faster:small", Options(lang="de-AT"))
        assert {t.lang for t in engine.transcribe(some_clips())} == {"de"}
        with pytest.raises(UsageError, match="--lang 'xx': faster:small knows no such language"):
            make_engine("faster:small", Options(lang="xx"))
    else:
        with pytest.raises(UsageError, match="--lang 'de': faster:small understands English only"):
            make_engine("faster:small", Options(lang="de"))


def test_faster_models_that_cannot_be_had(faster: FakeFaster) -> None:
    with pytest.raises(LanserError, match="--model faster:huge: Invalid model size 'huge'"):
        make_engine("faster:huge", Options())
    with pytest.raises(LanserError, match="model 'nobody/nothing' is not in the local cache"):
        make_engine("faster:nobody/nothing", Options())


def test_a_faster_folder_without_its_tokenizer_is_not_completed_from_the_hub(
    faster: FakeFaster, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(LanserError, match=r"no tokenizer\.json in this folder") as caught:
        make_engine(f"faster:{tmp_path}", Options())
    assert "\n" not in str(caught.value) and faster.asked == {}
    (tmp_path / "tokenizer.json").write_text("{}")
    make_engine(f"faster:{tmp_path}", Options())


def test_faster_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(LanserError, match=r"pip install 'lanser\[faster\]'"):
        make_engine("faster:base", Options())


# ---------------------------------------------------------------- transformers


@pytest.fixture(scope="module")
def ctc_engine(tiny_ctc: Path) -> Engine:
    return make_engine(f"hf:{tiny_ctc}", Options())


def test_ctc_in_a_batch_and_one_by_one(ctc_engine: Engine) -> None:
    clips = some_clips()
    together = texts(ctc_engine, clips)
    assert len(set(together)) > 1
    assert [texts(ctc_engine, [clip])[0] for clip in clips] == together
    assert texts(ctc_engine, clips[::-1]) == together[::-1]


def test_ctc_knows_no_probability_of_silence(ctc_engine: Engine) -> None:
    (transcript,) = ctc_engine.transcribe(some_clips()[:1])
    assert transcript.no_speech_prob is None and transcript.lang is None
    assert ctc_engine.max_seconds is None


def test_loading_and_running_transformers_is_silent(
    tiny_ctc: Path, capfd: pytest.CaptureFixture
) -> None:
    make_engine(f"hf:{tiny_ctc}", Options()).transcribe(some_clips())
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(LanserError, match=r"no config.json in this folder"):
        make_engine(f"hf:{tmp_path}", Options())


def test_a_folder_with_damaged_weights(tiny_ctc: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "damaged"
    shutil.copytree(tiny_ctc, folder)
    garbage(folder / "model.safetensors")
    with pytest.raises(LanserError, match="damaged: this model cannot be loaded: ") as caught:
        make_engine(f"hf:{folder}", Options())
    assert "\n" not in str(caught.value)


def test_transformers_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LanserError) as caught:
        make_engine("hf:nobody/no-such-model", Options())
    message = str(caught.value)
    assert message.startswith("model 'nobody/no-such-model' is not in the local cache")
    for part in (constants.HF_HUB_CACHE, "HF_HUB_OFFLINE", "HF_HOME", "--model embedded"):
        assert part in message
    assert "\n" not in message
