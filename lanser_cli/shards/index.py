"""The index of a set of shards: what is in it, and what it was made with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanser_cli.errors import LanserError
from lanser_cli.provenance import check_schema

SCHEMA = 1


INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard in the index. seconds of audio; bytes and SHA-256 of the tar."""

    file: str
    samples: int
    seconds: float
    bytes: int
    sha256: str


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a set of shards.

    Raises:
        LanserError: none, not JSON, or of a newer schema.
    """
    path = folder / INDEX
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        check_schema(path, int(index["schema"]), SCHEMA)
        for shard in index["shards"]:
            ShardInfo(**shard)
    except FileNotFoundError:
        raise LanserError(f"{folder}: no {INDEX} in it, so no finished set of shards") from None
    except (ValueError, KeyError, TypeError):
        raise LanserError(f"{path}: not an index of shards") from None
    return index
