"""The recipe of the embedded model, in small: it trains, writes a model, and measures it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, ROOT

from lanser_cli.entailment import PairScorer

SCRIPT = ROOT / "recipes" / "train-embedded-entailment.sh"


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


def test_it_trains_and_measures(shared, tmp_path):
    """On sixty comments, from a tiny encoder with the tokenizer of the real one."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    train = ROOT / "recipes" / "train_embedded_entailment.py"
    base = tmp_path / "base"
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "lanser_cli" / "entailment" / "embedded")
    tokenizer.save_pretrained(base)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertForSequenceClassification(config).save_pretrained(base)
    out = tmp_path / "model"
    small = ("--limit", 60, "--stated", 2000, "--tokens", 2000)
    made = run(sys.executable, train, "--data", shared, "--base", base, "--out", out, *small)
    assert made.returncode == 0, made.stderr[-2000:]
    scores = PairScorer(str(out)).score(["i am glad"], ["This person feels joy."])
    assert scores.shape == (1, 1)
    mean = run(sys.executable, train, "--data", shared, "--average", out, out, "--out", out / "2")
    assert mean.returncode == 0, mean.stderr[-2000:]
    same = PairScorer(str(out / "2")).score(["i am glad"], ["This person feels joy."])
    assert same == pytest.approx(scores)
    measured = run(
        *(sys.executable, train, "--data", shared, "--evaluate", out),
        *("--sets", "go_dev", "snli", "--first", 20, "--held-out", 20),
    )
    assert measured.returncode == 0, measured.stderr[-2000:]
    figures = json.loads(measured.stdout[measured.stdout.index("{\n") :])
    assert 20 <= figures["snli"]["n"] <= 22  # whole groups of one premise
    [go] = [row for name, row in figures.items() if name.startswith("go_dev | ")]
    assert go["n"] == 20 and 0 <= go["plain"]["uar"] <= 1


@pytest.mark.parametrize(
    "name", ["recipes/train_embedded_entailment.py", "examples/make_corpus.py"]
)
def test_scripts_explain_themselves(name):
    result = run(sys.executable, ROOT / name, "--help")
    assert result.returncode == 0 and "--" in result.stdout
