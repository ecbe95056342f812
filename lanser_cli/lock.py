"""The lock of a run folder, a set of shards, a report, a file: one process at a time writes it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from lanser_cli import console
from lanser_cli.destination import followed, is_stream
from lanser_cli.errors import LanserError, UsageError, already_there

_TRAINING = "{holder} is training into it: wait for its end, or name another folder"
_WRITING = "{holder} is writing it: wait for its end, or name another output"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class FolderLock:
    """Held from the moment it is made until `release`, or the end of this process.

    Its file `.lock` says which process holds it, and stays, empty: to remove it could let two in.

    Raises:
        LanserError: another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        descriptor = _held(folder / ".lock", folder, _TRAINING)
        self.release = weakref.finalize(self, _clear, descriptor, os.getpid())


class FileLock:
    """The same for an output; its own file goes away when it is released.

    Args:
        path: the file of the lock; default `.NAME.lock` beside the output.
        refusal: what is said of the output if it is held, with a place for its `{holder}`.

    Raises:
        LanserError: another process holds it.
    """

    def __init__(
        self, output: Path, *, path: Path | None = None, refusal: str | None = None
    ) -> None:
        path = path or _beside(output)
        refusal = refusal or _WRITING
        descriptor = _held(path, output, refusal)
        while not _is_at(path, descriptor):  # its holder has just finished and removed it
            os.close(descriptor)
            descriptor = _held(path, output, refusal)
        self.release = weakref.finalize(self, _remove, path, descriptor, os.getpid())


def is_held(output: Path) -> bool:
    """Whether another process is writing an output, as far as this file system tells.

    A process that begins to in this very moment is refused, as if there were a second. Where there
    are no locks it is said that nobody knows.
    """
    try:
        descriptor = os.open(_beside(output), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            return True
        _warn_of_no_locks(output.parent)
        return False
    finally:
        os.close(descriptor)


def _beside(output: Path) -> Path:
    return output.with_name(f".{output.name}.lock")


REPORT = "report.html"
"""What a folder holds when the report in it is whole: it is written last."""


@contextmanager
def claimed_folder(folder: Path | None, *, force: bool) -> Iterator[None]:
    """Make a folder for a report, which no other process writes while this is open.

    Args:
        folder: None: there is to be no report.
        force: whether a report that is there may be overwritten.

    Raises:
        UsageError: there is one.
        LanserError: it cannot be made, or another process writes it.
    """
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder, path=folder / ".report.lock")
    except OSError as error:
        raise LanserError(f"{folder}: cannot be made: {error.strerror}") from None
    try:
        _check_free(folder / REPORT, force)
        yield
    finally:
        lock.release()
        with suppress(OSError):  # it holds something, as it should
            folder.rmdir()


@contextmanager
def claimed_new_folder(folder: Path) -> Iterator[None]:
    """The same for runs that are written at the end of much work, into a folder without any.

    Raises:
        UsageError: it holds something, as a run does.
        LanserError: as `claimed_folder`.
    """
    with claimed_folder(folder, force=True):
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UsageError(f"{folder} is not empty: remove it, or name another with -o")
        yield


@contextmanager
def claimed_file(path: Path | None, *, force: bool) -> Iterator[None]:
    """The same for a file that is written at the end of much work; a stream has no lock."""
    if path is None or is_stream(path):
        yield
        return
    lock = FileLock(followed(path))
    try:
        _check_free(path, force)
        yield
    finally:
        lock.release()


def _check_free(path: Path, force: bool) -> None:
    if not force and path.exists() and path.stat().st_size:
        raise already_there(path)


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait until no other process has a file open so; where there are no locks, go on at once."""
    with path.open("a") as file:
        _flock(file, fcntl.LOCK_EX, path)
        yield


def has_locks(folder: Path) -> bool:
    """Whether files of a folder can be locked."""
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in _NO_LOCKS
        return True


def keep(path: Path) -> IO[bytes] | None:
    """A file, opened, which `remove` leaves where it is until it is closed; None if it is gone."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    _flock(file, fcntl.LOCK_SH, path.parent)
    if _is_at(path, file.fileno()):
        return file
    file.close()
    return None


def remove(path: Path, *, wait: bool) -> bool:
    """Remove a file; False, or later, if a process keeps it."""
    with path.open("r+b") as file:
        try:
            _flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), path.parent)
        except BlockingIOError:
            return False
        path.unlink()
        return True


def _flock(file: IO[Any], how: int, what: Path) -> None:
    """Lock a file; where there are no locks, go on at once."""
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _warn_of_no_locks(what)


def _held(path: Path, what: Path, refusal: str) -> int:
    """A descriptor of the file, locked, or not where the file system has no locks."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            _warn_of_no_locks(what)
            return descriptor
        holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
        os.close(descriptor)
        said = refusal.format(holder=holder or "another process")
        raise LanserError(f"{what}: {said}") from None
    _warn_of_elsewhere(os.pread(descriptor, 200, 0), what)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return descriptor


def _warn_of_elsewhere(left: bytes, what: Path) -> None:
    """Say that a process of another machine did not end in order, or that its lock is not seen."""
    holder = left.decode("utf-8", "replace").strip()
    if holder and not holder.endswith(f" on {socket.gethostname()}"):
        console.warn(
            f"{what}: {holder} has left its lock here: if it runs still, this file system does not "
            "share locks between machines: stop one of the two"
        )


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _clear(descriptor: int, owner: int) -> None:
    if os.getpid() == owner:
        os.ftruncate(descriptor, 0)
    os.close(descriptor)


def _remove(path: Path, descriptor: int, owner: int) -> None:
    if os.getpid() == owner:  # and not a process that was forked while it was held
        path.unlink(missing_ok=True)
    os.close(descriptor)


@cache
def _warn_of_no_locks(what: Path) -> None:
    console.warn(f"{what}: this file system has no locks: start no second process on it")
