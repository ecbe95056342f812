"""New weak labels for old sound: by id, without touching what was packed.

A set of shards that was relabelled has its weak labels in a side file, one line a sample in the
order of the shards; the index names it. It is named by its content and the index is replaced
last, so that at every moment the index names a whole one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lanser_cli.errors import LanserError, RecordError
from lanser_cli.jsonl import read_records
from lanser_cli.records import Outcome, Record, Reject, to_json


class Labels:
    """The weak labels of a JSONL file, by id. They are held in a temporary file, not in memory.

    Args:
        path: the file, or `-`.
        option: what named it, for messages.

    Raises:
        LanserError: it cannot be read, a line is no record or has no `emotion`, or an id is there
            twice.
    """

    def __init__(self, path: str, option: str) -> None:
        self._base = sqlite3.connect("")  # private, on disk, gone with the connection
        self._base.execute("CREATE TABLE labels (id TEXT PRIMARY KEY, label TEXT) WITHOUT ROWID")
        for item in read_records([path], option):
            if isinstance(item, Reject):
                raise LanserError(f"{option}: {item.error}")
            if "emotion" not in item.fields:
                raise LanserError(
                    f"{option} {path}: '{item.id}' has no 'emotion': name a file that lanser "
                    "entail-label wrote"
                )
            try:
                row = (item.id, to_json(item.weak_label))
                self._base.execute("INSERT INTO labels VALUES (?, ?)", row)
            except sqlite3.IntegrityError:
                raise LanserError(f"{option} {path}: '{item.id}' is there twice") from None

    def get(self, identifier: str) -> dict[str, Any] | None:
        found = self._base.execute("SELECT label FROM labels WHERE id = ?", (identifier,))
        row = found.fetchone()
        return None if row is None else json.loads(row[0])

    def __len__(self) -> int:
        return int(self._base.execute("SELECT count(*) FROM labels").fetchone()[0])


# ---------------------------------------------------------------- the side file


@dataclass(frozen=True, slots=True)
class SideFile:
    """The weak labels of a relabelled set.

    Attributes:
        starts: file name of each shard -> where in the side file its labels begin, in bytes.
    """

    path: Path
    sha256: str
    starts: dict[str, int]

    @classmethod
    def of(cls, folder: Path, index: dict[str, Any]) -> SideFile | None:
        """What the index of a set names; None if the set was never relabelled.

        Raises:
            LanserError: the index names one that is not there.
        """
        about = index.get("relabelled")
        if about is None:
            return None
        files = (shard["file"] for shard in index["shards"])
        path = folder / about["file"]
        if not path.is_file():
            raise LanserError(
                f"{path}: the weak labels of this set are missing: copy them next to its shards"
            )
        return cls(path, about["sha256"], dict(zip(files, about["starts"], strict=True)))

    def over(self, shard: str, items: Iterable[Outcome]) -> Iterator[Outcome]:
        """The items of one shard, in its order, with these labels in the place of their own.

        Raises:
            LanserError: the file has none for one of them where they should be.
        """
        with self.path.open("rb") as stream:
            stream.seek(self.starts[shard])
            for item in items:
                yield self._over(item, stream) if isinstance(item, Record) else item

    def _over(self, record: Record, stream: IO[bytes]) -> Record:
        try:
            for line in stream:  # a sample that cannot be read any more still has its line
                label = Record.parse(json.loads(line))
                if label.id == record.id:
                    return record.relabelled(label.weak_label)
        except (ValueError, RecursionError, RecordError):
            pass
        raise LanserError(
            f"{self.path}: damaged: no labels for '{record.id}' where they should be: copy the "
            "file again, or relabel the set"
        )
