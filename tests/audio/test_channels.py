"""Channels of a recording: the two sides of a call are two records, and each is its own sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Lanser, read_jsonl, tone, write_jsonl
from sounds import save

from lanser_cli import app
from lanser_cli.asr.transcribe import TranscribeSettings
from lanser_cli.audio import sound
from lanser_cli.audio.channels import heard
from lanser_cli.audio.ingest import ingest
from lanser_cli.audio.segments import Segmentation, segment
from lanser_cli.records import Record

LEFT, RIGHT = tone(1.0, 200), 0.5 * tone(1.0, 330)
SIDES = [LEFT, RIGHT]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A call with two sides, and a clip with one channel."""
    folder = tmp_path / "calls"
    folder.mkdir()
    save(folder / "call.wav", np.stack(SIDES, axis=1))
    save(folder / "mono.wav", LEFT)
    return folder


def same(samples: np.ndarray, wanted: np.ndarray) -> bool:
    return len(samples) == len(wanted) and np.abs(samples - wanted).max() < 1e-4


def test_each_side_of_a_call_is_a_record_with_its_own_sound(calls: Path) -> None:
    left, right, mono = heard(ingest([str(calls)], "test"), "each", "test")
    assert [one.id for one in (left, right, mono)] == ["call-left", "call-right", "mono"]
    assert (left.fields["audio_channel"], right.fields["audio_channel"]) == (0, 1)
    assert mono.fields.keys() == {"id", "audio_filepath", "duration"}
    for record, wanted in zip((left, right, mono), (*SIDES, LEFT), strict=True):
        assert isinstance(record, Record)
        assert same(sound.load(record), wanted)
        assert same(sound.load_int16(record) / 32768, wanted)
        (cut,) = segment([record], Segmentation("fixed"), "test")
        assert same(cut.samples, wanted)  # type: ignore[union-attr]
    eight = calls / "eight.wav"
    save(eight, np.stack([LEFT * number for number in range(8)], axis=1))
    ids = [one.id for one in heard(ingest([str(eight)], "test"), "each", "test")]
    assert ids == [f"eight-{number}" for number in range(8)]


def test_a_part_opens_other_files_only_where_each_side_is_an_item(
    calls: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def watched(path: str) -> object:
        opened.append(Path(path).stem)
        return sound.probe(path)

    monkeypatch.setattr("lanser_cli.audio.ingest.probe", watched)
    line = ["predict", str(calls), "--run", str(tiny_run), "--device", "cpu", "--part", "2/2"]
    for channel, wanted, files in (
        ("mix", "mono", ["mono"]),
        ("each", "call-right", ["call", "mono"]),
    ):
        opened.clear()
        out = tmp_path / f"{channel}.jsonl"
        assert app.main([*line, "--channel", channel, "-o", str(out)]) == 0
        assert [(one["id"], one["duration"]) for one in read_jsonl(out)] == [(wanted, 1.0)]
        assert opened == files
    assert TranscribeSettings("embedded").part_of_files((2, 3)) == (2, 3)
    assert TranscribeSettings("embedded", channel="each").part_of_files((2, 3)) is None
    assert TranscribeSettings("embedded", segment="vad").part_of_files((2, 3)) is None


def test_one_side_keeps_the_id_and_a_side_that_is_not_there_is_a_reject(
    calls: Path, tiny_run: Path, lanser: Lanser
) -> None:
    command = ("predict", calls, "--run", tiny_run, "--channel", "right", "--device", "cpu")
    done = lanser(*command, check=3)
    (call,) = read_jsonl(done.stdout)
    assert (call["id"], call["audio_channel"]) == ("call", 1)
    assert b"mono.wav: has no channel 1" in done.stderr


def test_a_shard_holds_the_channel_that_its_record_names(
    calls: Path, tmp_path: Path, lanser: Lanser
) -> None:
    lines = [
        {"id": f"c{number}", "audio_filepath": f"{calls}/call.wav", "audio_channel": number}
        for number in (0, 1, 2)
    ]
    lines = [{**line, "emotion": "joy"} for line in lines]
    records, shards = write_jsonl(tmp_path / "in.jsonl", lines), tmp_path / "shards"
    done = lanser("shard", records, "-o", shards, check=3)
    assert b"call.wav: has no channel 2, counted from 0: it has 2" in done.stderr
    for number, wanted in enumerate(SIDES):
        packed = Record({"id": "x", "audio_filepath": f"{shards}/speech-000000.tar#c{number}.flac"})
        assert same(sound.load(packed), wanted)
    (tar,) = shards.glob("*.tar")
    assert b'"source_channel":1' in tar.read_bytes()
    assert b"audio_channel" not in tar.read_bytes()
    lanser("shard", "--verify", shards)
