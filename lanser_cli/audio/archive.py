"""What lies where in a tar: its files in their order, its faults, and an index by name.

Headers are decoded by Python's tarfile, but the way from one to the next is our own. tarfile goes
in circles at a negative size (CVE-2025-8194), takes memory for whatever a header promises, holds
every header it saw, and takes a lone zero block, or any rubbish, for the end.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import stat
import tarfile
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TypeAlias

import numpy as np

from lanser_cli.audio.lender import borrowed, is_lent
from lanser_cli.console import ascii_safe
from lanser_cli.digests import string64
from lanser_cli.errors import RecordError

Place: TypeAlias = tuple[int, int]
"""Where the bytes of a tar's member begin, and how many they are."""

_BLOCK = tarfile.BLOCKSIZE
_MOST_ABOUT = 1 << 20
"""Bytes of a long name or of a pax header; a path has 4096 at most, attributes some more."""

_LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
_LONG = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_OF_NEXT = (*_LONG, *_PAX)
"""Headers that say something of the file behind them, or of all files."""

_PAX_FIELD = re.compile(rb"(\d{1,7}) ([^=\n]{1,255})=")
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar.

    Attributes:
        place: of its bytes; of a link to another member `(-1, 0)`.
        target: of a link, the name of the member whose bytes it shares.
        unusable: why its bytes are not those of the file, as with sparse ones; mostly empty.
    """

    name: str
    place: Place
    target: str = ""
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A place at which a tar is broken, and how."""

    why: str


@contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """A tar, open for reading.

    Raises:
        RecordError: it is no plain file, or a compressed one.
        OSError: it cannot be opened.
    """
    with borrowed(path), _plain(path) as stream:
        start = stream.read(6)
        for mark, name in _PACKED.items():
            if start.startswith(mark):
                raise RecordError(
                    f"{path}: is compressed with {name}: unpack it, since sound is read from "
                    f"within: {name} -dc {path} > NEW.tar"
                )
        yield stream


def _plain(path: str) -> IO[bytes]:
    if not stat.S_ISREG(os.stat(path).st_mode):  # a named pipe would wait for its writer for ever
        raise RecordError(f"{path}: cannot be read as a tar: not a plain file")
    return open(path, "rb")


def walk(stream: IO[bytes]) -> Iterator[Member | Fault]:
    """The files of a tar in their order, and what is wrong with it; folders are passed over.

    After a fault it goes on at the next header. Each byte is looked at a few times at most, and
    memory does not grow with what a header promises.
    """
    length = stream.seek(0, io.SEEK_END)
    at, ended, about = 0, False, _About()
    while at < length:
        stream.seek(at)
        block = stream.read(_BLOCK)
        if not block.strip(b"\0"):
            ended, mark = True, at
            at = _behind_zeros(stream, at)
            if at < length:
                yield Fault(f"data behind the end mark at byte {mark}")
                at, about = _next_header(stream, at), _About()
            continue
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            start = at + _BLOCK
            if header.type == tarfile.GNUTYPE_SPARSE:
                start += _more_of_sparse(stream, block)
            size = about.size(header) if _has_data(header) else 0
            if not 0 <= size <= length - start:
                raise tarfile.HeaderError(f"{size} bytes promised, {length - start} there")
            if header.type in _OF_NEXT:
                if size > _MOST_ABOUT:
                    raise tarfile.HeaderError(f"a header of {size} bytes")
                about.add(header.type, stream.read(size))
            else:
                if not header.isdir():
                    yield about.member(header, (start, size))
                about = about.of_next()
        except tarfile.HeaderError as error:
            yield Fault(f"{error}, at byte {at}")
            at, ended, about = _next_header(stream, at + _BLOCK), True, _About()
        else:
            at, ended = start + size + -size % _BLOCK, False
    if not ended:
        yield Fault("no end mark" if length else "empty (0 bytes)")


class _About:
    """What headers before a file's own say of it: long names, and pax's keys."""

    def __init__(self, common: dict[str, str] | None = None) -> None:
        self._common = common or {}
        self._own: dict[str, str] = {}

    def of_next(self) -> _About:
        return _About(self._common)

    def add(self, kind: bytes, data: bytes) -> None:
        if kind in _LONG:
            self._own[_LONG[kind]] = _text(data.partition(b"\0")[0])
            return
        found = self._common if kind == tarfile.XGLTYPE else self._own
        at = 0
        while field := _PAX_FIELD.match(data, at):
            end = at + int(field[1])
            if not field.end() < end <= len(data):
                break
            found[_text(field[2])] = _text(data[field.end() : end - 1])
            at = end
        if data[at:].strip(b"\0"):
            raise tarfile.HeaderError("a pax header that is none")

    def size(self, header: tarfile.TarInfo) -> int:
        size = self._get("size")
        if size is None or header.type in _OF_NEXT:
            return header.size
        if not re.fullmatch(r"[0-9]{1,19}", size):
            raise tarfile.HeaderError(f"a size of {ascii_safe(size[:20])}")
        return int(size)

    def member(self, header: tarfile.TarInfo, place: Place) -> Member:
        name = self._get("path") or header.name
        unusable = target = ""
        if header.type in _LINKS:
            place, target = (-1, 0), self._get("linkpath") or header.linkname
            if not target:
                unusable = "is a link to nothing"
            elif header.issym():
                target = posixpath.join(posixpath.dirname(name), target)
        elif header.type == tarfile.GNUTYPE_SPARSE or self._is_sparse:
            name = self._get("GNU.sparse.name") or name
            unusable = "is packed as a sparse file: pack it without --sparse"
        elif not header.isreg():
            unusable = "is no file but a device or the like"
        return Member(name, place, target, unusable)

    @property
    def _is_sparse(self) -> bool:
        return any(key.startswith("GNU.sparse.") for key in (*self._common, *self._own))

    def _get(self, key: str) -> str | None:
        return self._own.get(key, self._common.get(key))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _has_data(header: tarfile.TarInfo) -> bool:
    """Whether bytes of its own follow a header; links and folders may have a size without."""
    is_strange = header.type not in tarfile.SUPPORTED_TYPES
    return header.isreg() or is_strange or header.type in _OF_NEXT


