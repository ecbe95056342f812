"""Lines of other toolkits' manifests, and lists of paths, as records."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
from conftest import Lanser, read_jsonl, tone, write_jsonl
from sounds import archive

from lanser_cli.audio import sound
from lanser_cli.audio.ingest import ingest
from lanser_cli.audio.manifests import adapt
from lanser_cli.errors import RecordError
from lanser_cli.records import Record, Reject
from lanser_cli.shards import reader


def recording(path: object, **more: Any) -> dict[str, Any]:
    """As `lhotse.Recording.from_file(path).to_dict()` gives it."""
    return {
        "id": "rec-1",
        "sources": [{"type": "file", "channels": [0], "source": str(path)}],
        "sampling_rate": 16_000,
        "num_samples": 16_000,
        "duration": 1.0,
        "channel_ids": [0],
        **more,
    }


def cut(path: object = "a.wav", **more: Any) -> dict[str, Any]:
    """As `MonoCut.to_dict()` gives it."""
    supervision = {
        **{"id": "s", "recording_id": "rec-1", "start": 0.0, "duration": 0.5, "channel": 0},
        **{"text": "so it is", "language": "en", "speaker": "anna"},
    }
    return {
        "id": "rec-1-17",
        "start": 0.25,
        "duration": 0.5,
        "channel": 0,
        "supervisions": [supervision],
        "recording": recording(path),
        "type": "MonoCut",
        **more,
    }


# ---------------------------------------------------------------- lhotse


def test_a_cut_is_a_span_of_a_file() -> None:
    value = cut(custom={"mine": 1})
    record = Record.parse(adapt(value))
    assert (record.id, record.audio_filepath) == ("rec-1-17", "a.wav")
    assert (record.offset, record.duration) == (0.25, 0.5)
    assert (record.speaker, record.text, record.fields["lang"]) == ("anna", "so it is", "en")
    assert {key: record.fields[key] for key in value} == value, "its own keys pass through"
    assert adapt(dict(record.fields)) == record.fields, "what was adapted is left as it is"


def test_ids_with_dots_stay_apart() -> None:
    ids = [Record.parse(adapt(cut(id=name))).id for name in ("spk.1", "spk.2", "spk-1")]
    assert len(set(ids)) == 3
    assert ids[2] == "spk-1"


def test_what_several_supervisions_say() -> None:
    one = cut()["supervisions"][0]
    many = [one, {**one, "text": "no", "speaker": "bert", "language": "English"}, {"id": "silent"}]
    record = Record.parse(adapt(cut(supervisions=many)))
    assert record.text == "so it is no"
    assert record.speaker is None and "lang" not in record.fields
    assert Record.parse(adapt(cut(supervisions=[]))).text is None
    english = Record.parse(adapt(cut(supervisions=[{**one, "language": "English"}])))
    assert "lang" not in english.fields, "not a tag"


@pytest.mark.parametrize("part", [None, True, 7, -1e308, "x", [], [[]], {}, {"a": []}])
@pytest.mark.parametrize(
    "key", ["id", "start", "duration", "channel", "supervisions", "recording", "type"]
)
def test_a_cut_with_anything_in_any_place_is_a_record_or_a_reject(
    key: str, part: object, tmp_path: Path
) -> None:
    inside = cut()
    inside["recording"] = {**inside["recording"], "sources": part, "channel_ids": part}
    path = write_jsonl(tmp_path / "cuts.jsonl", [cut(**{key: part}), inside, cut(id="last")])
    *_, last = found = list(ingest([str(path)], "test"))
    assert len(found) == 3
    assert isinstance(last, Record) and last.id == "last"


def test_a_recording() -> None:
    record = Record.parse(adapt(recording("b.flac")))
    assert (record.id, record.audio_filepath, record.duration) == ("rec-1", "b.flac", 1.0)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (cut(recording=recording("a", sources=[])), "is not one untransformed file on disk"),
        (
            cut(recording=recording("a", sources=[{"type": "url", "source": "http://x/a.wav"}])),
            "is not one untransformed file",
        ),
        (cut(recording=recording("a", transforms=[{"name": "Speed"}])), "untransformed"),
        (cut(recording=recording("a", channel_ids=[0, 1])), "save each channel as a file"),
        (cut(recording=recording("a", channel_ids=5)), "'channel_ids' must be an array"),
        (cut(supervisions=5), "'supervisions' must be an array"),
        (cut(supervisions=["x"]), "'supervisions' must be an array of objects"),
        (cut(supervisions=[{"speaker": ["x"]}]), "'speaker' must be a string"),
        (cut(supervisions=[{"text": 7}]), "'text' must be a string"),
        ({"id": "m", "tracks": [], "type": "MixedCut"}, "lhotse MixedCut 'm' is no span"),
    ],
)
def test_cuts_that_are_no_span_of_a_file(value: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=why):
        adapt(value)
    path = write_jsonl(tmp_path / "cuts.jsonl", [value])
    (reject,) = ingest([str(path)], "test")
    assert isinstance(reject, Reject)
    assert "cuts.jsonl:1: lhotse" in reject.error


# ---------------------------------------------------------------- Hugging Face, and what is neither


def test_metadata_of_hugging_face(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    soundfile.write(tmp_path / "clips" / "a.wav", tone(0.3), 16_000)
    lines = [{"file_name": "clips/a.wav", "transcription": "Hi"}]
    path = write_jsonl(tmp_path / "metadata.jsonl", lines)
    (record,) = ingest([str(path)], "test")
    assert isinstance(record, Record)
    assert record.id == "clips_a"
    assert record.fields["transcription"] == "Hi" and record.fields["file_name"] == "clips/a.wav"
    assert len(sound.load(record)) == 4_800


@pytest.mark.parametrize(
    "value",
    [
        [],
        "x",
        None,
        {"id": "a", "recording": {}, "audio_filepath": "x.wav"},
        {"id": "a", "type": "cut"},
        {"id": "a", "recording": "studio", "start": 1},
        {"file_name": 3},
    ],
)
def test_anything_else_is_left_alone(value: object) -> None:
    assert adapt(value) is value


# ---------------------------------------------------------------- one command, every source


def flac(seconds: float) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, tone(seconds), 16_000, format="FLAC")
    return data.getvalue()


def test_sound_in_tars_of_others(tmp_path: Path) -> None:
    """With and without JSON, with text files next to it, with dots in its name."""
    first = {
        "000.flac": flac(0.2),
        "000.json": b'{"speaker": "anna", "mine": 1}',
        "001.flac": flac(0.3),
        "001.txt": b"hello",
        "deep/002.v1.flac": flac(0.4),
        "deep/002.v2.flac": flac(0.5),
        "003.json": b'{"id": "known"}',
        "003.flac": flac(0.6),
    }
    archive(tmp_path / "x-000.tar", first)
    archive(tmp_path / "x-001.tar", {"last.flac": flac(0.7), "lonely.json": b"{}"})
    name = str(tmp_path / "x-{000..001}.tar")
    reader.check_inputs([name], bare=True)
    found = list(reader.records_of([name], "test", bare=True))
    *records, reject = found
    ids = [item.id for item in records]
    assert len(set(ids)) == 6
    assert [ids[0], ids[1], ids[4], ids[5]] == ["000", "001", "known", "last"]
    assert isinstance(records[0], Record) and records[0].speaker == "anna"
    lengths = [len(sound.load(item)) for item in records if isinstance(item, Record)]
    assert lengths == [3_200, 4_800, 6_400, 8_000, 9_600, 11_200]
    assert isinstance(reject, Reject) and "'lonely' has no sound member" in reject.error
    strict = list(reader.records_of([name], "test"))
    assert sum(isinstance(item, Reject) for item in strict) == 5


def test_a_cut_off_tar_gives_what_is_whole(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tar", {f"{n}.flac": flac(0.3) for n in range(4)})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *records, reject = reader.records_of([str(path)], "test", bare=True)
    assert records and all(isinstance(item, Record) for item in records)
    assert isinstance(reject, Reject) and "broken or cut off" in reject.error


def test_paths_on_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("a/1.wav", "b/1.wav", "a/Grüße.wav", "c/x#1.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone(0.2), 16_000)
    archive(tmp_path / "x.tar", {"m.flac": flac(0.4)})
    lines = [
        "a/1.wav",
        "b/1.wav",
        "",
        '{"audio_filepath": "a/1.wav", "id": "mine"}',
        "a/Grüße.wav",
        "c/x#1.wav",
        "x.tar#m.flac",
        "Loading the model ...",
        "[half a list",
    ]
    monkeypatch.chdir(tmp_path)
    data = io.BytesIO("\n".join(lines).encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data, encoding="utf-8"))
    found = list(ingest(["-"], "test"))
    records = [item for item in found if isinstance(item, Record)]
    assert [item.id for item in records][:3] == ["a_1", "b_1", "mine"]
    assert len(records) == 6 and len({item.id for item in records}) == 6
    assert all(len(sound.load(item)) in (3_200, 6_400) for item in records)
    errors = [item.error for item in found if isinstance(item, Reject)]
    assert errors[0] == (
        "standard input:8: neither a JSON object nor the path of a file: Loading the model ..."
    )
    assert "standard input:9: not JSON" in errors[1]


def test_every_kind_of_source_through_one_command(
    lanser: Lanser, shared: Path, clips: Path, tiny_ctc: Path, tmp_path: Path
) -> None:
    """Video, MP3, a tar of clips, a manifest, and paths on standard input, in that order."""
    pytest.importorskip("av")
    containers = shared / "containers"
    flv, mp3 = (sorted(containers.glob(f"*.{suffix}"))[0] for suffix in ("flv", "mp3"))
    tar = archive(tmp_path / "x.tar", {f"t{n}.flac": flac(0.5 + 0.1 * n) for n in range(3)})
    cuts = tmp_path / "cuts.jsonl.gz"
    cuts.write_bytes(gzip.compress(json.dumps(cut(clips / "clip-03.wav")).encode()))
    done = lanser(
        *("transcribe", flv, mp3, tar, cuts, "-", "--model", f"hf:{tiny_ctc}", "--device", "cpu"),
        input=f"{clips / 'clip-01.wav'}\n".encode(),
    )
    values = read_jsonl(done.stdout)
    assert len(values) == 7
    assert [value["id"] for value in values[2:6]] == ["t0", "t1", "t2", "rec-1-17"]
    assert all("text" in value and value["duration"] > 0.3 for value in values)
    assert values[5]["duration"] == 0.5
    assert b"7 in, 7 out, 0 rejected" in done.stderr
