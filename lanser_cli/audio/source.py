"""A path, or `shard.tar#member`, to what a decoder opens."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, TypeAlias

from lanser_cli.errors import RecordError

Place: TypeAlias = tuple[int, int]
"""Where the bytes of a tar's member begin, and how many they are."""


class AudioError(RecordError):
    """This audio cannot be used."""


class CutOff(AudioError):
    """This audio ends before its header says that it does."""


@dataclass(frozen=True, slots=True)
class Source:
    """Sound in a file, or in a member of a tar.

    Attributes:
        path: what the user calls it; messages begin with it.
        data: the bytes of a tar's member; None for a file.
    """

    path: str
    data: bytes | None = None

    def open(self) -> str | io.BytesIO:
        """What decoders take: the path, or a new stream over the bytes."""
        return self.path if self.data is None else io.BytesIO(self.data)

    def stream(self) -> IO[bytes]:
        """The bytes, opened."""
        return open(self.path, "rb") if self.data is None else io.BytesIO(self.data)

    def read(self, start: int, count: int) -> bytes:
        """`count` bytes from `start` on, or fewer at the end."""
        if self.data is not None:
            return self.data[start : start + count]
        return _read(self.path, (start, count))


def source_of(path: str, place: Place | None = None) -> Source:
    """Find the sound that a path names.

    Args:
        place: what `locate` found for the path.

    Raises:
        AudioError: there is no such file or member, or it cannot be read.
    """
    archive, mark, member = path.partition("#")
    if mark and archive.endswith(".tar"):
        return Source(path, _read_member(archive, member, place))
    _check_file(path)
    return Source(path)


def locate(path: str) -> Place | None:
    """Where in its tar the bytes of `shard.tar#member` lie; None for other paths."""
    archive, mark, member = path.partition("#")
    if not mark or not archive.endswith(".tar"):
        return None
    try:
        return _locate_member(archive, member)
    except AudioError:
        return None


def _check_file(path: str) -> None:
    """Refuse what no decoder can open. libsndfile would cut a path at a null character."""
    try:
        about = os.stat(path)
    except (OSError, ValueError):  # ValueError: a null character or a lone surrogate in the path
        if os.path.islink(path):
            why = "a symbolic link that leads nowhere, or in a circle"
        else:
            why = "there is no such file"
        raise AudioError(f"{path}: {why}") from None
    if stat.S_ISDIR(about.st_mode):
        raise AudioError(f"{path}: is a folder, not an audio file")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path}: may not be read (permissions)")
    if about.st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes)")


def _read_member(archive: str, member: str, place: Place | None) -> bytes:
    try:
        return _read(archive, place or _locate_member(archive, member))
    except OSError as error:
        raise _unreadable(archive, error) from None


def _read(path: str, place: Place) -> bytes:
    with open(path, "rb") as stream:
        stream.seek(place[0])
        return stream.read(place[1])


def _locate_member(archive: str, member: str) -> Place:
    try:
        about = os.stat(archive)
        return _index(archive, about.st_mtime_ns, about.st_size)[member]
    except KeyError:
        raise AudioError(f"{archive}: no member '{member}' in it") from None
    except (OSError, tarfile.TarError) as error:
        raise _unreadable(archive, error) from None


@lru_cache(maxsize=8)
def _index(archive: str, changed: int, length: int) -> dict[str, Place]:
    """Where each member lies. `changed` and `length` tell a rewritten archive from the old one."""
    index: dict[str, Place] = {}
    # A ReadError from within: cut off, and what lies before the cut can still be read.
    with tarfile.open(archive) as tar, suppress(tarfile.ReadError):
        for item in tar:
            if item.isfile():
                index[item.name] = (item.offset_data, item.size)
    return index


def _unreadable(archive: str, error: Exception) -> AudioError:
    return AudioError(f"{archive}: cannot be read as a tar: {error}")
