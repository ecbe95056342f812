"""Audio files, folders, globs and JSONL, as records."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from conftest import tone, write_jsonl
from sounds import encoded, link_in_a_circle, save, text_file

from lanser_cli.audio.ingest import check_audio_inputs, ingest
from lanser_cli.audio.sound import load, probe
from lanser_cli.corpora import folder
from lanser_cli.errors import LanserError
from lanser_cli.parts import take_part
from lanser_cli.records import Record, Reject, attempt
from lanser_cli.stage import unique


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


def test_parts_of_a_folder_are_the_whole_and_each_opens_its_own_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.wav", "b.flac", "b.wav", "c.wav", "ü.wav", "deep/d.wav", "deep/e.wav"):
        (tmp_path / "deep").mkdir(exist_ok=True)
        save(tmp_path / name, tone(0.2))
    for name in ("a.flac", "deep/broken.wav"):  # the first leaves its id to a.wav, b.flac does not
        (tmp_path / name).write_bytes(b"no sound at all")
    inputs = [str(tmp_path), str(tmp_path / "c.wav")]
    whole = list(unique(ingest(inputs, "test"), "test"))
    assert [item.id for item in whole if isinstance(item, Reject)] == ["a", "b", "deep_broken", "c"]
    opened: list[str] = []

    def watched(path: str) -> object:
        opened.append(Path(path).name)
        return probe(path)

    monkeypatch.setattr("lanser_cli.audio.ingest.probe", watched)
    for count in (1, 2, 3):
        for number in range(1, count + 1):
            part = (number, count)
            items = unique(ingest(inputs, "test", part=part), "test")
            assert list(take_part(items, part)) == whole[number - 1 :: count]
    assert opened.count("e.wav") == opened.count("broken.wav") == 3  # once for each count


def test_globs_and_files(clips: Path, tmp_path: Path) -> None:
    ids = [item.id for item in ingested(clips / "clip-0[13].wav", clips / "clip-00.wav")]
    assert ids == ["clip-01", "clip-03", "clip-00"]
    for name in ("b", "b/deep", "a"):
        (tmp_path / name).mkdir()
        save(tmp_path / name / f"{name[-1]}1.wav", tone(0.2))
        save(tmp_path / name / f"{name[-1]}22.wav", tone(0.2))
    ids = [item.id for item in ingested(tmp_path / "**" / "?1.wav")]
    assert ids == ["a_a1", "b_b1", "b_deep_p1"]


def test_a_bad_file_in_a_folder_is_one_reject(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", tone(0.2))
    text_file(tmp_path)
    save(tmp_path / "z.wav", tone(0.2))
    good, bad, last = ingested(tmp_path)
    assert isinstance(good, Record) and isinstance(last, Record)
    assert isinstance(bad, Reject)
    assert (bad.id, bad.stage) == ("text", "test")
    assert bad.error == f"{tmp_path}/text.wav: is no sound but a text"


def test_a_file_of_a_folder_whose_name_says_nothing_is_tried_or_no_sound_at_sight(
    tmp_path: Path,
) -> None:
    """Sound without a header is not passed over in silence; what lies beside sound is."""
    save(tmp_path / "a.wav", tone(0.2)).rename(tmp_path / "named by nobody")
    (tmp_path / "headerless").write_bytes(os.urandom(4_000))
    (tmp_path / "x.pcm16").write_bytes(os.urandom(4_000))
    (tmp_path / "README").write_text("Größe der Klänge\n", encoding="latin-1")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "figure").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    rejects = [item for item in ingested(tmp_path) if isinstance(item, Reject)]
    records = [item for item in ingested(tmp_path) if isinstance(item, Record)]
    assert [item.id for item in rejects] == ["headerless", "x"]
    assert all(
        "not a readable audio" in item.error or "this needs" in item.error for item in rejects
    )
    assert [item.duration for item in records] == [0.2]


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


@pytest.fixture
def four_speakers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As SAVEE comes: every speaker's folder has the same names. The working folder is above."""
    for speaker in ("DC", "JE", "JK", "KL"):
        for name in ("a01.wav", "sa/a02.wav"):
            path = tmp_path / "speech" / speaker / name
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, tone(0.2))
    monkeypatch.chdir(tmp_path / "speech")
    return tmp_path / "speech"


