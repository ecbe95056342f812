"""What a file is by its first bytes: sound, or something that is named in a message."""

from __future__ import annotations

import re

HEAD = 1024
"""How many first bytes tell."""

_SOUND = re.compile(
    rb"RIFF....(?:WAVE|AVI )|RF64|BW64|FORM....(?:AIF[FC]|8SVX|16SV)|FRM8|DSD |riff\x2e\x91\xcf\x11"
    rb"|OggS|fLaC|ID3[\x02-\x04]|\xff[\xe2-\xe5\xf0-\xfd][\0-\xef]|\.snd|dns\.|caff|NIST_1A"
    rb"|#!AMR|#!SILK|\x0bw|\x7f\xfe\x80\x01|MAC |wvpk|TTA1|tBaK|MP\+|MPCK|\.RMF|\.ra\xfd"
    rb"|....ftyp|....(?:moov|mdat|wide|free)|\x1aE\xdf\xa3|FLV\x01|0&\xb2u\x8ef\xcf\x11|\0\0\x01\xba"
    rb"|G.{187}G.{187}G|.{4}G.{191}G.{191}G",
    re.DOTALL,
)

_TAR = "a tar: name it *.tar, and in the command itself, not in a list"
_A_TABLE = "a table (CSV or TSV)"
_TABLE = f"{_A_TABLE}: lanser manifest csv reads one"
_TEXT = "a text"
_PLAYLIST = "a playlist: give the files that it names"

_OTHER = (
    (rb"version https://git-lfs", "a pointer of git-lfs: run  git lfs pull"),
    (rb"\.\./.{0,80}\.git/annex|/annex/objects/", "a pointer of git-annex: run  git annex get"),
    (rb"\0\x05\x16[\0\x07]", "what macOS keeps beside a file (AppleDouble): remove it"),
    (rb".{257}ustar", _TAR),
    (rb"\x1f\x8b", "a packed file (gzip): unpack it"),
    (rb"BZh\d1AY", "a packed file (bzip2): unpack it"),
    (rb"\xfd7zXZ\0", "a packed file (xz): unpack it"),
    (rb"\x28\xb5\x2f\xfd", "a packed file (zstd): unpack it"),
    (rb"PK[\x03\x05]\x04?", "a packed file (zip): unpack it"),
    (rb"7z\xbc\xaf\x27\x1c", "a packed file (7-Zip): unpack it"),
    (rb"Rar!\x1a", "a packed file (RAR): unpack it"),
    (rb"%PDF-", "a PDF"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|BM.{4}\0{4}|II\*\0|MM\0\*", "a picture"),
    (rb"\x93NUMPY", "an array of NumPy"),
    (rb"\x89HDF\r\n", "an HDF5 file"),
    (rb"PAR1|ARROW1", "a table of Arrow or Parquet"),
    (rb"SQLite format 3", "an SQLite database"),
    (rb"\x7fELF", "a program"),
    (rb"#EXTM3U|\[playlist\]|\[Reference\]|ffconcat version|(?i:<asx\b)", _PLAYLIST),
    (rb"(?:<\?xml[^>]*>)?\s*(?:<!--.*?-->\s*)*<(?:MPD|SmoothStreamingMedia|smil|playlist|"
     rb"CompositionPlaylist)\b", _PLAYLIST),
    (rb"v=0\r?\no=", "the description of a stream (SDP)"),
    (rb"(?i:<!doctype html|<html|<head|<body)", "a web page: what was fetched is something else"),
    (rb"<\?xml|<[A-Za-z!]", "XML"),
    (rb"[\[{]\s*[\"{\[\]}\d]", "JSON: give records the name *.jsonl"),
)  # fmt: skip

_UTF8, _UTF16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks."""

_LATIN = 0.75
"""Share of ASCII in a text of Latin letters, whatever the encoding of those with accents."""


def is_sound(head: bytes) -> bool:
    """Whether these first bytes are those of a container of sound; a text may begin so too."""
    return _SOUND.match(head) is not None and _text(head) is None


def other(head: bytes) -> str | None:
    """What is it, if not sound: with an article, and what to do; None where that is not known."""
    if is_sound(head):
        return None
    text = head.removeprefix(_UTF8).lstrip()
    for pattern, name in _OTHER:
        if re.match(pattern, head, re.DOTALL) or re.match(pattern, text, re.DOTALL):
            return name
    return _text(head)


def not_records(head: bytes, name: str, *, listed: bool) -> str | None:
    """What a file is by its first bytes, if not JSONL, and what to do; None where it may be JSONL.

    A text is left to be read: each of its lines is refused by itself.

    Args:
        name: of the file, as a command that is proposed has it.
        listed: whether lines may be paths, which may look like a table.
    """
    text = head.removeprefix(_UTF8).lstrip()
    if re.match(rb"\[\s*(?:[\[{\]]|$)", text):
        return "a JSON array, and a record must be one line: pipe it through  jq -c '.[]'"
    if text[:1] in (b"{", b"[", b""):
        return None
    if is_sound(head):
        return f"sound: lanser transcribe {name} makes records of it"
    found = other(head)
    if found == _TABLE:
        return None if listed else f"{_A_TABLE}: lanser manifest csv {name} makes records of it"
    if found == _TAR:
        return f"a tar: unpack it with  tar -xf {name}  and give what is in it"
    return None if found == _TEXT or head.startswith(_UTF16) else found


def not_table(head: bytes) -> str | None:
    """What a file is by its first bytes, if no table, and what to do; None where it may be one."""
    if is_sound(head):
        return "sound: lanser transcribe and lanser manifest folder take it as it is"
    if head.startswith(b"PK\3\4"):
        return "a workbook or another zip file: save it as CSV"
    if head.removeprefix(_UTF8).lstrip()[:1] in (b"{", b"["):
        return "JSON: records need no manifest"
    found = other(head)
    return None if found in (_TABLE, _TEXT) or head.startswith(_UTF16) else found


def not_tar(head: bytes) -> str | None:
    """What a file is by its first bytes, if surely no tar; None where it may be one."""
    found = other(head)
    if head[257:262] == b"ustar" or found is None or found in (_TAR, _TABLE, _TEXT):
        return None
    return found.partition(":")[0]


def _text(head: bytes) -> str | None:
    """A table, or another text: no control characters, and UTF-8 or nearly all ASCII."""
    if head.startswith(_UTF16):
        return "a text in UTF-16"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may be cut.
        is_cut = error.start >= len(head) - 3 and len(head) == HEAD
        if not is_cut and sum(byte < 128 for byte in head) < _LATIN * len(head):
            return None
        text = head[: error.start].decode("utf-8") if is_cut else head.decode("latin-1")
    if any(letter < " " and letter not in "\t\r\n\f\x1b" for letter in text) or not text.strip():
        return None
    whole = text.splitlines() if len(head) < HEAD else text.splitlines()[:-1]
    lines = [line for line in whole if line.strip()][:5]
    is_table = len(lines) > 1 and any(_are_cells(lines, mark) for mark in "\t,;|")
    return _TABLE if is_table else _TEXT


def _are_cells(lines: list[str], mark: str) -> bool:
    """Whether each line has as many cells, and the first has those of a header: a few words.

    A mark in quotation marks parts nothing.
    """
    counts = {re.sub(r'"[^"]*"', "", line).count(mark) for line in lines}
    header = lines[0].split(mark)
    return len(counts) == 1 < len(header) and all(len(cell.split()) <= 3 for cell in header)
