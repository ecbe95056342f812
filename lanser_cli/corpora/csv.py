"""A table in CSV or TSV with a header line, one row a clip.

Four columns can be named: the audio file, the label, the speaker, the text. Every other column is
kept under its own name, as text; so a column called `split`, `fold`, `lang` or `sentence` is that
key of the record. `id` is used where the table has it and made from the audio path where not.
`offset`, `duration` (s) and `emotion_score` become numbers, with a decimal comma too where no comma
is between the cells; a missing `duration` is read from the file, and one beyond its end is cut.
Empty cells and columns without a name are left out, and the blanks around a cell. Paths are
relative to the table, unless they exist from the working directory or another folder is named.

A column `emotion` is a weak label, as lanser writes it; where the table has no other label, that is
said. Where no audio column is named, two forms are known by their columns. Common Voice's
(`client_id`, `path`, `sentence`): they are speaker, audio and text, `locale` is `lang`, the clips
are in the folder `clips` next to the table, and a table called train, dev or test is that `split`.
Hugging Face's `metadata.csv` (`file_name`): it is the audio, and `transcription` the text.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanser_cli import console
from lanser_cli.audio import sound
from lanser_cli.audio.decoder import no_sample
from lanser_cli.corpora.base import STAGE, Clip
from lanser_cli.corpora.table import Table
from lanser_cli.errors import LanserError, RecordError, UsageError
from lanser_cli.records import Dropped, Outcome, Record, Reject, make_id
from lanser_cli.shape import load_json

_NUMBERS = ("offset", "duration", "emotion_score", "audio_channel")
_KEYS = ("audio_filepath", "label", "speaker", "text")
_COMMON_VOICE = ("client_id", "path", "sentence")
_SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a table mean, and where its clips are.

    Attributes:
        keys: column -> key of the record.
        root: the folder that paths are relative to; None: as the table.
        labels: label of the table -> that of the record, "" for one to leave out; None: as it is.
        fixed: keys that all records have.
    """

    keys: Mapping[str, str]
    root: Path | None = None
    labels: Mapping[str, str] | None = None
    fixed: Mapping[str, str] | None = None


def read(
    path: Path,
    *,
    audio_column: str | None = None,
    label_column: str | None = None,
    speaker_column: str | None = None,
    text_column: str | None = None,
    audio_root: Path | None = None,
    label_map: str | None = None,
) -> Iterator[Outcome]:
    """The rows of the table, in order.

    There must be a column for the audio and for each one named; label, speaker and text are
    optional otherwise. A column that is called `label` while another one is named as the label is
    left out, which is said.

    Args:
        audio_column, label_column, speaker_column, text_column: None: the one called
            audio_filepath, label, speaker or text, or as the form of the table says.
        audio_root: the folder that paths are relative to.
        label_map: as `read_label_map`; a label that is not in it is a reject.

    Raises:
        LanserError: no such file, or no header line.
        UsageError: a column that was named, or the one for the audio, is not there, or one is
            named twice; there is no label to map; or as `read_label_map`.
    """
    columns = (audio_column, label_column, speaker_column, text_column)
    named = dict(zip(_KEYS, columns, strict=True))
    labels = None if label_map is None else read_label_map(label_map)
    wanted = [name for name in named.values() if name] + [*_KEYS, *_COMMON_VOICE, "file_name"]
    table = Table(path, wanted=wanted)
    layout = _layout(table, named, audio_root, labels)
    keys = set(layout.keys.values())
    if labels is not None and "label" not in keys:
        raise UsageError(
            f"{path}: --label-map has no labels to map: name their column with --label-column; "
            f"{table.header}"
        )
    if "emotion" in keys and not keys & {"label", "emotion_score"}:
        console.warn(
            f"{path}: its column 'emotion' is read as a weak label, since there is no column of "
            "labels: if people gave it, say --label-column emotion"
        )
    for name in filter(None, table.columns):
        if name not in layout.keys:
            taken = next(column for column, key in layout.keys.items() if key == name)
            console.warn(f"{path}: its column '{name}' is left out: {name} is from '{taken}'")
    table.anchor = next(name for name, key in layout.keys.items() if key == "audio_filepath")
    return (_outcome(table, where, row, layout) for where, row in table)


