"""why: one record's weak label taken apart, and computed again."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Lanser, read_jsonl, save_nli, write_jsonl

TEXTS = ("i lost my keys", "what a day this was", "he never said goodbye", "")


@pytest.fixture(scope="module")
def nli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model whose scores differ a lot."""
    folder = tmp_path_factory.mktemp("nli") / "spread"
    return save_nli(folder, ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), spread=0.3)


@pytest.fixture(scope="module")
def heard(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("why")
    sound = clips / "clip-00.wav"
    values = [
        {"id": f"r-{n}", "audio_filepath": str(sound), "text": text, "dialogue": "d"}
        for n, text in enumerate(TEXTS)
    ]
    return write_jsonl(folder / "heard.jsonl", values)


def test_a_label_is_taken_apart_and_comes_out_again(
    heard: Path, clips: Path, lanser: Lanser, nli: Path, tmp_path: Path
) -> None:
    weak = tmp_path / "weak.jsonl"
    options = ("--model", nli, "--labels", "joy,anger,fear", "--device", "cpu")
    more = ("--template", "It is {}.", "--template", "They feel {}.", "--calibrate", "batch")
    made = lanser("entail-label", heard, *options, *more, "--context", 2, "-q", "-o", weak)
    assert made.stderr == b""
    done = lanser("why", "r-2", weak, "--device", "cpu")
    [found] = read_jsonl(done.stdout)
    [stored] = [value for value in read_jsonl(weak) if value["id"] == "r-2"]
    assert found["differs"] == [] and b"are the same" in done.stderr
    assert shlex.split(found["command"])[:3] == ["lanser", "entail-label", str(heard)]
    assert found["premise"] == (
        'Earlier: "i lost my keys" "what a day this was" Now: "he never said goodbye"'
    )
    samples, _ = soundfile.read(clips / "clip-00.wav", dtype="int16")
    assert found["audio"]["sha256"] == hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()
    parts = {part["label"]: part for part in found["labels"]}
    assert parts["joy"]["hypotheses"] == ["It is joy.", "They feel joy."]
    odds = np.array([part["log_odds"] - part["prior"] for part in found["labels"]])
    chances = np.exp(odds) / np.exp(odds).sum()  # the softmax, made here by hand
    for part, chance in zip(found["labels"], chances, strict=True):
        assert part["probability"] == pytest.approx(chance, abs=1e-4)
        assert part["probability"] == pytest.approx(stored["emotion_scores"][part["label"]])
    assert found["labels"][0]["label"] == stored["emotion"]
    [found] = read_jsonl(lanser("why", "r-3", weak, "--device", "cpu").stdout)
    assert found["labels"] == [] and found["differs"] == []
    assert found["computed"]["abstained"] == "empty"


def test_without_a_neighbour_the_record_itself_says_how_and_a_change_is_found(
    heard: Path, lanser: Lanser, nli: Path
) -> None:
    options = ("--model", nli, "--labels", "joy,anger,fear", "--device", "cpu")
    weak = read_jsonl(lanser("entail-label", heard, *options, "--calibrate", "null").stdout)
    first = {**weak[0], "votes": {"a": "joy", "b": None}, "agreement": 1.0}
    done = lanser("why", "r-0", "--device", "cpu", input=json.dumps(first).encode())
    [found] = read_jsonl(done.stdout)
    assert found["differs"] == [] and found["votes"] == {"a": "joy", "b": None}
    words = shlex.split(found["command"])
    assert words[words.index("--labels") + 1] == "joy,anger,fear"
    scores = {**weak[0]["emotion_scores"], "joy": 0.5}
    changed = {**weak[0], "emotion": "nothing", "emotion_scores": scores}
    done = lanser("why", "r-0", "--device", "cpu", input=json.dumps(changed).encode())
    [found] = read_jsonl(done.stdout)
    assert found["differs"] == ["emotion", "emotion_scores"]
    assert b"differs in emotion, emotion_scores" in done.stderr
    done = lanser("why", "r-3", input=json.dumps(weak[3]).encode(), check=1)
    assert b"does not say which labels it was to choose from" in done.stderr


def test_what_cannot_be_explained_is_one_error(heard: Path, lanser: Lanser) -> None:
    assert b"there is no record 'x' in it" in lanser("why", "x", heard, check=1).stderr
    assert b"was not labelled by lanser entail-label" in lanser("why", "r-0", heard, check=1).stderr
    about = dict.fromkeys(("model", "taxonomy", "calibration", "precision"), "x")
    strange = {"id": "r-0", "text": "so", "entailment": {**about, "templates": []}}
    done = lanser("why", "r-0", input=json.dumps(strange).encode(), check=1)
    assert b"'entailment.calibration' must be none, null or batch" in done.stderr
