"""Shards that lie elsewhere, copied to a folder, with the index and the weak labels beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from lanser_cli import console, kind
from lanser_cli.digests import file_sha256, short_sha256
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.lock import turn
from lanser_cli.origin import braced
from lanser_cli.output import commit
from lanser_cli.provenance import disclosed
from lanser_cli.shards.download import HTTP, Absent, download, tells_absent
from lanser_cli.shards.index import INDEX, ShardInfo, find_index

_SCHEME = re.compile(r"(pipe:|[a-z0-9]+://)")
_PIPE = "pipe:"

_NAME = re.compile(r"[^./\0#{}*?\[][^/\0#{}*?\[]*\.tar")
"""A shard's name that stays as it is, so that the index of its set has it."""


def is_remote(name: str) -> bool:
    """Whether a name is `pipe:COMMAND` or a URL."""
    return _SCHEME.match(name) is not None


def not_here(name: str) -> UsageError:
    """The error for a remote input where nothing is to be fetched."""
    return UsageError(
        f"{disclosed(name)}: is not on this machine: say --fetch DIR to copy it there"
    )


@dataclass(frozen=True, slots=True)
class Remote:
    """A shard that lies elsewhere.

    Attributes:
        path: where its copy goes; the shards of one place have a folder of their own, since there
            may be others of the same name.
    """

    url: str
    path: Path

    @classmethod
    def of(cls, url: str, folder: Path) -> Remote:
        if url.startswith(_PIPE):
            return cls(url, folder / f"pipe-{short_sha256(url)}.tar")
        place = _sibling(url, "")
        name = urlsplit(url).path.rpartition("/")[2]
        if url.startswith(HTTP):  # a store's keys are not percent-encoded
            name = unquote(name)
        if not _NAME.fullmatch(name):  # which no index has
            name = f"{_plain(name)}-{short_sha256(url)}.tar"
        set_ = _plain(urlsplit(place).path.rstrip("/").rpartition("/")[2]) or "shards"
        return cls(url, folder / f"{set_}-{short_sha256(place)}" / name)

    def sibling(self, name: str) -> Remote | None:
        """A file beside it; a command has nothing beside it."""
        if self.url.startswith(_PIPE):
            return None
        return Remote(_sibling(self.url, name), self.path.with_name(name))


def _sibling(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rpartition('/')[0]}/{name}"))


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)


def fetch(inputs: Iterable[str], folder: Path | None) -> list[str]:
    """Inputs with a local copy in the place of every remote shard; others are passed on.

    Only inputs that the user named are fetched: what a record or a list of files says is data, and
    runs no command. A file that is in the folder already is not fetched again, and of several
    processes one fetches.

    Args:
        inputs, folder: as `resolve`.

    Raises:
        UsageError: something is remote and there is no folder.
        LanserError: something cannot be fetched, or is not what its index says.
    """
    found = resolve(inputs, folder)
    known = promised(one for one in found if isinstance(one, Remote))
    for one in found:
        if isinstance(one, Remote) and folder is not None:
            about = known.get(one.path)
            copy(one, folder, known=(about.bytes, about.sha256) if about else None)
    return [str(one.path) if isinstance(one, Remote) else one for one in found]


def resolve(inputs: Iterable[str], folder: Path | None) -> list[str | Remote]:
    """Inputs, the remote ones told from the others; what lies beside them is fetched.

    Args:
        inputs: paths; `pipe:COMMAND`, `s3://`, `gs://`, `http(s)://` and what else
            `webdataset.gopen` knows; brace ranges are expanded.
        folder: for the copies; made if it is not there. None: nothing is fetched.
    """
    found: list[str | Remote] = []
    for name in inputs:
        if not is_remote(name):
            found.append(name)
        elif folder is None:
            raise not_here(name)
        else:
            urls = [name] if name.startswith(_PIPE) else braced(name)
            found += [Remote.of(url, folder) for url in urls]
    one_each = {one.path.parent: one for one in found if isinstance(one, Remote)}
    for shard in one_each.values():
        assert folder is not None
        _fetch_beside(shard, folder)
    return found


def promised(shards: Iterable[Remote]) -> dict[Path, ShardInfo]:
    """What the indices of their sets say of shards, by the paths of the copies."""
    found: dict[Path, ShardInfo] = {}
    for folder in dict.fromkeys(shard.path.parent for shard in shards):
        for one in (find_index(folder) or {"shards": []})["shards"]:
            found[folder / one["file"]] = ShardInfo.of(one)
    return found


def copy(
    remote: Remote,
    folder: Path,
    *,
    known: tuple[int | None, str] | None = None,
    room: Callable[[int], None] = lambda size: None,
    arrived: Callable[[Path], object] = lambda partial: None,
    quiet: bool = False,
) -> None:
    """Copy a file unless it is there, whole or not at all.

    Args:
        folder: whose lock is taken: one process at a time fetches into it.
        known: the bytes, if they are known, and the SHA-256 that it must have.
        room: as `download`.
        arrived: is called with the copy before that has its name.

    Raises:
        LanserError: it cannot be fetched, or is something else.
    """
    try:
        with turn(_made(folder) / ".lock"):
            if not remote.path.exists():
                if not quiet:
                    console.info(f"fetching {disclosed(remote.url)}")
                _copy(remote, known or (None, ""), room, arrived)
    except (OSError, ValueError) as error:
        raise LanserError(disclosed(f"{remote.url}: cannot be fetched: {error}")) from error


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _copy(
    remote: Remote,
    known: tuple[int | None, str],
    room: Callable[[int], None],
    arrived: Callable[[Path], object],
) -> None:
    size, digest = known
    partial = _made(remote.path.parent) / f"{remote.path.name}.part"
    try:
        with partial.open("wb") as target:
            download(remote.url, target, size=size, room=room)
            if not target.tell():
                raise OSError("nothing came")
        if digest and file_sha256(partial) != digest:
            raise OSError(
                "its SHA-256 is not what it was, or is by its index: if it was replaced, remove "
                f"{remote.path.parent} and start anew"
            )
        if remote.path.suffix == ".tar" and (found := kind.not_tar(_head(partial))):
            raise OSError(f"{found} came, and shards are tars: name each: SET/a-{{000..012}}.tar")
        arrived(partial)
        commit(partial, remote.path)
    finally:
        partial.unlink(missing_ok=True)


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(kind.HEAD)


def _fetch_beside(shard: Remote, folder: Path) -> None:
    """Fetch the index of a shard's set, if it has one, and the weak labels that it names."""
    index = shard.sibling(INDEX)
    if index is None:
        return
    try:
        copy(index, folder, arrived=lambda file: json.loads(file.read_bytes()), quiet=True)
    except LanserError as error:
        why = error.__cause__
        if isinstance(why, Absent):
            return
        if isinstance(why, OSError) and tells_absent(index.url):  # there is one
            raise
        console.warn(f"{error}: its shards are taken as they are")
        return
    about = (find_index(index.path.parent) or {}).get("relabelled") or {}
    side = shard.sibling(about["file"]) if about else None
    if side is not None:
        copy(side, folder, known=(None, about["sha256"]))
