"""A folder that holds so many bytes of remote shards at most: fetched to be read, then given up."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO

from lanser_cli.audio import lender
from lanser_cli.audio.lender import Version
from lanser_cli.digests import file_sha256
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.lock import has_locks, keep, remove, turn
from lanser_cli.output import write_json
from lanser_cli.provenance import disclosed
from lanser_cli.shape import COUNT, read_json
from lanser_cli.shards import remote
from lanser_cli.shards.remote import Remote

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)

_VERSION = {"bytes": COUNT, "sha256": str}
_SCHEMA = 1
_ABOUT = 200
"""Bytes that the version of a shard takes, at most."""


def stream(
    inputs: Sequence[str] | None, folder: Path | None, limit: str | None
) -> tuple[Sequence[str] | None, Cache | None]:
    """Inputs with the path of a copy in the place of every remote shard, and who lends the copies.

    Args:
        inputs, folder: as `remote.resolve`.
        limit: bytes that the folder may hold, such as 50G; without one the inputs stay as they are.

    Raises:
        UsageError: the limit is no size, or there is no folder.
        LanserError: what lies beside the shards cannot be fetched.
    """
    most = 0 if limit is None else parse_size(limit)
    if not most:
        return inputs, None
    if folder is None:
        raise UsageError("--fetch-limit is of the folder that --fetch DIR names: say both")
    found = remote.resolve(inputs or ["-"], folder)
    shards = [one for one in found if isinstance(one, Remote)]
    cache = Cache(folder, most, shards) if shards else None
    return [str(one.path) if isinstance(one, Remote) else one for one in found], cache


def parse_size(text: str) -> int:
    """Bytes of `50G`, `1.5T` or `800M`: units are powers of 1024; 0 is no limit.

    Raises:
        UsageError: it is no size.
    """
    size = _SIZE.fullmatch(text.strip())
    if size is None:
        raise UsageError(f"--fetch-limit {text}: not a size: say 800M, 50G or 1.5T")
    return math.ceil(float(size[1]) * (1 << _UNITS[size[2].upper()]))


class Cache:
    """Lends remote shards, as `lender.Lender` has it, to all processes that have this folder.

    A shard is fetched when it is borrowed and not there. Before that, those go that nobody has
    borrowed for longest; none that is being read. Which bytes a shard had the first time is kept
    beside it, and other ones are refused. No file goes that is not of this run.

    Args:
        limit: bytes that all files of the folder have together, at most; what is being fetched
            counts.

    Raises:
        LanserError: a shard is too large, or the file system has no locks.
    """

    def __init__(self, folder: Path, limit: int, shards: Sequence[Remote]) -> None:
        self._folder, self._limit = folder, limit
        self._shards = {str(shard.path): shard for shard in shards}
        self._versions: dict[str, Version] = {}
        self._met: set[str] = set()
        about = remote.promised(shards)
        for shard in shards:
            if (one := about.get(shard.path)) is not None:
                self._check_size(shard, one.bytes)
                self._versions[str(shard.path)] = one.bytes, one.sha256
        known = len(self._versions) == len(self._shards)
        self._samples = sum(about[shard.path].samples for shard in shards) if known else None
        folder.mkdir(parents=True, exist_ok=True)
        if not has_locks(folder):
            raise LanserError(
                f"--fetch {folder}: its file system has no locks, which --fetch-limit needs: name "
                "a folder on a disk of this machine"
            )
        lender.lend(self._shards, self)

    def lent(self, path: str) -> IO[bytes]:
        """The shard, opened; until it is closed it stays.

        Raises:
            LanserError: it cannot be fetched, is not what it was, or there is no room for it.
        """
        shard = self._shards[path]
        while (file := keep(shard.path)) is None:
            remote.copy(
                shard,
                self._folder,
                known=self._known(path),
                room=partial(self._make_room, shard),
                arrived=partial(self._remember, path),
                quiet=path in self._met,
            )
        self._met.add(path)
        with suppress(PermissionError):  # another user's
            os.utime(shard.path, ns=(time.time_ns(), os.fstat(file.fileno()).st_mtime_ns))
        if self._known(path) is None:  # it was copied without a limit
            with turn(self._folder / ".lock"):
                self._remember(path, shard.path)
        return file

    def version(self, path: str) -> Version:
        """What a shard was when it first came."""
        if self._known(path) is None:
            self.lent(path).close()
        return self._versions[path]

    def check_blocks(self, buffer: int, utterances: int | None = None) -> None:
        """Refuse an order in which shards would have to come more than once an epoch.

        Two blocks are in the folder at once, and of each the shards that it shares with others.

        Args:
            buffer: utterances that are shuffled at once.
            utterances: that are read of all shards; None for all that their indices speak of, if
                they have some.

        Raises:
            UsageError: two blocks do not fit.
        """
        utterances = utterances or self._samples
        if utterances is None:
            return
        sizes = [self.version(path)[0] for path in self._shards]
        others = (  # less what another rank fetches just now, lest one be refused and not the other
            size
            for path, (size, _) in self._held().items()
            if path not in self._shards and not path.endswith(".part")
        )
        space, largest = self._limit - sum(others), max(sizes)
        if sum(sizes) <= space:
            return
        fits = int((space / 2 - 2 * largest) * utterances / sum(sizes))
        if fits < 1:
            raise UsageError(
                f"--fetch-limit {shown(self._limit)}: the largest shard has {shown(largest)}, and "
                "five of them must fit: raise the limit, or pack smaller shards"
            )
        if buffer > fits:
            raise UsageError(
                f"--shuffle-buffer {buffer}: so many utterances, twice, are of more shards than "
                f"--fetch-limit {shown(self._limit)} holds: say at most {fits}, or raise the limit"
            )

    def _known(self, path: str) -> Version | None:
        if path not in self._versions and _beside(path).exists():
            about = read_json(_beside(path), "the version of a shard", _VERSION, _SCHEMA)
            self._versions[path] = about["bytes"], about["sha256"]
        return self._versions.get(path)

    def _remember(self, path: str, file: Path) -> None:
        if self._known(path) is None:
            size, digest = self._versions[path] = file.stat().st_size, file_sha256(file)
            write_json(_beside(path), {"schema": _SCHEMA, "bytes": size, "sha256": digest})

    def _check_size(self, shard: Remote, size: int) -> None:
        if size > self._limit:
            raise LanserError(
                f"{disclosed(shard.url)}: has {shown(size)} or more, and --fetch-limit is "
                f"{shown(self._limit)}: raise it, or pack smaller shards"
            )

    def _make_room(self, wanted: Remote, size: int) -> None:
        """Give shards up until one more, of this size, fits; whoever calls has the lock."""
        self._check_size(wanted, size + _ABOUT)
        held = self._held()
        held.pop(f"{wanted.path}.part", None)  # which `size` is of
        excess = sum(one for one, _ in held.values()) + size + _ABOUT - self._limit
        ours = {*self._shards, *(f"{path}.part" for path in self._shards)}  # of who was killed
        oldest = sorted(held.keys() & ours, key=lambda path: held[path][1])
        for wait in (False, True):  # for those that are being read, only if there are no others
            for path in oldest:
                if excess > 0 and os.path.exists(path) and remove(Path(path), wait=wait):
                    excess -= held[path][0]
        if excess > 0:
            raise LanserError(
                f"{self._folder}: --fetch-limit {shown(self._limit)} is taken by what is not of "
                f"this run: remove it, name another folder, or raise the limit by {shown(excess)}"
            )

    def _held(self) -> dict[str, tuple[int, int]]:
        """Bytes of each file in the folder, and when it was last borrowed."""
        found = ((str(path), _size_and_use(path)) for path in self._folder.rglob("*"))
        return {path: about for path, about in found if about is not None}


def shown(size: float) -> str:
    """Bytes in the largest unit that leaves one before the point: `1.5G`."""
    unit = max((name for name in _UNITS if size >= 1 << _UNITS[name]), key=_UNITS.__getitem__)
    return f"{size / (1 << _UNITS[unit]):.4g}{unit or ' bytes'}"


def _beside(path: str) -> Path:
    return Path(f"{path}.json")


def _size_and_use(path: Path) -> tuple[int, int] | None:
    """Bytes of a file, and when it was last borrowed; of what is none, or just went, nothing."""
    with suppress(FileNotFoundError):
        about = path.stat()
        if path.is_file():
            return about.st_size, about.st_atime_ns
    return None
