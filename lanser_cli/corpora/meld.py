"""MELD: 13,708 utterances of the series Friends, 7 emotions, official splits.

S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria and R. Mihalcea (2019), "MELD: a multimodal
multi-party dataset for emotion recognition in conversations", ACL 2019.
https://github.com/declare-lab/MELD
Licence: the repository is GPL-3.0; the clips are from a television series.

{train,dev,test}_sent_emo.csv hold one row an utterance (columns Utterance, Speaker, Emotion,
Dialogue_ID, Utterance_ID and others); its clip is dia{Dialogue_ID}_utt{Utterance_ID}.mp4 in the
folder train_splits, dev_splits_complete or output_repeated_splits_test, or in train, dev, test;
both are looked for anywhere below the folder named. A table that is alone in its folder may have
its clips right beside it. Dialogue numbers start again in each split, therefore ids begin with the
split: train_dia0_utt0.

A split without its clips is left out and counted, and so are clips without their table. In the
original two clips are broken or missing (train dia125_utt3, dev dia110_utt7); they become rejects.
A few clips are minutes long where the table's StartTime and EndTime are seconds apart; they are
pointed out. The main characters speak in all splits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lanser_cli.corpora.base import STAGE, Clip, audio_files, check_folder, clips_in, utterance
from lanser_cli.corpora.table import Table
from lanser_cli.errors import LanserError
from lanser_cli.records import Dropped, Outcome, Record, Reject, make_id

LABELS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
_FOLDERS = {
    "train": ("train_splits", "train"),
    "dev": ("dev_splits_complete", "dev"),
    "test": ("output_repeated_splits_test", "test"),
}
_COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
# The tables hold Windows punctuation that was taken for Latin-1: U+0092 is an apostrophe.
_WINDOWS = {code: bytes([code]).decode("cp1252", "replace") for code in range(0x80, 0xA0)}


def read(root: Path) -> Iterator[Outcome]:
    """Records with `speaker` (Chandler), `label`, `split`, `dialogue` and `text`.

    Raises:
        LanserError: no table or no clips of any split below `root`, or a table lacks a column.
    """
    check_folder(root)
    tables = {split: _table(root, split) for split in _FOLDERS}
    clips = {split: _clips(root, table, split) for split, table in tables.items()}
    if not any(table and clips[split] for split, table in tables.items()):
        raise LanserError(
            f"{root}: no MELD in it: looked for train_sent_emo.csv, dev_sent_emo.csv and "
            "test_sent_emo.csv and for clips named like 'dia0_utt0.mp4' in folders "
            + ", ".join(names[0] for names in _FOLDERS.values())
        )
    return (
        outcome for split, table in tables.items() for outcome in _split(split, table, clips[split])
    )


def _table(root: Path, split: str) -> Table | None:
    found = sorted(root.rglob(f"{split}_sent_emo.csv"))
    return Table(found[0], needs=_COLUMNS) if found else None


def _clips(root: Path, table: Table | None, split: str) -> list[Path]:
    """The clips of one split."""
    found = [sorted(root.rglob(name)) for name in _FOLDERS[split]]
    folders = [path for paths in found for path in paths if path.is_dir()]
    for folder in folders:
        clips = list(audio_files(folder))
        if any(path.stem.startswith("dia") for path in clips):
            return clips
    if table is None or len(list(table.path.parent.glob("*_sent_emo.csv"))) > 1:
        return []  # clips beside several tables could belong to any of them
    beside = table.path.parent
    return [path for path in audio_files(beside) if path.parent == beside]


def _split(split: str, table: Table | None, files: Sequence[Path]) -> Iterator[Outcome]:
    clips, doubled = clips_in(files)
    yield from doubled
    unannotated = dict(clips)
    for where, row in table or ():
        if isinstance(row, Reject):
            yield row
            continue
        dialogue, name = row["Dialogue_ID"], f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
        identifier, label = f"{split}_{name}", row["Emotion"].strip().lower()
        path = clips.get(name)
        unannotated.pop(name, None)
        if not clips:
            yield Dropped(identifier, f"no clips of the {split} split")
        elif label not in LABELS:
            yield Reject(identifier, STAGE, f"{where}: unknown emotion '{label}'", row)
        elif path is None:
            yield Reject(identifier, STAGE, f"{where}: there is no clip '{name}'", row)
        else:
            fields = {
                "id": identifier,
                "speaker": row["Speaker"].strip(),
                "lang": "en",
                "label": label,
                "split": split,
                "dialogue": f"{split}_dia{dialogue}",
                "text": row["Utterance"].translate(_WINDOWS).strip(),
            }
            found = utterance(path, fields)
            stated = _seconds(row.get("EndTime")) - _seconds(row.get("StartTime"))
            if isinstance(found, Record) and stated > 0:
                found = Clip(found.fields, stated, found.duration or 0.0)
            yield found
    for stem in unannotated:
        yield Dropped(make_id(f"{split}_{stem}"), "clip without annotation")


def _seconds(time: str | None) -> float:
    """`00:16:16,059` in seconds; NaN where it is not of this form."""
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9}):(\d{1,9})[,.](\d{1,9})", time or "")
    if not found:
        return math.nan
    hours, minutes, seconds = map(int, found.groups()[:3])
    return hours * 3600 + minutes * 60 + seconds + float(f"0.{found[4]}")
