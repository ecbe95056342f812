"""Everything that an index promises, checked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from lanser_cli import devices, workers
from lanser_cli.audio import sound
from lanser_cli.digests import StringSet, file_sha256, sound_sha256
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.records import Dropped, Outcome, Record, Reject
from lanser_cli.shards.index import INDEX, Contents, ShardInfo, read_index, totals
from lanser_cli.shards.samples import read_tar
from lanser_cli.shards.side_file import SideFile
from lanser_cli.stage import WindowFunction, windows

_FEW = 64
"""Samples that are not worth starting processes for."""

_ROUNDED = 0.002
"""Seconds that rounding may move a sum by."""


def verify_shards(folder: Path, *, processes: int | None = None) -> list[str]:
    """Check a set against its index: files, bytes, digests, ids, sound, and every sum over them.

    Sound kept as FLAC must be what was packed, sample for sample; lossy sound must decode. Of a
    relabelled set the weak labels are those of its side file.

    Args:
        processes: that decode; as many as there are processors if None.

    Returns:
        One sentence a fault; empty if all is well.

    Raises:
        LanserError: there is no index, or it is none.
    """
    index = read_index(folder)
    known = {shard["file"] for shard in index["shards"]}
    extra = sorted(path.name for path in folder.glob("*.tar") if path.name not in known)
    faults = [f"{name}: not in the index" for name in extra]
    faults += _check_side_file(folder, index)
    side = None if faults else SideFile.of(folder, index)
    for shard in index["shards"]:
        faults += _check_file(folder / shard["file"], shard)
    count = processes or devices.cpu_count()
    check = workers.spread(_checker, ["cpu"] * (1 if index["samples"] < _FEW else count))
    with closing(check(windows(_samples(folder, index, side, faults), _FEW))) as answers:
        for outcomes in answers:
            faults += [outcome.error for outcome in outcomes if isinstance(outcome, Reject)]
    return faults


def _samples(
    folder: Path, index: dict[str, Any], side: SideFile | None, faults: list[str]
) -> Iterator[Any]:
    """What the shards hold; to `faults` what the index says else of it."""
    ids, contents, found = StringSet(), Contents(), []
    for shard in index["shards"]:
        path, samples, seconds = folder / shard["file"], 0, 0.0
        if not path.is_file():
            continue
        items = read_tar(str(path), "verify")
        try:
            for item in items if side is None else side.over(path.name, items):
                if isinstance(item, Record):
                    samples, seconds = samples + 1, seconds + (item.duration or 0.0)
                    contents.add(item)
                    if not ids.add(item.id):
                        faults.append(f"{path.name}: '{item.id}' is there twice")
                elif isinstance(item, Dropped):
                    faults.append(f"{path.name}: {item.reason}")
                yield item
        except LanserError as error:
            faults.append(str(error))
        if samples != shard["samples"]:
            faults.append(f"{path.name}: {samples} samples, not {shard['samples']}")
            continue
        found.append(ShardInfo.of({**shard, "seconds": round(seconds, 3)}))
        if abs(seconds - shard["seconds"]) > _ROUNDED:
            faults.append(f"{path.name}: {seconds:.3f} seconds, not {shard['seconds']}")
    if len(found) == len(index["shards"]) and (side is not None or "relabelled" not in index):
        faults += _check_sums(index, {**totals(found), **contents.as_json()})


def _check_sums(index: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for key, value in found.items():
        same = abs(value - index[key]) <= _ROUNDED if key == "seconds" else value == index[key]
        if not same:
            yield f"{INDEX}: '{key}' is {_brief(index[key])}, but {_brief(value)} in the shards"


def _brief(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _check_file(path: Path, shard: dict[str, Any]) -> Iterator[str]:
    if not path.exists():
        yield f"{path.name}: missing"
    elif not path.is_file():
        yield f"{path.name}: not a plain file"
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
        return
    if side is None:
        return
    if file_sha256(side.path) != side.sha256:
        yield f"{side.path.name}: its SHA-256 is not that of the index"
    elif _starts(side.path, index["shards"]) != index["relabelled"]["starts"]:
        yield f"{INDEX}: 'relabelled.starts' is not where the labels of each shard begin"


def _starts(path: Path, shards: list[dict[str, Any]]) -> list[int]:
    """Where the lines of each shard begin, in bytes, by its number of samples."""
    starts, at = [], 0
    with path.open("rb") as stream:
        for shard in shards:
            starts.append(at)
            at += sum(map(len, islice(stream, shard["samples"])))
    return starts


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
