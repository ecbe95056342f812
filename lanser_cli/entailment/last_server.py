"""What a server was when it was last asked, kept with its scores, for when it is gone.

Beside the cache is a file for each model on a server, `server-DIGEST.json`, with the identity that
the server had last. Where nothing answers, the cache has the scores of that identity.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from lanser_cli import console
from lanser_cli.digests import string64
from lanser_cli.entailment.server import Absent, Server
from lanser_cli.errors import LanserError
from lanser_cli.output import write_json
from lanser_cli.shape import read_json

_SHAPE = {"model": str, "identity": str}
_SCHEMA = 1


def find_server(model: str, folder: Path | None, *, allow_remote: bool, no_text: bool) -> Server:
    """The server of a model; one that is absent, if the folder of the cache says what it was.

    Raises:
        UsageError, LanserError: as `Server`.
    """
    make = partial(Server, model, allow_remote=allow_remote, no_text=no_text)
    if folder is None:
        return make()
    try:
        server = make()
    except Absent:
        identity = last_identity(folder, model)
        if identity is None:
            raise
        _say_absent(model, identity)
        return make(last_identity=identity)
    keep_identity(folder, model, server.identity)
    return server


@cache  # a batch prior looks for the server, too
def _say_absent(model: str, identity: str) -> None:
    console.warn(f"{model}: nothing answers there: scores are those in the cache, of {identity}")


def keep_identity(folder: Path, model: str, identity: str) -> None:
    """Keep what a server and its model are, in place of what they were."""
    if last_identity(folder, model) == identity:
        return
    path = _of_server(folder, model)
    with suppress(OSError, LanserError):  # a folder that holds nothing is said by the scorer
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # whatever comes: it is of another model
        write_json(path, {"schema": _SCHEMA, "model": model, "identity": identity})


def last_identity(folder: Path, model: str) -> str | None:
    """What a server and its model were when they were last asked; None: nothing says so."""
    path = _of_server(folder, model)
    try:
        found = read_json(path, "what a server was", _SHAPE, _SCHEMA)
    except LanserError:
        return None
    return str(found["identity"]) if found["model"] == model else None


def _of_server(folder: Path, model: str) -> Path:
    return folder / f"server-{string64(model):016x}.json"
