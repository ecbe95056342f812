"""What a file is by its first bytes, whatever it is called."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, tone
from sounds import save

from lanser_cli import kind
from lanser_cli.audio.sound import AudioError, probe, read

CSV = "path,label,speaker\na.wav,joy,s1\nb.wav,fear,s2\n"
DIARY = "dear diary, today I learned what a container is\n" * 3
LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 19244\n"


def tar(name: str = "a.wav") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.wav", b"RIFF")
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, tone(0.1))
    return buffer.getvalue()


OTHERS: dict[str, tuple[str | bytes, str]] = {
    "git-lfs": (LFS, "a pointer of git-lfs: run  git lfs pull"),
    "git-annex": ("/annex/objects/SHA256E-s19244--0.wav\n", "a pointer of git-annex"),
    "AppleDouble": (b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(100), "(AppleDouble)"),
    "tar": (tar(), "a tar: name it *.tar, and in the command itself, not in a list"),
    "packed tar": (gzip.compress(tar()), "a packed file (gzip): unpack it"),
    "zip": (zipped(), "a packed file (zip)"),
    "table": (CSV, "a table (CSV or TSV)"),
    "table of tabs": (CSV.replace(",", "\t"), "a table (CSV or TSV)"),
    "table with a mark": ("\ufeff" + CSV, "a table (CSV or TSV)"),
    "text": (DIARY, "a text"),
    "text in UTF-16": (DIARY.encode("utf-16"), "a text in UTF-16"),
    "text cut within a letter": ("é" * kind.HEAD, "a text"),
    "text in Latin-1": (
        "Größe und Maß der Gefühle, über die man spricht\n".encode("latin-1"),
        "a text",
    ),
    "web page": ("\n<!DOCTYPE html><html><title>404</title></html>", "a web page"),
    "XML": ('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "JSON": (json.dumps({"id": "a", "text": "x"}), "JSON: give records the name *.jsonl"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(40), "a picture"),
    "NumPy": (array(), "an array of NumPy"),
    "Parquet": (b"PAR1" + bytes(40), "a table of Arrow or Parquet"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_sound_is_named_for_what_it_is(name: str, tmp_path: Path) -> None:
    data, words = OTHERS[name]
    path = tmp_path / "a.wav"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    for function in (read, probe):
        with pytest.raises(AudioError) as caught:
            function(str(path))
        assert str(caught.value).startswith(f"{path}: is no sound but ")
        assert words in str(caught.value)


def test_naming_what_is_no_sound_needs_no_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.wav").write_text(LFS)
    with pytest.raises(AudioError, match="git lfs pull"):
        read(str(tmp_path / "a.wav"))


@pytest.mark.parametrize(
    ("suffix", "format", "subtype"),
    [
        ("wav", "WAV", "PCM_16"),
        ("wav", "RF64", "PCM_16"),
        ("flac", "FLAC", "PCM_16"),
        ("ogg", "OGG", "VORBIS"),
        ("opus", "OGG", "OPUS"),
        ("mp3", "MP3", "MPEG_LAYER_III"),
        ("aiff", "AIFF", "PCM_16"),
        ("au", "AU", "PCM_16"),
        ("caf", "CAF", "PCM_16"),
        ("w64", "W64", "PCM_16"),
        ("nist", "NIST", "PCM_16"),
    ],
)
def test_sound_is_known_by_its_first_bytes(
    suffix: str, format: str, subtype: str, tmp_path: Path
) -> None:
    path = save(tmp_path / f"a.{suffix}", tone(0.5), format=format, subtype=subtype)
    head = path.read_bytes()[: kind.HEAD]
    assert kind.is_sound(head) and kind.other(head) is None


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("ipod", "aac"),
        ("matroska", "aac"),
        ("webm", "libopus"),
        ("flv", "aac"),
        ("avi", "aac"),
        ("adts", "aac"),
        ("mpegts", "aac"),
        ("mpeg", "mp2"),
        ("mp2", "mp2"),
        ("asf", "libmp3lame"),
        ("ac3", "ac3"),
        ("wv", "wavpack"),
        ("tta", "tta"),
    ],
)
def test_what_ffmpeg_decodes_is_known_by_its_first_bytes(container: str, codec: str) -> None:
    pytest.importorskip("av")
    from sounds import encoded

    head = encoded(tone(0.5, rate=48_000), container, codec, 48_000)[: kind.HEAD]
    assert kind.is_sound(head), head[:16]
    assert kind.other(head) is None


def test_no_file_of_the_repository_that_is_no_sound_is_taken_for_sound() -> None:
    paths = [*ROOT.glob("*.*"), *ROOT.glob("docs/*"), *ROOT.glob("lanser_cli/**/*.*")]
    found = [path for path in paths if path.is_file()]
    assert len(found) > 150
    for path in found:
        with path.open("rb") as stream:
            assert not kind.is_sound(stream.read(kind.HEAD)), path


def test_a_text_that_begins_as_sound_does_is_a_text() -> None:
    """Such as a table whose second column is called free_text."""
    table = b"uid,free_text,audio_filepath,label\na,so glad,a.wav,joy\n"
    assert not kind.is_sound(table) and kind.not_table(table) is None
    assert kind.is_sound(b"\0\0\0\x08free\0\0\0\x10mdat")
