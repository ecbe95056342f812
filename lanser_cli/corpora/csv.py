"""A table in CSV or TSV with a header line, one row a clip.

Three columns can be named: the audio file, the label, the speaker. Every other column is kept
under its own name, as text; so a column called `split`, `fold`, `lang`, `text` or `sentence` is
that key of the record. `id` is used where the table has it and made from the audio path where not.
`offset`, `duration` (s) and `emotion_score` become numbers; a missing `duration` is read from the
file. Empty cells and columns without a name are left out. In a TSV, quotation marks are ordinary
characters.
Paths are relative to the table, unless they exist from the working directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lanser_cli.audio import sound
from lanser_cli.corpora.base import STAGE, Table
from lanser_cli.errors import RecordError, UsageError
from lanser_cli.records import Outcome, Record, Reject, make_id

_NUMBERS = ("offset", "duration", "emotion_score")


def read(
    path: Path,
    *,
    audio: str | None = None,
    label: str | None = None,
    speaker: str | None = None,
) -> Iterator[Outcome]:
    """The rows of the table, in order.

    There must be a column for the audio and for each one named; label and speaker are optional
    otherwise. A column that is called `label` while another one is named as the label is left out.

    Args:
        audio, label, speaker: columns; None: the one called audio_filepath, label or speaker.

    Raises:
        LanserError: no such file, or no header line.
        UsageError: a column that was named, or the one for the audio, is not there.
    """
    named = {"audio_filepath": audio or "audio_filepath", "label": label, "speaker": speaker}
    table = Table(path)
    for option, name in zip(("audio", "label", "speaker"), named.values(), strict=True):
        if name and name not in table.columns:
            why = f"no column '{name}': name another with --{option}-column; {table.header}"
            raise UsageError(f"{path}: {why}")
    keys = {name: key for key, name in named.items() if name}
    for name in table.columns:
        if name and name not in keys and not named.get(name):
            keys[name] = name
    return (_outcome(path, where, row, keys) for where, row in table)


def _outcome(
    table: Path, where: str, row: dict[str, str] | Reject, keys: dict[str, str]
) -> Outcome:
    if isinstance(row, Reject):
        return row
    cells: dict[str, Any] = {keys[name]: row[name] for name in row if name in keys and row[name]}
    head: dict[str, Any] = dict.fromkeys(("id", "audio_filepath", "duration"))
    try:
        for key in _NUMBERS:
            if key in cells:
                cells[key] = _number(key, cells[key])
        as_written = cells.get("audio_filepath")
        if not as_written:
            raise RecordError("no audio file in this row")
        # Checks offset and duration, and makes them safe to reckon with.
        offset = Record.parse({"id": "x"} | {key: cells.get(key) for key in _NUMBERS}).offset
        head["id"] = cells.get("id") or make_id(as_written, offset)
        head["audio_filepath"] = _anchored(as_written, table)
        seconds = sound.probe(head["audio_filepath"]).duration - offset
        if seconds <= 0:
            raise RecordError(f"{as_written}: offset {offset} s lies behind its end")
        head["duration"] = cells.get("duration") or round(seconds, 6)
        return Record.parse(head | {key: cells[key] for key in cells if key not in head})
    except RecordError as error:
        identifier = head["id"] or cells.get("id")
        return Reject(identifier, STAGE, f"{where}: {error}", row)


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RecordError(f"'{key}' must be a number, not '{text}'") from None


def _anchored(path: str, table: Path) -> str:
    folder = os.path.dirname(table)
    if not folder or os.path.isabs(path) or os.path.exists(path.partition("#")[0]):
        return path
    return os.path.join(folder, path)
