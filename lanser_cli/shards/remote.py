"""Shards that lie elsewhere, copied to a folder first: from web servers, or as WebDataset does."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from base64 import b64encode
from collections.abc import Iterable
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from lanser_cli import console
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.lock import turn
from lanser_cli.output import commit

_SCHEME = re.compile(r"(pipe:|[a-z0-9]+://)")

_HTTP = ("http://", "https://")
_WAITS = (1, 2, 4, 8, 16, 32)
"""Seconds before each further try."""

_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_PATIENCE = 60.0
"""Seconds without a byte, after which a connection is given up."""


def is_remote(name: str) -> bool:
    """Whether a name is `pipe:COMMAND` or a URL."""
    return _SCHEME.match(name) is not None


def not_here(name: str) -> UsageError:
    """The error for a remote input where nothing is to be fetched."""
    return UsageError(f"{name}: is not on this machine: say --fetch DIR to copy it there")


def fetch(inputs: Iterable[str], folder: Path | None) -> list[str]:
    """Inputs with a local copy in the place of every remote shard; others are passed on.

    Only inputs that the user named are fetched: what a record or a list of files says is data, and
    runs no command. A shard that is in the folder already is not fetched again, and of several
    processes one fetches.

    Args:
        inputs: paths; `pipe:COMMAND`, `s3://`, `gs://`, `http(s)://` and what else
            `webdataset.gopen` knows; brace ranges are expanded.
        folder: for the copies; made if it is not there. None: nothing is fetched.

    Raises:
        UsageError: something is remote and there is no folder.
        LanserError: something cannot be fetched.
    """
    from braceexpand import braceexpand

    found: list[str] = []
    for name in inputs:
        if not is_remote(name):
            found.append(name)
        elif folder is None:
            raise not_here(name)
        else:
            urls = [name] if name.startswith("pipe:") else braceexpand(name)
            found += [str(_copy(url, folder)) for url in urls]
    return found


def _copy(url: str, folder: Path) -> Path:
    import webdataset

    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    stem = "pipe" if url.startswith("pipe:") else Path(url).name.removesuffix(".tar")
    path = folder / f"{re.sub(r'[^A-Za-z0-9_-]+', '_', stem)}-{digest}.tar"
    partial = path.with_name(path.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with turn(folder / ".lock"):
            if path.exists():
                return path
            console.info(f"fetching {url}")
            with partial.open("wb") as target:
                if url.startswith(_HTTP):
                    _download(url, target)
                else:
                    with webdataset.gopen(url) as source:
                        shutil.copyfileobj(source, target, 1 << 20)
            if not os.path.getsize(partial):
                raise OSError("nothing came")
            commit(partial, path)
    except (OSError, ValueError) as error:
        raise LanserError(f"{url}: cannot be fetched: {error}") from None
    return path


def _download(url: str, target: IO[bytes]) -> None:
    """Copy a file from a web server; what cannot last is said, and tried again from the start.

    Not by curl, as WebDataset does: that would write a second try behind half a first one.

    Raises:
        OSError: it cannot be had whole.
    """
    for wait in (*_WAITS, None):
        target.seek(0)
        target.truncate()
        try:
            with urlopen(_request(url), timeout=_PATIENCE) as answer:
                shutil.copyfileobj(answer, target, 1 << 20)
                if not answer.length:  # of what was promised nothing is left
                    return
            why = f"the connection broke off, {answer.length} bytes are missing"
        except HTTPError as error:
            why = f"HTTP {error.code} {error.reason}"
            error.close()
            if error.code not in _TRANSIENT:
                raise OSError(why) from None
        except InvalidURL as error:
            raise OSError(str(error)) from None
        except (HTTPException, TimeoutError, ConnectionResetError) as error:
            why = str(error) or type(error).__name__
        if wait is None:
            raise OSError(f"{why}, after {len(_WAITS) + 1} tries")
        console.warn(f"{url}: {why}: trying again in {wait} s")
        time.sleep(wait)


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
