"""Tables as programs and people write them: encoding, separator, header, rows."""

from __future__ import annotations

import csv
import io
import json
import re
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lanser_cli import console, kind
from lanser_cli.corpora.base import STAGE
from lanser_cli.errors import LanserError
from lanser_cli.records import Reject

_SEPARATORS = ",\t;|"
_SEP_LINE = re.compile(r'"?sep=(.)"?\r?\n?')  # Excel's, before the header

_STRAY = (
    "a quotation mark opens a cell here and nothing ends it, so it would swallow the rows after "
    'this one: remove the mark, or write it twice ("") in a cell in quotation marks'
)


class Table:
    """A CSV or TSV file with a header, cell by cell less the blanks around each.

    It is in UTF-8, UTF-16 or UTF-32, with a mark or without. What separates the cells is what
    Excel's line `sep=;` says, else that of `, TAB ; |` with which the header has most of the
    columns wanted. A cell in quotation marks may hold line ends, in the header too (blanks, there).
    Empty cells behind the last column are nothing, and so is a row without any other.

    A quotation mark that is not closed spoils its own row only, as does a byte that is no UTF-8.
    Between tabs these marks are ordinary characters, unless they are around a whole cell.

    Args:
        needs: columns that must be there.
        wanted: columns that may be; those of `needs` are wanted as well.

    Attributes:
        columns: their names; "" for one without.
        anchor: a column of file names, by whose suffix a row is known where quotation marks are in
            doubt.
        separator: what is between two cells.

    Raises:
        LanserError: no such file, nothing in it, a column twice, or one of `needs` not there.
    """

    def __init__(
        self,
        path: Path,
        needs: Sequence[str] = (),
        *,
        wanted: Iterable[str] = (),
    ) -> None:
        self.path = path
        self.anchor: str | None = None
        try:
            raw = path.open("rb")
        except FileNotFoundError:
            raise LanserError(f"{path}: there is no such file") from None
        except OSError as error:
            raise LanserError(f"{path}: cannot be read: {error.strerror}") from None
        weakref.finalize(self, raw.close)  # also where no row is ever read
        head = raw.peek(kind.HEAD)[: kind.HEAD]
        if found := kind.not_table(head):
            raise LanserError(f"{path}: is no table but {found}")
        encoding = json.detect_encoding(head[:4])
        in_utf8 = encoding.startswith("utf-8")
        # Bytes that are no text spoil their row only, not the whole file.
        errors, garbled = ("surrogateescape", "\udc80-\udcff") if in_utf8 else ("replace", "\ufffd")
        self._encoding = encoding.removesuffix("-sig").upper()
        self._garbled = re.compile(f"[{garbled}]")
        self._stream = io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="")
        self._lines = _Lines(self._stream)
        try:
            self.separator, self.columns = self._header([*needs, *wanted])
            while self.columns and not self.columns[-1]:
                self.columns.pop()
            self._check(needs)
        except LanserError:
            self._stream.close()
            raise
        self._rows = _reader(self._lines, self.separator)

    @property
    def header(self) -> str:
        """The columns there are, for messages."""
        return f"the header has: {', '.join(self.columns)}"

    def __iter__(self) -> Iterator[tuple[str, dict[str, str] | Reject]]:
        """`file:line`, and the row by column name, or why it is none."""
        with self._stream:
            while self._lines.more():
                where = f"{self.path}:{self._lines.number + 1}"
                cells, fault = self._row()
                if not fault:
                    while len(cells) > len(self.columns) and not cells[-1]:
                        cells.pop()
                    if any(cells):
                        fault = self._fault(cells)
                if fault:
                    yield where, Reject(None, STAGE, f"{where}: {fault}", cells)
                elif any(cells):
                    yield where, dict(zip(self.columns, cells, strict=True))

    def _header(self, wanted: Iterable[str]) -> tuple[str, list[str]]:
        """The separator and the names of the columns."""
        separators: Iterable[str] = _SEPARATORS
        for line in self._lines:
            if found := _SEP_LINE.fullmatch(line):
                separators = found[1]
            elif line.strip(f"{_SEPARATORS} \r\n"):
                self._lines.put_back(1)
                break
        headers = [self._names(separator) for separator in separators]
        separator, names, lines = max(
            headers, key=lambda one: (len({*wanted}.intersection(one[1])), len(one[1]))
        )
        for _ in range(lines):
            next(self._lines)
        return separator, names

    def _names(self, separator: str) -> tuple[str, list[str], int]:
        """The columns if this separates them, and the lines of the header; nothing is taken."""
        self._lines.forget()
        try:
            names: list[str] = next(_reader(self._lines, separator), [])
            lines = len(self._lines.taken)
        except csv.Error:
            names, lines = _in_one_line(self._lines.taken[0], separator), 1
        self._lines.put_back(len(self._lines.taken))
        columns = [" ".join(_bare(name, separator).split()) for name in names]
        return separator, columns, lines

    def _check(self, needs: Sequence[str]) -> None:
        path = self.path
        if not self.columns:
            raise LanserError(f"{path}: the file is empty; a header line must name the columns")
        if self._garbled.search("".join(self.columns)):
            raise LanserError(f"{path}: its header is {self._not_text}")
        for name in self.columns:
            if name and self.columns.count(name) > 1:
                raise LanserError(f"{path}: two columns are called '{name}': rename one")
        for name in needs:
            if name not in self.columns:
                raise LanserError(f"{path}: no column '{name}'; {self.header}")

    @property
    def _not_text(self) -> str:
        return f"not {self._encoding}: convert the file, e.g. with iconv -t UTF-8"

    def _row(self) -> tuple[list[str], str]:
        """The next row, and what is the matter with it; the lines of several rows are none."""
        self._lines.forget()
        fault = ""
        try:
            cells: list[str] = next(self._rows, [])
        except csv.Error as error:  # e.g. a field of more than 128 KiB
            fault = str(error)
        taken = self._lines.taken
        if len(taken) > 1 and (fault or self._are_rows(taken)):
            self._lines.put_back(len(taken) - 1)
            return [taken[0]], _STRAY
        if fault:
            cells = _in_one_line(taken[0], self.separator)
            if not cells or fault.startswith("unexpected end"):
                return [taken[0]], _STRAY if cells else fault
        return [_bare(cell, self.separator) for cell in cells], ""

    def _are_rows(self, lines: Sequence[str]) -> bool:
        """Whether each line, read without regard to quotation marks, is a row by itself."""
        try:
            rows = list(csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE))
        except csv.Error:
            return False
        if any(len(row) != len(self.columns) for row in rows):
            return False
        if self.anchor is None:
            return True
        place = self.columns.index(self.anchor)
        return len({Path(row[place].strip(' "')).suffix for row in rows}) == 1

    def _fault(self, cells: Sequence[str]) -> str:
        if len(cells) != len(self.columns):
            return f"{len(cells)} fields where the header has {len(self.columns)}"
        text = "".join(cells)
        if self._garbled.search(text):
            return self._not_text
        return "it holds NUL, so it is no text" if "\0" in text else ""


