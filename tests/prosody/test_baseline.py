"""The baseline: what a linear classifier makes of a corpus, in the folds of fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Lanser, read_jsonl, tone, write_jsonl

from lanser_cli.evaluation.linear import COSTS, divided, known, over_folds, scaled_by_speaker
from lanser_cli.lock import claimed_new_folder
from lanser_cli.models.front_end import FrontEnd, LogMel
from lanser_cli.prosody.functionals import MELS, functionals
from lanser_cli.records import Record
from lanser_cli.tally import Ledger
from lanser_cli.training.folds import Protocol, divide
from lanser_cli.training.protocols import standard

CLASSIFIERS = ("svm", "logistic")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six speakers who are high when angry and low when sad, each with a level of their own."""
    folder = tmp_path_factory.mktemp("corpus")
    values = []
    for index in range(48):
        speaker, label = index % 6, ("angry", "sad")[index // 6 % 2]
        hertz = (220 if label == "angry" else 140) + 5 * speaker + index % 7
        path = folder / f"{index:02d}.wav"
        soundfile.write(path, tone(0.5, hertz) * (0.3 + 0.1 * speaker), 16_000)
        fields = {"speaker": f"s{speaker}", "label": label, "mine": index}
        values.append({"id": f"c{index:02d}", "audio_filepath": str(path), **fields})
    return write_jsonl(folder / "corpus.jsonl", values)


def test_it_leaves_runs_that_eval_and_compare_read(
    lanser: Lanser, corpus: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    [line] = read_jsonl(
        lanser("baseline", corpus, "--folds", "6", "--workers", "1", "-o", run).stdout
    )
    assert line["labels"] == ["angry", "sad"]
    for name in CLASSIFIERS:
        assert line[name]["n"] == 48 and line[name]["uar"] > 0.9
        made = read_jsonl(run / name / "predictions.jsonl")
        assert [one["id"] for one in made] == [f"c{index:02d}" for index in range(48)]
        assert all(one["mine"] == int(one["id"][1:]) for one in made)
        config = json.loads((run / name / "config.json").read_text())
        assert config["verb"] == "baseline" and config["normalise"] == "none"
        assert len(config["costs"]) == 6
    scores = read_jsonl(run / "logistic" / "predictions.jsonl")[0]["scores"]
    assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
    done = lanser("eval", run / "svm", run / "logistic", "-o", tmp_path / "report")
    assert [one["uar"]["value"] for one in read_jsonl(done.stdout)] == [
        line[name]["uar"] for name in CLASSIFIERS
    ]
    lanser("compare", run / "svm", run / "logistic")
    refused = lanser("eval", run, check=1)
    assert f"{run}/svm" in refused.stderr.decode() and refused.stderr.count(b"\n") == 1
    for line in (
        ("predict", corpus, "--run", run / "svm"),
        ("eval", run / "svm", "--perturb", "gain"),
    ):
        told = lanser(*line, check=1)
        assert b"there is no network in what lanser baseline made" in told.stderr
    told = lanser("baseline", corpus, "--folds", "6", "-o", run, check=2)
    assert b"is not empty" in told.stderr


@pytest.mark.parametrize("verb", ["baseline", "text-only"])
def test_one_process_at_a_time_writes_into_a_folder_that_can_be_made(
    verb: str, lanser: Lanser, corpus: Path, tmp_path: Path
) -> None:
    with claimed_new_folder(tmp_path / "run"):
        held = lanser(verb, corpus, "-o", tmp_path / "run", check=1)
        assert b"process" in held.stderr and b"is writing it" in held.stderr
    (tmp_path / "file").write_text("")
    done = lanser(verb, "-", "-o", tmp_path / "file" / "run", input=b"torn", check=1)
    assert b"cannot be made" in done.stderr and b"not JSON" not in done.stderr


def test_its_folds_are_those_of_finetune(corpus: Path) -> None:
    """Each record is answered by a classifier that heard nothing of its speaker."""
    records = [Record(value) for value in read_jsonl(corpus)]
    protocol = Protocol(folds=3)
    folds = divide(records, protocol)
    # A feature that names the record: what is known of a test side leaks into it at once.
    features = np.eye(len(records))
    tested = over_folds("svm", features, records, folds, protocol)
    assert sum(one.prediction == one.label for one in tested.records) < len(records)
    seen = np.array([[float(record.label == "angry")] for record in records])
    tested = over_folds("logistic", seen, records, folds, protocol)
    assert all(one.prediction == one.label for one in tested.records)
    assert set(tested.costs) == {fold.name for fold in folds}


@pytest.mark.parametrize("verb", ["baseline", "text-only"])
def test_a_record_without_features_leaves_the_others_in_the_folds_of_finetune(
    verb: str, lanser: Lanser, corpus: Path, tmp_path: Path
) -> None:
    values = [one | {"text": "so it is"} for one in read_jsonl(corpus)]
    for one in values[4:40:6]:  # most of one speaker
        one |= {"text": " ", "duration": 0.05}
    path = write_jsonl(tmp_path / "some.jsonl", values)
    line = (verb, path, "--folds", "3", "--fraction", ".5", "-o", tmp_path / "run")
    words = ("-t", "ekman6", "--crosswalk", "iemocap4") if verb == "text-only" else ()
    done = lanser(*line, *words, check=0 if words else 3)
    folds = divide([Record(one) for one in values], Protocol(folds=3, fraction=0.5))
    wanted = {one.id: fold.name for fold in folds for one in fold.test}
    made = read_jsonl(tmp_path / "run" / "logistic" / "predictions.jsonl")
    assert {one["id"]: one["test_fold"] for one in made} == {
        one["id"]: wanted[one["id"]] for one in values if one["text"] != " "
    }
    assert (b"6 dropped (no text)" if words else b"6 rejected") in done.stderr


def test_inner_folds_keep_the_group_of_the_protocol_apart() -> None:
    labels = list(standard("meld-7-split").labels)
    records = [
        Record({"id": f"{part}{n}", "label": label, "split": part, "speaker": "Joey",
                "dialogue": f"{part}{n}"})
        for part in ("train", "dev", "test")
        for n, label in enumerate(labels * 3)
    ]  # fmt: skip
    protocol, ledger = Protocol(protocol="meld-7-split"), Ledger("baseline")
    ledger.read = len(records)
    folds = known(divided(records, protocol), records, protocol, ledger)
    assert str(ledger).startswith("63 in, 42 used, 0 rejected, 21 dropped (for validation)")
    features = np.array([[float(labels.index(one.label))] for one in records])
    tested = over_folds("logistic", features, records, folds, protocol)
    # By speaker there would be one group, nothing to choose by, and so the middle cost.
    assert tested.costs["1"] > COSTS["logistic"][len(COSTS["logistic"]) // 2]


def test_features_that_are_not_defined_become_the_training_mean(corpus: Path) -> None:
    records = [Record(value) for value in read_jsonl(corpus)]
    features = np.array([[float(record.label == "angry"), np.nan] for record in records])
    features[::7, 0] = np.nan
    protocol = Protocol(folds=3)
    tested = over_folds("svm", features, records, divide(records, protocol), protocol)
    right = [one.prediction == one.label for one in tested.records]
    assert np.mean(right) > 0.85


def test_speaker_scaling_takes_mean_and_spread_from_every_speaker(corpus: Path) -> None:
    records = [Record(value) for value in read_jsonl(corpus)]
    features = np.random.default_rng(0).normal(3, 2, (len(records), 4))
    features[:, 3] = 1.0
    scaled = scaled_by_speaker(features, records)
    for speaker in {record.speaker for record in records}:
        own = scaled[[record.speaker == speaker for record in records]]
        assert own.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-12)
        assert own.std(axis=0) == pytest.approx([1, 1, 1, 0], abs=1e-12)


def test_functionals_are_those_of_the_contours() -> None:
    """Of steady sound nothing spreads; twice the amplitude adds 6.02 dB to loud bands."""
    front_end = LogMel(FrontEnd(mels=MELS)).eval()
    steady = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32) * 0.2
    one, two = functionals(steady, front_end), functionals(2 * steady, front_end)
    assert one.shape == two.shape
    loud = int(np.argmax(one[:MELS]))
    assert two[loud] - one[loud] == pytest.approx(6.02, abs=0.01)


def test_sound_too_short_is_a_reject(lanser: Lanser, corpus: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", tone(0.02), 16_000)
    short = {"id": "short", "audio_filepath": str(tmp_path / "short.wav"), "label": "sad"}
    path = write_jsonl(tmp_path / "all.jsonl", [*read_jsonl(corpus), {**short, "speaker": "s0"}])
    done = lanser(
        "baseline", path, "--folds", "2", "--workers", "1", "-o", tmp_path / "run", check=3
    )
    assert b"short: 320 samples at 16 kHz are too short" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words", "least"),
    [
        ("ravdess", ("--test", "speaker=Actor_09,Actor_10,Actor_11,Actor_12"), 0.49),
        ("emodb", ("--folds", "10"), 0.82),
    ],
)
def test_on_real_speech_it_is_a_bar_to_clear(
    lanser: Lanser, data, name: str, words: tuple[str, ...], least: float, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    lanser("manifest", name, data(name), "-o", corpus)
    [line] = read_jsonl(lanser("baseline", corpus, *words, "-o", tmp_path / "run").stdout)
    assert line["svm"]["uar"] >= least


def test_two_of_each_class_are_enough_to_choose_a_cost(
    lanser: Lanser, clips: Path, tmp_path: Path
) -> None:
    """Where folds are more than a class has records, there are fewer inner folds."""
    paths = sorted(clips.glob("*.wav"))[:12]
    values = [
        {
            "id": path.stem,
            "audio_filepath": str(path),
            "label": "abcdef"[number % 6],
            "speaker": f"s{number}",
        }
        for number, path in enumerate(paths)
    ]
    records = write_jsonl(tmp_path / "few.jsonl", values)
    done = lanser("baseline", records, "--folds", "3", "-o", tmp_path / "run", "--workers", "1")
    assert read_jsonl(done.stdout)[0]["svm"]["n"] == 12
