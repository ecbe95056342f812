"""Bad input to training: one sentence that says what and where, and nothing half done."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.shards.gather import gather
from lanser_cli.tally import Ledger

QUICK = ("--device", "cpu", "--steps", "1", "--crop", "0.5")
SLIM = ("--model", "resnet18-slim", *QUICK)


def without(values: list[dict], *keys: str) -> list[dict]:
    return [{key: one[key] for key in one if key not in keys} for one in values]


@pytest.mark.parametrize(
    ("verb", "what"), [("pretrain", "weak labels"), ("finetune", "human labels")]
)
def test_one_class_is_nothing_to_learn(
    verb: str, what: str, labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = [one for one in read_jsonl(labelled) if one["label"] == "anger"]
    data = write_jsonl(tmp_path / "data.jsonl", values)
    done = lanser(verb, data, *SLIM, "-o", tmp_path / "run", check=1)
    assert f"at least two different {what}".encode() in done.stderr
    assert b"found only 'anger'" in done.stderr
    assert not (tmp_path / "run").exists() and not done.stdout


def test_a_fold_without_a_class_is_said_and_scored(
    labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = read_jsonl(labelled)
    values[0]["label"] = "fear"  # one clip of s0
    data = write_jsonl(tmp_path / "data.jsonl", values)
    done = lanser("finetune", data, *SLIM, "--folds", 3, "-o", tmp_path / "run")
    said = done.stderr.decode()
    assert said.count("has no fear in its test") == 2
    assert said.count("has no fear in its training") == 1
    [line] = read_jsonl(done.stdout)
    assert line["labels"] == ["anger", "disgust", "fear"] and line["n"] == 12


def test_labels_and_speakers_of_hand_made_lines_that_look_alike_are_pointed_out(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = read_jsonl(labelled)
    values[0] |= {"label": "Anger ", "speaker": "S0"}
    data = write_jsonl(tmp_path / "data.jsonl", values)
    assert len(gather([str(data)], Ledger("finetune"), take=lambda record: record)) == 12
    said = capsys.readouterr().err
    differ = "differ by blanks, case or form alone"
    assert f"finetune: labels that {differ}: 'Anger ' (1), 'anger'" in said
    assert f"finetune: speakers that {differ}: 'S0' (1), 's0'" in said
    gather([str(labelled)], Ledger("finetune"), take=lambda record: record)
    assert capsys.readouterr().err == ""


def test_shards_without_weak_labels_are_nothing_to_learn_from(
    labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = without(read_jsonl(labelled), "emotion", "emotion_score", "emotion_scores")
    lanser("shard", write_jsonl(tmp_path / "data.jsonl", values), "-o", tmp_path / "shards")
    done = lanser("pretrain", tmp_path / "shards", *SLIM, "-o", tmp_path / "run", check=1)
    assert b"nothing to learn from" in done.stderr
    assert b"12 in, 0 used, 0 rejected, 12 dropped (no weak label)" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.fixture
def damaged(tiny_run: Path, tmp_path: Path) -> Path:
    run = tmp_path / "damaged"
    shutil.copytree(tiny_run, run)
    return run


def test_weak_labels_of_several_taxonomies_are_said(
    labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = [one | {"entailment": {"taxonomy": "ekman6"}} for one in read_jsonl(labelled)]
    data = write_jsonl(tmp_path / "data.jsonl", values)
    about = {"taxonomy": "goemotions", "crosswalk": "iemocap4"}
    half = [{"id": one["id"], "emotion": "happy", "entailment": about} for one in values[:6]]
    new = write_jsonl(tmp_path / "new.jsonl", half)
    line = ("pretrain", data, *SLIM, "-o")
    said = lanser(*line, tmp_path / "mixed", "--labels", new).stderr
    assert b"the weak labels are of several taxonomies (ekman6, iemocap4)" in said
    assert b"several taxonomies" not in lanser(*line, tmp_path / "one").stderr


@pytest.mark.parametrize(
    ("verb", "option"), [("predict", "--run"), ("finetune", "--init"), ("efficiency", "--init")]
)
def test_weights_that_are_cut_off_are_named(
    verb: str, option: str, labelled: Path, damaged: Path, tmp_path: Path, lanser: Lanser
) -> None:
    weights = damaged / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    more = () if verb == "predict" else ("--steps", "1", "-o", tmp_path / "made")
    done = lanser(verb, labelled, option, damaged, "--device", "cpu", *more, check=1)
    [line] = [one for one in done.stderr.decode().splitlines() if "error" in one]
    assert f"{weights}: is damaged (" in line and "copy it again" in line


@pytest.mark.parametrize(("verb", "option"), [("predict", "--run"), ("finetune", "--init")])
def test_a_run_of_a_newer_version_is_named(
    verb: str, option: str, labelled: Path, damaged: Path, tmp_path: Path, lanser: Lanser
) -> None:
    path = damaged / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    more = () if verb == "predict" else ("-o", tmp_path / "made")
    done = lanser(verb, labelled, option, damaged, "--device", "cpu", *more, check=1)
    assert str(path).encode() in done.stderr and b"newer lanser" in done.stderr
    assert not (tmp_path / "made").exists()


def test_labels_that_a_run_does_not_know_count_as_wrong_and_are_said(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = [one | {"label": one["label"].upper()} for one in read_jsonl(labelled)]
    data = write_jsonl(tmp_path / "data.jsonl", values)
    answers = lanser("predict", data, "--run", tiny_run, "--device", "cpu").stdout
    done = lanser("eval", "-", input=answers)
    assert read_jsonl(done.stdout)[0]["uar"]["value"] == 0.0
    assert b"answers that never are the truth: 12 " in done.stderr


@pytest.mark.parametrize("verb", ["pretrain", "finetune"])
def test_what_cannot_work_is_said_before_anything_is_read_and_leaves_no_run(
    verb: str, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    """A folder that holds the run of a wrong command would keep the right one out."""
    run = tmp_path / "run"
    for words, said in (
        (("--model", "resnet", "-o", run), b"unknown architecture 'resnet'"),
        (("--compile", "--device", "cpu", "-o", run), b"--compile is for a GPU"),
        (("-o", tiny_run), b"holds a run already"),
    ):
        refused = lanser(verb, tmp_path / "unread.jsonl", *words, check=2)
        assert said in refused.stderr and not run.exists()
