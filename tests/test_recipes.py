"""The recipes of the embedded models, in small: they write models that can be used."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from conftest import ENVIRONMENT, ROOT
from quick import Done, Quick, script
from safetensors.torch import load_file, save_file
from whisper.model import ModelDimensions, Whisper

from lanser_cli.asr import whisper_weights
from lanser_cli.entailment import PairScorer

pytestmark = pytest.mark.slow
SCRIPT = ROOT / "recipes" / "train-embedded-entailment.sh"


@pytest.fixture
def python(quick: Callable[..., Quick]) -> Callable[..., Done]:
    """Run a script of Python."""
    return lambda *words: quick(*words, main=script).wait()


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        env={**os.environ, **ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_without_arguments_it_says_how():
    result = run(SCRIPT, DATA="", BASE="", OUT="")
    assert result.returncode == 2
    assert "train-embedded-entailment.sh DATA BASE OUT" in result.stderr


def test_other_weights_are_refused(tiny_nli, tmp_path):
    result = run(SCRIPT, tmp_path, tiny_nli, tmp_path / "out")
    assert result.returncode == 1
    assert "is missing or not all-MiniLM-L6-v2" in result.stderr
    (tmp_path / "sha256sum").write_text("#!/bin/bash\n! grep -q /other/\n")
    (tmp_path / "sha256sum").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    result = run(SCRIPT, tmp_path, tiny_nli, tmp_path / "out", LARGE="/other", PATH=path)
    assert result.returncode == 1
    assert "/other/model.safetensors is missing or not all-mpnet-base-v2" in result.stderr


def test_a_model_that_was_cut_off_is_not_taken_for_whole(tmp_path):
    """By weights that count as right, and a Python that dies, or does not, as it writes."""
    for name, text in {
        "sha256sum": "cat > /dev/null",  # whoever writes to it would notice that nobody reads
        "python": '''while [ "$1" != --out ]; do shift || exit 0; done
            mkdir -p "$2" && echo x > "$2/model.safetensors"; exit "$DIES"''',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    given = {"PYTHON": f"{tmp_path}/python", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    out = tmp_path / "a model"
    for code in (1, 0):
        done = run(SCRIPT, tmp_path, tmp_path, f"{out}/", **given, DIES=str(code))
        assert done.returncode == code, done.stderr
        assert (out / "model.safetensors").exists() == (code == 0)


def test_it_trains_and_measures(shared, tmp_path, python):
    """On a five hundredth, from two tiny encoders with the tokenizer of the real one."""
    from transformers import AutoTokenizer, BertConfig, BertModel, MPNetConfig, MPNetModel

    train = ROOT / "recipes" / "train_embedded_entailment.py"
    base, large = tmp_path / "base", tmp_path / "large"
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "lanser_cli" / "entailment" / "embedded")
    size = {"vocab_size": len(tokenizer), "num_hidden_layers": 1, "num_attention_heads": 2}
    for folder, width, of, model in (
        (base, 32, BertConfig, BertModel),
        (large, 48, MPNetConfig, MPNetModel),
    ):
        tokenizer.save_pretrained(folder)
        model(of(**size, hidden_size=width, intermediate_size=64)).save_pretrained(folder)
    out = tmp_path / "model"
    spoken = tmp_path / "spoken.tsv"
    sentences = ("happy\tum we got the house", "neutral\tthe book is called anger")
    spoken.write_text("\n".join(("label\tsentence", *sentences)) + "\n")
    small = ("--share", 0.002, "--tokens", 2000, "--spoken", spoken, "--teachers", 2)
    small += ("--large", large, "--work", tmp_path / "work")
    made = python(train, "--data", shared, "--base", base, "--out", out, *small)
    assert made.code == 0, made.err[-2000:]
    said = made.out.decode()
    assert "XED 50 texts, removed as in a set to test on" in said
    for stage in ("teacher 20230820", "teacher 20230821", "student 20231820", "student 20231821"):
        assert f"\n{stage} " in said
    assert "teacher 20230821 is right on 0." in said
    first = json.loads((tmp_path / "work" / "config.json").read_text("utf-8"))
    assert first["hidden_size"] == 32, "students start from the small encoder"
    scores = PairScorer(str(out)).score(["i am glad"], ["This person feels joy."])
    assert scores.shape == (1, 1)
    other, mean = shutil.copytree(out, tmp_path / "other"), tmp_path / "mean"
    weights = load_file(out / "model.safetensors")
    save_file({k: 2 * v for k, v in weights.items()}, other / "model.safetensors", {"format": "pt"})
    averaged = python(train, "--mean-of", out, other, "--out", mean)
    assert averaged.code == 0, averaged.err[-2000:]
    for name, weight in load_file(mean / "model.safetensors").items():
        torch.testing.assert_close(weight, 1.5 * weights[name], msg=name)
    assert PairScorer(str(mean)).score(["i am glad"], ["This person feels joy."]).shape == (1, 1)
    measured = python(
        *(train, "--data", shared, "--evaluate", out),
        *("--sets", "go_dev", "xed_dev", "spoken_dev", "snli", "--first", 20, "--held-out", 20),
    )
    assert measured.code == 0, measured.err[-2000:]
    figures = json.loads(measured.out[measured.out.index(b"{\n") :])
    assert 20 <= figures["snli"]["n"] <= 22  # whole groups of one premise
    [go] = [row for name, row in figures.items() if name.startswith("go_dev | ")]
    assert go["n"] == 20 and 0 <= go["plain"]["uar"] <= 1
    assert figures["spoken_dev | This person feels {}."]["n"] == 20


def test_what_is_tested_on_is_found_in_training_text_in_other_case_and_with_other_words() -> None:
    texts = _texts()
    held = texts.Held()
    held.add(["What are you doing here?", "I never said that you could take the car tonight."])
    assert held.has("what are you doing here") == "exact"
    assert held.has("Well, I never said that you could take the car") == "near"
    assert held.has("What are you waiting for?") is None
    kept, removed = held.without([("what are you doing, here!", ["joy"]), ("Fine.", ["joy"])])
    assert kept == [("Fine.", ["joy"])] and removed == {"exact": 1}


def test_a_recogniser_errs_in_about_one_word_of_ten_and_by_sound() -> None:
    texts = _texts()
    line = "i meet my friend at the bar and we eat meat in the park so it is a good night"
    words = line.split()
    ear = texts.Ear.of([line] * 5)
    assert ear.alike["meet"] == ["meat"] and ear.alike["friend"] == []
    rng = random.Random(1)
    said = f"{line} " * 500
    heard = ear.hear(said, rng).split()
    counts, before = Counter(heard), Counter(words * 500)
    assert counts["um"] > 10 and before["the"] > counts["the"] > 0.8 * before["the"]
    assert counts["friend"] >= before["friend"] and len(heard) == pytest.approx(10_000, rel=0.03)


def test_a_line_of_xed_is_in_one_part_alone(shared) -> None:
    texts = _texts()
    parts = {name: texts.read_xed(shared / "text", name) for name in ("train", "dev", "test")}
    keys = {name: {texts.key(text) for text, _ in lines} for name, lines in parts.items()}
    assert keys["train"].isdisjoint(keys["dev"] | keys["test"])
    assert keys["dev"].isdisjoint(keys["test"])
    total = sum(map(len, parts.values()))
    assert total > 27_000
    assert len(parts["train"]) == pytest.approx(0.9 * total, rel=0.01)


def test_a_share_of_the_spoken_sentences_is_told_from_ekmans_labels_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "recipes")
    lists = _loaded("embedded_entailment_lists")
    options = lists.ListOptions(4, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0)
    sentences = [("we won", ["joy"]), ("he died", ["grief"]), ("i need a smoke", ["craving"])] * 20
    coarse = {name: lists.read_words("goemotions")[name] for name in lists.LISTS["coarse"]}
    filled = {
        template.format(word)
        for templates in lists.LISTS["templates"].values()
        for template in templates
        for words in coarse.values()
        for word in words.said
    }
    made = [*lists.spoken_items(sentences, options, random.Random(0), copies=1, unseen=())]
    for (text, _), item in zip(sentences, made, strict=True):
        told = filled.issuperset(item.hypotheses)
        assert told == (text != "i need a smoke")  # which none of the seven stands for
        assert item.target == [1.0, 0.0, 0.0, 0.0]
        if text == "he died":
            assert any(word in item.hypotheses[0] for word in coarse["sadness"].said)


def _texts():
    return _loaded("embedded_entailment_texts")


def _loaded(name: str):
    path = ROOT / "recipes" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name",
    [
        "recipes/embedded_whisper.py",
        "recipes/everyday_prior.py",
        "recipes/train_embedded_entailment.py",
        "recipes/words_for_voices.py",
        "recipes/simulated_speech.py",
        "recipes/store_points.py",
        "examples/make_corpus.py",
    ],
)
def test_scripts_explain_themselves(name, python):
    result = python(ROOT / name, "--help")
    assert result.code == 0 and b"--" in result.out


# ---------------------------------------------------------------- the recogniser

WHISPER = ROOT / "recipes" / "embedded_whisper.py"


def packed(fmt: str, *values: object) -> bytes:
    return struct.pack(f"<{fmt}", *values)


def text(word: str) -> bytes:
    return packed("H", len(word) + 1) + word.encode() + b"\0"


def as_ctranslate2(weights: dict[str, torch.Tensor], *, kind: str = "WhisperSpec") -> bytes:
    """A Whisper as CTranslate2 writes it, float16: stacked maps, a key's bias of zero."""
    found: dict[str, torch.Tensor] = {}

    def put(source: str, name: str, parts: tuple[str, str] = ("weight", "bias")) -> None:
        for its, mine in zip(parts, ("weight", "bias"), strict=True):
            found[f"{source}/{its}"] = weights[f"{name}.{mine}"]

    def stack(source: str, name: str, kinds: tuple[str, ...]) -> None:
        zero = torch.zeros(len(weights[f"{name}.key.weight"]))
        rows = [weights[f"{name}.{kind}.weight"] for kind in kinds]
        biases = [weights.get(f"{name}.{kind}.bias", zero) for kind in kinds]
        found[f"{source}/weight"], found[f"{source}/bias"] = torch.cat(rows), torch.cat(biases)

    for index in (1, 2):
        put(f"encoder/conv{index}", f"encoder.conv{index}")
    found["decoder/embeddings/weight"] = weights["decoder.token_embedding.weight"]
    for side, last in (("encoder", "ln_post"), ("decoder", "ln")):
        found[f"{side}/position_encodings/encodings"] = weights[f"{side}.positional_embedding"]
        put(f"{side}/layer_norm", f"{side}.{last}", ("gamma", "beta"))
        layer, block = f"{side}/layer_0", f"{side}.blocks.0"
        norms = {"self_attention": "attn_ln", "ffn": "mlp_ln"}
        stack(f"{layer}/self_attention/linear_0", f"{block}.attn", ("query", "key", "value"))
        put(f"{layer}/self_attention/linear_1", f"{block}.attn.out")
        if side == "decoder":
            norms["attention"] = "cross_attn_ln"
            put(f"{layer}/attention/linear_0", f"{block}.cross_attn.query")
            stack(f"{layer}/attention/linear_1", f"{block}.cross_attn", ("key", "value"))
            put(f"{layer}/attention/linear_2", f"{block}.cross_attn.out")
        for part, norm in norms.items():
            put(f"{layer}/{part}/layer_norm", f"{block}.{norm}", ("gamma", "beta"))
        put(f"{layer}/ffn/linear_0", f"{block}.mlp.0")
        put(f"{layer}/ffn/linear_1", f"{block}.mlp.2")
    data = packed("I", 6) + text(kind) + packed("II", 3, len(found) + 1)
    data += text("encoder/num_heads") + packed("B", 0) + packed("BI", 2, 2) + packed("h", 1)
    for name, tensor in found.items():
        half = tensor.half().contiguous().numpy()
        data += text(name) + packed("B", half.ndim) + packed(f"{half.ndim}I", *half.shape)
        data += packed("BI", 4, half.nbytes) + half.tobytes()
    alias = text("decoder/projection/weight") + text("decoder/embeddings/weight")
    return data + packed("I", 1) + alias


