"""What the tests share: a way to run commands, small sounds, and small models saved to disk."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from goldens import Golden
from quick import Done, Quick, prepare_server, script, start_server

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
"""Real speech and text for tests; a checkout alone does not have it."""

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
    "TOKENIZERS_PARALLELISM": "false",
}
"""For tests and commands: off the network, and one thread each, since they run side by side."""

os.environ.update(ENVIRONMENT)

EKMAN = ("anger", "disgust", "fear", "joy", "sadness", "surprise")

Lanser = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """A folder of the real data by its name; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"the real data (../shared/data/{name}) is not here")
        return SHARED / name

    return find


@pytest.fixture(scope="session")
def shared(data: Callable[[str], Path]) -> Path:
    """The folder of all real data; the test is skipped where it is absent."""
    return data("")


@pytest.fixture(scope="session")
def lanser(server: None, tmp_path_factory: pytest.TempPathFactory) -> Lanser:
    """Run a command line in a process of its own: `lanser("eval", "x.jsonl")`.

    `check` is the exit code expected (default 0; None for any).
    """
    folder = tmp_path_factory.mktemp("streams")

    def run(
        *arguments: object,
        input: bytes = b"",
        check: int | None = 0,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        done = Quick(folder, *arguments, input=input, cwd=cwd, env=env).wait()
        assert check is None or done.code == check, done.err
        return subprocess.CompletedProcess(arguments, done.code, done.out, done.err.encode())

    return run


@pytest.fixture
def quick(server: None, tmp_path: Path) -> Callable[..., Quick]:
    """Start a command; its standard streams are kept next to what the test makes."""
    folder = tmp_path / "streams"
    folder.mkdir()
    return lambda *arguments, **options: Quick(folder, *arguments, **options)


@pytest.fixture
def bench(quick: Callable[..., Quick]) -> Callable[..., str]:
    """Run a benchmark of tests/bench; what it printed."""

    def run(name: str, *words: object) -> str:
        done: Done = quick(ROOT / "tests/bench" / name, *words, main=script).wait(1200)
        assert done.code == 0, done.err[-3000:]
        return done.out.decode()

    return run


def pytest_configure(config: pytest.Config) -> None:
    """Let every worker begin to import elsewhere: what one has compiled the others only read."""
    worker = getattr(config, "workerinput", None)
    paths = [Path(word) for word in config.args]
    if worker and all(path.exists() for path in paths):
        folders_and_files = ([*path.rglob("test_*.py")] or [path] for path in paths)
        files = sorted(str(file) for file in chain(*folders_and_files))
        begin = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        config.args = files[begin:] + files[:begin]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let every worker begin with files that have slow tests: quick ones make an even end."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    files: dict[Path, list[pytest.Item]] = {}
    for item in sorted(items, key=lambda item: item.path):
        files.setdefault(item.path, []).append(item)
    slow, quick = [], []
    for tests in files.values():
        if any(test.get_closest_marker("slow") for test in tests):
            slow.append(tests)
        else:
            quick += tests
    dealt: list[pytest.Item] = []
    for number in range(workers):  # to each of which xdist gives as long a stretch
        dealt += chain(*slow[number::workers])
        room = max(0, len(items) * (number + 1) // workers - len(dealt))
        dealt += quick[:room]
        quick = quick[room:]
    items[:] = dealt + quick


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-golden", action="store_true", help="write tests/golden/ anew")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare text with a file of tests/golden/."""
    return Golden(renew=request.config.getoption("--renew-golden"))


@pytest.fixture(scope="session", autouse=True)
def server(pytestconfig: pytest.Config) -> None:
    """The process that commands are forked from."""
    address = getattr(pytestconfig, "workerinput", {}).get("server")
    prepare_server(pytestconfig.getini("filterwarnings"), address)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give xdist's workers one server among them, which begins its imports while they begin."""
    prepare_server(node.config.getini("filterwarnings"))
    node.workerinput["server"] = start_server()


def read_jsonl(data: bytes | str | Path) -> list[dict]:
    """Parse JSONL, strictly: every line an object."""
    if isinstance(data, Path):
        data = data.read_bytes()
    text = data.decode() if isinstance(data, bytes) else data
    values = [json.loads(line, parse_constant=_no_constant) for line in text.splitlines()]
    assert all(isinstance(value, dict) for value in values)
    return values


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def write_jsonl(path: Path, values: Sequence[dict]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def tone(seconds: float = 1.0, hertz: float = 200.0, rate: int = 16_000) -> np.ndarray:
    """A harmonic tone that swells and fades, float32."""
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in (1, 2, 3))
    return (0.2 * wave * np.sin(np.pi * time / max(seconds, 1e-9))).astype(np.float32)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 short WAVs, clip-00.wav .. clip-11.wav, of different pitch and length."""
    folder = tmp_path_factory.mktemp("clips")
    for index in range(12):
        wave = tone(0.6 + 0.05 * index, 120 + 20 * index)
        soundfile.write(folder / f"clip-{index:02d}.wav", wave, 16_000)
    return folder


@pytest.fixture(scope="session")
def labelled(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSONL of the clips with label, emotion, speaker, text and scores: input for every verb."""
    values = []
    for index, path in enumerate(sorted(clips.glob("*.wav"))):
        emotion = EKMAN[index % 2]
        values.append(
            {
                "id": path.stem,
                "audio_filepath": str(path),
                "duration": round(0.6 + 0.05 * index, 3),
                "speaker": f"s{index // 2 % 3}",
                "label": emotion,
                "text": f"this is sentence number {index}",
                "emotion": emotion,
                "emotion_score": 0.8,
                "emotion_scores": {EKMAN[index % 2]: 0.8, EKMAN[1 - index % 2]: 0.2},
                "mine": {"kept": index},
            }
        )
    return write_jsonl(tmp_path_factory.mktemp("labelled") / "labelled.jsonl", values)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an untrained resnet18-slim over Ekman's six."""
    return save_run(tmp_path_factory.mktemp("run") / "tiny")


def save_run(folder: Path) -> Path:
    """Save what `tiny_run` is."""
    torch = pytest.importorskip("torch")

    from lanser_cli.models.classifier import Architecture, SpeechClassifier
    from lanser_cli.training import heard
    from lanser_cli.training.runs import RunFolder

    torch.manual_seed(0)
    run = RunFolder(folder)
    run.create(resume=False)
    architecture = Architecture("resnet18-slim", EKMAN, crop_seconds=1.0)
    run.write_config("pretrain", architecture)
    run.write_model(SpeechClassifier(architecture))
    heard.write(run.path, heard.heard([]), None)
    return run.path


def save_nli(folder: Path, labels: Sequence[str], *, seed: int = 0, spread: float = 0.02) -> Path:
    """Save a tiny BERT cross-encoder with these classes, in this order.

    `spread` is the standard deviation of its weights; with 0.3 its scores differ a lot.
    """
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(seed)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,'"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters)]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=128,
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        initializer_range=spread,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_nli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An NLI model with random weights, its classes as roberta-large-mnli has them."""
    folder = tmp_path_factory.mktemp("nli") / "tiny"
    return save_nli(folder, ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"))


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper checkpoint with random weights, as `save_whisper` makes it."""
    return save_whisper(tmp_path_factory.mktemp("whisper") / "tiny-random.pt")


def save_whisper(path: Path) -> Path:
    """Save a tiny Whisper, English only. It says five tokens, without doubt.

    What it says next depends on the place more than on the token before: it does not repeat itself.
    """
    torch = pytest.importorskip("torch")
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    dims = ModelDimensions(
        n_mels=80,
        n_audio_ctx=1500,
        n_audio_state=64,
        n_audio_head=2,
        n_audio_layer=1,
        n_vocab=51864,
        n_text_ctx=24,
        n_text_state=64,
        n_text_head=2,
        n_text_layer=1,
    )
    model = Whisper(dims)
    places, end = model.decoder.positional_embedding.data, 50256
    torch.nn.init.normal_(places, std=5.0)  # Whisper leaves them as they are
    places[7] = 5.0 * model.decoder.token_embedding.weight.data[end]
    torch.save({"dims": vars(dims), "model_state_dict": model.state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def tiny_ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wav2vec 2.0 CTC model with random weights, as a transformers folder."""
    torch = pytest.importorskip("torch")
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("ctc") / "tiny"
    folder.mkdir()
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
    (folder / "vocab.json").write_text(json.dumps({c: i for i, c in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = Wav2Vec2FeatureExtractor(feature_size=1, sampling_rate=16_000)
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    config = Wav2Vec2Config(
        vocab_size=len(letters),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 4),
        conv_stride=(5, 8, 8),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder
