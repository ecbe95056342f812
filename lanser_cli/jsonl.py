"""JSONL in, from files and standard input, plain or packed: its lines as records and rejects."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import math
import os
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any, cast

import jsonlines

from lanser_cli import console, kind
from lanser_cli.errors import LanserError, RecordError, of_one_record
from lanser_cli.records import Record, Reject

JSONL_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".ndjson")


def is_stream(path: str) -> bool:
    """Whether an input can be read but once, from its beginning: `-`, a pipe, what `<(...)` makes.

    Records and lists of paths come along them, never sound, in which decoders go back and forth.
    """
    return path == "-" or may_wait(path)


def may_wait(path: str | os.PathLike[str]) -> bool:
    """Whether who reads an input may have to wait for whoever writes it."""
    try:
        mode = os.fstat(0).st_mode if str(path) == "-" else os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def is_jsonl(path: str) -> bool:
    """Whether an input holds records: by its name."""
    return path == "-" or path.endswith(JSONL_SUFFIXES)


def begins_like_jsonl(path: str) -> bool:
    """Whether a file holds records by its first byte, for names that say nothing."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(512)
    except (OSError, ValueError):
        return False
    return head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"


@contextmanager
def open_input(path: str) -> Iterator[io.BufferedReader]:
    """Open `-` (standard input) or a file for reading bytes, unpacked.

    What is packed is told by .gz and .zst, or by its first bytes where no name says it.

    Raises:
        LanserError: there is no such file, it is a folder, or it cannot be read.
    """
    if path == "-":
        if sys.stdin.isatty():
            console.warn("reading JSONL from the terminal; end with Ctrl-D")
        try:
            stream = _unpacked(_stdin(), path)
        except OSError as error:  # it was closed
            why = error.strerror or error
            raise LanserError(f"standard input: cannot be read: {why}") from None
        yield stream
        return
    try:
        with open(path, "rb") as raw:
            yield _unpacked(raw, path)
    except FileNotFoundError:
        raise LanserError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise LanserError(
            f"{path}: is a folder: name the file of records; of sound, lanser manifest folder "
            "makes records"
        ) from None
    except PermissionError as error:
        raise LanserError(f"{path}: cannot be read: {error.strerror}") from None


def _stdin() -> io.BufferedReader:
    """Standard input, through a buffer of its own.

    A thread that waits in Python's own holds its lock, without which no interpreter ends.
    """
    stdin: Any = sys.stdin.buffer
    try:
        return open(stdin.fileno(), "rb", closefd=False)
    except io.UnsupportedOperation:  # something in its place that is no file
        return stdin if hasattr(stdin, "peek") else io.BufferedReader(stdin)


def _unpacked(raw: io.BufferedReader, name: str) -> io.BufferedReader:
    magic = raw.peek(4)[:4]
    if not magic and name.endswith((".gz", ".zst")):  # which Python takes for nothing, packed
        raise _broken(name, EOFError("it is empty"))
    if name.endswith(".gz") or magic.startswith(b"\x1f\x8b"):
        return io.BufferedReader(cast(Any, gzip.GzipFile(fileobj=raw)), 1 << 18)
    if name.endswith(".zst") or magic == b"\x28\xb5\x2f\xfd":
        return io.BufferedReader(_Zstandard(raw), 1 << 18)
    return raw


