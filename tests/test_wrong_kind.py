"""A file of a wrong kind is one sentence, which says what to do."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from lanser_cli.corpora.table import Table
from lanser_cli.errors import LanserError
from lanser_cli.jsonl import read_records


def _tar_gz() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("records.jsonl"))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"RIFF\0\0\0\0WAVEfmt \n\n", "sound: lanser transcribe {} makes records of it"),
        (b"path,label\na.wav,joy\nb.wav,joy\n", "lanser manifest csv {} makes records of it"),
        (
            b'\xef\xbb\xbfpath;text\r\na.wav;"no; ""no"""\r\nb.wav;yes\r\n',
            "lanser manifest csv {} makes records of it",
        ),
        (b'[{"id": "a"}, {"id": "b"}]\n', "one line: pipe it through  jq -c '.[]'"),
        (b"version https://git-lfs.github.com/spec/v1\noid x\n", "run  git lfs pull"),
        (b"<!DOCTYPE html>\n<html></html>\n", "a web page: what was fetched is something else"),
        (_tar_gz(), "a tar: unpack it with  tar -xf {}  and give what is in it"),
        (b"PK\x03\x04\n\n", "a packed file (zip): unpack it"),
    ],
    ids=["sound", "table", "quoted", "array", "pointer", "page", "tar", "zip"],
)
def test_what_is_no_jsonl_ends_in_one_sentence_that_says_what_to_do(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(content)
    with pytest.raises(LanserError) as caught:
        list(read_records([str(path)], "test"))
    assert str(caught.value).startswith(f"{path}: is no JSONL of records but ")
    assert str(caught.value).endswith(said.format(path))


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"torn\n", b"[1, 2]\n", b'\xef\xbb\xbf{"id": "a"}', b"\xff\n", b'{"a free": 1}'],
)
def test_what_may_be_jsonl_is_read_line_by_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(content)
    assert len(list(read_records([str(path)], "test"))) == (1 if content.strip() else 0)


def test_what_is_no_table_ends_in_one_sentence_too(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for content, said in ((b"fLaC\0\0", "sound: "), (b'{"id": "a"}', "JSON: "), (b"%PDF-1", "PDF")):
        path.write_bytes(content)
        with pytest.raises(LanserError, match=f"is no table but .*{said}"):
            Table(path)
