"""Shards that lie elsewhere: copied to a folder first, by whatever WebDataset opens them with."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from lanser_cli import console
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.output import commit

_SCHEME = re.compile(r"(pipe:|[a-z0-9]+://)")


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
        with (folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return path
            console.info(f"fetching {url}")
            with webdataset.gopen(url) as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            if not os.path.getsize(partial):
                raise OSError("nothing came")
            commit(partial, path)
    except (OSError, ValueError) as error:
        raise LanserError(f"{url}: cannot be fetched: {error}") from None
    return path
