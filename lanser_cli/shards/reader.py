"""Shards and whatever else records come in, to records; sound stays where it is."""

from __future__ import annotations

import glob
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from lanser_cli.audio.ingest import base_of, check_audio_inputs, ingest
from lanser_cli.audio.walk import SUFFIXES
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.records import Record, Reject, make_id
from lanser_cli.shards.index import INDEX, read_index
from lanser_cli.shards.remote import is_remote, not_here
from lanser_cli.shards.side_file import SideFile


def records_of(
    inputs: Iterable[str], stage: str, *, bare: bool = False
) -> Iterator[Record | Reject]:
    """Records from shards, shard folders, JSONL, `-`, audio files or folders of them.

    A record from a shard has `audio_filepath` `shard.tar#KEY.flac`, so that whatever reads sound
    by records reads shards as well. Brace ranges and globs of tars are expanded. Weak labels are
    those of the set's side file, if it was relabelled.

    Args:
        bare: take sound without a JSON member as well, as WebDataset tars of others have it.
    """
    named = [(path, _tars(path, bare)) for path in inputs]
    base = base_of(path for path, tars in named if tars is None)
    for path, tars in named:
        if tars is None:
            yield from ingest([path], stage, base)
            continue
        for folder, group in groupby(tars, os.path.dirname):
            side = _side_file(Path(folder))
            for tar in group:
                items, name = read_tar(tar, stage, bare=bare), os.path.basename(tar)
                yield from side.over(name, items) if side and name in side.starts else items


def _side_file(folder: Path) -> SideFile | None:
    try:
        index = read_index(folder)
    except LanserError:
        return None  # tars of others may lie next to an index of theirs
    return SideFile.of(folder, index)


def check_inputs(inputs: Iterable[str], *, bare: bool = False) -> None:
    """Fail before anything is read if an input is not there; `bare` as in `read`.

    Raises:
        LanserError: naming it.
    """
    for path in inputs:
        tars = _tars(path, bare)
        if tars is None:
            check_audio_inputs([path])
        elif not tars:
            raise LanserError(f"{path}: an empty set of shards: there is nothing to read")
        else:
            for tar in tars:
                if not os.path.exists(tar):
                    raise LanserError(f"{tar}: there is no such shard")


def _tars(path: str, bare: bool = False) -> list[str] | None:
    """The shards a name stands for, or None if it does not speak of shards."""
    if is_remote(path):
        raise not_here(path)
    if os.path.isdir(path):
        if os.path.exists(os.path.join(path, INDEX)):
            index = read_index(Path(path))
            return [os.path.join(path, shard["file"]) for shard in index["shards"]]
        if not bare and glob.glob(os.path.join(glob.escape(path), "*.tar*")):
            raise LanserError(
                f"{path}: shards without {INDEX}: the run that wrote them did not finish; "
                "finish it with lanser shard --resume"
            )
        return None
    if not path.endswith(".tar"):
        return None
    from braceexpand import braceexpand

    names: list[str] = []
    for name in braceexpand(path):
        names += [name] if os.path.exists(name) else sorted(glob.glob(name)) or [name]
    return names


def read_tar(path: str, stage: str, *, bare: bool = False) -> Iterator[Record | Reject]:
    """The records of one shard. A cut-off tar gives what is whole in it, then a reject.

    With `bare`, sound whose neighbours hold no JSON of its key is a record of its own.
    """
    count = 0
    try:
        with tarfile.open(path) as tar:
            sounds: dict[str, str] = {}
            fields: dict[str, Any] = {}
            refused = ""
            for member in tar:
                key, suffix = _key_and_suffix(member.name, last=bare)
                if not member.isfile():
                    continue
                if member.name.startswith("/") or ".." in member.name.split("/"):
                    if key != refused:
                        refused = key
                        why = f"{path}: '{key}' leads out of the tar: such a name is refused"
                        yield Reject(None, stage, why, None)
                    continue
                if bare and sounds and key not in sounds:
                    yield _bare(path, sounds.popitem()[1])
                    count += 1
                if suffix == "json":
                    stream = tar.extractfile(member)
                    assert stream is not None
                    fields[key] = stream.read()
                elif f".{suffix}".lower() in SUFFIXES:
                    sounds[key] = member.name
                if key in fields and key in sounds:
                    sound = sounds.pop(key)
                    default = {"id": make_id(sound)} if bare else {}
                    yield _stored(path, sound, fields.pop(key), stage, default)
                    count += 1
            if bare and sounds:
                yield _bare(path, sounds.popitem()[1])
            for key in [*fields, *sounds]:
                missing = "sound" if key in fields else "key.json"
                yield Reject(None, stage, f"{path}: '{key}' has no {missing} member", None)
            if not _has_end_mark(tar):
                raise tarfile.ReadError("no end mark")
    except (tarfile.TarError, EOFError) as error:
        why = f"{path}: not a whole tar file, broken or cut off after {count} records: {error}"
        yield Reject(None, stage, why, None)
    except OSError as error:
        raise LanserError(f"{path}: cannot be read: {error.strerror}") from None


def _bare(path: str, member: str) -> Record:
    return Record({"id": make_id(member), "audio_filepath": f"{path}#{member}"})


def _key_and_suffix(name: str, *, last: bool = False) -> tuple[str, str]:
    """A member's name cut at the first dot of its last part, as WebDataset does, or at the last."""
    folder, slash, file = name.rpartition("/")
    key, _, suffix = file.rpartition(".") if last else file.partition(".")
    return f"{folder}{slash}{key}", suffix


def _has_end_mark(tar: tarfile.TarFile) -> bool:
    """Whether a tar that has been read ends as it must; tarfile takes any rubbish for the end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    return tar.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _stored(
    path: str, member: str, data: bytes, stage: str, default: dict[str, Any]
) -> Record | Reject:
    try:
        value = json.loads(data)
        return Record.parse({**default, **value, "audio_filepath": f"{path}#{member}"})
    except (ValueError, TypeError, RecordError) as error:
        return Reject(None, stage, f"{path}: {member}: bad record: {error}", _text(data))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
