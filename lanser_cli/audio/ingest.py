"""Audio files, folders, globs and manifests to records."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from lanser_cli import jsonl
from lanser_cli.audio.manifests import adapt
from lanser_cli.audio.sound import probe
from lanser_cli.audio.walk import walk
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.records import Record, Reject, check_id, make_id


def ingest(inputs: Iterable[str], stage: str) -> Iterator[Record | Reject]:
    """Records from audio files, folders (recursive, sorted), globs, JSONL files and `-`.

    Paths in a JSONL file are relative to that file, unless they exist from the working folder.
    JSONL may be a manifest of lhotse or of Hugging Face. A line on standard input may also be a
    path. Ids are made from the path below the folder named, or from the path itself.
    """
    for path in inputs:
        if jsonl.is_jsonl(path):
            folder = "" if path == "-" else os.path.dirname(path)
            bare = partial(_from_list, stage) if path == "-" else None
            for item in jsonl.read_records([path], stage, adapt=adapt, bare=bare):
                yield _anchored(item, folder) if isinstance(item, Record) else item
        elif os.path.isdir(path):
            for file in walk(path):
                yield _from_file(file, os.path.relpath(file, path), stage)
        else:
            for file in [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True)):
                yield _from_file(file, os.path.basename(file), stage)


def check_audio_inputs(inputs: Iterable[str]) -> None:
    """Fail before anything is read if an input is not there or holds no audio.

    Raises:
        LanserError: naming the input.
    """
    for path in inputs:
        if path == "-" or os.path.isfile(path):
            continue
        if os.path.isdir(path):
            if next(walk(path), None) is None:
                raise LanserError(f"{path}: no audio file in this folder or below it")
        elif not glob.glob(path, recursive=True):
            raise LanserError(f"{path}: there is no such file or folder")


def _from_file(path: str, name: str, stage: str) -> Record | Reject:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return Reject(None, stage, f"{path!a}: file name is not UTF-8: rename it", None)
    identifier = make_id(name)
    fields: dict[str, Any] = {"id": identifier, "audio_filepath": path}
    try:
        check_id(identifier)
        fields["duration"] = round(probe(path).duration, 6)
    except RecordError as error:
        return Reject(identifier, stage, str(error), fields)
    return Record(fields)


def _from_list(stage: str, path: str, place: str) -> Record | Reject:
    if not os.path.lexists(path) and not os.path.exists(path.partition("#")[0]):
        why = f"{place}: neither a JSON object nor the path of a file: {path}"
        return Reject(None, stage, why, path)
    return _from_file(path, path, stage)


def _anchored(record: Record, folder: str) -> Record:
    path = record.audio_filepath
    if not path or not folder or os.path.isabs(path):
        return record
    if os.path.exists(path) or os.path.exists(path.partition("#")[0]):
        return record
    return record.with_fields(audio_filepath=os.path.join(folder, path))