class _Zstandard(io.RawIOBase):
    """Unpacks a .zst, all its frames; unlike zstandard's own reader it sees that one is cut off."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._frame: Any = None
        self._rest = b""
        self._unpacked = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        import zstandard

        while not self._unpacked:
            # A few bytes may stand for 128 kB: what one step unpacks must fit into memory.
            block = self._rest or self._packed.read(1 << 9)
            if not block:
                if self._frame is not None:
                    raise EOFError("it ends within a frame")
                return 0
            frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                self._unpacked = memoryview(frame.decompress(block))
            except zstandard.ZstdError as error:
                raise EOFError(str(error)) from None
            self._frame, self._rest = (None, frame.unused_data) if frame.eof else (frame, b"")
        count = min(len(buffer), len(self._unpacked))
        buffer[:count] = self._unpacked[:count]
        self._unpacked = self._unpacked[count:]
        return count


LONGEST = 16 << 20
"""Bytes of a line, as of a record in a tar: a hundred times what word times of an hour take."""

_LONGEST_PATH = 1 << 16
"""Far more than any system opens."""


class _Head(str):
    """The beginning of a line that is too long: nothing else of it is held."""


def _lines(stream: io.BufferedReader, name: str, listed: bool) -> Iterator[bytes | _Head]:
    """The lines of a stream; a packed file that is broken or cut off is never taken for whole.

    Args:
        listed: whether they may be paths. Those of `find -print0` are parted by NUL characters, and
            a line feed belongs to a name.
    """
    try:
        head = stream.peek(1) if listed else b""
        if b"\0" not in head or head.lstrip()[:1] == b"{":
            yield from _bounded(stream)
            return
        rest = b""
        while block := stream.read1(1 << 16):
            *whole, rest = (rest + block).split(b"\0")
            yield from whole
            rest = rest[:_LONGEST_PATH]
        yield rest
    except _BROKEN as error:
        raise _broken(name, error) from None


_BROKEN = (gzip.BadGzipFile, zlib.error, EOFError)


def _broken(name: str, error: Exception) -> LanserError:
    return LanserError(f"{name}: broken or cut-off compressed file: {error}: make or copy it again")


def _bounded(stream: io.BufferedReader) -> Iterator[bytes | _Head]:
    read = partial(stream.readline, LONGEST + 1)
    for line in iter(read, b""):
        if len(line) <= LONGEST or line.endswith(b"\n"):
            yield line
            continue
        yield _Head(line[:100].decode("utf-8", "replace"))
        while (rest := read()) and not rest.endswith(b"\n"):
            pass


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


_MOST_COUNTED = 1 << 30
"""Bytes of a file up to which its lines are counted beforehand."""


_DEEPEST = 100
"""Levels of nesting: what is deeper could be read, but neither written again nor handed over."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text:.40} is beyond the range of numbers")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def loads(text: str | bytes) -> Any:
    """Strict JSON: all that it gives can be written as JSON again.

    Not by whatever fast decoder is installed, which changes big integers.

    Raises:
        ValueError: not JSON; NaN, or a number beyond floats; half a surrogate pair; nested deeper
            than 100 levels; a line that was too long.
    """
    if isinstance(text, _Head):
        raise ValueError(f"a line may have {LONGEST >> 20} MB, and this one has more")
    try:
        text = text if isinstance(text, str) else text.decode()
        value = _DECODER.decode(text)
        if "\\u" in text and _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # half a pair is no Unicode: ValueError
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text.count("[") + text.count("{") > _DEEPEST and _depth(value) > _DEEPEST:
        raise ValueError("nested too deeply")
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [
            inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


class _Path(str):
    """A line that is the path of a file."""


def _path_or_loads(line: str | bytes) -> Any:
    """A line of a list: a JSON object, or the path of a file, whatever that begins with."""
    if isinstance(line, _Head):
        return loads(line)
    text = line if isinstance(line, str) else line.decode()
    path = text.removesuffix("\n").removesuffix("\r")
    try:
        value = loads(text)
    except ValueError:
        if _exists(path) or path.strip()[:1] not in ("", *'{["'):
            return _Path(path)
        raise
    return value if isinstance(value, dict) or not _exists(path) else _Path(path)


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def read_records(
    paths: Iterable[str],
    stage: str,
    *,
    adapt: Callable[[Any], Any] = lambda value: value,
    bare: Callable[[str, str], Record | Reject] | None = None,
) -> Iterator[Record | Reject]:
    """The records of JSONL inputs, in order; a line that holds none becomes a reject.

    Args:
        adapt: turns a decoded line of another format into the keys of a record.
        bare: makes something of a line that is not meant to be JSON, and of the place it has.

    Raises:
        LanserError: an input cannot be read, or is JSON that is spread over many lines.
    """
    decode = loads if bare is None else _path_or_loads
    for path in paths:
        name = "standard input" if path == "-" else path
        with open_input(path) as stream:
            check_kind(stream, path, name, listed=bare is not None)
            lines = _lines(stream, name, bare is not None)
            reader = jsonlines.Reader(lines, loads=decode)
            number = 0
            while True:
                number += 1
                try:
                    value = reader.read()
                    if isinstance(value, _Path):
                        assert bare is not None
                        yield bare(value, f"{name}:{number}")
                        continue
                    with of_one_record():
                        record = Record.parse(adapt(value))
                    yield record
                except EOFError:
                    break
                except jsonlines.InvalidLineError as error:
                    line = _as_text(error.line)
                    if number == 1:
                        _check_one_line_each(line.strip(), name)
                    if bare is not None and isinstance(error.line, bytes):
                        yield bare(os.fsdecode(error.line).rstrip("\r\n"), f"{name}:{number}")
                    elif isinstance(error.line, bytes) or line.strip():
                        why = f"{name}:{number}: not JSON: {_reason(error)}"
                        yield Reject(None, stage, why, line)
                except RecordError as error:
                    identifier = value.get("id") if isinstance(value, dict) else None
                    if not isinstance(identifier, str):
                        identifier = None
                    yield Reject(identifier, stage, f"{name}:{number}: {error}", value)


def check_kind(stream: io.BufferedReader, path: str, name: str, *, listed: bool) -> None:
    """Say once what a file is that is no JSONL at all.

    Raises:
        LanserError: with what to do.
    """
    try:
        head = stream.peek(1)[: kind.HEAD]
    except _BROKEN as error:
        raise _broken(name, error) from None
    if found := kind.not_records(head, "FILE" if path == "-" else path, listed=listed):
        raise LanserError(f"{name}: is no JSONL of records but {found}")


def _check_one_line_each(first: str, name: str) -> None:
    """Say once what is the matter with what `jq .`, or another pretty printer, has made."""
    ways = {"{": "jq -c .", "[": "jq -c '.[]'", "[{": "jq -c '.[]'"}
    if first in ways:
        raise LanserError(
            f"{name}: JSON that is spread over many lines, but a record must be one line: pipe it "
            f"through  {ways[first]}"
        )


def count_lines(paths: Iterable[str]) -> int | None:
    """How many lines files of JSONL have; None where they would have to be unpacked or waited for.

    Nor are more than some seconds of a disk spent on it.
    """
    total = 0
    for path in paths:
        try:
            if may_wait(path) or os.path.getsize(path) > _MOST_COUNTED:
                return None
            with open(path, "rb") as stream:
                if stream.peek(4)[:4].startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
                    return None
                last = b"\n"
                while block := stream.read(1 << 20):
                    total += block.count(b"\n")
                    last = block
                total += not last.endswith(b"\n")
        except OSError:
            return None
    return total


def check_files(paths: Iterable[str]) -> None:
    """Fail before the first record is read if a named input is not there."""
    for path in paths:
        if path != "-" and not os.path.exists(path):
            raise LanserError(f"{path}: there is no such file")


def _as_text(line: str | bytes) -> str:
    return line.decode("utf-8", "backslashreplace") if isinstance(line, bytes) else line


def _reason(error: jsonlines.InvalidLineError) -> str:
    cause = error.__cause__ or error
    return "not UTF-8" if isinstance(cause, UnicodeDecodeError) else str(cause)
