"""lanser from Python: paths, texts and records in, records out."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import EKMAN, ROOT, Lanser, read_jsonl

import lanser_cli
from lanser_cli.entailment.made_by import options_in
from lanser_cli.errors import LanserError, RecordError, UsageError
from lanser_cli.records import Record, Reject


def test_functions_give_what_commands_write(
    clips: Path, tiny_whisper: Path, tiny_nli: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    """One into the next, without a file between them."""
    heard, weak = tmp_path / "heard.jsonl", tmp_path / "weak.jsonl"
    model, words = f"whisper:{tiny_whisper}", ("--labels", "joy,fear", "--device", "cpu")
    lanser("transcribe", clips, "--model", model, "--device", "cpu", "-o", heard)
    lanser("entail-label", heard, "--model", tiny_nli, *words, "-o", weak)
    done = lanser("predict", weak, "--run", tiny_run, "--device", "cpu")
    found: Iterator[Record] = lanser_cli.transcribe(str(clips), model=model, device="cpu")
    found = lanser_cli.label(found, labels=["joy", "fear"], model=str(tiny_nli), device="cpu")
    found = lanser_cli.predict(found, run=str(tiny_run), device="cpu")
    assert [record.fields for record in found] == read_jsonl(done.stdout)


def test_a_model_answers_a_file_and_an_array_alike(clips: Path, tiny_run: Path) -> None:
    model = lanser_cli.load(tiny_run, device="cpu")
    assert model.labels == EKMAN
    path = clips / "clip-07.wav"
    samples, rate = soundfile.read(path)
    one, other = model.predict(str(path)), model.predict(samples, sample_rate=rate)
    assert one.scores == other.scores and one.prediction == max(one.scores, key=one.scores.get)
    assert list(one.scores) == list(EKMAN) and sum(one.scores.values()) == pytest.approx(1)
    assert one.embedding is not None and one.embedding.shape == other.embedding.shape
    assert model.predict(samples.tolist(), sample_rate=rate).scores == other.scores
    slow = model.predict(samples[::2], sample_rate=rate // 2)
    assert slow.scores[slow.prediction] == pytest.approx(one.scores[slow.prediction], abs=0.05)


@pytest.mark.parametrize("array", [np.zeros((2, 9)), np.zeros(0), np.zeros(9, np.int16), None])
def test_what_is_no_sound_is_an_error(array: np.ndarray, tiny_run: Path) -> None:
    with pytest.raises(RecordError, match="is no sound: give mono samples"):
        lanser_cli.load(tiny_run, device="cpu").predict(array)


def test_a_bad_record_is_handed_over_and_the_rest_goes_on(clips: Path, tiny_run: Path) -> None:
    refused: list[Reject] = []
    given = [clips / "clip-01.wav", {"id": "x", "audio_filepath": "gone.wav"}, {"id": "a.b"}]
    found = lanser_cli.predict(given, run=tiny_run, device="cpu", on_reject=refused.append)
    assert [Path(str(record.audio_filepath)).name for record in found] == ["clip-01.wav"]
    assert sorted(str(one.id) for one in refused) == ["None", "x"]


def test_one_record_is_one_and_what_is_none_is_a_reject(clips: Path, tiny_run: Path) -> None:
    one = {"id": "a", "audio_filepath": str(clips / "clip-01.wav")}
    assert [record.id for record in lanser_cli.predict(one, run=tiny_run, device="cpu")] == ["a"]
    refused: list[Reject] = []
    given: list = [float("nan"), {"audio_filepath": Path("c")}, one]  # such as a column of pandas
    found = lanser_cli.predict(given, run=tiny_run, device="cpu", on_reject=refused.append)
    assert [record.id for record in found] == ["a"]
    assert "not a JSON object but a number" in refused[0].error
    assert refused[1].error.startswith("'audio_filepath' must be a string, not of type ")


@pytest.mark.parametrize(
    ("labels", "why"),
    [(["glad, happy", "glad, happy"], "'glad, happy' occurs twice"), ([], "two"), ("sad", "two")],
)
def test_labels_are_taken_as_they_are_or_refused(labels: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        lanser_cli.label("so sad", labels=labels)


def test_a_label_may_hold_a_comma(tiny_nli: Path) -> None:
    labels = ["glad, happy", "sad"]
    [record] = lanser_cli.label("so sad", labels=labels, model=str(tiny_nli), device="cpu")
    assert list(record.emotion_scores or ()) == options_in(record)["labels"] == labels


def test_a_template_is_one_and_a_taxonomy_may_be_a_path(tiny_nli: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes((ROOT / "lanser_cli/entailment/taxonomies/ekman6.json").read_bytes())
    found = lanser_cli.label(
        "so sad", taxonomy=path, templates="They feel {}.", model=str(tiny_nli), device="cpu"
    )
    assert [record.fields["entailment"]["templates"] for record in found] == [["They feel {}."]]


def test_a_wrong_call_fails_at_once(clips: Path, tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(LanserError, match="there is no such run folder"):
        lanser_cli.predict(str(clips), run=str(tmp_path / "none"))
    with pytest.raises(LanserError, match="there is no such file or folder"):
        lanser_cli.predict(str(tmp_path / "none.wav"), run=str(tiny_run))
    with pytest.raises(UsageError, match="taxonomy"):
        lanser_cli.label(["so it is"], taxonomy="nonesuch")
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        _ = lanser_cli.nonesuch


def test_the_example_runs(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["python.py", str(tiny_run)])
    runpy.run_path(str(ROOT / "examples" / "python.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines[:3]] == ["utt-0001", "utt-0002", "utt-0003"]
    assert lines[3].startswith("joy {'anger': ")
    assert lines[-1].startswith("('anger', 'disgust', 'fear', 'joy', 'sadness', 'surprise') ")
