"""Models from transformers: quiet loading, and one sentence for one that cannot be had."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from lanser_cli.errors import LanserError


@contextmanager
def loading(name: str, alternative: str) -> Iterator[None]:
    """Silence transformers, and turn what it raises when it cannot load `name` into one sentence.

    Raises:
        LanserError: naming the cache, the environment variables and the embedded alternative.
    """
    import transformers
    from huggingface_hub import constants

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # of tries that are made again
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if os.path.isdir(name) and not os.path.isfile(os.path.join(name, "config.json")):
        raise LanserError(f"{name}: no config.json in this folder, so it holds no model")
    try:
        yield
    except LanserError:
        raise
    except Exception as error:  # damaged weights raise what the reader of their format pleases
        if os.path.isdir(name) or not isinstance(error, OSError):
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise LanserError(f"{name}: this model cannot be loaded: {reason}") from error
        raise LanserError(
            f"model '{name}' is not in the local cache ({constants.HF_HUB_CACHE}) and could not be "
            "fetched: check the name and the network, copy the model there (HF_HOME says where, "
            "HF_HUB_OFFLINE=1 keeps off the network), or use the model that ships with lanser: "
            f"{alternative}"
        ) from error
