"""Zero-shot: a run's answers in the labels of another taxonomy, with the batch's mean removed."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from conftest import Lanser, read_jsonl, write_jsonl
from safetensors.torch import load_file, save_file

from lanser_cli.errors import UsageError
from lanser_cli.training.translation import Translation


def test_probabilities_are_summed_through_the_crosswalk() -> None:
    way = Translation.of(("joy", "anger", "annoyance", "grief"), "goemotions:ravdess8")
    assert way.labels == ("happy", "sad", "angry")
    [row] = way(np.array([[0.1, 0.2, 0.3, 0.4]]))
    assert row == pytest.approx([0.1, 0.4, 0.5])


def test_what_all_answers_have_in_common_is_removed() -> None:
    way = Translation.of(("a", "b"), None)
    batch = np.array([[0.9, 0.1], [0.7, 0.3], [0.8, 0.2]])
    calibrated = way.without_mean(batch)(batch)
    odds = batch / batch.mean(axis=0)
    np.testing.assert_allclose(calibrated, odds / odds.sum(axis=1, keepdims=True))
    assert calibrated.argmax(axis=1).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("spec", "said"), [("ravdess8", "SOURCE:TARGET"), ("ravdess8:ekman6", "'joy'")]
)
def test_a_crosswalk_that_does_not_fit_is_refused(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Translation.of(("joy", "anger"), spec)


def test_predict_answers_in_the_labels_of_the_corpus(
    lanser: Lanser, labelled: Path, tiny_run: Path
) -> None:
    line = ("predict", labelled, "--run", tiny_run, "--device", "cpu")
    plain = read_jsonl(lanser(*line).stdout)
    done = lanser(*line, "--crosswalk", "ekman6:ravdess8")
    mapped = read_jsonl(done.stdout)
    for one, other in zip(plain, mapped, strict=True):
        assert other["scores"]["happy"] == pytest.approx(one["scores"]["joy"], abs=2e-6)
        assert other["prediction"] == max(other["scores"], key=other["scores"].__getitem__)
    assert b"no label of the run leads to neutral, calm" in done.stderr
    batch = lanser(*line, "--crosswalk", "ekman6:ravdess8", "--calibrate", "batch")
    rows = np.array([list(one["scores"].values()) for one in mapped])
    rows = rows / rows.mean(axis=0)
    expected = rows / rows.sum(axis=1, keepdims=True)
    found = [list(one["scores"].values()) for one in read_jsonl(batch.stdout)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    stream = lanser(
        *("predict", "-", "--run", tiny_run, "--calibrate", "batch"),
        input=labelled.read_bytes(),
        check=2,
    )
    assert b"reads its input twice" in stream.stderr


def test_a_resumed_run_answers_in_the_same_labels(
    lanser: Lanser, labelled: Path, tiny_run: Path, tmp_path: Path
) -> None:
    line = ("predict", labelled, "--run", tiny_run, "--device", "cpu", "-o", tmp_path / "o.jsonl")
    lanser(*line, "--crosswalk", "ekman6:ravdess8")
    assert b"whole already" in lanser(*line, "--crosswalk", "ekman6:ravdess8", "--resume").stderr
    done = lanser(*line, "--crosswalk", "ekman6:iemocap4", "--resume", check=2)
    assert b"made with another --crosswalk" in done.stderr


def test_what_is_read_twice_may_be_named_by_a_pattern(
    lanser: Lanser, labelled: Path, clips: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """A glob or a range of tars is no stream, although no file is called so."""
    line = ("--run", tiny_run, "--device", "cpu", "--calibrate", "batch")
    lanser("shard", labelled, "-o", tmp_path / "set", "--max-count", "7")
    whole = read_jsonl(lanser("predict", tmp_path / "set", *line).stdout)
    tars = tmp_path / "set" / "speech-{000000..000001}.tar"
    assert read_jsonl(lanser("predict", tars, *line).stdout) == whole
    assert len(read_jsonl(lanser("predict", clips / "*.wav", *line).stdout)) == 12


def test_a_label_of_hardly_any_probability_is_not_the_answer_to_all(
    lanser: Lanser, labelled: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """Its probabilities round to zero, and divided by a mean of zero they would be above all."""
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    weights = load_file(run / "model.safetensors")
    weights["backbone.fc.bias"][0] -= 18
    save_file(weights, run / "model.safetensors")
    line = ("predict", labelled, "--run", run, "--device", "cpu")
    plain = [one["scores"] for one in read_jsonl(lanser(*line).stdout)]
    first = next(iter(plain[0]))
    assert {scores[first] for scores in plain} == {0.0}
    for one in read_jsonl(lanser(*line, "--calibrate", "batch").stdout):
        assert one["scores"][first] < 0.5


def test_another_taxonomy_under_the_name_of_a_crosswalk_is_another_run(
    lanser: Lanser, labelled: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """Either side of SOURCE:TARGET may be a file."""
    source, output = tmp_path / "mine.json", tmp_path / "out.jsonl"
    shipped = json.loads((files("lanser_cli") / "entailment/taxonomies/ekman6.json").read_text())
    source.write_text(json.dumps(shipped))
    way = ("--crosswalk", f"{source}:ravdess8")
    line = ("predict", labelled, "--run", tiny_run, "--device", "cpu", *way, "-o", output)
    lanser(*line)
    assert b"whole already" in lanser(*line, "--resume").stderr
    one, other = shipped["labels"]["joy"], shipped["labels"]["sadness"]
    one["common"], other["common"] = other["common"], one["common"]
    source.write_text(json.dumps(shipped))
    assert b"another --crosswalk" in lanser(*line, "--resume", check=2).stderr


def test_a_mean_that_takes_away_all_that_is_answered_is_refused_and_one_of_few_is_said(
    lanser: Lanser, labelled: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """Divided by themselves all answers are one and the same, and the first label wins."""
    line = ("--run", tiny_run, "--device", "cpu", "--calibrate", "batch")
    first = read_jsonl(labelled)[0]
    same = write_jsonl(tmp_path / "same.jsonl", [first, {**first, "id": "again"}])
    refused = lanser("predict", same, *line, check=1)
    assert b"the model answers all of the input alike" in refused.stderr and not refused.stdout
    few = lanser("predict", labelled, *line)
    assert b"a mean over 12 different answers is no prior" in few.stderr
