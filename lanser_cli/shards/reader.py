"""Shards and whatever else records come in, to records; sound stays where it is."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from lanser_cli.audio import ingest
from lanser_cli.audio.ingest import base_of, check_audio_inputs
from lanser_cli.audio.lender import is_lent
from lanser_cli.errors import LanserError
from lanser_cli.origin import braced
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.shards.index import INDEX, find_index, read_index
from lanser_cli.shards.remote import is_remote, not_here
from lanser_cli.shards.samples import read_tar
from lanser_cli.shards.side_file import SideFile


def records_of(
    inputs: Iterable[str],
    stage: str,
    *,
    bare: bool = False,
    part: tuple[int, int] | None = None,
) -> Iterator[Outcome]:
    """Records from shards, shard folders, JSONL, `-`, audio files or folders of them.

    A record from a shard has `audio_filepath` `shard.tar#KEY.flac`, so that whatever reads sound
    by records reads shards as well. Brace ranges and globs of tars are expanded. Weak labels are
    those of the set's side file, if it was relabelled.

    Args:
        bare: take sound without a JSON member as well, as WebDataset tars of others have it.
        part: the slice that will be taken of these very items: see `ingest`.
    """
    named = [(path, _tars(path, bare)) for path in inputs]
    if all(tars is None for _, tars in named):
        yield from ingest.ingest((path for path, _ in named), stage, part=part)
        return
    base = base_of(path for path, tars in named if tars is None)
    for path, tars in named:
        if tars is None:
            yield from ingest.ingest([path], stage, base)
            continue
        for folder, group in groupby(tars, os.path.dirname):
            index = find_index(Path(folder))
            side = None if index is None else SideFile.of(Path(folder), index)
            promised = _promised(index)
            for tar in group:
                name = os.path.basename(tar)
                items = read_tar(tar, stage, bare=bare)
                if name in promised:
                    items = _counted(items, tar, promised[name], stage)
                yield from side.over(name, items) if side and name in side.starts else items


def count(inputs: Iterable[str], *, bare: bool = False) -> int | None:
    """How many items `records_of` gives, where that can be told without reading them."""
    found: list[int | None] = []
    for path in inputs:
        tars = _tars(path, bare)
        if tars is None:
            found.append(ingest.count(path))
            continue
        for folder, group in groupby(tars, os.path.dirname):
            promised = _promised(find_index(Path(folder)))
            found += [promised.get(os.path.basename(tar)) for tar in group]
    return None if None in found else sum(filter(None, found))


def _promised(index: Mapping[str, Any] | None) -> dict[str, int]:
    """How many samples each shard of a set has; nothing without an index."""
    return {} if index is None else {one["file"]: one["samples"] for one in index["shards"]}


def _counted(items: Iterable[Outcome], tar: str, promised: int, stage: str) -> Iterator[Outcome]:
    """The items, and a reject if samples were lost, or came, without another to say so."""
    records = rejects = 0
    for item in items:
        records += isinstance(item, Record)
        rejects += isinstance(item, Reject)
        yield item
    if not records <= promised <= records + rejects:
        why = f"{tar}: {records} samples, not {promised} as {INDEX} says: see lanser shard --verify"
        yield Reject(None, stage, why, None)


def check_inputs(inputs: Iterable[str], *, bare: bool = False) -> None:
    """Fail before anything is read if an input is not there; `bare` as of `records_of`.

    Raises:
        LanserError: naming it, or the index of its set that cannot be used.
    """
    for path in inputs:
        tars = _tars(path, bare)
        if tars is None:
            check_audio_inputs([path])
        elif not tars:
            raise LanserError(f"{path}: an empty set of shards: there is nothing to read")
        else:
            for tar in tars:
                if not (os.path.exists(tar) or is_lent(tar)):
                    raise LanserError(f"{tar}: there is no such shard")
            for folder in dict.fromkeys(map(os.path.dirname, tars)):
                find_index(Path(folder))


def _tars(path: str, bare: bool = False) -> list[str] | None:
    """The shards a name stands for, or None if it does not speak of shards."""
    if is_remote(path):
        raise not_here(path)
    if os.path.isdir(path):
        if os.path.exists(os.path.join(path, INDEX)):
            index = read_index(Path(path))
            return [os.path.join(path, shard["file"]) for shard in index["shards"]]
        start = os.path.join(glob.escape(path), "*.tar")
        if not bare and (glob.glob(start) or glob.glob(f"{start}.part")):
            raise LanserError(
                f"{path}: shards without {INDEX}: if lanser shard wrote them, go on with it "
                f"by --resume; else name them, as in '{path}/*.tar'"
            )
        return None
    if not path.endswith(".tar"):
        return None
    names: list[str] = []
    for name in [path] if os.path.exists(path) else braced(path):
        names += [name] if os.path.exists(name) else sorted(glob.glob(name)) or [name]
    return names
