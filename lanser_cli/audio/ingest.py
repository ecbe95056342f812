"""Audio files, folders, globs and manifests to records."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

from lanser_cli import console, jsonl
from lanser_cli.audio.manifests import adapt
from lanser_cli.audio.sound import probe
from lanser_cli.audio.walk import SUFFIXES, walk
from lanser_cli.digests import StringSet
from lanser_cli.errors import LanserError, RecordError, of_one_record
from lanser_cli.parts import is_in_part
from lanser_cli.records import Record, Reject, check_id, make_id


def ingest(
    inputs: Iterable[str],
    stage: str,
    base: str | None = None,
    *,
    part: tuple[int, int] | None = None,
) -> Iterator[Record | Reject]:
    """Records from audio files, folders (recursive, sorted), globs, JSONL files and streams.

    Paths in a JSONL file are relative to that file, unless they exist from the working folder.
    JSONL may be a manifest of lhotse or of Hugging Face. A line of a stream may also be a path,
    and so may what NUL characters part. What has a name that says nothing is JSONL if it begins so.

    Args:
        base: the folder that ids are made below; default the `base_of` these inputs.
        part: the slice that will be taken of the items. Where all inputs are sound, no file of
            another slice is opened: it is given without its duration, to keep its place and id.
    """
    inputs = list(inputs)
    base = base_of(inputs) if base is None else base
    is_opened = _opening(inputs, base, part)
    for path in inputs:
        if _holds_records(path):
            listed, told = jsonl.is_stream(path), False
            folder = "" if listed else os.path.dirname(path)
            bare = partial(_from_list, stage) if listed else None
            for item in jsonl.read_records([path], stage, adapt=adapt, bare=bare):
                if not isinstance(item, Record):
                    yield item
                    continue
                found = _anchored(item, folder)
                if not told and (astray := _astray(item, found, path)):
                    console.warn(f"{stage}: {astray}")
                    told = True
                yield found
        else:
            for file in _files(path):
                name = os.path.relpath(file, base)
                yield _from_file(file, name, stage, opened=is_opened(name))


def count(path: str) -> int | None:
    """How many items `ingest` gives of an input, where that can be told without reading it."""
    if _holds_records(path):
        return jsonl.count_lines([path])
    return sum(1 for _ in _files(path))


def base_of(inputs: Iterable[str]) -> str:
    """The deepest folder that holds all the sound named; ids are made of the paths below it.

    So two folders that are named have the ids that they have where their parent is named, and a
    corpus that is moved keeps its own. What is not sound, such as JSONL, is left out of account.
    """
    folders = [
        folder
        for path in inputs
        if not _holds_records(path)
        for folder in ([path] if os.path.isdir(path) else map(os.path.dirname, _files(path)))
    ]
    return os.path.commonpath([os.path.abspath(folder) for folder in folders] or [os.curdir])


def _opening(
    inputs: Sequence[str], base: str, part: tuple[int, int] | None
) -> Callable[[str], bool]:
    """Says of each file in its turn whether it is opened: those of the part, and of shared ids.

    Of two files with one id the second is good only if the first is broken, whatever the part.
    """
    if part is None or any(map(_holds_records, inputs)):
        return lambda _: True
    ids = (make_id(os.path.relpath(file, base)) for path in inputs for file in _files(path))
    seen = StringSet()
    shared = {identifier for identifier in ids if not seen.add(identifier)}
    places = itertools.count()
    return lambda name: is_in_part(next(places), part) or make_id(name) in shared


def _holds_records(path: str) -> bool:
    if jsonl.is_jsonl(path) or jsonl.is_stream(path):
        return True
    suffix = os.path.splitext(path)[1].lower()
    return suffix not in SUFFIXES and jsonl.begins_like_jsonl(path)


def _files(path: str) -> Iterable[str]:
    """The files of a folder, the one that is named, or those that a glob means."""
    if os.path.isdir(path):
        return walk(path)
    return [path] if os.path.lexists(path) else sorted(glob.glob(path, recursive=True))


def check_audio_inputs(inputs: Iterable[str]) -> None:
    """Fail before anything is read if an input is not there or holds no audio.

    Raises:
        LanserError: naming the input.
    """
    for path in inputs:
        if os.path.isfile(path) or jsonl.is_stream(path):
            continue
        if os.path.isdir(path):
            if next(walk(path), None) is None:
                raise LanserError(f"{path}: no audio file in this folder or below it")
        elif not glob.glob(path, recursive=True):
            raise LanserError(f"{path}: there is no such file or folder")


def _from_file(path: str, name: str, stage: str, *, opened: bool = True) -> Record | Reject:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return Reject(None, stage, f"{path!a}: file name is not UTF-8: rename it", None)
    identifier = make_id(name)
    fields: dict[str, Any] = {"id": identifier, "audio_filepath": path}
    try:
        check_id(identifier)
        with of_one_record():
            if opened:
                fields["duration"] = round(probe(path).duration, 6)
    except RecordError as error:
        return Reject(identifier, stage, str(error), fields)
    return Record(fields)


def _from_list(stage: str, path: str, place: str) -> Record | Reject:
    if not os.path.lexists(path):
        path = path.strip()
    if not os.path.lexists(path) and not os.path.exists(path.partition("#")[0]):
        why = f"{place}: neither a JSON object nor the path of a file: {path}"
        return Reject(None, stage, why, path)
    return _from_file("./-" if path == "-" else path, os.path.normpath(path), stage)


def _astray(record: Record, anchored: Record, source: str) -> str | None:
    """Where a record's path seems to begin, if it leads nowhere: below a folder further up."""
    path = record.audio_filepath
    if not path or os.path.isabs(path) or _is_there(anchored.audio_filepath):
        return None
    if PureWindowsPath(path).drive:
        return f"'{path}' is a path of Windows: write it as this machine has it"
    folders = [os.curdir] if jsonl.is_stream(source) else [os.curdir, os.path.dirname(source)]
    above = (up for folder in folders for up in Path(folder).absolute().parents)
    start = next((folder for folder in above if _is_there(os.path.join(folder, path))), None)
    where = "run lanser in the folder where they begin" if start is None else f"run it in {start}"
    of_its_own = "" if len(folders) == 1 else f" nor from that of {source}"
    return f"'{path}' leads nowhere from this folder{of_its_own}: {where}"


def _is_there(path: str | None) -> bool:
    return path is not None and os.path.exists(path.partition("#")[0])


def _anchored(record: Record, folder: str) -> Record:
    path = record.audio_filepath
    if not path or not folder or os.path.isabs(path):
        return record
    if os.path.exists(path) or _is_there(path):
        return record
    return record.with_fields(audio_filepath=os.path.join(folder, path))
