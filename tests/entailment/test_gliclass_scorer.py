"""A GLiClass model as the judge: the scores of its library, in one pass, and no label cut off."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import read_jsonl, save_nli, write_jsonl

from lanser_cli.app import main
from lanser_cli.entailment.gliclass_scorer import GliclassScorer
from lanser_cli.errors import UsageError

# The library imports much: seconds that the quick tests do without.
LABELS = ("joy", "fear", "anger")
TEXTS = ("what a joy", "who is there", "go away now, all of you")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GLiClass uni-encoder with random weights; the text comes before the labels."""
    pytest.importorskip("gliclass")
    import torch
    from gliclass import GLiClassModel
    from gliclass.config import GLiClassModelConfig
    from transformers import AutoTokenizer, BertConfig

    folder = save_nli(tmp_path_factory.mktemp("gliclass") / "tiny", ("a", "b"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<<LABEL>>", "<<SEP>>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    encoder = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    config = GLiClassModelConfig(
        encoder_config=encoder,
        encoder_model="none",
        class_token_index=tokenizer.convert_tokens_to_ids("<<LABEL>>"),
        text_token_index=tokenizer.convert_tokens_to_ids("<<SEP>>"),
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    GLiClassModel(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_scores_are_the_log_odds_of_the_library_and_labels_are_never_cut(tiny: Path) -> None:
    from gliclass import GLiClassModel, ZeroShotClassificationPipeline
    from transformers import AutoTokenizer

    scorer = GliclassScorer(f"gliclass:{tiny}", [LABELS])
    found = scorer.score(TEXTS, LABELS)
    model = GLiClassModel.from_pretrained(tiny)
    theirs = ZeroShotClassificationPipeline(
        model, AutoTokenizer.from_pretrained(tiny), device="cpu", progress_bar=False
    )(list(TEXTS), list(LABELS), threshold=0.0)
    expected = [[one["score"] for one in row] for row in theirs]
    np.testing.assert_allclose(1 / (1 + np.exp(-found)), expected, atol=1e-5)
    one = scorer.score(TEXTS, LABELS[1:2], np.array([[True], [False], [True]]))
    np.testing.assert_allclose(one[[0, 2], 0], found[[0, 2], 1], atol=1e-6)
    assert np.isnan(one[1, 0])
    long = " ".join(["go away"] * 200)
    assert scorer.truncates([long, TEXTS[0]], LABELS) == [True, False]
    assert np.isfinite(scorer.score([long], LABELS)).all()


@pytest.mark.slow
def test_weights_that_were_saved_in_bfloat16_compute_in_float32(tiny: Path, tmp_path: Path) -> None:
    """transformers would compute in what they were saved in, and the records say float32."""
    import torch
    from gliclass import GLiClassModel

    folder = shutil.copytree(tiny, tmp_path / "tiny")
    GLiClassModel.from_pretrained(tiny).to(torch.bfloat16).save_pretrained(folder)
    scorer = GliclassScorer(f"gliclass:{folder}", [LABELS])
    found = scorer.score(TEXTS, LABELS)
    assert scorer.precision == "float32"
    assert (torch.from_numpy(found) != torch.from_numpy(found).bfloat16()).any()


@pytest.mark.slow
def test_it_labels_and_it_chooses_candidates(tiny: Path, tiny_nli: Path, tmp_path: Path) -> None:
    items = [{"id": f"n{number}", "text": text} for number, text in enumerate(TEXTS)]
    path, out = write_jsonl(tmp_path / "in.jsonl", items), tmp_path / "out.jsonl"
    line = ["entail-label", path, "--labels", ",".join(LABELS), "-o", out, "--force"]
    line += ["--template", "{}", "--device", "cpu", "--cache", tmp_path / "cache"]
    alone = ["--model", f"gliclass:{tiny}"]
    chosen = ["--model", tiny_nli, "--top-k-first", "2", "--first-model", f"gliclass:{tiny}"]
    assert main([str(word) for word in line + alone]) == 0
    labels = read_jsonl(out)
    assert main([str(word) for word in line + chosen]) == 0
    for one, other in zip(labels, read_jsonl(out), strict=True):
        best = sorted(one["emotion_scores"], key=lambda name: -one["emotion_scores"][name])[:2]
        assert set(other["emotion_scores"]) == set(best)
        assert one["entailment"]["model"] == f"gliclass:{tiny}"


@pytest.mark.slow
def test_a_model_that_would_run_code_of_the_hub_is_refused(tiny: Path, tmp_path: Path) -> None:
    config = json.loads((tiny / "config.json").read_text())
    config["encoder_config"]["model_type"] = "of-my-own"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="not a uni-encoder"):
        GliclassScorer(f"gliclass:{tmp_path}", [LABELS])


def test_without_the_library_the_message_names_the_pip_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gliclass", None)
    path = write_jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": "hm"}])
    assert main(["entail-label", str(path), "--model", "gliclass:some/model"]) == 1
    assert "pip install 'lanser[gliclass]'" in capsys.readouterr().err
