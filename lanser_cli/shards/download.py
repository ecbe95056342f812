"""A file that lies elsewhere, copied whole: what may pass is said, and tried again."""

from __future__ import annotations

import re
import socket
import time
from base64 import b64encode
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse, InvalidURL
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from lanser_cli import console

_HTTP = ("http://", "https://")
_S3_SCHEME = "s3://"
_WAITS = (1, 2, 4, 8, 16, 32)
"""Seconds before each further try."""

_FEWER = 3
"""Further tries of other openers, which do not say whether what went wrong may pass."""

_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_ABSENT = (403, 404, 410)
"""Answers where there is no such file; S3 says 403 to those who may not list its folder."""

_S3_ABSENT = re.compile(r"\((404|403|NoSuchKey|NoSuchBucket|AccessDenied)\)")

_PATIENCE = 60.0
"""Seconds without a byte, after which a connection is given up."""

_BLOCK = 1 << 20


class Absent(OSError):
    """There is no such file."""


class _Passing(OSError):
    """What may go better the next time."""


def tells_absent(url: str) -> bool:
    """Whether it is known of such an address if there is nothing, or only that nothing came."""
    return url.startswith((*_HTTP, _S3_SCHEME))


def download(
    url: str,
    target: IO[bytes],
    *,
    size: int | None = None,
    room: Callable[[int], None] = lambda size: None,
) -> None:
    """Copy a file whole: from web servers, from S3, or by what `webdataset.gopen` knows of.

    Args:
        target: an empty file.
        size: bytes that it must have, where that is known.
        room: is told how large the file gets before it does; what it raises ends the copy.

    Raises:
        Absent: a web server, or S3, has none.
        OSError, ValueError: it cannot be had whole.
    """
    kind = _Web if url.startswith(_HTTP) else _S3 if url.startswith(_S3_SCHEME) else _Opener
    source = kind(url)
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
        console.warn(f"{url}: {why}: trying again in {wait} s")
        time.sleep(wait)


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
    """By the commands that WebDataset runs, `gsutil` or the user's; each try starts anew."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.waits = () if url.startswith("pipe:") else _WAITS[:_FEWER]

    def copy(self, target: IO[bytes], room: Callable[[int], None]) -> None:
        import webdataset

        _empty(target)
        try:
            source = webdataset.gopen(self._url)
        except FileNotFoundError as error:
            raise _no_command(error) from None
        try:
            with source:
                _pour(source, target, room)
        except OSError as error:
            if error.errno is not None:  # not of the command, but of the disk
                raise
            raise _Passing(str(error)) from None


class _S3:
    """By `aws`, for which WebDataset has no opener; each try starts anew."""

    def __init__(self, url: str) -> None:
        self._url, self.waits = url, _WAITS[:_FEWER]

    def copy(self, target: IO[bytes], room: Callable[[int], None]) -> None:
        _empty(target)
        with TemporaryFile() as complaints:
            try:
                command = ["aws", "s3", "cp", "--only-show-errors", self._url, "-"]
                process = Popen(command, stdout=PIPE, stderr=complaints)
            except FileNotFoundError as error:
                raise _no_command(error) from None
            with process:
                assert process.stdout is not None
                _pour(process.stdout, target, room)
            if process.returncode:
                complaints.seek(0)
                said = complaints.read().decode("utf-8", "replace").split("\n")
                why = " ".join(filter(None, said)) or f"aws ended with {process.returncode}"
                raise (Absent if _S3_ABSENT.search(why) else _Passing)(why)


def _no_command(error: FileNotFoundError) -> OSError:
    return OSError(f"there is no command {error.filename}: install it")


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
            why = f"HTTP {error.code} {error.reason}"
            kind = Absent if error.code in _ABSENT else OSError
            raise (_Passing if error.code in _TRANSIENT else kind)(why) from None
        except InvalidURL as error:
            raise OSError(str(error)) from None
        except URLError as error:
            kind = _Passing if _may_pass(error.reason) else OSError
            raise kind(str(error.reason)) from None
        except (HTTPException, TimeoutError, ConnectionError) as error:
            raise _Passing(str(error) or type(error).__name__) from None

    def _take(self, answer: HTTPResponse, target: IO[bytes], room: Callable[[int], None]) -> None:
        begins = f"bytes {target.tell()}-"
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(begins):
            if answer.status == 206:
                self._version = ""
                raise _Passing("the server answered with another part than was asked for")
            _empty(target)
            self._version = _version(answer)
        if answer.length:
            room(target.tell() + answer.length)
        _pour(answer, target, room)
        if answer.length:  # of what was promised something is left
            raise _Passing(f"the connection broke off, {answer.length} bytes are missing")


def _version(answer: HTTPResponse) -> str:
    """What tells one version of a file from another, for `If-Range`; weak tags do not."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _may_pass(reason: object) -> bool:
    if isinstance(reason, socket.gaierror):
        return reason.errno == socket.EAI_AGAIN
    return isinstance(reason, TimeoutError | ConnectionError)


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