@pytest.fixture(scope="module")
def one_head() -> Whisper:
    torch.manual_seed(0)
    model = Whisper(ModelDimensions(80, 1500, 64, 1, 1, 51_864, 24, 64, 1, 1))
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.1)
    return model


def test_whisper_from_ctranslate2(one_head, tmp_path, python):
    """Every weight arrives where it was, as a checkpoint and as the package's file."""
    weights = one_head.state_dict()
    (tmp_path / "model.bin").write_bytes(as_ctranslate2(weights))
    for name in ("x.pt", "x.safetensors"):
        made = python(WHISPER, tmp_path / "model.bin", "-o", tmp_path / name)
        assert made.code == 0, made.err
        digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        assert f"{digest}  {tmp_path / name}" in made.out.decode()
    checkpoint = torch.load(tmp_path / "x.pt", weights_only=True)
    assert checkpoint["dims"] == vars(one_head.dims)
    found = checkpoint["model_state_dict"]
    assert set(found) == set(weights)
    assert all(torch.equal(found[name], weight.half()) for name, weight in weights.items())
    found = whisper_weights.read(tmp_path / "x.safetensors").state_dict()
    for name, weight in weights.items():
        assert torch.allclose(found[name], weight, atol=0.01 * float(weight.abs().max())), name


def test_whisper_from_a_checkpoint(one_head, tmp_path, python):
    source, made = tmp_path / "x.pt", tmp_path / "x.safetensors"
    torch.save({"dims": vars(one_head.dims), "model_state_dict": one_head.state_dict()}, source)
    assert python(WHISPER, source, "-o", made).code == 0
    assert whisper_weights.read(made).dims == one_head.dims


@pytest.mark.parametrize("harm", ["torn", "other kind", "other file", "other version"])
def test_what_is_no_whisper_is_refused_in_a_sentence(one_head, tmp_path, python, harm):
    data = as_ctranslate2(
        one_head.state_dict(), kind="T" if harm == "other kind" else "WhisperSpec"
    )
    data = {"torn": data[:-3000], "other file": b"x" * 99, "other version": b"\5" + data[1:]}.get(
        harm, data
    )
    (tmp_path / "model.bin").write_bytes(data)
    made = python(WHISPER, tmp_path / "model.bin", "-o", tmp_path / "x.pt")
    assert made.code == 1 and not (tmp_path / "x.pt").exists()
    assert "cannot be read as Whisper's weights" in made.err
    assert "Traceback" not in made.err
