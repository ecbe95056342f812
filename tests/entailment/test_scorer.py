"""The pair scorer against a slow oracle, and the search for the entailment class."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import save_nli

from lanser_cli.entailment import PairScorer
from lanser_cli.entailment.scorer import entailment_index
from lanser_cli.errors import LanserError, UsageError

PREMISES = [
    "i am so happy today",
    "no",
    "",
    "it rained, it rained, and then it rained again until the whole street was a river",
    "don't you dare",
    "what?! 42 times...",
]
HYPOTHESES = ["the speaker feels joyful.", "the speaker feels sad.", "this is fear."]


@pytest.fixture(scope="module")
def keen_nli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with weights so large that its scores differ a lot."""
    folder = tmp_path_factory.mktemp("keen")
    return save_nli(folder, ("NO", "NEUTRAL", "ENTAILMENT"), spread=0.3)


def oracle(folder: Path, entailment: int) -> np.ndarray:
    """Log-odds, one pair at a time, by the definition: log p - log (1 - p)."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    table = np.empty((len(PREMISES), len(HYPOTHESES)))
    for i, premise in enumerate(PREMISES):
        for j, hypothesis in enumerate(HYPOTHESES):
            inputs = tokenizer(premise, hypothesis, return_tensors="pt")
            with torch.no_grad():
                p = torch.softmax(model(**inputs).logits[0].double(), -1)[entailment].item()
            table[i, j] = math.log(p) - math.log(1 - p)
    return table


@pytest.mark.parametrize("budget", [1, 64, 200, 100_000])
def test_scores_are_those_of_the_oracle(budget: int, keen_nli: Path) -> None:
    expected = oracle(keen_nli, 2)
    assert np.ptp(expected) > 0.1, "the model tells nothing apart"
    scores = PairScorer(str(keen_nli), token_budget=budget).score(PREMISES, HYPOTHESES)
    assert scores.dtype == np.float32
    assert np.abs(scores - expected).max() < 1e-4


def test_scores_do_not_depend_on_the_company(keen_nli: Path) -> None:
    scorer = PairScorer(str(keen_nli))
    scores = scorer.score(PREMISES, HYPOTHESES)
    order = list(range(len(PREMISES)))
    random.Random(0).shuffle(order)
    shuffled = scorer.score([PREMISES[index] for index in order], HYPOTHESES[::-1])
    assert np.abs(shuffled - scores[order][:, ::-1]).max() < 1e-4


@pytest.mark.parametrize("labels", [("entailment", "not_entailment"), ("Contradiction", "ENTAIL")])
def test_heads_of_two_classes(labels: tuple[str, str], tmp_path: Path) -> None:
    folder = save_nli(tmp_path / "two", labels, spread=0.3)
    entailment = 0 if labels[0] == "entailment" else 1
    scores = PairScorer(str(folder)).score(PREMISES, HYPOTHESES)
    assert np.abs(scores - oracle(folder, entailment)).max() < 1e-4


def test_a_model_too_frail_for_bfloat16_is_run_in_float32_and_this_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The number that float32 holds and bfloat16 does not comes to infinity times zero."""
    import torch
    from transformers import AutoModelForSequenceClassification

    folder = save_nli(tmp_path, ("NO", "NEUTRAL", "ENTAILMENT"))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        attention = model.bert.encoder.layer[0].attention.self
        attention.query.bias[0] = 3.4e38
        attention.key.weight[0], attention.key.bias[0] = 0.0, 0.0
    model.save_pretrained(folder)
    capsys.readouterr()
    frail = PairScorer(str(folder), precision="bfloat16")
    assert frail.precision == "float32" and "float32" in frail.fingerprint
    expected = PairScorer(str(folder)).score(PREMISES, HYPOTHESES)
    np.testing.assert_array_equal(frail.score(PREMISES, HYPOTHESES), expected)
    [line] = capsys.readouterr().err.splitlines()
    assert "gives NaN in bfloat16, so it is run in float32" in line


