"""The lock of a run folder or an output file: one process at a time writes it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import weakref
from functools import cache
from pathlib import Path

from lanser_cli import console
from lanser_cli.errors import LanserError

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class FolderLock:
    """Held from the moment it is made until `release`, or the end of this process.

    Its file `.lock` says which process holds it, and stays: to remove it could let two in.

    Raises:
        LanserError: another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        descriptor = _held(folder / ".lock", folder, "is training into it", "folder")
        self.release = weakref.finalize(self, os.close, descriptor)


class FileLock:
    """The same for an output file; its own file `.NAME.lock` goes away when it is released.

    Raises:
        LanserError: another process holds it.
    """

    def __init__(self, output: Path) -> None:
        path = output.with_name(f".{output.name}.lock")
        descriptor = _held(path, output, "is writing it", "output")
        while not _is_at(path, descriptor):  # its holder has just finished and removed it
            os.close(descriptor)
            descriptor = _held(path, output, "is writing it", "output")
        self.release = weakref.finalize(self, _remove, path, descriptor, os.getpid())


def _held(path: Path, what: Path, doing: str, kind: str) -> int:
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
        raise LanserError(
            f"{what}: {holder or 'another process'} {doing}: wait for its end, "
            f"or name another {kind}"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return descriptor


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _remove(path: Path, descriptor: int, owner: int) -> None:
    if os.getpid() == owner:  # and not a process that was forked while it was held
        path.unlink(missing_ok=True)
    os.close(descriptor)


@cache
def _warn_of_no_locks(what: Path) -> None:
    console.warn(f"{what}: this file system has no locks: start no second process on it")
