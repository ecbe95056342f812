"""A file that lies elsewhere, copied whole: what may pass is said, and tried again."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, InvalidURL
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryFile
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from lanser_cli import console
from lanser_cli.provenance import disclosed

HTTP = ("http://", "https://")
_WAITS = (1, 2, 4, 8, 16, 32)
"""Seconds before each further try."""

_FEWER = 3
"""Further tries of other openers, which do not say whether what went wrong may pass."""

_TRANSIENT = (408, 416, 425, 429, 500, 502, 503, 504)
_ABSENT = (403, 404, 410)
"""Answers where there is no such file; stores say 403 to those who may not list its folder."""

_PACKINGS = {"gzip", "x-gzip", "deflate", "compress", "br", "zstd"}

_UNREACHED = (errno.ENETUNREACH, errno.EHOSTUNREACH)

_PATIENCE = 60.0
"""Seconds without a byte, after which a connection is given up."""

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Client:
    """A store's own command.

    Attributes:
        line: words that have it print a file, `{}` in the place of the address.
        package: what to install where it is missing.
        absent: what it says if there is no such file.
        patterns: characters that it would not take as they are.
    """

    line: str
    package: str
    absent: re.Pattern[str]
    patterns: str = ""


_CLIENTS = {
    "s3://": _Client(
        "aws s3 cp --only-show-errors {} -",
        "the AWS CLI",
        re.compile(r"\((404|403|NoSuchKey|NoSuchBucket|AccessDenied)\)"),
    ),
    "gs://": _Client(
        "gcloud storage cat --quiet {}",
        "the Google Cloud CLI",
        re.compile("matched no objects|HTTPError 40[34]|not found: 404|or it may not exist"),
        patterns="*?[]#",
    ),
}
"""By the beginning of an address. WebDataset has no opener for S3, and for the other `gsutil`."""


class Absent(OSError):
    """There is no such file."""


class _Passing(OSError):
    """What may go better the next time."""


def tells_absent(url: str) -> bool:
    """Whether it is known of such an address if there is nothing, or only that nothing came."""
    return url.startswith((*HTTP, *_CLIENTS))


def download(
    url: str,
    target: IO[bytes],
    *,
    size: int | None = None,
    room: Callable[[int], None] = lambda size: None,
) -> None:
    """Copy a file whole: from a web server, by a store's client, or as `webdataset.gopen` can.

    Args:
        target: an empty file.
        size: bytes that it must have, where that is known.
        room: is told how large the file gets before it does; what it raises ends the copy.

    Raises:
        Absent: the web server, or the store, has none.
        OSError, ValueError: it cannot be had whole.
    """
    source = _source(url)
    room = _once(room)
    room(size or 0)
    for wait in (*source.waits, None):
        try:
            source.copy(target, room)
            came = target.tell()
            if came == size or size is None:
                return
            _empty(target)
            why = f"{came} bytes came, not {size}"
        except _Passing as error:
            why = str(error)
        if wait is None:
            tries = len(source.waits) + 1
            raise OSError(why if tries == 1 else f"{why}, after {tries} tries")
        console.warn(disclosed(f"{url}: {why}: trying again in {wait} s"))
        time.sleep(wait)


def _source(url: str) -> _Web | _Store | _Opener:
    if url.startswith(HTTP):
        return _Web(url)
    clients = (client for scheme, client in _CLIENTS.items() if url.startswith(scheme))
    client = next(clients, None)
    return _Opener(url) if client is None else _Store(url, client)


def _once(room: Callable[[int], None]) -> Callable[[int], None]:
    """The same, but asked no more for what there is room for already."""
    granted = 0

    def ask(size: int) -> None:
        nonlocal granted
        if size > granted:
            room(size)
            granted = size

    return ask


def _pour(source: IO[bytes] | HTTPResponse, target: IO[bytes], room: Callable[[int], None]) -> None:
    while block := source.read(_BLOCK):
        room(target.tell() + len(block))
        target.write(block)


def _empty(target: IO[bytes]) -> None:
    target.seek(0)
    target.truncate()


class _Opener:
    """By the commands that WebDataset runs, or the user's; each try starts anew."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.waits = () if url.startswith("pipe:") else _WAITS[:_FEWER]

    def copy(self, target: IO[bytes], room: Callable[[int], None]) -> None:
        import webdataset

        _empty(target)
        try:
            source = webdataset.gopen(self._url)
        except FileNotFoundError as error:
            raise OSError(f"there is no command {error.filename}: install it") from None
        try:
            with source:
                _pour(source, target, room)
        except OSError as error:
            if error.errno is not None:  # not of the command, but of the disk
                raise
            raise _Passing(str(error)) from None