def _more_of_sparse(stream: IO[bytes], block: bytes) -> int:
    """Bytes of the blocks that go on with the map of GNU's old sparse files."""
    found, more = 0, block[482]
    while more and len(block := stream.read(_BLOCK)) == _BLOCK:
        found, more = found + _BLOCK, block[504]
    return found


def _behind_zeros(stream: IO[bytes], at: int) -> int:
    """The first block from `at` on that is not all zero, or the end."""
    stream.seek(at)
    while chunk := stream.read(1 << 20):
        rest = chunk.lstrip(b"\0")
        if rest:
            return at + (len(chunk) - len(rest)) // _BLOCK * _BLOCK
        at += len(chunk)
    return at


def _next_header(stream: IO[bytes], at: int) -> int:
    """The first block from `at` on that is a header, or the end."""
    stream.seek(at)
    step = 8 * _BLOCK  # more each time: many faults close together stay cheap
    while chunk := stream.read(step):
        found = chunk.find(b"ustar")
        while found >= 0:
            start = found - 257
            if start >= 0 and start % _BLOCK == 0 and _is_header(chunk[start : start + _BLOCK]):
                return at + start
            found = chunk.find(b"ustar", found + 1)
        at += len(chunk)
        step = min(2 * step, 1 << 20)
    return at


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


# ---------------------------------------------------------------- by name


class Index:
    """Where the members of a tar lie, by name. It holds 24 bytes a member."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._links: dict[str, str] = {}
        self._unusable: dict[str, str] = {}
        hashes, starts, sizes = array("Q"), array("q"), array("q")
        with opened(path) as stream:
            for item in walk(stream):
                if isinstance(item, Fault):
                    continue
                name = posixpath.normpath(item.name)
                if item.target:
                    self._links.setdefault(name, item.target)
                if item.unusable:
                    self._unusable.setdefault(name, item.unusable)
                hashes.append(string64(name))
                starts.append(item.place[0])
                sizes.append(item.place[1])
        order = np.argsort(np.frombuffer(hashes, np.uint64), kind="stable")
        self._hashes = np.frombuffer(hashes, np.uint64)[order]
        self._starts = np.frombuffer(starts, np.int64)[order]
        self._sizes = np.frombuffer(sizes, np.int64)[order]

    def __len__(self) -> int:
        return len(self._hashes)

    def count(self, name: str) -> int:
        """How many members are called so."""
        first, last = self._rows(posixpath.normpath(name))
        return last - first

    def find(self, name: str) -> Place:
        """The place of a member, or of the one that it is a link to.

        Raises:
            RecordError: there is none, or several, or its bytes are not those of the file.
        """
        shown, wanted = ascii_safe(name), name
        for _ in range(40):  # links, as many as Linux follows
            wanted = posixpath.normpath(wanted)
            first, last = self._rows(wanted)
            if first == last and wanted == posixpath.normpath(name):
                raise RecordError(f"{self._path}: no member '{shown}' in it")
            if first == last:
                raise RecordError(
                    f"{self._path}: '{shown}' is a link to '{ascii_safe(wanted)}', which is not in "
                    "the tar: pack the file itself"
                )
            if last - first > 1:
                raise RecordError(
                    f"{self._path}: '{ascii_safe(wanted)}' is there {last - first} times, and "
                    "which is meant cannot be known: give each member a name of its own"
                )
            if wanted in self._unusable:
                raise RecordError(f"{self._path}: '{shown}' {self._unusable[wanted]}")
            if wanted not in self._links:
                return int(self._starts[first]), int(self._sizes[first])
            wanted = self._links[wanted]
        raise RecordError(f"{self._path}: '{shown}' is a link in a circle")

    def _rows(self, name: str) -> tuple[int, int]:
        key = np.uint64(string64(name))
        first, last = (int(self._hashes.searchsorted(key, side)) for side in ("left", "right"))
        return first, last


_MOST_MEMBERS = 4_000_000
"""Members of all indices that are kept: about 100 MB. Those of tars that are lent come on top."""

_kept: OrderedDict[str, tuple[Place, Index]] = OrderedDict()
_of_lent: dict[str, Index] = {}
_lock = threading.Lock()


def index_of(path: str) -> Index:
    """The index of a tar. Those used last are kept, as records may come in any order.

    Raises:
        RecordError, OSError: as `opened`.
    """
    if is_lent(path):  # to see whether it is the same would bring it here, and it always is
        if path not in _of_lent:
            _of_lent[path] = Index(path)
        return _of_lent[path]
    about = os.stat(path)
    state = (about.st_mtime_ns, about.st_size)  # a tar that was written anew is read anew
    with _lock:
        if path in _kept and _kept[path][0] == state:
            _kept.move_to_end(path)
            return _kept[path][1]
    index = Index(path)
    with _lock:
        _kept[path] = (state, index)
        _kept.move_to_end(path)
        while len(_kept) > 1 and sum(len(kept) for _, kept in _kept.values()) > _MOST_MEMBERS:
            _kept.popitem(last=False)
    return index
