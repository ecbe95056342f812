"""eval --perturb: the sound is changed as it says, and each record is answered by its own fold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Lanser, read_jsonl, tone, write_jsonl

from lanser_cli import app
from lanser_cli.audio.perturbation import perturbations
from lanser_cli.errors import UsageError

NAMES = ["gain -12 dB", "gain +12 dB", "noise 30 dB", "noise 20 dB", "noise 10 dB"]


def decibels(sound: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(sound, dtype=float)))


def test_levels_are_those_that_the_names_say() -> None:
    sound = tone(1.0)
    for change in perturbations("gain,noise"):
        changed = change.apply(sound, "an-id")
        assert changed.dtype == np.float32 and len(changed) == len(sound)
        wanted = float(change.name.split()[1])
        if change.name.startswith("gain"):
            assert decibels(changed) - decibels(sound) == pytest.approx(wanted, abs=1e-3)
        else:
            assert decibels(sound) - decibels(changed - sound) == pytest.approx(wanted, abs=0.3)
        np.testing.assert_array_equal(changed, change.apply(sound, "an-id"))
    noisy = perturbations("noise")[0]
    assert (noisy.apply(sound, "an-id") != noisy.apply(sound, "another")).any()


def test_a_telephone_passes_its_band_alone() -> None:
    [telephone] = perturbations("telephone")
    time = np.arange(16_000) / 16_000
    for hertz, loss in ((100, 30), (1000, 0), (2500, 0), (7000, 30)):
        sound = np.sin(2 * np.pi * hertz * time).astype(np.float32)
        lost = decibels(sound) - decibels(telephone.apply(sound, "id")[4000:])
        assert lost > loss if loss else abs(lost) < 1


def test_no_sound_stays_no_sound() -> None:
    for change in perturbations("noise,telephone"):
        silent = change.apply(np.zeros(100, np.float32), "id")
        assert not silent.any()
        assert len(change.apply(np.zeros(0, np.float32), "id")) == 0


def test_an_unknown_change_is_refused() -> None:
    with pytest.raises(UsageError, match="choose from gain, noise, telephone"):
        perturbations("gain,hum")


@pytest.mark.parametrize("words", [("--reference", "r.jsonl"), ("--answer", "emotion")])
def test_another_truth_or_answer_than_the_changed_sound_is_measured_by_is_refused(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["eval", "run", "--perturb", "gain", *words]) == 2
    assert "leave --reference and --answer out" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_state_what_they_lose(lanser: Lanser, labelled: Path, tmp_path: Path) -> None:
    run, report = tmp_path / "run", tmp_path / "report"
    words = ("--model", "resnet18-slim", "--crop", "0.5", "--epochs", "2", "--batch-size", "4")
    lanser("finetune", labelled, *words, "--folds", "3", "--device", "cpu", "-o", run)
    line = ("eval", run, "--perturb", "gain,noise,telephone", "--device", "cpu")
    done = lanser(*line, "-o", report)
    [result] = read_jsonl(done.stdout)
    assert list(result["perturbed"]) == [*NAMES, "telephone band"]
    for lost in result["perturbed"].values():
        # unchanged sound gives the answers of the run: each fold's model has its own speakers
        assert lost["reference"] == result["uar"]["value"]
        assert lost["difference"] == pytest.approx(lost["other"] - lost["reference"], abs=2e-6)
    kept = json.loads((report / "report.json").read_text())
    assert kept["perturbed"][str(run)] == result["perturbed"]
    assert "telephone band" in (report / "report.html").read_text()
    lanser("eval", run / "predictions.jsonl", "--perturb", "gain", check=2)


@pytest.mark.slow
def test_the_model_of_a_record_is_that_of_its_fold_and_of_one_seed(
    lanser: Lanser, labelled: Path, tmp_path: Path
) -> None:
    """Where folds are by sentence, every model has tested every speaker."""
    values = [one | {"sentence": str(n // 3 % 2)} for n, one in enumerate(read_jsonl(labelled))]
    corpus, run = write_jsonl(tmp_path / "corpus.jsonl", values), tmp_path / "run"
    words = ("--model", "resnet18-slim", "--crop", "0.3", "--steps", "1", "--device", "cpu")
    folds = ("--group", "sentence", "--folds", "2", "--seeds", "2")
    lanser("finetune", corpus, *words, *folds, "-o", run)
    line = ("--perturb", "telephone", "--device", "cpu")
    said = lanser("eval", run, *line, check=1).stderr.decode()
    assert f"several seeds: name the folder of one, such as {run / 'seed-0'}" in said
    [result] = read_jsonl(lanser("eval", run / "seed-0", *line).stdout)
    for lost in result["perturbed"].values():
        assert lost["reference"] == result["uar"]["value"]
