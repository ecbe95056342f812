"""What the corpus readers share: walking a folder, probing a clip, reading a table."""

from __future__ import annotations

import csv
import os
import re
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from lanser_cli.audio import sound
from lanser_cli.audio.walk import walk
from lanser_cli.console import ascii_safe
from lanser_cli.errors import LanserError, RecordError, of_one_record
from lanser_cli.records import Dropped, Outcome, Record, Reject, make_id

STAGE = "manifest"

Describe = Callable[[re.Match[str]], dict[str, Any] | Dropped]
"""From a matched file name to the fields of its record, `id` first; or leaves the clip out."""


def audio_files(root: Path) -> Iterator[Path]:
    """The audio and video files below a folder, as every verb finds them."""
    return map(Path, walk(str(root)))


def check_folder(root: Path) -> None:
    """Raise LanserError unless `root` is a folder."""
    if not root.is_dir():
        raise LanserError(f"{root}: there is no such folder")


def by_name(
    root: Path, corpus: str, scheme: str, example: str, describe: Describe
) -> Iterator[Outcome]:
    """The records of a corpus whose file names say everything.

    Args:
        scheme: regular expression for a file's name without suffix; it may begin with the name
            of the folder the file is in.
        example: a file name of the corpus, for messages.

    Raises:
        LanserError: no file below `root` has a fitting name; raised at once, not when iterated.
    """
    check_folder(root)
    pattern = re.compile(f"(?:.*/)?{scheme}")

    def match(path: Path) -> re.Match[str] | None:
        return pattern.fullmatch(f"{path.absolute().parent.name}/{path.stem}")

    if not any(match(path) for path in audio_files(root)):
        raise LanserError(
            f"{root}: no {corpus} clip in this folder or below it; "
            f"they are named like '{example}', whatever the suffix"
        )

    def outcomes() -> Iterator[Outcome]:
        for path in audio_files(root):
            if found := match(path):
                fields = describe(found)
                yield fields if isinstance(fields, Dropped) else utterance(path, fields)
            else:
                name = ascii_safe(str(path))
                why = f"{name}: not named like a {corpus} clip ('{example}'): rename or remove it"
                identifier = make_id(os.path.relpath(path, root))
                yield Reject(identifier, STAGE, why, {"audio_filepath": name})

    return outcomes()


def utterance(path: Path, fields: dict[str, Any]) -> Record | Reject:
    """The record of one clip: `id`, path and duration (s) first; fields that are None are left out.

    A file that is empty, broken or without sound becomes a reject.
    """
    head: dict[str, Any] = {"id": fields["id"], "audio_filepath": str(path)}
    rest = {key: value for key, value in fields.items() if key != "id" and value is not None}
    try:
        with of_one_record():
            head["duration"] = round(sound.probe(str(path)).duration, 6)
    except RecordError as error:
        return Reject(fields["id"], STAGE, str(error), head | rest)
    return Record(head | rest)


class Table:
    """A CSV or TSV file with a header line; the header says what separates the columns.

    Between tabs, quotation marks are ordinary characters: a stray one must not swallow the rows
    after it.

    Raises:
        LanserError: no such file, nothing in it, a column twice, or one of `needs` not there.
    """

    def __init__(self, path: Path, needs: tuple[str, ...] = ()) -> None:
        self.path = path
        try:
            # A byte that is no UTF-8 spoils its row only, not the whole file.
            self._stream = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
        except FileNotFoundError:
            raise LanserError(f"{path}: there is no such file") from None
        except (IsADirectoryError, PermissionError) as error:
            raise LanserError(f"{path}: cannot be read: {error.strerror}") from None
        weakref.finalize(self, self._stream.close)  # also where no row is ever read
        first = self._stream.readline()
        delimiter = max(",\t;|", key=first.count)
        quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
        names = next(csv.reader([first], delimiter=delimiter, quoting=quoting), [])
        self._reader = csv.reader(self._stream, delimiter=delimiter, quoting=quoting)
        self.columns = [name.strip() for name in names]
        try:
            if not self.columns:
                raise LanserError(f"{path}: the file is empty; a header line must name the columns")
            for name in self.columns:
                if name and self.columns.count(name) > 1:
                    raise LanserError(f"{path}: two columns are called '{name}': rename one")
            for name in needs:
                if name not in self.columns:
                    raise LanserError(f"{path}: no column '{name}'; {self.header}")
        except LanserError:
            self._stream.close()
            raise

    @property
    def header(self) -> str:
        """The columns there are, for messages."""
        return ascii_safe(f"the header has: {', '.join(self.columns)}")

    def __iter__(self) -> Iterator[tuple[str, dict[str, str] | Reject]]:
        """`file:line`, and the row by column name, or why it is none."""
        with self._stream:
            while True:
                cells: list[str] = []
                fault = ""
                try:
                    cells = next(self._reader)
                except StopIteration:
                    return
                except csv.Error as error:  # e.g. a field of more than 128 KiB
                    fault = str(error)
                where = f"{self.path}:{self._reader.line_num + 1}"
                if cells and len(cells) != len(self.columns):
                    fault = f"{len(cells)} fields where the header has {len(self.columns)}"
                elif any("\udc80" <= letter <= "\udcff" for letter in "".join(cells)):
                    fault = "not UTF-8: convert the file, e.g. with iconv"
                if fault:
                    yield where, Reject(None, STAGE, f"{where}: {fault}", cells)
                elif cells:  # a blank line is nothing
                    yield where, dict(zip(self.columns, cells, strict=True))
