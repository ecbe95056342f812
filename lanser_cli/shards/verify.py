"""Everything that an index promises, checked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from lanser_cli import devices, workers
from lanser_cli.audio import sound
from lanser_cli.digests import StringSet, file_sha256, sound_sha256
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.pipe import WindowFunction, windows
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.shards.index import read_index
from lanser_cli.shards.reader import read_tar
from lanser_cli.shards.side_file import SideFile

_FEW = 64
"""Samples that are not worth starting processes for."""


def verify_shards(folder: Path, *, processes: int | None = None) -> list[str]:
    """Check every shard against the index: presence, bytes, SHA-256, counts, ids, sound.

    Sound kept as FLAC must be what was packed, sample for sample; lossy sound must decode.

    Args:
        processes: that decode; as many as there are processors if None.

    Returns:
        One sentence a fault; empty if all is well.
    """
    index = read_index(folder)
    known = {shard["file"] for shard in index["shards"]}
    extra = sorted(path.name for path in folder.glob("*.tar") if path.name not in known)
    faults = [f"{name}: not in the index" for name in extra]
    faults += _check_side_file(folder, index)
    for shard in index["shards"]:
        faults += _check_file(folder / shard["file"], shard)
    count = processes or devices.cpu_count()
    check = workers.spread(_checker, ["cpu"] * (1 if index["samples"] < _FEW else count))
    with closing(check(windows(_samples(folder, index, faults), _FEW))) as answers:
        for outcomes in answers:
            faults += [outcome.error for outcome in outcomes if isinstance(outcome, Reject)]
    return faults


def _samples(folder: Path, index: dict[str, Any], faults: list[str]) -> Iterator[Any]:
    """What the shards hold; to `faults` what is wrong with its number, or with the ids."""
    ids = StringSet()
    for shard in index["shards"]:
        path, samples = folder / shard["file"], 0
        if not path.exists():
            continue
        for item in read_tar(str(path), "verify"):
            if isinstance(item, Record):
                samples += 1
                if not ids.add(item.id):
                    faults.append(f"{shard['file']}: '{item.id}' is there twice")
            yield item
        if samples != shard["samples"]:
            faults.append(f"{shard['file']}: {samples} samples, not {shard['samples']}")


def _check_file(path: Path, shard: dict[str, Any]) -> Iterator[str]:
    if not path.exists():
        yield f"{path.name}: missing"
    elif not os.access(path, os.R_OK):
        yield f"{path.name}: may not be read (permissions)"
    elif path.stat().st_size != shard["bytes"]:
        yield f"{path.name}: {path.stat().st_size} bytes, not {shard['bytes']}"
    elif file_sha256(path) != shard["sha256"]:
        yield f"{path.name}: its SHA-256 is not that of the index"


def _check_side_file(folder: Path, index: dict[str, Any]) -> Iterator[str]:
    try:
        side = SideFile.of(folder, index)
    except LanserError as error:
        yield str(error)
    else:
        if side is not None and file_sha256(side.path) != side.sha256:
            yield f"{side.path.name}: its SHA-256 is not that of the index"


def _checker(_device: str) -> WindowFunction:
    return _check


def _check(window: Sequence[Outcome]) -> list[Outcome]:
    """A window function: a sample that is not what it should be becomes a reject."""
    found: list[Outcome] = []
    for item in window:
        try:
            if isinstance(item, Record):
                _check_sound(item)
            found.append(item)
        except RecordError as error:
            found.append(Reject.of(item, "verify", error))  # type: ignore[arg-type]
    return found


def _check_sound(record: Record) -> None:
    samples = sound.load_int16(record)
    packed = record.fields.get("audio_sha256")
    path = record.audio_filepath or ""
    if packed and path.endswith(".flac") and sound_sha256(samples) != packed:
        raise RecordError(f"{path}: its sound is not what was packed: make the shard again")