def test_a_gpu_without_memory_for_a_batch_is_given_halves_of_it(
    keen_nli: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    expected = PairScorer(str(keen_nli)).score(PREMISES, HYPOTHESES)
    scorer, odds, sizes = PairScorer(str(keen_nli), token_budget=9000), PairScorer._odds, []

    def small(self: PairScorer, pairs: list[tuple[list[int], list[int]]]) -> torch.Tensor:
        sizes.append(len(pairs))
        if len(pairs) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return odds(self, pairs)

    scorer._enough = 9000  # as on a GPU, whose batches are of unlike lengths
    monkeypatch.setattr(PairScorer, "_odds", small)
    found = scorer.score(PREMISES, HYPOTHESES)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert sizes[0] == 18 and "ran out of memory with 18 pairs at once" in capsys.readouterr().err
    sizes.clear()
    scorer.score(PREMISES, HYPOTHESES)
    assert max(sizes) < 10, "later batches are smaller"


def test_nothing_to_score(tiny_nli: Path) -> None:
    scorer = PairScorer(str(tiny_nli))
    assert scorer.score([], HYPOTHESES).shape == (0, 3)
    assert scorer.score(PREMISES, []).shape == (6, 0)


def test_a_text_of_ten_thousand_words_is_cut_and_the_hypothesis_is_not(keen_nli: Path) -> None:
    scorer = PairScorer(str(keen_nli))
    text = " ".join(f"w{n % 7}" for n in range(10_000))
    scores = scorer.score([text, text + " and more", "short"], HYPOTHESES)
    assert np.isfinite(scores).all()
    # not to the last bit: the two may sit in batches of different size
    assert np.allclose(scores[0], scores[1], atol=1e-4), "what is behind the cut has no effect"
    assert len(set(scores[0].tolist())) == 3, "hypotheses were cut"


# ---------------------------------------------------------------- the entailment class


@pytest.mark.parametrize(
    "names", list(itertools.permutations(["ENTAILMENT", "neutral", "Contradiction"]))
)
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title, str])
def test_every_order_and_case(names: tuple[str, ...], case: type) -> None:
    id2label = {index: case(name) for index, name in enumerate(names)}
    label2id = {name: index for index, name in id2label.items()}
    expected = names.index("ENTAILMENT")
    assert entailment_index(label2id, id2label, "m") == expected
    assert entailment_index(None, id2label, "m") == expected
    assert entailment_index(label2id, None, "m") == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["not_entailment", "entailment"], 1),
        (["entailment", "not_entailment"], 0),
        (["non-entailment", "Entailment"], 1),
        (["contradiction", "entail", "neutral"], 1),
        (["entailed", "not entailed"], 0),
    ],
)
def test_the_negation_is_not_entailment(names: list[str], expected: int) -> None:
    assert entailment_index(None, dict(enumerate(names)), "m") == expected


@pytest.mark.parametrize(
    "names",
    [
        ["LABEL_0", "LABEL_1", "LABEL_2"],
        ["entailment", "entailed", "neutral"],
        ["not_entailment", "neutral"],
        ["positive", "negative"],
        ["yes", "no"],
        ["entailment"],
    ],
)
def test_what_is_not_plain_is_not_guessed(names: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        entailment_index(None, dict(enumerate(names)), "some/model")
    message = str(caught.value)
    assert "some/model" in message and "--entailment-label" in message
    for index, name in enumerate(names):
        assert f"{index}: {name}" in message


def test_the_user_names_the_class() -> None:
    names = {0: "LABEL_0", 1: "LABEL_1"}
    assert entailment_index(None, names, "m", "label_1") == 1
    with pytest.raises(UsageError, match=r"a class called 'LABEL_7' .*0: LABEL_0, 1: LABEL_1"):
        entailment_index(None, names, "m", "LABEL_7")


def test_unnamed_classes_from_disk(tmp_path: Path) -> None:
    folder = save_nli(tmp_path / "unnamed", ("LABEL_0", "LABEL_1", "LABEL_2"), spread=0.3)
    with pytest.raises(UsageError, match=r"unnamed.*0: LABEL_0, 1: LABEL_1, 2: LABEL_2"):
        PairScorer(str(folder))
    scores = PairScorer(str(folder), entailment_label="LABEL_2").score(PREMISES, HYPOTHESES)
    assert np.abs(scores - oracle(folder, 2)).max() < 1e-4


# ---------------------------------------------------------------- loading


def test_loading_is_silent(tiny_nli: Path, capfd: pytest.CaptureFixture) -> None:
    PairScorer(str(tiny_nli)).score([" ".join(["word"] * 500)], HYPOTHESES)
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(LanserError, match=r"no config.json in this folder"):
        PairScorer(str(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_folder_with_a_damaged_file(name: str, tmp_path: Path) -> None:
    folder = save_nli(tmp_path / "damaged", ("entailment", "neutral"))
    (folder / name).write_bytes(b"\x80garbage" * 100)
    with pytest.raises(LanserError, match="damaged: this model cannot be loaded: ") as caught:
        PairScorer(str(folder))
    assert "\n" not in str(caught.value)


def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LanserError) as caught:
        PairScorer("nobody/no-such-model")
    message = str(caught.value)
    assert message.startswith("model 'nobody/no-such-model' is not in the local cache")
    for part in (constants.HF_HUB_CACHE, "HF_HUB_OFFLINE", "HF_HOME", "--model embedded"):
        assert part in message
    assert "\n" not in message
