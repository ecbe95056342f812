"""Rows beside records: a vector of each, in a `.npy` file that appears when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lanser_cli.destination import check_writable, is_stream, places
from lanser_cli.errors import LanserError, UsageError, already_there
from lanser_cli.lock import FileLock
from lanser_cli.output import commit
from lanser_cli.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class WithRow(Record):
    """A record and a vector of it, float32. Two are equal if their fields are."""

    row: NDArray[np.float32] = field(compare=False)

    def with_fields(self, **updates: Any) -> WithRow:
        return WithRow({**self.fields, **updates}, self.row)


def check_rows(path: Path, *, may_exist: bool) -> None:
    """Fail before any work if rows cannot be written to a file.

    Raises:
        UsageError: it is called otherwise, or is there already and may not be.
        LanserError: it cannot be made.
    """
    if path.suffix != ".npy" or is_stream(path):
        raise UsageError(f"{path}: rows go into a plain file that is called NAME.npy")
    check_writable(path)
    if path.exists() and not may_exist:
        raise already_there(path)


def rows_in(path: Path) -> int | None:
    """How many rows a whole file has; None if it is none."""
    import numpy as np

    try:
        return len(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError, TypeError):
        return None


class RowFile:
    """A NumPy array `[rows, width]` of float32 that grows by rows.

    A killed run leaves `FILE.npy.part`. Its rows are written before their records, so there are as
    many of them as records, or more: the latter are cut off.

    Args:
        resume: go on with the part, or with the file if it was whole before its records were.
        done: how many records are done.

    Raises:
        LanserError: it cannot be written, lacks rows of records that are done, or is whole and has
            rows of others.
    """

    def __init__(self, path: Path, *, resume: bool, done: int) -> None:
        self._path = path
        self._final, self._partial = places(path)
        self._lock = FileLock(self._final)
        self._count, self._width = 0, 0
        going_on = resume and done > 0
        try:
            if going_on and self._final.exists() and not self._partial.exists():
                self._take_back(done)
            mode = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | (0 if going_on else os.O_TRUNC)
            self._stream: BinaryIO = open(os.open(self._partial, mode, 0o666), "r+b")  # noqa: SIM115
        except OSError as error:
            self._lock.release()
            raise LanserError(f"{path}: cannot be written: {error.strerror}") from None
        if going_on:
            self._keep(done)

    def _take_back(self, done: int) -> None:
        """Make the part again of a file that was whole before its records were."""
        if rows_in(self._final) != done:
            self._lock.release()
            raise LanserError(
                f"{self._final}: is whole, and its rows are not those of the {done} records that "
                "are done: name the file of this run, or begin anew with --force"
            )
        os.replace(self._final, self._partial)

    def _keep(self, done: int) -> None:
        from numpy.lib import format as npy

        try:
            npy.read_magic(self._stream)
            (_, self._width), _, _ = npy.read_array_header_1_0(self._stream)
            end = self._stream.tell() + 4 * self._width * done
            if os.fstat(self._stream.fileno()).st_size < end:
                raise ValueError
        except ValueError:
            self.leave()
            raise LanserError(
                f"{self._partial}: lacks rows of records that are done: begin anew with --force"
            ) from None
        self._count = done
        self._stream.truncate(end)
        self._stream.seek(end)

    def write(self, row: NDArray[np.float32]) -> None:
        """Add a row; all have the length of the first."""
        with self._writing():
            if not self._width:
                self._width = len(row)
                self._write_header()
            self._stream.write(row.astype("<f4").tobytes())
        self._count += 1

    def flush(self) -> None:
        """Hand over what was written, before the records are."""
        with self._writing():
            self._stream.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LanserError(f"{self._path}: cannot be written: {error.strerror}") from None

    def _write_header(self) -> None:
        """At the beginning; NumPy leaves room in it for any number of rows."""
        from numpy.lib import format as npy

        self._stream.seek(0)
        shape = (self._count, self._width)
        about = {"descr": "<f4", "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._stream, about)

    def leave(self) -> None:
        """The run ended early: leave the part for `--resume`."""
        with suppress(OSError):
            self._stream.close()
        self._lock.release()

    def publish(self) -> None:
        """The file is whole: let it appear under its name."""
        with self._writing():
            self._write_header()
            self._stream.close()
        commit(self._partial, self._final)
        self._lock.release()
