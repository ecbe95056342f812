"""What is written: records on standard output, and files that appear when they are whole."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from lanser_cli import console
from lanser_cli.console import ascii_safe
from lanser_cli.digests import StringSet
from lanser_cli.errors import LanserError, ReaderGone, RecordError
from lanser_cli.records import Reject, to_json


class JsonlFile:
    """A JSONL file that appears under its name when it is whole.

    Until then it is `NAME.part`, plain text. With `resume` an existing part is kept: a torn last
    line is cut off, and the keys of the other lines are in `done`: of a record its id, of a reject
    the record refused, since another of its id may be good. `write` leaves out a reject for each
    equal one that the part has already.
    """

    def __init__(self, path: Path, *, resume: bool, rejects: bool = False) -> None:
        self.path = path
        self._key = "record" if rejects else "id"
        self._partial = path.with_name(path.name + ".part")
        self.done = StringSet()
        self._there: Counter[str] | None = Counter() if rejects else None
        try:
            if resume and self._partial.exists():
                self._cut_torn_line()
            mode = "a" if resume else "w"
            self._stream = self._partial.open(mode, encoding="utf-8", newline="\n")
        except OSError as error:
            raise LanserError(f"{path}: cannot be written: {error.strerror}") from None

    def _cut_torn_line(self) -> None:
        whole = 0
        with self._partial.open("rb") as stream:
            for line in stream:
                try:
                    key = json.loads(line)[self._key]
                except (ValueError, KeyError, TypeError):
                    break
                if not line.endswith(b"\n"):
                    break
                self.done.add(to_json(key) if isinstance(key, dict) else str(key))
                if self._there is not None:
                    self._there[line[:-1].decode()] += 1
                whole += len(line)
        os.truncate(self._partial, whole)

    def write(self, lines: Sequence[str]) -> None:
        new = []
        for line in lines:
            if self._there and self._there[line] > 0:
                self._there[line] -= 1
            else:
                new.append(line)
        write_lines(self._stream, new, str(self.path))

    def leave(self) -> None:
        """The run ended early: leave the part for `--resume`."""
        with suppress(OSError):
            self._stream.close()

    def publish(self) -> None:
        """The file is whole: let it appear under its name."""
        self._stream.close()
        commit(self._partial, self.path)

    def discard(self) -> None:
        """Nobody asked for this file: remove its part."""
        self._stream.close()
        self._partial.unlink()


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
        with suppress(OSError):  # the write or the flush that failed has raised it already
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


def check_folder_of(path: Path) -> None:
    """Fail before any work if there is no folder for an output.

    Raises:
        LanserError: there is none.
    """
    if not path.absolute().parent.is_dir():
        raise LanserError(f"{path}: there is no folder {path.absolute().parent}")


def write_whole(path: Path, text: str) -> None:
    """Write a small text file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    commit(partial, path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file for programs and people to read, whole or not at all."""
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def warn_of(reject: Reject, folded: console.Folded | None = None) -> None:
    """Say a reject on stderr, unless `folded` has said enough of its kind."""
    name = f"{reject.id}: " if reject.id else ""
    message = f"rejected: {name}{reject.error}"
    if folded is None:
        console.warn(message)
    else:
        folded.warn(_kind(reject), message)


_PARTICULARS = re.compile(r"'[^']*'|\S*[/\\.]\S+|\d+")


def _kind(reject: Reject) -> str:
    """The error less what is particular to one record: its names, paths and numbers."""
    fields = reject.record.values() if isinstance(reject.record, Mapping) else ()
    names = [reject.id, *fields]
    text = reject.error
    for name in names:
        if isinstance(name, str) and len(name) > 1:
            text = text.replace(name, "1")
    return _PARTICULARS.sub("1", text)


@contextmanager
def result_line() -> Iterator[Callable[[Mapping[str, object]], None]]:
    """For verbs whose product is a folder: one JSON line on stdout that says what was made."""
    with records_on_stdout() as stdout:
        yield lambda result: write_lines(stdout, [to_json(result)], "standard output")


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