def _layout(
    table: Table,
    named: Mapping[str, str | None],
    root: Path | None,
    labels: Mapping[str, str] | None,
) -> Layout:
    keys: dict[str, str] = {}
    fixed = {}
    columns = set(table.columns)
    for column, times in Counter(filter(None, named.values())).items():
        if times > 1:
            raise UsageError(f"{table.path}: column '{column}' is named for {times} keys, not one")
    if not named["audio_filepath"] and "audio_filepath" not in columns:
        if columns >= {*_COMMON_VOICE}:
            keys = {"path": "audio_filepath", "client_id": "speaker", "sentence": "text"}
            keys["locale"] = "lang"
            root = root or table.path.parent / "clips"
            fixed = {"split": table.path.stem} if table.path.stem in _SPLITS else {}
        elif "file_name" in columns:
            keys = {"file_name": "audio_filepath", "transcription": "text"}
        keys = {column: key for column, key in keys.items() if column in columns}
    for key, name in named.items():
        name = name or (key if key == "audio_filepath" and key not in keys.values() else None)
        if name:
            if name not in columns:
                option = key.removesuffix("_filepath")
                why = f"no column '{name}': name another with --{option}-column; {table.header}"
                raise UsageError(f"{table.path}: {why}")
            keys = {column: to for column, to in keys.items() if to != key} | {name: key}
    for name in table.columns:
        if name and name not in keys and name not in keys.values():
            keys[name] = name
    return Layout(keys, root, labels, fixed)


def read_label_map(words: str) -> dict[str, str]:
    """`hap=happy,exc=happy,xxx=` or a JSON file of such pairs: label of the table -> of the record.

    An empty one leaves the row out.

    Raises:
        UsageError: neither; or a label is there twice.
    """
    if not words.endswith(".json"):
        pairs = [pair.partition("=") for pair in words.split(",")]
        found = {name.strip(): label.strip() for name, _, label in pairs}
        if len(found) < len(pairs) or not all(name.strip() and mark for name, mark, _ in pairs):
            raise UsageError(f"--label-map '{words}': write OLD=NEW,OLD=NEW, each OLD once")
        return found
    try:
        mapped = load_json(Path(words), "a label map")
    except LanserError as error:
        raise UsageError(str(error)) from None
    if not isinstance(mapped, dict) or not all(isinstance(to, str) for to in mapped.values()):
        raise UsageError(f'{words}: must hold an object such as {{"hap": "happy", "xxx": ""}}')
    return mapped


def _outcome(table: Table, where: str, row: dict[str, str] | Reject, layout: Layout) -> Outcome:
    if isinstance(row, Reject):
        return row
    keys = layout.keys
    cells: dict[str, Any] = dict(layout.fixed or {})
    cells |= {keys[name]: row[name] for name in row if name in keys and row[name]}
    head: dict[str, Any] = dict.fromkeys(("id", "audio_filepath", "duration"))
    try:
        for key in _NUMBERS:
            if key in cells:
                cells[key] = _number(key, cells[key], table.separator)
        as_written = cells.get("audio_filepath")
        if not as_written:
            raise RecordError("no audio file in this row")
        # Checks offset and duration, and makes them safe to reckon with.
        offset = Record.parse({"id": "x"} | {key: cells.get(key) for key in _NUMBERS}).offset
        head["id"] = cells.get("id") or make_id(as_written, offset)
        if layout.labels is not None and "label" in cells:
            label = layout.labels.get(cells["label"])
            if label is None:
                raise RecordError(f"label '{cells['label']}' is not in --label-map")
            if not label:
                return Dropped(head["id"], f"label {cells['label']}")
            cells["label"] = label
        head["audio_filepath"] = _anchored(as_written, table.path, layout.root)
        seconds = sound.probe(head["audio_filepath"]).duration - offset
        if seconds <= 0:
            raise RecordError(f"{as_written}: offset {offset} s lies behind its end")
        stated, whole = cells.get("duration"), round(seconds, 6)
        if stated == 0:
            raise no_sample(as_written, stated)
        head["duration"] = whole if stated is None else min(stated, whole)
        fields = Record.parse(head | {key: cells[key] for key in cells if key not in head}).fields
        return Clip(fields, None if offset else stated, seconds)
    except RecordError as error:
        identifier = head["id"] or cells.get("id")
        return Reject(identifier, STAGE, f"{where}: {error}", row)


def _number(key: str, text: str, separator: str) -> float:
    if separator != "," and re.fullmatch(r"-?\d*,\d+", text):
        text = text.replace(",", ".")
    try:
        found = float(text)
        return int(found) if key == "audio_channel" and found.is_integer() else found
    except ValueError:
        raise RecordError(f"'{key}' must be a number, not '{text}'") from None


def _anchored(path: str, table: Path, root: Path | None) -> str:
    folder = str(root) if root is not None else os.path.dirname(table)
    paths = [path] if root is None else []
    paths.append(os.path.join(folder, path))
    paths += [name.replace("\\", "/") for name in paths if "\\" in name]  # written on Windows
    there = (each for each in paths if any(map(os.path.exists, (each, each.partition("#")[0]))))
    return next(there, paths[0] if os.path.isabs(path) else os.path.join(folder, path))
