"""Audio files, folders, globs and JSONL, as records."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import soundfile
from conftest import tone, write_jsonl
from sounds import encoded, link_in_a_circle, save, text_file

from lanser_cli.audio.ingest import check_audio_inputs, ingest
from lanser_cli.audio.sound import load
from lanser_cli.corpora import folder
from lanser_cli.errors import LanserError
from lanser_cli.records import Record, Reject


def ingested(*inputs: object) -> list[Record | Reject]:
    return list(ingest(map(str, inputs), "test"))


def test_folders_are_walked_sorted_and_ids_come_from_below_them(tmp_path: Path) -> None:
    for name in ("b/2.wav", "b/10.flac", "a/z.ogg", "c.WAV", "b/notes.txt", "a/.DS_Store"):
        path = tmp_path / "speech" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".wav", ".flac", ".ogg"):
            soundfile.write(path, tone(0.2), 16_000, format=path.suffix[1:].upper())
        else:
            path.write_text("no sound")
    found = ingested(tmp_path / "speech")
    assert [item.id for item in found] == ["c", "a_z", "b_10", "b_2"]
    assert all(isinstance(item, Record) and item.duration == 0.2 for item in found)
    (tmp_path / "speech").rename(tmp_path / "moved")
    assert [item.id for item in ingested(tmp_path / "moved")] == ["c", "a_z", "b_10", "b_2"]


def test_globs_and_files(clips: Path, tmp_path: Path) -> None:
    ids = [item.id for item in ingested(clips / "clip-0[13].wav", clips / "clip-00.wav")]
    assert ids == ["clip-01", "clip-03", "clip-00"]
    for name in ("b", "b/deep", "a"):
        (tmp_path / name).mkdir()
        save(tmp_path / name / f"{name[-1]}1.wav", tone(0.2))
        save(tmp_path / name / f"{name[-1]}22.wav", tone(0.2))
    assert [item.id for item in ingested(tmp_path / "**" / "?1.wav")] == ["a1", "b1", "p1"]


def test_a_bad_file_in_a_folder_is_one_reject(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", tone(0.2))
    text_file(tmp_path)
    save(tmp_path / "z.wav", tone(0.2))
    good, bad, last = ingested(tmp_path)
    assert isinstance(good, Record) and isinstance(last, Record)
    assert isinstance(bad, Reject)
    assert (bad.id, bad.stage) == ("text", "test")
    assert bad.error == f"{tmp_path}/text.wav: is no sound but a text"


def test_jsonl_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", tone(0.3))
    records = write_jsonl(tmp_path / "in.jsonl", [{"id": "x", "audio_filepath": "a.wav"}, {}])
    record, reject = ingested(records)
    assert isinstance(record, Record) and len(load(record)) == 4_800
    assert isinstance(reject, Reject) and "in.jsonl:2:" in reject.error


def test_names_that_are_not_ascii(tmp_path: Path) -> None:
    save(tmp_path / "Grüße 你好.wav", tone(0.2))
    save(tmp_path / "Grüße 你們.wav", tone(0.2))
    found = ingested(tmp_path)
    assert all(isinstance(item, Record) for item in found)
    ids = [item.id for item in found]
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", str(identifier)) for identifier in ids)
    assert [item.id for item in ingested(tmp_path)] == ids
    assert all(len(load(item)) == 3_200 for item in found if isinstance(item, Record))


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    plain = save(tmp_path / "a.wav", tone(0.2))
    try:
        os.rename(plain, os.fsencode(tmp_path) + b"/caf\xe9.wav")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (reject,) = ingested(tmp_path)
    assert isinstance(reject, Reject)
    assert "file name is not UTF-8: rename it" in reject.error
    reject.error.encode("utf-8")


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    """`corpus/sad` lies elsewhere; each clip is there once, whatever else leads to it."""
    corpus, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    for name in ("corpus/angry/a.wav", "elsewhere/b.wav", "elsewhere/deep/c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        save(tmp_path / name, tone(0.2))
    (corpus / "sad").symlink_to("../elsewhere")
    (corpus / "sad-deep").symlink_to("../elsewhere/deep")
    (corpus / "again").symlink_to("angry")
    (corpus / ".data").mkdir()
    save(corpus / ".data" / "d.wav", tone(0.2))
    (corpus / "data").symlink_to(".data")
    (elsewhere / "up").symlink_to(tmp_path / "corpus")
    wanted = ["angry/a.wav", "data/d.wav", "sad/b.wav", "sad-deep/c.wav"]
    for found in (ingested(corpus), list(folder.read(corpus))):
        paths = [item.audio_filepath for item in found if isinstance(item, Record)]
        assert paths == [str(corpus / name) for name in wanted] and len(found) == len(wanted)
    labels = [item.label for item in folder.read(corpus) if isinstance(item, Record)]
    assert labels == ["angry", "data", "sad", "sad-deep"]
    (elsewhere / "up").unlink()
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "data").symlink_to(elsewhere)
    check_audio_inputs([str(tmp_path / "only")])
    assert len(ingested(tmp_path / "only")) == 2


def test_sound_is_found_whatever_its_name(tmp_path: Path) -> None:
    """Suffixes that few use, upper case, or none; what is no sound beside it is passed over."""
    wave = save(tmp_path / "a.wav", tone(0.2)).read_bytes()
    names = ["b.snd", "c.WAVE", "d", "e.v2", "f.Mpga", "g.part-1"]
    for name in names:
        (tmp_path / name).write_bytes(wave)
    for name in ("README", "a.lab", "a.TextGrid", "notes.xyz", "a.txt"):
        (tmp_path / name).write_text("what was said\n")
    os.mkfifo(tmp_path / "pipe")
    for found in (ingested(tmp_path), list(folder.read(tmp_path))):
        paths = [item.audio_filepath for item in found if isinstance(item, Record)]
        assert paths == [str(tmp_path / name) for name in ["a.wav", *names]]
        assert len(found) == len(paths)


@pytest.mark.parametrize(
    ("suffix", "container", "codec"),
    [
        ("mka", "matroska", "aac"),
        ("ts", "mpegts", "aac"),
        ("mp2", "mp2", "mp2"),
        ("mpeg", "mpeg", "mp2"),
        ("weba", "webm", "libopus"),
        ("aac", "adts", "aac"),
        ("wmv", "asf", "libmp3lame"),
        ("", "ipod", "aac"),
    ],
)
def test_containers_in_a_folder_are_found(
    suffix: str, container: str, codec: str, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    path = tmp_path / f"a.{suffix}".rstrip(".")
    path.write_bytes(encoded(tone(1.0), container, codec))
    (record,) = ingested(tmp_path)
    assert isinstance(record, Record) and record.duration == pytest.approx(1.0, abs=0.2)


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", tone(0.2))
    link_in_a_circle(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path)
    record, reject = ingested(tmp_path)
    assert isinstance(record, Record) and record.id == "a"
    assert isinstance(reject, Reject) and "in a circle" in reject.error


def test_inputs_are_checked_before_anything_is_read(tmp_path: Path, clips: Path) -> None:
    check_audio_inputs(["-", str(clips), str(clips / "*.wav"), str(clips / "clip-00.wav")])
    with pytest.raises(LanserError, match="no audio file in this folder or below it"):
        check_audio_inputs([str(tmp_path)])
    for name in ("missing.wav", "*.wav"):
        with pytest.raises(LanserError, match="there is no such file or folder"):
            check_audio_inputs([str(tmp_path / name)])


def test_every_verb_walks_a_folder_alike(tmp_path: Path) -> None:
    """Files and folders whose names begin with a dot are left out, as macOS writes them."""
    for name in ("x.wav", "X.WAV", "._x.wav", ".hidden/x.wav", "b/.x.wav", "b/y.wav", "a/z.wav"):
        path = tmp_path / "speech" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(0.2), 16_000, format="WAV")
    wanted = [str(tmp_path / "speech" / name) for name in ("X.WAV", "x.wav", "a/z.wav", "b/y.wav")]
    for found in (ingested(tmp_path / "speech"), list(folder.read(tmp_path / "speech"))):
        assert [item.audio_filepath for item in found if isinstance(item, Record)] == wanted
        assert len(found) == len(wanted)


def test_a_folder_of_hidden_files_holds_no_audio(tmp_path: Path) -> None:
    save(tmp_path / "._x.wav", tone(0.2))
    with pytest.raises(LanserError, match="no audio file in this folder or below it"):
        check_audio_inputs([str(tmp_path)])
