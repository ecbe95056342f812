"""What the corpus readers share: walking a folder, probing a clip."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanser_cli.audio import sound
from lanser_cli.audio.walk import walk
from lanser_cli.console import ascii_safe
from lanser_cli.errors import LanserError, RecordError, of_one_record
from lanser_cli.records import Dropped, Outcome, Record, Reject, make_id

STAGE = "manifest"

Describe = Callable[[re.Match[str]], dict[str, Any] | Dropped]
"""From a matched file name to the fields of its record, `id` first; or leaves the clip out."""


@dataclass(frozen=True, slots=True)
class Clip(Record):
    """A record whose table says how long its clip is.

    Attributes:
        stated: that length, s; None where it is not said.
        found: how long the clip is, s.
    """

    stated: float | None = None
    found: float = 0.0


def audio_files(root: Path) -> Iterator[Path]:
    """The audio and video files below a folder, as every verb finds them."""
    return map(Path, walk(str(root)))


def clips_in(files: Iterable[Path]) -> tuple[dict[str, Path], list[Dropped]]:
    """Name without suffix -> clip, the last of those that share it; the others are left out."""
    clips: dict[str, Path] = {}
    left_out = []
    for path in files:
        if path.stem in clips:
            left_out.append(Dropped(make_id(path.stem), "another file of a clip"))
        clips[path.stem] = path
    return clips, left_out


def check_folder(root: Path) -> None:
    """Raise LanserError unless `root` is a folder."""
    if root.is_file():
        raise LanserError(f"{root}: is a file: unpack it, if need be, and name the corpus' folder")
    if not root.is_dir():
        raise LanserError(f"{root}: there is no such folder")


def by_name(
    root: Path, corpus: str, scheme: str, example: str, describe: Describe
) -> Iterator[Outcome]:
    """The records of a corpus whose file names say everything.

    Args:
        scheme: regular expression for a file's name without suffix; it may begin with the name
            of the folder the file is in.
        example: a file name of the corpus, for messages.

    Raises:
        LanserError: no file below `root` has a fitting name; raised at once, not when iterated.
    """
    check_folder(root)
    pattern = re.compile(f"(?:.*/)?{scheme}")

    def match(path: Path) -> re.Match[str] | None:
        return pattern.fullmatch(f"{path.absolute().parent.name}/{path.stem}")

    if not any(match(path) for path in audio_files(root)):
        raise LanserError(
            f"{root}: no {corpus} clip in this folder or below it; "
            f"they are named like '{example}', whatever the suffix"
        )

    def outcomes() -> Iterator[Outcome]:
        for path in audio_files(root):
            if found := match(path):
                fields = describe(found)
                yield fields if isinstance(fields, Dropped) else utterance(path, fields)
            else:
                name = ascii_safe(str(path))
                why = f"{name}: not named like a {corpus} clip ('{example}'): rename or remove it"
                identifier = make_id(os.path.relpath(path, root))
                yield Reject(identifier, STAGE, why, {"audio_filepath": name})

    return outcomes()


def utterance(path: Path, fields: dict[str, Any]) -> Record | Reject:
    """The record of one clip: `id`, path and duration (s) first; fields that are None are left out.

    A file that is empty, broken or without sound becomes a reject.
    """
    head: dict[str, Any] = {"id": fields["id"], "audio_filepath": str(path)}
    rest = {key: value for key, value in fields.items() if key != "id" and value is not None}
    try:
        with of_one_record():
            head["duration"] = round(sound.probe(str(path)).duration, 6)
    except RecordError as error:
        return Reject(fields["id"], STAGE, str(error), head | rest)
    return Record(head | rest)
