"""Nobody is tested on what was heard before, unless it is said."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT, Lanser, read_jsonl, tone, write_jsonl

from lanser_cli.records import Record
from lanser_cli.training import heard

SLIM = ("--model", "resnet18-slim", "--device", "cpu", "--crop", "0.5", "--steps", "1")
TEST = ("--test", "speaker=s0")


def write_model(folder: Path, records, init=None):
    folder.mkdir(exist_ok=True)
    found = heard.heard((heard.marks(record), record.audio_filepath) for record in records)
    heard.write(folder, found, init)
    return folder


def sounding(path: Path, hertz: float, **fields) -> Record:
    soundfile.write(path, tone(0.3, hertz), 16_000)
    return Record({"id": path.stem, "audio_filepath": str(path), **fields})


def test_ids_speakers_and_sound_are_found_each_by_itself(tmp_path):
    known = sounding(tmp_path / "a.wav", 200, speaker="ann", voice="v")
    model = write_model(tmp_path / "run", [known])
    shutil.copy(tmp_path / "a.wav", tmp_path / "copy.wav")
    other = sounding(tmp_path / "b.wav", 300, speaker="bob")
    for record, found in (
        (other, {}),
        (other.with_fields(id="a"), {"id": 1}),
        (other.with_fields(speaker="ann"), {"speaker": 1}),
        (other.with_fields(voice="v"), {"voice": 1}),
        (other.with_fields(audio_filepath=str(tmp_path / "copy.wav")), {"sound": 1}),
        (known, {"id": 1, "speaker": 1, "voice": 1, "sound": 1}),
    ):
        seen = heard.compare([record], model)
        counts = {kind: getattr(seen, kind) for kind in (*heard.KEYS, "sound")}
        assert {kind: count for kind, count in counts.items() if count} == found
        assert seen.checked and seen.any is bool(found)


def test_sound_in_shards_is_found_in_a_file_of_another_format(tmp_path):
    from lanser_cli.digests import sound_sha256

    record = sounding(tmp_path / "a.wav", 200)
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    packed = Record({"id": "x", "audio_sha256": sound_sha256(samples)})
    model = write_model(tmp_path / "run", [packed])
    soundfile.write(tmp_path / "b.flac", samples, 16_000)
    again = record.with_fields(id="b", audio_filepath=str(tmp_path / "b.flac"))
    assert heard.compare([again], model).sound == 1
    assert not heard.compare([sounding(tmp_path / "c.wav", 300)], model).any


def test_what_the_start_of_the_start_heard_counts(tmp_path):
    one, two, three = (sounding(tmp_path / f"{n}.wav", 100 * n, speaker=f"p{n}") for n in (1, 2, 3))
    first = write_model(tmp_path / "first", [one])
    second = write_model(tmp_path / "second", [two], init=first)
    third = write_model(tmp_path / "third", [three], init=second)
    assert heard.compare([one, two, three], third).speaker == 3
    unknown = tmp_path / "unknown"
    unknown.mkdir()
    assert not heard.compare([one], write_model(tmp_path / "fourth", [two], init=unknown)).checked


def test_the_file_is_sorted_numbers_of_eight_bytes(tmp_path):
    records = [Record({"id": f"u{n}", "speaker": f"s{n % 3}"}) for n in range(1000)]
    path = write_model(tmp_path / "run", records) / heard.FILE
    found = np.load(path, allow_pickle=False)
    assert found.dtype == np.uint64 and len(found) == 1003
    assert (np.diff(found.astype(object)) > 0).all()
    assert path.stat().st_size == 128 + 8 * 1003


@pytest.fixture(scope="module")
def pretrained(labelled, tmp_path_factory, lanser: Lanser) -> Path:
    """A run that heard speakers s0 and s1."""
    folder = tmp_path_factory.mktemp("heard")
    values = [value for value in read_jsonl(labelled) if value["speaker"] != "s2"]
    run = folder / "pretrained"
    lanser("pretrain", write_jsonl(folder / "some.jsonl", values), *SLIM, "-o", run)
    return run


def test_testing_on_heard_voices_is_refused_unless_it_is_said_everywhere(
    labelled: Path, pretrained: Path, tmp_path: Path, lanser: Lanser
) -> None:
    line = ("finetune", labelled, *SLIM, "--init", pretrained)
    run = tmp_path / "run"
    done = lanser(*line, *TEST, "-o", run, check=2)
    error = done.stderr.decode()
    assert done.stdout == b"" and not run.exists()
    for words in ("1 speaker", "4 ids", "4 sounds", "speaker s0", "id clip-00", "--allow-seen"):
        assert words in error
    done = lanser(*line, *TEST, "--allow-seen", "-o", run)
    [made] = read_jsonl(done.stdout)
    assert (made["seen"]["speaker"], made["seen"]["id"], made["seen"]["sound"]) == (1, 4, 4)
    config = json.loads((run / "config.json").read_text())
    assert config["seen"] == made["seen"]
    done = lanser("eval", run, "-o", tmp_path / "report")
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["runs"][str(run)]["seen"] == made["seen"]
    assert b"has heard 1 speaker" in done.stderr
    assert "WARNING" in (tmp_path / "report/report.html").read_text()
    done = lanser("compare", run, run, "-o", tmp_path / "pair")
    assert b"has heard 1 speaker" in done.stderr
    assert "WARNING" in (tmp_path / "pair/report.html").read_text()


def test_predictions_on_what_was_heard_are_marked_and_a_score_over_them_says_so(
    labelled: Path, pretrained: Path, tmp_path: Path, lanser: Lanser
) -> None:
    path = tmp_path / "predicted.jsonl"
    done = lanser("predict", labelled, "--run", pretrained, "--device", "cpu", "-o", path)
    values = read_jsonl(path)
    assert [value.get("heard") for value in values] == [
        None if value["speaker"] == "s2" else True for value in values
    ]
    said = b"the model was trained on 8 of 12 records, or on their speakers"
    assert said in done.stderr
    done = lanser("eval", path)
    assert said in done.stderr and read_jsonl(done.stdout)[0]["heard"] == 8
    lanser("compare", path, path, "-o", tmp_path / "pair")
    assert said.decode() in (tmp_path / "pair/report.html").read_text()
    others = write_jsonl(tmp_path / "o.jsonl", [one for one in values if "heard" not in one])
    done = lanser("eval", others)
    assert b"trained on" not in done.stderr and "heard" not in read_jsonl(done.stdout)[0]


def test_testing_on_unheard_voices_needs_no_word(
    labelled: Path, pretrained: Path, tmp_path: Path, lanser: Lanser
) -> None:
    run = tmp_path / "run"
    line = ("finetune", labelled, *SLIM, "--test", "speaker=s2", "-o", run)
    done = lanser(*line, "--init", pretrained)
    assert b"heard" not in done.stderr
    [made] = read_jsonl(done.stdout)
    assert made["seen"]["checked"] and not made["seen"]["speaker"]
    # what the fine-tuned model heard: the pre-training and its own training side
    again = lanser(
        *("finetune", labelled, *SLIM, *TEST, "--init", run / "fold-1", "-o", tmp_path / "x"),
        check=2,
    )
    assert b"speaker s0" in again.stderr


def test_a_start_that_does_not_say_what_it_heard_is_warned_of(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    run, old = tmp_path / "run", tmp_path / "old"
    shutil.copytree(tiny_run, old)
    (old / heard.FILE).unlink()
    line = ("finetune", labelled, "--device", "cpu", "--steps", "1", *TEST, "--init", old)
    done = lanser(*line, "-o", run)
    assert b"does not say what it has heard" in done.stderr
    assert read_jsonl(done.stdout)[0]["seen"]["checked"] is False


def test_the_example_in_the_documentation_is_what_a_config_says(tmp_path):
    text = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    example = json.loads(text.split("```json seen\n")[1].split("```")[0])
    known = Record({"id": "a", "voice": "slt"})
    seen = heard.compare([known.with_fields(id="b")], write_model(tmp_path / "run", [known]))
    assert list(example) == list(asdict(seen))
    assert seen.examples == ("voice slt",)
    numbers = np.load(tmp_path / "run" / heard.FILE)
    digest = hashlib.blake2b(b"voice\0slt", digest_size=8).digest()
    assert int.from_bytes(digest, "big") in numbers.tolist()
