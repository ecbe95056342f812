"""What is written: records on standard output, and files that appear when they are whole."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

from lanser_cli import console
from lanser_cli.console import ascii_safe
from lanser_cli.destination import is_stdout, is_stream, open_stream, places
from lanser_cli.digests import StringSet
from lanser_cli.errors import LanserError, ReaderGone, RecordError
from lanser_cli.lock import FileLock
from lanser_cli.origin import (
    beside,
    check_same,
    difference,
    identity_in,
    origin_in,
    versions_in,
)
from lanser_cli.records import Reject, to_json


class JsonlFile:
    """A JSONL file that appears under its name when it is whole.

    Until then it is `NAME.part`, plain text, and no other process may write it. With `resume` an
    existing part is kept: a torn last line is cut off, and the keys of the other lines are in
    `done`: of a record its id, of a reject the record refused, since another of its id may be
    good. `write` leaves out a reject for each equal one that the part has already. A device, a
    pipe or an open descriptor is written to as a stream.

    Args:
        origin: the JSON that is kept beside the file, with the `identity` of the run. With
            `resume` that of the part must be the same.

    Attributes:
        goes_on: whether there was a part to go on with.

    Raises:
        LanserError: it cannot be written, or another process writes it.
        UsageError: the part was made otherwise.
    """

    def __init__(
        self,
        path: Path,
        *,
        resume: bool,
        rejects: bool = False,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self._key = "record" if rejects else "id"
        self._is_stream, self._origin = is_stream(path), origin
        self._final, self._partial = places(path)
        self.done = StringSet()
        self.goes_on = False
        self._there: Counter[str] | None = Counter() if rejects else None
        self._lock: FileLock | None = None
        try:
            self._open(resume)
        except OSError as error:
            self._unlock()
            raise LanserError(f"{path}: cannot be written: {error.strerror}") from None
        except LanserError:
            self._unlock()
            raise

    def _open(self, resume: bool) -> None:
        if self._is_stream:
            self._stream = open_stream(self.path)
            return
        self._lock = FileLock(self._final)
        if self._partial.is_symlink():
            raise LanserError(f"{self._partial}: is a link, which would be followed: remove it")
        self.goes_on = resume and self._partial.exists()
        if self.goes_on:
            self._check_same()
            self._cut_torn_line()
        self._stream = open_new(self._partial, "a" if self.goes_on else "w")
        if self._origin is not None:  # behind an empty part, so that no old line passes for new
            write_json(beside(self._partial), self._origin)

    def _check_same(self) -> None:
        if self._origin is None:
            return
        made = origin_in(beside(self._partial))
        if made is not None:
            check_same(made["identity"], self._origin["identity"], str(self.path))
            if differs := difference(versions_in(made), self._origin["versions"]):
                console.warn(f"{self.path}: begun with {differs}: its first records may differ")
        elif self._partial.stat().st_size:
            console.warn(
                f"{self._partial}: nothing beside it says what made it: it is taken for the same"
            )

    def _cut_torn_line(self) -> None:
        whole = 0
        with self._partial.open("rb") as stream:
            for line in stream:
                try:
                    key = json.loads(line)[self._key]
                    if not line.endswith(b"\n"):
                        break
                    self.done.add(to_json(key) if isinstance(key, dict) else str(key))
                except (ValueError, KeyError, TypeError, RecursionError, RecordError):
                    break
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
        self._unlock()

    def publish(self, more: Mapping[str, object] | None = None) -> None:
        """The file is whole: let it appear under its name, and what made it beside it.

        Args:
            more: what is known of it only now, for the file beside it.
        """
        self._stream.close()
        if self._is_stream:
            return
        if self._origin is not None and more:  # first: what is whole has all of it beside it
            write_json(beside(self._partial), {**self._origin, **more})
        commit(self._partial, self._final)
        if self._origin is not None:
            os.replace(beside(self._partial), beside(self._final))
        elif self._there is None:  # what made an older file of this name did not make this one
            beside(self._final).unlink(missing_ok=True)
        self._unlock()

    def discard(self) -> None:
        """Nobody asked for this file: remove its part."""
        self._stream.close()
        if not self._is_stream:
            self._partial.unlink()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()


def is_whole(path: Path, identity: Mapping[str, str]) -> bool:
    """Whether an output to be resumed is whole already; one being written anew is not.

    Nor is an empty file that no run has made, as `mktemp` and `touch` leave it.

    Raises:
        UsageError: it is, but was made otherwise.
    """
    final, partial = places(path)
    if not final.exists() or partial.exists():
        return False
    # Killed between its two renames, a run has left the second of these under the first name.
    made = identity_in(beside(partial), beside(final))
    if made is None and not final.stat().st_size:
        return False
    if made is not None and identity:
        check_same(made, identity, str(path))
    elif identity:
        console.warn(f"{path}: nothing beside it says what made it: it is taken for the same")
    return True


@contextmanager
def records_on(path: Path | None) -> Iterator[IO[str]]:
    """A stream for records: standard output, or the one that is named."""
    if path is None or is_stdout(path):
        with records_on_stdout() as stream:
            yield stream
        return
    stream = open_stream(path)
    try:
        yield stream
        stream.close()
    except BrokenPipeError:
        raise ReaderGone from None
    finally:
        with suppress(OSError):  # what failed above has raised it already
            stream.close()


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
    """Make a finished file appear under its name: pack if the name says so, fsync, rename.

    It has the mode of the file that it replaces, or that of any new file. What is packed stays
    beside it unpacked until then, for `--resume` to go on with.
    """
    whole = partial
    if final.suffix in (".gz", ".zst"):
        whole = partial.with_name(partial.name + ".packing")
        whole.unlink(missing_ok=True)  # of a killed run, or a link that someone has put there
        with partial.open("rb") as source, whole.open("xb") as target:
            if final.suffix == ".gz":
                with gzip.GzipFile("", "wb", fileobj=target, mtime=0) as stream:
                    shutil.copyfileobj(source, stream)
            else:
                import zstandard

                zstandard.ZstdCompressor(write_checksum=True).copy_stream(source, target)
    with whole.open("rb") as stream:
        with suppress(OSError):  # as on file systems without modes
            os.fchmod(stream.fileno(), _mode_of(final))
        os.fsync(stream.fileno())
    os.replace(whole, final)
    if whole != partial:
        partial.unlink()
    _sync_folder(final.parent)


def _mode_of(final: Path) -> int:
    try:
        return stat.S_IMODE(final.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0o077)  # there is no way to ask for it without setting it
        os.umask(umask)
        return 0o666 & ~umask


def _sync_folder(folder: Path) -> None:
    """Make a rename last, where the file system knows such a thing for folders."""
    try:
        directory = os.open(folder, os.O_RDONLY)
    except PermissionError:  # files may be made in it, but it may not be listed
        return
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(directory)


def open_new(path: Path, mode: Literal["a", "w"]) -> IO[str]:
    """Open a text file for writing, but follow no link that someone else has put there."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, 0o666)

    return open(path, mode, encoding="utf-8", newline="\n", opener=opener)


def write_whole(path: Path, text: str) -> None:
    """Write a small text file so that it is there whole or not at all; or write to a stream."""
    if is_stream(path):
        with records_on(path) as stream:
            stream.write(text)
        return
    final, _ = places(path)
    # Under a name of its own: tasks of one job may write the same file at the same time.
    descriptor, name = tempfile.mkstemp(".part", f".{final.name[:100]}.", final.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        commit(Path(name), final)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file for programs and people to read, whole or not at all."""
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """Write objects, one a line, whole or not at all."""
    write_whole(path, "".join(to_json(value) + "\n" for value in values))


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
