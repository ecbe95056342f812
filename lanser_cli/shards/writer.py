"""Records to numbered tars and an index: the same bytes for the same input, whoever encodes."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lanser_cli import __version__
from lanser_cli.digests import StringSet, file_sha256
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.lock import FileLock
from lanser_cli.origin import check_same, describe, identity_in
from lanser_cli.output import commit, write_json
from lanser_cli.provenance import command_line
from lanser_cli.records import Record, Reject
from lanser_cli.shards.encoder import Sample
from lanser_cli.shards.index import INDEX, SCHEMA, Contents, ShardInfo, totals
from lanser_cli.shards.samples import read_tar
from lanser_cli.tally import Tally

_HELD = "another lanser shard writes here ({holder}): wait for it, or name another folder"


class ShardWriter:
    """Writes samples into numbered tars, one after the other.

    A tar appears under its name when it is whole. With `resume`, the whole tars of an earlier run
    are kept and the records in them are not written again. While it is open no other writer may
    use the folder; `finish` or `abandon` ends that.

    Args:
        folder: made if it is not there.
        name: shards are called `NAME-000000.tar` and so on.
        max_count: records in a shard.
        max_bytes: a shard is closed when it has grown beyond this.
        identity: what a run must share with another to go on with its set.

    Raises:
        UsageError: the folder holds a set already, or an unfinished one and `resume` is off, or
            that of another run.
        LanserError: the folder cannot be written to, or another writer is at work in it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "speech",
        max_count: int = 1000,
        max_bytes: int = 1 << 30,
        identity: Mapping[str, str] | None = None,
        resume: bool = False,
    ) -> None:
        self.folder, self._name, self._identity = folder, name, dict(identity or {})
        self._unfinished = folder / f"{INDEX}.part"
        self._max_count, self._max_bytes = max_count, max_bytes
        self.done = StringSet()
        self.sounds = StringSet()
        self._contents = Contents()
        self._shards: list[ShardInfo] = []
        self._open: _Tar | None = None
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"-o {folder}: is a file, and shards lie in a folder: name one")
        self._made = not folder.exists()
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder, path=folder / ".lock", refusal=_HELD)
        try:
            self._begin(resume)
        except BaseException:
            self.abandon()
            raise

    def _begin(self, resume: bool) -> None:
        if (self.folder / INDEX).exists():
            raise UsageError(f"{self.folder} holds a finished set of shards: name another folder")
        existing = sorted(self.folder.glob("*.tar"))
        if existing and not resume:
            raise UsageError(
                f"{self.folder} holds shards of an unfinished run: go on with --resume, or remove "
                "them"
            )
        if existing and self._identity:
            made = identity_in(self._unfinished)
            if made is None:
                raise UsageError(
                    f"--resume: {self.folder} holds shards, and nothing in it says what made them: "
                    f"remove them, put their {INDEX} back, or name another folder"
                )
            check_same(made, self._identity, str(self.folder))
        if self._identity:
            write_json(self._unfinished, describe("shard", self._identity))
        for path in existing:
            self._take_over(path)

    def add(self, sample: Sample) -> None:
        """Write one sample.

        Raises:
            LanserError: the disk is full, or the like; whole shards stay for `--resume`.
        """
        with _writing(self.folder):
            if self._open is None:
                self._open = _Tar(self.folder / f"{self._name}-{len(self._shards):06d}.tar")
            self._open.add(sample)
            self._note(sample)
            if self._open.samples >= self._max_count or self._open.bytes >= self._max_bytes:
                self._close()

    @property
    def any(self) -> bool:
        """Whether there is anything in the set."""
        return bool(self._shards) or self._open is not None

    def finish(self, tally: Tally | None = None) -> dict[str, Any]:
        """Close the last shard, write the index, and return it.

        Args:
            tally: what became of the records that are not in the set.
        """
        tally = tally or Tally("shard")
        with _writing(self.folder):
            self._close()
            index = {
                "schema": SCHEMA,
                "name": self._name,
                **totals(self._shards),
                **self._contents.as_json(),
                "dropped": dict(sorted(tally.dropped.items())),
                "rejected": tally.rejected,
                "shards": [asdict(shard) for shard in self._shards],
                "identity": self._identity,
                "argv": command_line(),
                "versions": {"lanser": __version__},
            }
            # Until the index is there in its place, something must say what made the shards.
            write_json(self._unfinished, index)
            commit(self._unfinished, self.folder / INDEX)
        self._lock.release()
        return index

    def abandon(self) -> None:
        """Leave the unfinished shard out; the whole ones stay for `--resume`."""
        if self._open is not None:
            self._open.remove()
            self._open = None
        if next(self.folder.glob("*.tar"), None) is None:
            self._unfinished.unlink(missing_ok=True)
        self._lock.release()
        if self._made:
            with suppress(OSError):  # something is in it
                self.folder.rmdir()

    def _close(self) -> None:
        if self._open is not None:
            self._shards.append(self._open.finish())
            self._open = None

    def _take_over(self, path: Path) -> None:
        expected = f"{self._name}-{len(self._shards):06d}.tar"
        if path.name != expected:
            raise UsageError(f"{path}: not of this set, which expects {expected}: remove it")
        count, seconds = 0, 0.0
        for item in read_tar(str(path), "shard"):
            if not isinstance(item, Record):
                why = item.error if isinstance(item, Reject) else f"{path}: {item.reason}"
                raise LanserError(f"{why}; remove the file, then --resume")
            self._note(item)
            count += 1
            seconds += item.duration or 0.0
        size, sha256 = path.stat().st_size, file_sha256(path)
        self._shards.append(ShardInfo(path.name, count, round(seconds, 3), size, sha256))

    def _note(self, record: Record) -> None:
        self.done.add(record.id)
        self.sounds.add(str(record.fields.get("audio_sha256")))
        self._contents.add(record)


class _Tar:
    """One shard on its way: counted and hashed as it is written."""

    def __init__(self, path: Path) -> None:
        self._final, self._partial = path, path.with_name(path.name + ".part")
        self._stream: io.BufferedWriter = self._partial.open("wb")
        self._hash = hashlib.sha256()
        self.samples, self.bytes, self._seconds = 0, 0, 0.0

    def add(self, sample: Sample) -> None:
        self._write(sample.members)
        self.samples += 1
        self._seconds += sample.duration or 0.0

    def finish(self) -> ShardInfo:
        end = 2 * tarfile.BLOCKSIZE  # the end mark, then zeros up to a whole record
        self._write(bytes(end + -(self.bytes + end) % tarfile.RECORDSIZE))
        self._stream.close()
        commit(self._partial, self._final)
        return ShardInfo(
            self._final.name,
            self.samples,
            round(self._seconds, 3),
            self.bytes,
            self._hash.hexdigest(),
        )

    def remove(self) -> None:
        self._partial.unlink(missing_ok=True)
        with suppress(OSError):  # what was still to be written is not wanted
            self._stream.close()

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._hash.update(data)
        self.bytes += len(data)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LanserError(
            f"{folder}: cannot be written: {error.strerror}: make room or name another folder; "
            "whole shards are kept for --resume"
        ) from None
