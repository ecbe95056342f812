"""A path, or `shard.tar#member`, to what a decoder opens."""

from __future__ import annotations

import io
import os
import stat
import unicodedata
from dataclasses import dataclass
from typing import IO

from lanser_cli.audio.archive import Place as Place
from lanser_cli.audio.archive import index_of
from lanser_cli.audio.lender import borrowed
from lanser_cli.errors import RecordError

_NOT_READ = "may not be read (permissions)"


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
    if inside := _inside(path):
        return Source(path, _read_member(*inside, place))
    _check_file(path)
    return Source(path)


def locate(path: str) -> Place | None:
    """Where in its tar the bytes of `shard.tar#member` lie; None for other paths."""
    inside = _inside(path)
    try:
        return inside and _locate_member(*inside)
    except AudioError:
        return None


def file_of(path: str) -> str:
    """The file that a path speaks of: the tar of `shard.tar#member`, or the path itself."""
    inside = _inside(path)
    return inside[0] if inside else path


def _inside(path: str) -> tuple[str, str] | None:
    """Tar and member of `shard.tar#member`."""
    archive, mark, member = path.partition(".tar#")
    return (f"{archive}.tar", member) if mark else None


def _check_file(path: str) -> None:
    """Refuse what no decoder can open. libsndfile would cut a path at a null character."""
    try:
        about = os.stat(path)
    except PermissionError:
        raise AudioError(f"{path}: {_NOT_READ}") from None
    except (OSError, ValueError):  # ValueError: a null character or a lone surrogate in the path
        if os.path.islink(path):
            why = "a symbolic link that leads nowhere, or in a circle"
        else:
            why = "there is no such file" + _in_another_form(path)
        raise AudioError(f"{path}: {why}") from None
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path}: {_NOT_READ}")
    if stat.S_ISDIR(about.st_mode):
        raise AudioError(f"{path}: is a folder, not an audio file")
    if about.st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes)")


def _in_another_form(path: str) -> str:
    """Says where only the form of Unicode differs, as between a Mac's names and a table's."""
    forms = {unicodedata.normalize(form, path) for form in ("NFC", "NFD")} - {path}
    if not any(map(os.path.lexists, forms)):
        return ""
    return ", but one whose name is the same in another form of Unicode (NFC, NFD): rename it"


def _read_member(archive: str, member: str, place: Place | None) -> bytes:
    try:
        with borrowed(archive):
            return _read(archive, place or _locate_member(archive, member))
    except OSError as error:
        raise _unreadable(archive, error) from None


def _read(path: str, place: Place) -> bytes:
    with open(path, "rb") as stream:
        stream.seek(place[0])
        return stream.read(place[1])


def _locate_member(archive: str, member: str) -> Place:
    try:
        return index_of(archive).find(member)
    except RecordError as error:
        raise AudioError(str(error)) from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise _unreadable(archive, error) from None


def _unreadable(archive: str, error: Exception) -> AudioError:
    return AudioError(f"{archive}: cannot be read as a tar: {error}")
