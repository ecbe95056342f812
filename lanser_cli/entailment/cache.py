"""The cache: scores of pairs, so that a model scores each pair once.

One SQLite file, `scores.sqlite`, for anyone to look into:

    hypotheses(id, model, text)                 model: the fingerprint of the scorer
    scores(premise, hypothesis, log_odds)       premise: 64 bits of the transcript's BLAKE2b
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lanser_cli import console
from lanser_cli.digests import string64
from lanser_cli.entailment.label_scorer import Scorer
from lanser_cli.errors import LanserError

T = TypeVar("T")

FILE = "scores.sqlite"

_VERSION = 1
_BUSY_SECONDS = 120.0
_TABLES = """
CREATE TABLE hypotheses(
    id INTEGER PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, UNIQUE(model, text)
);
CREATE TABLE scores(
    premise INTEGER, hypothesis INTEGER, log_odds REAL, PRIMARY KEY(premise, hypothesis)
) WITHOUT ROWID;
"""


class CachedScorer:
    """A scorer that asks the model about those pairs alone that are not in the cache.

    Many processes may share a folder, on one machine or on a network file system. It has a
    rollback journal, since a write-ahead log works on one machine only. Nothing is added to a
    cache that is full, locked for minutes or on a full disk. One that is damaged is set aside as
    `scores.sqlite.damaged` and begun anew. Either is said once, and scoring goes on.

    Args:
        folder: made if it is not there.
        limit_gb: the file grows no larger.

    Raises:
        LanserError: nothing can be kept in the folder; or, later too, its cache is damaged and
            cannot be set aside.
    """

    def __init__(self, scorer: Scorer, folder: Path, limit_gb: float = 10.0) -> None:
        self._scorer = scorer
        self._path = folder / FILE
        self._limit = limit_gb
        self._said: set[str] = set()
        self._full = False
        self._ids: dict[str, int] = {}
        self._fingerprint = scorer.fingerprint
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._guarded(self._open)
        except (OSError, sqlite3.DatabaseError, LanserError) as error:
            raise LanserError(
                f"--cache {folder}: scores cannot be kept there ({error}): name another folder"
            ) from None

    @property
    def name(self) -> str:
        return self._scorer.name

    @property
    def precision(self) -> str:
        return self._scorer.precision

    @property
    def fingerprint(self) -> str:
        return self._scorer.fingerprint

    def fault(self, premise: str) -> str | None:
        return self._scorer.fault(premise)

    def truncates(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[bool]:
        return self._scorer.truncates(premises, hypotheses)

    def knows(self, text: str) -> bool:
        return self._scorer.knows(text)

    def tokens(self, text: str) -> list[int]:
        return self._scorer.tokens(text)

    def score(
        self,
        premises: Sequence[str],
        hypotheses: Sequence[str],
        wanted: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """As the scorer's own."""
        keys = [premise_key(premise) for premise in premises]
        scores = self._guarded(lambda: self._look_up(keys, hypotheses))
        if scores is None:
            return self._scorer.score(premises, hypotheses, wanted)
        missing = np.isnan(scores)
        if wanted is not None:
            scores[~wanted] = np.nan
            missing &= wanted
        rows = np.flatnonzero(missing.any(axis=1)).tolist()
        columns = np.flatnonzero(missing.any(axis=0)).tolist()
        if rows:
            block = np.ix_(rows, columns)
            new = self._scorer.score(
                [premises[row] for row in rows],
                [hypotheses[column] for column in columns],
                missing[block],
            )
            scores[block] = np.where(missing[block], new, scores[block])
            if self.fingerprint != self._fingerprint:  # NaN made the model go on in float32
                self._fingerprint, self._ids = self.fingerprint, {}
                return self.score(premises, hypotheses, wanted)
            found = [
                (keys[row], hypotheses[column], float(scores[row, column]))
                for row, column in np.argwhere(missing & ~np.isnan(scores)).tolist()
            ]
            self._guarded(lambda: self.add(found))
        return scores

    def add(self, found: Sequence[tuple[int, str, float]]) -> None:
        """Keep scores: (key of the premise, hypothesis, log-odds), in one transaction."""
        if self._full:
            return
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._register({hypothesis for _, hypothesis, _ in found})
                self._database.executemany(
                    "INSERT OR IGNORE INTO scores VALUES (?, ?, ?)",
                    ((key, self._ids[hypothesis], score) for key, hypothesis, score in found),
                )
        except sqlite3.Error as error:
            self._ids = {}  # what was rolled back may be the number of another's hypothesis by now
            if not isinstance(error, sqlite3.OperationalError) or "full" not in str(error):
                raise
            self._full = True
            self._say(f"is full ({self._limit:g} GB, or the disk): no more scores are kept")

    def _look_up(self, keys: Sequence[int], hypotheses: Sequence[str]) -> NDArray[np.float32]:
        """Known log-odds `[keys, hypotheses]`, NaN for the others."""
        if any(hypothesis not in self._ids for hypothesis in hypotheses):
            self._read_ids()
        known = {
            self._ids[hypothesis]: column
            for column, hypothesis in enumerate(hypotheses)
            if hypothesis in self._ids
        }
        width = len(hypotheses)
        scores = np.full((len(keys), width), np.nan, np.float32)
        if not known:
            return scores
        where = f"hypothesis IN ({','.join(map(str, known))})"
        row_of = {key: row for row, key in enumerate(keys)}
        columns = [known[number] for number in sorted(known)]
        for start in range(0, len(keys), 512):
            some = sorted(keys[start : start + 512])
            query = f"FROM scores WHERE premise IN ({','.join(map(str, some))}) AND {where}"
            rows = [row_of[key] for key in some]
            found = self._database.execute(
                f"SELECT log_odds {query} ORDER BY premise, hypothesis"
            ).fetchall()
            if len(found) == len(rows) * len(columns):  # all known: their order says whose they are
                odds = np.fromiter(chain.from_iterable(found), np.float32, len(found))
                scores[np.ix_(rows, columns)] = odds.reshape(len(rows), len(columns))
            elif found:
                for key, number, score in self._database.execute(f"SELECT * {query}"):
                    scores[row_of[key], known[number]] = score
        return scores[[row_of[key] for key in keys]]  # a premise may be there twice

    def _register(self, hypotheses: set[str]) -> None:
        """Know the number of each hypothesis; inside a transaction."""
        self._database.executemany(
            "INSERT OR IGNORE INTO hypotheses(model, text) VALUES (?, ?)",
            ((self._fingerprint, text) for text in sorted(hypotheses - set(self._ids))),
        )
        self._read_ids()

    def _read_ids(self) -> None:
        rows = self._database.execute(
            "SELECT text, id FROM hypotheses WHERE model = ?", (self._fingerprint,)
        )
        self._ids = dict(rows.fetchall())

    def _open(self) -> None:
        self._ids = {}
        self._inode = self._path.stat().st_ino if self._path.exists() else None
        self._database = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        if self._version() == 0:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                if self._version() == 0:  # nobody has begun it meanwhile
                    for statement in _TABLES.split(";")[:-1]:
                        self._database.execute(statement)
                    self._database.execute(f"PRAGMA user_version = {_VERSION}")
        if (version := self._version()) != _VERSION:
            raise sqlite3.DatabaseError(f"version {version}, not {_VERSION}")
        (page,) = self._database.execute("PRAGMA page_size").fetchone()
        self._database.execute(f"PRAGMA max_page_count = {int(min(self._limit, 1e6) * 1e9 / page)}")
        self._inode = self._path.stat().st_ino

    def _version(self) -> int:
        (found,) = self._database.execute("PRAGMA user_version").fetchone()
        return int(found)

    def _guarded(self, action: Callable[[], T]) -> T | None:
        """Do something with the database; None if it could not be done."""
        try:
            return action()
        except sqlite3.OperationalError as error:
            if action == self._open:
                raise
            if "locked" in str(error):
                self._say(f"was locked for {_BUSY_SECONDS:.0f} s: some scores are not kept")
            else:
                self._say(f"fails ({error}): some scores are not kept")
            return None
        except sqlite3.DatabaseError as error:  # malformed, not a database, another version
            self._set_aside(str(error))
            return None

    def _set_aside(self, reason: str) -> None:
        with suppress(sqlite3.Error):
            self._database.close()
        with suppress(OSError):
            # Another process may have begun a new one already, which is not to be set aside.
            if self._inode == self._path.stat().st_ino:
                os.replace(self._path, self._path.with_name(FILE + ".damaged"))
                for suffix in ("-journal", "-wal", "-shm"):
                    self._path.with_name(FILE + suffix).unlink(missing_ok=True)
        try:
            self._open()
        except sqlite3.DatabaseError:  # still the damaged one
            raise LanserError(
                f"cache {self._path} is damaged ({reason}) and cannot be set aside: remove it, or "
                "name another folder"
            ) from None
        self._say(f"is damaged ({reason}): set aside as {FILE}.damaged and begun anew")

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            console.warn(f"cache {self._path} {message}")


def premise_key(text: str) -> int:
    """64 bits of the text's BLAKE2b, signed, as SQLite's integers are."""
    digest = string64(text)
    return digest - (1 << 64) if digest >> 63 else digest