def test_equal_names_in_several_folders_have_different_ids(four_speakers: Path) -> None:
    wanted = ["DC_a01", "DC_sa_a02", "JE_a01", "JE_sa_a02"]
    assert [item.id for item in ingested("DC", "JE")] == wanted
    for inputs in (
        ("./DC", "./JE/"),
        (four_speakers / "DC", "JE"),
        ("DC/a01.wav", "DC/sa/a02.wav", "./JE/a01.wav", "JE/sa"),
        ("DC/**/*.wav", "JE"),
    ):
        assert [item.id for item in ingested(*inputs)] == wanted, inputs
    more = [item.id for item in ingested("DC", "JE", "KL", "JK")]
    assert more[:4] == wanted and len(set(more)) == 8
    assert sorted(more) == [item.id for item in ingested(".")]
    assert [item.id for item in ingested("DC")] == ["a01", "sa_a02"]


def test_records_and_sound_are_named_together(four_speakers: Path) -> None:
    """JSONL brings its own ids, and does not change those of the sound next to it."""
    lines = write_jsonl(four_speakers.parent / "in.jsonl", [{"id": "x"}])
    assert [item.id for item in ingested(lines, "DC")] == ["x", "a01", "sa_a02"]


def listed(data: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Record | Reject]:
    """What comes of standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    return ingested("-")


# Names of files that look like JSON, or like something else.
ODD_NAMES = ("{a}.wav", "[b].wav", '"c".wav', "12", "null", " d .wav", "#e.wav", "-")


def test_a_listed_line_is_the_file_of_that_name(
    four_speakers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ODD_NAMES:
        shutil.copy("DC/a01.wav", name)
    found = listed("".join(f"{name}\n" for name in ODD_NAMES).encode(), monkeypatch)
    paths = [item.audio_filepath for item in found if isinstance(item, Record)]
    assert paths == [*ODD_NAMES[:-1], "./-"]
    assert len(load(found[-1])) == 3_200  # not what is called "-" elsewhere
    dots = listed(b"./DC/a01.wav\r\nDC/../JE/a01.wav\r\n", monkeypatch)
    assert [item.id for item in dots] == ["DC_a01", "JE_a01"]
    lines = b'{"id":"x","audio_filepath":"DC/a01.wav"}\n{"id":\n[]\nDC/none.wav\n'
    record, torn, array, none = listed(lines, monkeypatch)
    assert isinstance(record, Record)
    assert "standard input:2: not JSON" in torn.error
    assert "standard input:3: not a JSON object but an array" in array.error
    assert "neither a JSON object nor the path of a file: DC/none.wav" in none.error


def test_a_list_parted_by_null_characters(
    four_speakers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `find -print0` writes, for names that hold line feeds."""
    shutil.copy("DC/a01.wav", "two\nlines.wav")
    names = ["DC/a01.wav", "two\nlines.wav", "JE/a01.wav", "none.wav"]
    *found, missing = listed("".join(f"{name}\0" for name in names).encode(), monkeypatch)
    assert [item.audio_filepath for item in found if isinstance(item, Record)] == names[:3]
    assert isinstance(missing, Reject)
    assert missing.error.startswith("standard input:4: neither")