class _Store:
    """By the client of an object store; each try starts anew."""

    def __init__(self, url: str, client: _Client) -> None:
        self._url, self._client, self.waits = url, client, _WAITS[:_FEWER]

    def copy(self, target: IO[bytes], room: Callable[[int], None]) -> None:
        command = self._client.line.split()
        if odd := sorted(set(self._client.patterns) & set(self._url)):
            raise OSError(f"{command[0]} takes {' '.join(odd)} for a pattern: name each shard")
        _empty(target)
        command[command.index("{}")] = self._url
        with TemporaryFile() as complaints:
            try:
                process = Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=complaints)
            except FileNotFoundError:
                raise OSError(
                    f"there is no command {command[0]}: install {self._client.package}"
                ) from None
            with process:
                assert process.stdout is not None
                _pour(process.stdout, target, room)
            if process.returncode:
                complaints.seek(0)
                said = complaints.read().decode("utf-8", "replace").split()
                why = " ".join(said) or f"{command[0]} ended with {process.returncode}"
                raise (Absent if self._client.absent.search(why) else _Passing)(why)


class _Web:
    """From a web server; what has come already is not asked for again, if it is of one version.

    Not by curl, as WebDataset does: that would write a second try behind half a first one.
    """

    def __init__(self, url: str) -> None:
        self._url, self.waits = url, _WAITS
        self._version = ""

    def copy(self, target: IO[bytes], room: Callable[[int], None]) -> None:
        request = _request(self._url)
        if self._version and target.tell():
            request.add_header("Range", f"bytes={target.tell()}-")
            request.add_header("If-Range", self._version)
        try:
            with urlopen(request, timeout=_PATIENCE) as answer:
                self._take(answer, target, room)
        except HTTPError as error:
            error.close()
            if error.code == 416:  # it is shorter now: another one
                self._version = ""
            why = f"HTTP {error.code} {error.reason}"
            kind = Absent if error.code in _ABSENT else OSError
            raise (_Passing if error.code in _TRANSIENT else kind)(why) from None
        except InvalidURL as error:
            raise OSError(str(error)) from None
        except URLError as error:
            kind = _Passing if _may_pass(error.reason) else OSError
            raise kind(str(error.reason)) from None
        except (HTTPException, OSError) as error:
            if isinstance(error, OSError) and not _may_pass(error):
                raise
            raise _Passing(str(error) or type(error).__name__) from None

    def _take(self, answer: HTTPResponse, target: IO[bytes], room: Callable[[int], None]) -> None:
        packing = answer.headers.get("Content-Encoding", "").lower()
        if any(one.strip() in _PACKINGS for one in packing.split(",")):
            raise OSError(f"the server sends it packed, by {packing}: store it as it is")
        if answer.status != 206:
            _empty(target)
            self._version = _version(answer)
        elif not self._goes_on(answer, target.tell()):
            self._version = ""
            raise _Passing("the server answered with another part than was asked for")
        if answer.length:
            room(target.tell() + answer.length)
        _pour(answer, target, room)
        if answer.length:  # of what was promised something is left
            raise _Passing(f"the connection broke off, {answer.length} bytes are missing")

    def _goes_on(self, answer: HTTPResponse, start: int) -> bool:
        """Whether a part is that which was asked for; some servers pay no heed to `If-Range`."""
        begins = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        return begins and _version(answer) in ("", self._version)


def _version(answer: HTTPResponse) -> str:
    """What tells one version of a file from another, for `If-Range`; weak tags do not."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _may_pass(reason: object) -> bool:
    if isinstance(reason, socket.gaierror):
        return reason.errno == socket.EAI_AGAIN
    if isinstance(reason, OSError) and reason.errno in _UNREACHED:
        return True
    return isinstance(reason, TimeoutError | ConnectionError | ssl.SSLEOFError)


def _request(url: str) -> Request:
    """With the name and password that an address may hold, for its own server alone."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    request = Request(urlunsplit(parts._replace(netloc=host)), headers={"User-Agent": "lanser"})
    if parts.username is not None:
        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header(
            "Authorization", f"Basic {b64encode(words.encode()).decode()}"
        )
    return request
