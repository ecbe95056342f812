"""Models from transformers: quiet loading, and one sentence for one that cannot be had."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lanser_cli.digests import sampled_sha256, short_sha256
from lanser_cli.errors import LanserError, first_line


def snapshot(name: str) -> str | None:
    """Which files are loaded under a name now: the commit of a hub's, a digest of a folder's.

    Files of a folder count by what they hold, those above 256 KB by blocks throughout them, and
    results that were written into it do not. A hub is asked, as where the model is loaded; without
    a network its cache is.

    Returns:
        12 hex digits; None where it is neither, or the hub does not say.
    """
    if os.path.isdir(name):
        files = [
            path
            for path in sorted(Path(name).iterdir())
            if path.is_file() and not path.name.startswith(".") and ".jsonl" not in path.name
        ]
        found = "".join(f"{path.name} {sampled_sha256(path)}\n" for path in files)
        return short_sha256(found)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    disable_progress_bars()
    try:
        config = hf_hub_download(name, "config.json")
    except (OSError, ValueError):  # no such model, which is said where it is loaded
        return None
    return Path(config).parent.name[:12]


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
            raise LanserError(
                f"{name}: this model cannot be loaded: {first_line(error)}"
            ) from error
        raise LanserError(
            f"model '{name}' is not in the local cache ({constants.HF_HUB_CACHE}) and could not be "
            "fetched: check the name and the network, copy the model there (HF_HOME says where, "
            "HF_HUB_OFFLINE=1 keeps off the network), or use the model that ships with lanser: "
            f"{alternative}"
        ) from error
