"""What made an output: kept beside it, so that `--resume` goes on with no other.

Beside FILE is `FILE.meta.json`, and beside the unfinished `FILE.part` is `FILE.part.meta.json`.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanser_cli.digests import file_sha256, sampled_sha256, short_sha256
from lanser_cli.errors import UsageError
from lanser_cli.jsonl import JSONL_SUFFIXES
from lanser_cli.provenance import command_line, versions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEMA = 1
ITS_FILES = " (its files)"
"""Ends the name of what is compared only where both know it: an older lanser did not write it."""

_TABLES = (*JSONL_SUFFIXES, ".csv", ".tsv")
_OURS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".part", ".html", ".png", ".svg")
"""Ends of names that a user's own results may have, next to the sound they were made from."""


def options(settings: DataclassInstance, *, but: Collection[str] = ()) -> dict[str, str]:
    """Settings by the options that set them, as short text; `but` are those that do not count."""
    fields = asdict(settings)
    return {option(name): short(fields[name]) for name in fields if name not in but}


def option(name: str) -> str:
    """The option that sets a field."""
    return f"--{name.replace('_', '-')}"


def named(text: str | Path, embedded: Path | None = None) -> str:
    """A name, such as `whisper:FILE`, and a digest of the file or folder in it.

    Args:
        embedded: the weights that the name `embedded` stands for, if it is one of a model.
    """
    text = str(text)
    if embedded is not None and text == "embedded":
        return f"{text} ({sampled_sha256(embedded)[:12]})"
    for path in (text, text.partition(":")[2]):
        if path and os.path.exists(path):
            return f"{text} ({of_files([path])})"
    return text


def short(value: object) -> str:
    """A value as text to compare and to show; of a long one its digest."""
    text = "none" if value is None else str(value)
    return text if len(text) <= 80 else short_sha256(text)


def of_files(names: Sequence[str | Path], *, hold_words: bool = False) -> str:
    """12 hex digits over what files and folders hold, whatever they are called.

    Of JSONL and tables every byte counts; of other files, and of those in a folder, their size and
    time of change; of a shard that was relabelled its weak labels as well. Addresses count by their
    name, and of streams nothing is known.

    Args:
        hold_words: that no digest may give away: then files of JSONL count as the others do.
    """
    found = (_content(name, hold_words) for given in names for name in _expanded(str(given)))
    return short_sha256("\n".join(found))


def check_same(made: Mapping[str, str], now: Mapping[str, str], where: str) -> None:
    """Refuse to resume what was made otherwise.

    Raises:
        UsageError: a field differs; the message has its old and its new value.
    """
    if differs := difference(made, now):
        raise UsageError(
            f"--resume: {where} was made with {differs}: repeat the command as it was, or name "
            "another output"
        )


def difference(made: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """The first field of an origin that is another, with its two values; None: they are alike."""
    for name in [*made, *(name for name in now if name not in made)]:
        if name.endswith(ITS_FILES) and not (name in made and name in now):
            continue
        old, new = made.get(name, "not there"), now.get(name, "not there")
        if old != new:
            return f"another {name}, {old} and not {new}"
    return None


def describe(verb: str, identity: Mapping[str, str]) -> dict[str, object]:
    """The JSON beside an output."""
    return {
        "schema": SCHEMA,
        "verb": verb,
        "argv": command_line(),
        "versions": versions(),
        "identity": dict(identity),
    }


def identity_in(*paths: Path) -> dict[str, str] | None:
    """What made an output, from the first of these files that says it; None: nothing does."""
    found = origin_in(*paths)
    return None if found is None else found["identity"]


def origin_in(*paths: Path) -> dict[str, Any] | None:
    """The first of these files that says what made an output, whole; None: nothing does."""
    for path in paths:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            identity = found["identity"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        return {**found, "identity": {str(name): str(value) for name, value in identity}}
    return None


def braced(name: str) -> list[str]:
    """What a name with ranges in braces stands for; a brace that has no end is one."""
    from braceexpand import braceexpand

    try:
        return list(braceexpand(name))
    except ValueError:
        return [name]


def versions_in(found: Mapping[str, Any]) -> dict[str, str]:
    """Those that a file beside an output names, by package."""
    versions = found.get("versions")
    named = versions.items() if isinstance(versions, dict) else ()
    return {str(name): str(number) for name, number in named}


def beside(path: Path) -> Path:
    """The file that says what made another."""
    return path.with_name(path.name + ".meta.json")


def _expanded(name: str) -> list[str]:
    """What a name stands for: itself, or what its braces and wildcards match."""
    if os.path.exists(name) or name == "-":
        return [name]
    found = (sorted(glob.glob(each, recursive=True)) or [each] for each in braced(name))
    return list(chain.from_iterable(found))


def _content(name: str, hold_words: bool) -> str:
    path = Path(name)
    if path.is_dir():
        index = path / "index.json"  # of shards; it has the digest of each
        is_set = index.is_file() and b'"shards"' in index.read_bytes()
        return file_sha256(index) if is_set else "\n".join(_listing(name))
    if path.is_file():
        if name.endswith(_TABLES) and not hold_words:
            return file_sha256(path)
        return _size_and_change(os.stat(name)) + (_side_file(path) if path.suffix == ".tar" else "")
    return "a stream" if path.exists() else name


def _side_file(tar: Path) -> str:
    """The name of the file with a shard's weak labels, if its set was relabelled; else nothing."""
    index = tar.with_name("index.json")
    return _named_in(index, _size_and_change(index.stat())) if index.is_file() else ""


@lru_cache(maxsize=16)
def _named_in(index: Path, _state: str) -> str:
    try:
        return f" {json.loads(index.read_bytes())['relabelled']['file']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _listing(folder: str) -> Iterator[str]:
    seen = set[str]()
    for parent, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and not name.endswith(_OURS):
                path = os.path.join(parent, name)
                change = _size_and_change(os.stat(path)) if os.path.exists(path) else "gone"
                yield f"{os.path.relpath(path, folder)} {change}"


def _size_and_change(about: os.stat_result) -> str:
    return f"{about.st_size} {about.st_mtime_ns}"
