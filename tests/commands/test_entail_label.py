"""The command with its options together, as a user types them."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.entailment import load_taxonomy

TEXTS = ("i am so happy", "what was that noise", "leave me alone", "", "so it is", "...")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    items = [
        {"id": f"n{n}", "text": f"{TEXTS[n % 6]} {'' if n % 6 in (3, 5) else n}", "dialogue": "d"}
        for n in range(12)
    ]
    return write_jsonl(tmp_path / "in.jsonl", items)


@pytest.mark.slow
def test_all_at_once_and_again_from_the_cache(
    lanser: Lanser, tiny_nli: Path, path: Path, tmp_path: Path
) -> None:
    line = ["entail-label", path, "--model", tiny_nli, "--device", "cpu", "--context", "1"]
    line += ["--taxonomy", "goemotions", "--crosswalk", "meld7", "--calibrate", "null"]
    line += ["--template", "I feel {}.", "--template", "I am {adjective}.", "--top-k", "3"]
    line += ["--min-score", "0.15", "--cache", tmp_path / "cache", "--top-k-first", "9"]
    first, second = lanser(*line), lanser(*line)
    assert first.stdout == second.stdout
    found = read_jsonl(first.stdout)
    assert len(found) == 12
    labels = load_taxonomy("meld7").labels
    for item in found:
        about = item["entailment"]
        assert about["crosswalk"] == "meld7" and about["candidates"] == 9
        if about.get("abstained") in ("empty", "no words"):
            assert item["emotion"] is None and item["emotion_scores"] is None
            continue
        assert set(item["emotion_scores"]) <= set(labels) and len(item["emotion_scores"]) == 3
        best = max(item["emotion_scores"].values())
        assert (item["emotion"] is None) == (best < 0.15)
        assert about["uncalibrated"] in labels
    reasons = [item["entailment"].get("abstained") for item in found]
    assert reasons.count("empty") == reasons.count("no words") == 2


def test_the_hypotheses_are_in_the_language_asked_for_and_the_record_says_so(
    lanser: Lanser, tiny_nli: Path, path: Path
) -> None:
    line = ("entail-label", path, "-t", "ekman6", "--lang", "de", "--device", "cpu")
    found = read_jsonl(lanser(*line, "--model", tiny_nli).stdout)[0]["entailment"]
    assert found["lang"] == "de" and found["templates"] == ["Diese Person empfindet {}."]
    refused = lanser(*line, check=2)
    assert b"the embedded model reads English alone: name a multilingual" in refused.stderr
    assert refused.stdout == b"" and len(refused.stderr.splitlines()) == 1


def test_a_prior_of_english_sentences_is_said_once_in_another_language(
    lanser: Lanser, tiny_nli: Path, path: Path
) -> None:
    line = ("entail-label", path, "-t", "ekman6", "--model", tiny_nli, "--device", "cpu", "-q")
    german = lanser(*line, "--lang", "de", "--calibrate", "null").stderr.decode()
    assert "the prior of --calibrate null is of English sentences" in german
    assert "--lang de" in german and len(german.splitlines()) == 1
    assert lanser(*line, "--calibrate", "null").stderr == b""
    assert lanser(*line, "--lang", "de").stderr == b""


def test_precision_is_in_the_record_and_checked(lanser: Lanser, tiny_nli: Path, path: Path) -> None:
    line = ("entail-label", path, "--model", tiny_nli, "--labels", "joy,fear", "--device", "cpu")
    exact, half, quarter = (
        read_jsonl(lanser(*line, "--precision", name).stdout)
        for name in ("auto", "bfloat16", "int8")
    )
    assert exact[0]["entailment"]["precision"] == "float32"
    for name, found in (("bfloat16", half), ("int8", quarter)):
        assert found[0]["entailment"]["precision"] == name
        for one, other in zip(exact, found, strict=True):
            assert one["emotion"] == other["emotion"]  # close calls are decided in float32
            if one["emotion_scores"]:
                assert other["emotion_scores"] == pytest.approx(one["emotion_scores"], abs=0.05)
    assert "float16" in lanser(*line, "--precision", "float17", check=2).stderr.decode()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--labels", "joy,fear,joy"), "'joy' occurs twice"),
        (("--template", "no slot"), "must have exactly one slot"),
        (("--template", "{} and {}"), "must have exactly one slot"),
        (("--taxonomy", "goemotion"), "did you mean 'goemotions'?"),
        (("--taxonomy", "emodb7", "--crosswalk", "ravdess8"), "calm"),
        (("--precision", "int8", "--device", "cuda"), "CUDA"),
    ],
)
def test_bad_usage_is_one_sentence_before_anything_is_read(
    lanser: Lanser, words: tuple[str, ...], message: str
) -> None:
    result = lanser("entail-label", *words, input=b"this is not even JSON\n", check=2)
    assert message in result.stderr.decode()
    assert len(result.stderr.splitlines()) == 1 and result.stdout == b""
