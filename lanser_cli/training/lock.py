"""The lock of a run folder: one process at a time trains into it."""

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
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        self.release = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
            self.release()
            if error.errno in _NO_LOCKS:
                _warn_of_no_locks(folder)
                return
            raise LanserError(
                f"{folder}: {holder or 'another process'} is training into it: wait for its end, "
                "or name another folder"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


@cache
def _warn_of_no_locks(folder: Path) -> None:
    console.warn(f"{folder}: this file system has no locks: start no second process on it")
