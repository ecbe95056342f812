"""Records in, records out: files, standard streams, and what is written to them.

`read_records` turns JSONL from files or standard input into records and rejects; the rest opens,
slices, commits. How a stage is run between the two is in `lanser_cli.pipe`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import jsonlines

from lanser_cli import console
from lanser_cli.errors import LanserError, ReaderGone, RecordError, UsageError
from lanser_cli.records import Outcome, Record, Reject, to_json

T = TypeVar("T")
JSONL_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".ndjson")


# ---------------------------------------------------------------- reading


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


def check_inputs(paths: Iterable[str]) -> None:
    """Fail before the first record is read if a named input is not there."""
    for path in paths:
        if path != "-" and not os.path.exists(path):
            raise LanserError(f"{path}: there is no such file")


class Digests:
    """A set of ids, 60 bits of each: what duplicate detection and resuming must remember.

    Python's integers take half as much memory again from 61 bits on.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    @staticmethod
    def _digest(identifier: str) -> int:
        data = identifier.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 4

    def add(self, identifier: str) -> bool:
        """Remember an id; False if it was known."""
        digest = self._digest(identifier)
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True

    def __contains__(self, identifier: str) -> bool:
        return bool(self._seen) and self._digest(identifier) in self._seen

    def __len__(self) -> int:
        return len(self._seen)


def unique(items: Iterable[Outcome], stage: str) -> Iterator[Outcome]:
    """Pass records on; one whose id came before becomes a reject."""
    seen = Digests()
    for item in items:
        if isinstance(item, Record) and not seen.add(item.id):
            yield Reject.of(item, stage, f"duplicate id '{item.id}': make ids unique")
        else:
            yield item


def take_part(items: Iterable[T], part: tuple[int, int] | None) -> Iterator[T]:
    """Every N-th item from the I-th on, for `--part I/N` (I counts from 1)."""
    if part is None:
        return iter(items)
    index, count = part
    return islice(iter(items), index - 1, None, count)


def parse_part(text: str | None) -> tuple[int, int] | None:
    """Read `I/N`, or `slurm`: this task's place in its Slurm array.

    Raises:
        UsageError: neither, or I is not within 1..N.
    """
    if text is None:
        return None
    if text == "slurm":
        try:
            index = int(os.environ["SLURM_ARRAY_TASK_ID"])
            first = int(os.environ["SLURM_ARRAY_TASK_MIN"])
            count = int(os.environ["SLURM_ARRAY_TASK_COUNT"])
        except (KeyError, ValueError):
            raise UsageError(
                "--part slurm works inside a Slurm array job (sbatch --array=...); "
                "elsewhere say --part I/N"
            ) from None
        last = int(os.environ.get("SLURM_ARRAY_TASK_MAX", first + count - 1))
        if last - first + 1 != count:
            raise UsageError("--part slurm needs an array without gaps, such as --array=1-8")
        return index - first + 1, count
    try:
        index, count = (int(number) for number in text.split("/"))
    except ValueError:
        raise UsageError(f"--part takes I/N, such as 2/8, or slurm; not '{text}'") from None
    if not 1 <= index <= count:
        raise UsageError(f"--part {text}: I must lie between 1 and N")
    return index, count


def windows(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while window := list(islice(iterator, size)):
        yield window


# ---------------------------------------------------------------- writing


@contextmanager
def records_on_stdout() -> Iterator[IO[str]]:
    """Standard output for records alone.

    While this is open, file descriptor 1 leads to stderr, so that nothing a library prints,
    from Python or from C, can end up between the records.
    """
    sys.stdout.flush()
    records_fd = os.dup(1)
    os.dup2(2, 1)
    stream = open(records_fd, "w", encoding="utf-8", newline="\n")  # noqa: SIM115
    try:
        yield stream
        stream.flush()
    except BrokenPipeError:
        raise ReaderGone from None
    finally:
        sys.stdout.flush()
        os.dup2(records_fd, 1)
        with suppress(OSError):  # said already, by the write or the flush that met it
            stream.close()


def write_lines(stream: IO[str], lines: Iterable[str], name: str) -> None:
    """Write whole lines and flush, so that whoever reads them sees them now."""
    try:
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        raise LanserError(f"{name}: cannot be written: {error.strerror}") from None


def commit(partial: Path, final: Path) -> None:
    """Make a finished file appear under its name: fsync, pack if the name says so, rename."""
    if final.suffix in (".gz", ".zst"):
        packed = partial.with_name(partial.name + ".packing")
        with partial.open("rb") as source, packed.open("wb") as target:
            if final.suffix == ".gz":
                with gzip.GzipFile("", "wb", fileobj=target, mtime=0) as stream:
                    shutil.copyfileobj(source, stream)
            else:
                import zstandard

                zstandard.ZstdCompressor().copy_stream(source, target)
        os.replace(packed, partial)
    with partial.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(partial, final)
    directory = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_whole(path: Path, text: str) -> None:
    """Write a small text file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    commit(partial, path)


def file_rejects(rejected: Iterable[Reject], path: Path | None) -> None:
    """Write rejects to a file, or say each on stderr."""
    if path is not None:
        write_whole(path, "".join(reject_line(reject) + "\n" for reject in rejected))
        return
    for reject in rejected:
        warn_of(reject)


def warn_of(reject: Reject) -> None:
    """Say a reject on stderr."""
    name = f"{reject.id}: " if reject.id else ""
    console.warn(f"rejected: {ascii_safe(name + reject.error)}")


@contextmanager
def result_line() -> Iterator[Callable[[dict[str, object]], None]]:
    """For verbs whose product is a folder: one JSON line on stdout that says what was made."""
    with records_on_stdout() as stdout:
        yield lambda result: write_lines(stdout, [to_json(result)], "standard output")


def _as_text(line: str | bytes) -> str:
    return line.decode("utf-8", "backslashreplace") if isinstance(line, bytes) else line


def _reason(error: jsonlines.InvalidLineError) -> str:
    return str(error.__cause__ or error)


def reject_line(reject: Reject) -> str:
    """A reject as JSON; a record that cannot be written as JSON is carried as its text."""
    try:
        return to_json(reject.as_json())
    except RecordError:
        return to_json(
            {
                "id": reject.id and ascii_safe(reject.id),
                "stage": reject.stage,
                "error": ascii_safe(reject.error),
                "record": ascii(reject.record),
            }
        )


def ascii_safe(text: str) -> str:
    """The text, with bytes that are no Unicode (from odd file names) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
