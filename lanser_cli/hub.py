"""One sentence for a model that is not on this machine and cannot be fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lanser_cli.errors import LanserError


@contextmanager
def explain_missing(name: str, alternative: str) -> Iterator[None]:
    """Turn what transformers raises when it cannot load `name` into one kind sentence.

    Raises:
        LanserError: naming the cache, the environment variables and the embedded alternative.
    """
    import os

    from huggingface_hub.constants import HF_HUB_CACHE

    if os.path.isdir(name) and not os.path.isfile(os.path.join(name, "config.json")):
        raise LanserError(f"{name}: no config.json in this folder, so it holds no model")
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        if os.path.isdir(name):
            reason = str(error).splitlines()[0]
            raise LanserError(f"{name}: this model cannot be loaded: {reason}") from error
        raise LanserError(
            f"model '{name}' is not in the local cache ({HF_HUB_CACHE}) and could not be fetched: "
            "check the name and the network, copy the model there (HF_HOME says where, "
            "HF_HUB_OFFLINE=1 keeps off the network), or use the model that ships with lanser: "
            f"{alternative}"
        ) from error
