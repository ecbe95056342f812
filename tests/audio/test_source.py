"""Paths and members of tars, as sources of sound."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from conftest import tone, write_jsonl
from sounds import archive, noise, save

from lanser_cli.audio.ingest import ingest
from lanser_cli.audio.sound import (
    AudioError,
    load,
    load_int16,
    locate,
    probe,
    read,
    read_crop,
    to_int16,
)
from lanser_cli.records import Record


def test_members_of_a_tar(tmp_path: Path) -> None:
    first = save(tmp_path / "1.flac", tone(0.3, 150))
    second = save(tmp_path / "2.flac", tone(0.4, 250))
    members = {"a.flac": first.read_bytes(), "deep/b.flac": second.read_bytes()}
    tar = archive(tmp_path / "x.tar", {**members, "text.flac": b"nonsense" * 100})
    assert np.array_equal(read(f"{tar}#a.flac"), read(str(first)))
    assert np.array_equal(read(f"{tar}#deep/b.flac"), read(str(second)))
    assert probe(f"{tar}#a.flac").duration == pytest.approx(0.3)
    with pytest.raises(AudioError, match=r"x\.tar#text\.flac: is no sound but a text"):
        read(f"{tar}#text.flac")
    with pytest.raises(AudioError, match=r"x\.tar: no member 'c\.flac' in it"):
        read(f"{tar}#c.flac")
    with pytest.raises(AudioError, match=r"y\.tar: cannot be read as a tar"):
        read(f"{tmp_path}/y.tar#a.flac")


def test_a_tar_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    for path in [save(tmp_path / f"{n}.flac", tone(0.1 * n)) for n in (2, 3)]:
        data = path.read_bytes()
        tar = archive(tmp_path / "x.tar", {"pad.txt": bytes(len(data)), "a.flac": data})
        assert np.array_equal(read(f"{tar}#a.flac"), read(str(path)))


def test_the_place_of_a_member_gives_its_bytes(tmp_path: Path) -> None:
    data = save(tmp_path / "a.flac", noise(0.5)).read_bytes()
    tar = archive(tmp_path / "x.tar", {"pad.txt": b"pad", "a.flac": data})
    name = f"{tar}#a.flac"
    place = locate(name)
    assert place is not None and place[1] == len(data)
    crop = read_crop(name, 0.0, None, None, 1_000, lambda length: length // 2, place)
    assert np.array_equal(crop, to_int16(read(name))[4_000:5_000])
    assert locate(f"{tar}#b.flac") is None
    assert locate(str(tmp_path / "a.flac")) is None
    tar.unlink()
    with pytest.raises(AudioError, match=r"x\.tar: cannot be read as a tar"):
        read_crop(name, 0.0, None, None, 1_000, lambda length: 0, place)


def test_a_hash_in_a_file_name_is_no_member(tmp_path: Path) -> None:
    path = save(tmp_path / "take#1.wav", tone(0.2))
    assert len(read(str(path))) == 3_200
    records = write_jsonl(tmp_path / "in.jsonl", [{"audio_filepath": "take#1.wav"}])
    (record,) = ingest([str(records)], "test")
    assert isinstance(record, Record)
    assert len(load(record)) == 3_200


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_in_another_form_of_unicode_is_said(
    tmp_path: Path, form: Literal["NFC", "NFD"]
) -> None:
    """Such as of a Mac, whose table looks the same."""
    path = str(tmp_path / "Größe.wav")
    save(Path(unicodedata.normalize(form, path)), tone(0.2))
    other = unicodedata.normalize("NFD" if form == "NFC" else "NFC", path)
    with pytest.raises(AudioError, match="no such file, but one .* in another form of Unicode"):
        read(other)
    with pytest.raises(AudioError, match="there is no such file$"):
        read(other + ".flac")


def test_a_path_that_no_file_can_have(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", tone(0.2))
    for name in (f"{path}\0.wav", f"{path}\ud800"):
        record = Record({"id": "a", "audio_filepath": name})
        for function in (load, load_int16):
            with pytest.raises(AudioError, match="there is no such file"):
                function(record)
