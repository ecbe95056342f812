"""The index of a set of shards: what is in it, and what it was made with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lanser_cli.errors import LanserError
from lanser_cli.records import Record
from lanser_cli.shape import COUNT, NOT_NEGATIVE, Maybe, That, load_json, read_json

SCHEMA = 1

INDEX = "index.json"
_WHAT = "an index of shards"


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard in the index. seconds of audio; bytes and SHA-256 of the tar."""

    file: str
    samples: int
    seconds: float
    bytes: int
    sha256: str

    @classmethod
    def of(cls, shard: Mapping[str, Any]) -> ShardInfo:
        """From an index, whose entries may have other keys as well."""
        return cls(*(shard[key.name] for key in fields(cls)))


def _matches(pattern: str, what: str) -> That:
    return That(str, what, lambda value: re.fullmatch(pattern, value) is not None)


_TAR = _matches(r"[^/\0.][^/\0]*\.tar", "the name of a tar in this folder")
_LABELS = _matches(r"labels-[0-9a-f]{12}\.jsonl", "named labels-SHA.jsonl")
_SHA256 = _matches(r"[0-9a-f]{64}", "a SHA-256")

_SHAPE = {
    "name": Maybe(str),
    "samples": COUNT,
    "seconds": NOT_NEGATIVE,
    "taxonomy": [str],
    "labels": {"emotion": {str: COUNT}, "label": {str: COUNT}},
    "speakers": {str: COUNT},
    "dropped": Maybe({str: COUNT}),
    "rejected": Maybe(COUNT),
    "shards": [
        {
            "file": _TAR,
            "samples": COUNT,
            "seconds": NOT_NEGATIVE,
            "bytes": COUNT,
            "sha256": _SHA256,
        }
    ],
    "argv": Maybe([str]),
    "versions": Maybe({str: str}),
    "relabelled": Maybe(
        {"file": _LABELS, "sha256": _SHA256, "samples": COUNT, "starts": [COUNT]},
    ),
}


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a set of shards. Whatever it names is a file of this folder.

    Raises:
        LanserError: there is none, or it is not as docs/formats.md says, or of a newer schema.
    """
    path = folder / INDEX
    if not path.exists():
        raise LanserError(f"{folder}: no {INDEX} in it, so no finished set of shards")
    index = read_json(path, _WHAT, _SHAPE, SCHEMA)
    if why := _contradiction(index):
        raise LanserError(f"{path}: not {_WHAT}: {why}")
    return index


def find_index(folder: Path) -> dict[str, Any] | None:
    """The index of the set that a tar is part of; None where there is none, or one of others'.

    Raises:
        LanserError: there is one of lanser's that cannot be used.
    """
    path = folder / INDEX
    if not path.exists():
        return None
    value = load_json(path, _WHAT)
    if not isinstance(value, dict) or not {"schema", "shards"} <= value.keys():
        return None
    return read_index(folder)


def _contradiction(index: dict[str, Any]) -> str:
    """What an index says twice, and differently; empty if nothing."""
    files = [shard["file"] for shard in index["shards"]]
    if repeated := [name for name, times in Counter(files).items() if times > 1]:
        return f"'shards' has {repeated[0]} more than once"
    if about := index.get("relabelled"):
        if about["file"] != side_file_name(about["sha256"]):
            return f"'relabelled.file' {about['file']} is not named by its 'sha256'"
        if len(about["starts"]) != len(files):
            return "'relabelled.starts' must have one number a shard"
    return ""


def side_file_name(sha256: str) -> str:
    """The name of a side file with new weak labels: by its content."""
    return f"labels-{sha256[:12]}.jsonl"


def taxonomy_of(record: Record) -> str | None:
    """Which taxonomy a record's weak label is of, or was sought in."""
    about = record.fields.get("entailment") or {}
    taxonomy: str | None = about.get("crosswalk") or about.get("taxonomy")
    return taxonomy


@dataclass
class Contents:
    """What the index says of the records in a set."""

    labels: dict[str, Counter[str]] = field(
        default_factory=lambda: {"emotion": Counter(), "label": Counter()}
    )
    speakers: dict[str, set[str]] = field(default_factory=dict)
    taxonomies: dict[str, None] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        for key, histogram in self.labels.items():
            if value := record.fields.get(key):
                histogram[value] += 1
        if record.speaker:
            split = str(record.fields.get("split") or "all")
            self.speakers.setdefault(split, set()).add(record.speaker)
        if taxonomy := taxonomy_of(record):
            self.taxonomies[taxonomy] = None

    def as_json(self) -> dict[str, Any]:
        return {
            "taxonomy": list(self.taxonomies),
            "labels": {key: dict(sorted(count.items())) for key, count in self.labels.items()},
            "speakers": {split: len(names) for split, names in sorted(self.speakers.items())},
        }


def totals(shards: Sequence[ShardInfo]) -> dict[str, Any]:
    """The sums over all shards that an index has."""
    return {
        "samples": sum(shard.samples for shard in shards),
        "seconds": round(sum(shard.seconds for shard in shards), 3),
    }
