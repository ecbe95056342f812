"""What the words alone tell: something where people say what they feel, nothing where all say the
same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Lanser, read_jsonl, write_jsonl

SENTENCES = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
SAID = {
    "anger": ("i am so furious with you", "this makes me really angry", "how dare you, you liar"),
    "joy": ("i am so happy today", "what a wonderful surprise, great", "this is so much fun"),
    "sadness": ("i miss him so much", "i feel so sad and lonely", "she died last night"),
}


def test_at_chance_on_ravdess_two_sentences(lanser: Lanser, data, tmp_path: Path) -> None:
    made = read_jsonl(lanser("manifest", "ravdess", data("ravdess")).stdout)
    records = [
        {**one, "text": SENTENCES[one["sentence"]]} for one in made if one["speaker"] < "Actor_05"
    ]
    # every class has as many clips of either sentence
    path = write_jsonl(tmp_path / "ravdess.jsonl", records)
    done = lanser("text-only", path, "--folds", "2", "--device", "cpu", "-o", tmp_path / "run")
    [line] = read_jsonl(done.stdout)
    for name in ("entailment", "logistic"):
        assert line[name]["n"] == 240
        assert line[name]["uar"] == pytest.approx(1 / 8, abs=1e-6)


def test_well_above_chance_where_words_tell(lanser: Lanser, tmp_path: Path) -> None:
    values = [
        {"id": f"{label}-{speaker}-{n}", "speaker": f"s{speaker}", "label": label, "text": text}
        for label, texts in SAID.items()
        for speaker in range(6)
        for n, text in enumerate(texts)
    ]
    path = write_jsonl(
        tmp_path / "said.jsonl",
        [*values, {"id": "mute", "label": "joy", "speaker": values[0]["speaker"]}],
    )
    run = tmp_path / "run"
    done = lanser("text-only", path, "--folds", "3", "--device", "cpu", "-o", run)
    [line] = read_jsonl(done.stdout)
    assert line["entailment"]["uar"] > 0.7 and line["logistic"]["uar"] == 1.0
    assert b"55 in, 54 used, 0 rejected, 1 dropped (no text)" in done.stderr
    config = json.loads((run / "entailment" / "config.json").read_text())
    assert (config["taxonomy"], config["crosswalk"]) == ("goemotions", "ekman6")
    assert [one["id"] for one in read_jsonl(run / "entailment" / "predictions.jsonl")] == [
        one["id"] for one in values
    ]
    lanser("compare", run / "entailment", run / "logistic")
    line = ("text-only", path, "--folds", "3", "--device", "cpu", "--calibrate", "batch")
    [made] = read_jsonl(lanser(*line, "-o", tmp_path / "calibrated").stdout)
    assert made["entailment"]["transductive"] and "transductive" not in made["logistic"]
    done = lanser("eval", *(tmp_path / "calibrated" / name for name in ("entailment", "logistic")))
    assert [one.get("transductive") for one in read_jsonl(done.stdout)] == [True, None]


def test_what_is_missing_of_a_protocol_is_said_by_eval_too(lanser: Lanser, tmp_path: Path) -> None:
    values = [
        {"id": f"{label}-{n}", "speaker": f"0{n}", "label": label, "text": f"{label} {n % 2}"}
        for label in ("anger", "happiness", "neutral", "sadness")
        for n in range(4)
    ]
    path, run = write_jsonl(tmp_path / "few.jsonl", values), tmp_path / "run"
    line = ("text-only", path, "--protocol", "emodb-4-loso", "--device", "cpu", "-o", run)
    [made] = read_jsonl(lanser(*line).stdout)
    assert made["protocol"] == "emodb-4-loso" and "speaker 4 of 10" in made["missing"]
    said = lanser("eval", run / "logistic").stderr.decode()
    assert "not all of emodb-4-loso, so it compares with no other: anger 4 of 127" in said


def test_labels_of_no_shipped_taxonomy_need_a_crosswalk(lanser: Lanser, tmp_path: Path) -> None:
    values = [
        {"id": f"r{n}", "speaker": f"s{n % 4}", "label": ("up", "down")[n % 2], "text": "so what"}
        for n in range(16)
    ]
    path = write_jsonl(tmp_path / "said.jsonl", values)
    done = lanser("text-only", path, "-o", tmp_path / "run", check=2)
    assert b"up" in done.stderr and b"--crosswalk" in done.stderr


def test_labels_that_entailment_cannot_answer_are_said(lanser: Lanser, tmp_path: Path) -> None:
    values = [
        {"id": f"r{n}", "speaker": f"s{n % 4}", "label": ("calm", "sad")[n // 4 % 2], "text": "so"}
        for n in range(16)
    ]
    line = ("text-only", write_jsonl(tmp_path / "said.jsonl", values), "--device", "cpu")
    done = lanser(*line, "-o", tmp_path / "run")
    assert b"no label of goemotions leads to calm: entailment never answers so" in done.stderr
    done = lanser(*line, "--crosswalk", "ekman6", "-o", tmp_path / "other", check=2)
    assert b"no label of goemotions leads to one of calm, sad" in done.stderr


def test_the_vector_of_a_text_does_not_depend_on_its_company() -> None:
    from lanser_cli.entailment.text_vectors import text_vectors

    texts = ["so sad", "what a wonderful day it is, and how long this sentence gets", ""]
    together = text_vectors(texts)
    alone = np.concatenate([text_vectors([text]) for text in texts])
    assert together.shape[0] == 3 and np.isfinite(together).all()
    np.testing.assert_allclose(together, alone, atol=1e-6)