def test_a_listed_name_that_is_not_utf8(
    four_speakers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reject, record = listed(b"caf\xe9.wav\nDC/a01.wav\n", monkeypatch)
    assert isinstance(record, Record)
    assert isinstance(reject, Reject) and "caf" in reject.error
    Path("caf\udce9.wav").write_bytes(Path("DC/a01.wav").read_bytes())
    reject, record = listed(b"caf\xe9.wav\nDC/a01.wav\n", monkeypatch)
    assert "file name is not UTF-8: rename it" in reject.error


def test_a_pipe_brings_records_or_paths(four_speakers: Path) -> None:
    """What a shell makes of `<(...)` has a name that says nothing."""
    lines = b'{"id":"x","audio_filepath":"DC/a01.wav"}\nJE/a01.wav\n'
    for data in (lines, gzip.compress(lines)):
        reading, writing = os.pipe()
        os.write(writing, data)
        os.close(writing)
        try:
            check_audio_inputs([f"/dev/fd/{reading}"])
            found = ingested(f"/dev/fd/{reading}")
        finally:
            os.close(reading)
        assert [item.id for item in found] == ["x", "JE_a01"]


def test_a_file_whose_name_says_nothing_holds_what_it_begins_like(four_speakers: Path) -> None:
    Path("lines.txt").write_text('\n {"id":"x","audio_filepath":"DC/a01.wav"}\n')
    shutil.copy("JE/a01.wav", "sound")
    assert [item.id for item in ingested("lines.txt", "sound")] == ["x", "sound"]
    Path("text.txt").write_text("dear diary\n")
    (reject,) = ingested("text.txt")
    assert isinstance(reject, Reject)


@pytest.mark.parametrize("name", ["fifo.wav", "/dev/stdin", "-", "/dev/zero", "a\0.wav"])
def test_what_is_no_file_is_not_opened_for_sound(
    name: str, four_speakers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for ever, or eat the records that stand behind it."""
    os.mkfifo("fifo.wav")
    good = {"audio_filepath": "DC/a01.wav"}
    values = [{"id": "a", **good}, {"id": "b", "audio_filepath": name}, {"id": "c", **good}]
    path = write_jsonl(four_speakers / "in.jsonl", values)
    reading, writing = os.pipe()  # standard input, as in a shell's pipe
    before = os.dup(0)
    try:
        os.dup2(reading, 0)
        outcomes = [
            attempt(load, item, "x") if isinstance(item, Record) else item
            for item in ingested(path)
        ]
    finally:
        os.dup2(before, 0)
        for descriptor in (before, reading, writing):
            os.close(descriptor)
    assert [isinstance(outcome, Reject) for outcome in outcomes] == [False, True, False]


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


def test_a_folder_in_one_that_may_be_listed_alone_is_one_reject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For others than root, to whom it has the mode 444."""
    save(tmp_path / "a.wav", tone(0.2))
    (tmp_path / "odd" / "sub").mkdir(parents=True)

    def refusing(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *more: Any, **options: Any) -> Any:
            if str(path).endswith("sub"):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return plain(path, *more, **options)

        return call

    for name in ("stat", "scandir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    record, reject = ingested(tmp_path)
    assert record.id == "a"
    assert isinstance(reject, Reject) and "odd/sub: may not be read (permissions)" in reject.error


def test_paths_that_begin_elsewhere_are_said_once_with_the_folder_to_run_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "clips").mkdir(parents=True)
    (tmp_path / "lists" / "deep").mkdir(parents=True)
    soundfile.write(tmp_path / "data" / "clips" / "a.wav", tone(0.2), 16_000)
    lines: list[dict] = [{"id": name, "audio_filepath": f"data/clips/{name}.wav"} for name in "abc"]
    path = write_jsonl(tmp_path / "lists" / "deep" / "x.jsonl", lines)
    monkeypatch.chdir(tmp_path / "data")
    list(ingest([str(path)], "transcribe"))
    [said] = capsys.readouterr().err.splitlines()
    assert said == (
        f"transcribe: 'data/clips/a.wav' leads nowhere from this folder nor from that of {path}: "
        f"run it in {tmp_path}"
    )
    monkeypatch.chdir(tmp_path)
    list(ingest([str(path)], "transcribe"))
    assert "leads nowhere" in capsys.readouterr().err, "the second is not there"
    write_jsonl(path, [{"id": "a", "audio_filepath": "C:\\clips\\a.wav"}])
    list(ingest([str(path)], "transcribe"))
    assert "'C:\\clips\\a.wav' is a path of Windows: write it" in capsys.readouterr().err
