"""Records in, records out: files, standard streams, and what is written to them.

`read_records` turns JSONL from files or standard input into records and rejects; the rest opens,
slices, commits. How a stage is run between the two is in `lanser_cli.pipe`.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import jsonlines

from lanser_cli import console
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.records import Record, Reject

JSONL_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".ndjson")


def is_jsonl(path: str) -> bool:
    return path == "-" or path.endswith(JSONL_SUFFIXES)


@contextmanager
def open_input(path: str) -> Iterator[IO[bytes]]:
    """Open `-` (standard input), a plain, a .gz or a .zst file for reading bytes.

    Raises:
        LanserError: there is no such file, or it cannot be read.
    """
    if path == "-":
        if sys.stdin.isatty():
            console.warn("reading JSONL from the terminal; end with Ctrl-D")
        yield sys.stdin.buffer
        return
    try:
        with open(path, "rb") as raw:
            if path.endswith(".gz"):
                with gzip.open(raw) as unpacked:
                    yield cast(IO[bytes], unpacked)
            elif path.endswith(".zst"):
                yield io.BufferedReader(_Zstandard(raw), 1 << 18)
            else:
                yield raw
    except FileNotFoundError:
        raise LanserError(f"{path}: there is no such file") from None
    except (PermissionError, IsADirectoryError) as error:
        raise LanserError(f"{path}: cannot be read: {error.strerror}") from None


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
            block = self._rest or self._packed.read(1 << 14)
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


def _lines(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """The lines of a stream; a packed file that is broken or cut off is never taken for whole."""
    try:
        yield from stream
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise LanserError(
            f"{name}: broken or cut-off compressed file: {error}: make or copy it again"
        ) from None


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _loads(text: str | bytes) -> Any:
    """Strict JSON. Not by whatever fast decoder is installed, which changes big integers."""
    try:
        text = text if isinstance(text, str) else text.decode()
        value = _DECODER.decode(text)
        if "\\u" in text and _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # half a pair is no Unicode: ValueError
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


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
    """
    for path in paths:
        name = "standard input" if path == "-" else path
        with open_input(path) as stream:
            reader = jsonlines.Reader(_lines(stream, name), loads=_loads)
            number = 0
            while True:
                number += 1
                try:
                    value = reader.read()
                    yield Record.parse(adapt(value))
                except EOFError:
                    break
                except jsonlines.InvalidLineError as error:
                    line = _as_text(error.line)
                    if bare is not None and line.strip() and line.lstrip()[0] not in '{["':
                        yield bare(line.strip(), f"{name}:{number}")
                    elif isinstance(error.line, bytes) or line.strip():
                        why = f"{name}:{number}: not JSON: {_reason(error)}"
                        yield Reject(None, stage, why, line)
                except RecordError as error:
                    identifier = value.get("id") if isinstance(value, dict) else None
                    if not isinstance(identifier, str):
                        identifier = None
                    yield Reject(identifier, stage, f"{name}:{number}: {error}", value)


def check_files(paths: Iterable[str]) -> None:
    """Fail before the first record is read if a named input is not there."""
    for path in paths:
        if path != "-" and not os.path.exists(path):
            raise LanserError(f"{path}: there is no such file")


def _as_text(line: str | bytes) -> str:
    return line.decode("utf-8", "backslashreplace") if isinstance(line, bytes) else line


def _reason(error: jsonlines.InvalidLineError) -> str:
    return str(error.__cause__ or error)