def column_beside(root: Path, name: str, key: str, value: str) -> dict[str, str]:
    """A column by another, of a table in a folder or the one above; empty without the table.

    Rows that cannot be read are said.
    """
    for path in (root / name, root / ".." / name):
        if path.is_file():
            rows = [row for _, row in Table(path, needs=(key, value))]
            if bad := [row.error for row in rows if isinstance(row, Reject)]:
                console.warn(f"{STAGE}: rows passed over: {len(bad)}, such as {bad[0]}")
            return {row[key]: row[value] for row in rows if isinstance(row, dict)}
    return {}


class _Lines:
    """The lines of a stream, which can be taken, put back, and counted.

    Attributes:
        taken: those since the last `forget`.
        number: how many were taken in all.
    """

    def __init__(self, stream: Iterator[str]) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._stream)
        self.taken.append(line)
        self.number += 1
        return line

    def more(self) -> bool:
        """Whether there is another line."""
        if next(self, None) is None:
            return False
        self.put_back(1)
        return True

    def put_back(self, count: int) -> None:
        """Let the last `count` lines taken be taken again."""
        for _ in range(count):
            self._waiting.appendleft(self.taken.pop())
        self.number -= count

    def forget(self) -> None:
        """Hold the lines taken no longer."""
        self.taken = []


def _reader(lines: Iterable[str], separator: str) -> Any:
    """A `csv.reader` that takes an open quotation mark at the end for an error."""
    if separator == "\t":
        return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)


def _in_one_line(line: str, separator: str) -> list[str]:
    """The cells of a line, whatever follows a quotation mark; none where one is too long."""
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return []


def _bare(cell: str, separator: str) -> str:
    """A cell less the blanks around it; of a TSV less the quotation marks that R and Excel set."""
    cell = cell.strip()
    inner = cell[1:-1]
    if separator != "\t" or len(cell) < 2 or not cell[0] == cell[-1] == '"':
        return cell
    return cell if '"' in inner.replace('""', "") else inner.replace('""', '"').strip()
