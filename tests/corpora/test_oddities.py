"""What is odd about a corpus as a whole is said."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import read_jsonl

from corpora.outcomes import MakeWav
from lanser_cli import app, corpora
from lanser_cli.corpora.oddities import Oddities, copies_of_itself


def _odd(kind: str, root: Path) -> list[str]:
    oddities = Oddities(root if root.is_dir() else None)
    for _ in oddities.watching(corpora.read(kind, root)):
        pass
    return list(oddities.found())


def test_labels_and_speakers_that_look_alike_are_pointed_out(wav: MakeWav, tmp_path: Path) -> None:
    wav("a.wav")
    table = tmp_path / "t.csv"
    labels = ["happy", "Happy", "happy", "sad", "mu\u0308de", "müde", "hap\u200bpy"]
    speakers = ["ann", "ann", "An n", "bob", "bob", "bob", "eve"]
    rows = [
        f"r{index},a.wav,{label},{speaker}"
        for index, (label, speaker) in enumerate(zip(labels, speakers, strict=True))
    ]
    table.write_text("\n".join(["id,audio_filepath,label,speaker", *rows]), encoding="utf-8")
    assert [words.partition(": write")[0] for words in _odd("csv", table)] == [
        "labels that differ by blanks, case or form alone: 'happy' (2), 'Happy' (1), "
        "'hap\u200bpy' (1)",
        "labels that differ by blanks, case or form alone: 'mu\u0308de' (1), 'müde' (1)",
        "speakers that differ by blanks, case or form alone: 'ann' (2), 'An n' (1)",
    ]


def test_clips_of_another_length_than_their_table_says_are_pointed_out(tmp_path: Path) -> None:
    for name, seconds in (("long", 20.0), ("short", 0.5), ("right", 3.0)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(int(8000 * seconds)), 8000)
    table = tmp_path / "t.csv"
    table.write_text("audio_filepath,duration\nlong.wav,3\nshort.wav,3\nright.wav,2.9\n")
    assert _odd("csv", table) == [
        "clips far longer than their table says: 1, such as 'long' (20.00 s where it says 3.00): "
        "look into them",
        "clips far shorter than their table says: 1, such as 'short' (0.50 s where it says 3.00): "
        "look into them",
    ]
    found = {record.id: record.duration for record in corpora.read("csv", table)}  # type: ignore[union-attr]
    assert found == {"long": 3.0, "short": 0.5, "right": 2.9}


def test_melds_clip_of_minutes_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "test_sent_emo.csv").write_text(
        "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID,StartTime,EndTime\n"
        'Hi.,Ross,joy,38,4,"00:05:35,544","00:05:38,546"\n'
        'Ho.,Ross,joy,38,5,"00:59:59,500","01:00:02,000"\n'
    )
    for number, seconds in ((4, 305), (5, 3)):
        wave = np.zeros(1000 * seconds)
        soundfile.write(tmp_path / f"dia38_utt{number}.wav", wave, 1000)
    assert _odd("meld", tmp_path) == [
        "clips far longer than their table says: 1, such as 'test_dia38_utt4' (305.00 s where it "
        "says 3.00): look into them"
    ]


def test_clips_that_all_were_cut_to_one_length_are_pointed_out(tmp_path: Path) -> None:
    for index in range(30):
        seconds = 3.0 if index < 24 else 1.0 + index / 100
        soundfile.write(tmp_path / f"{index}.wav", np.zeros(int(8000 * seconds)), 8000)
    [words] = _odd("folder", tmp_path)
    assert words.startswith("24 of 30 clips are exactly 3 s long: were they cut or padded?")


def test_a_folder_inside_itself_is_pointed_out(wav: MakeWav, tmp_path: Path) -> None:
    for name in ("angry/a.wav", "glad/a.wav", "glad/deep/b.wav"):
        wav(f"corpus/{name}")
    corpus, copy = tmp_path / "corpus", tmp_path / "corpus" / "extra" / "corpus"
    assert list(copies_of_itself(str(corpus))) == []
    shutil.copytree(corpus, tmp_path / "copy")
    shutil.move(tmp_path / "copy", copy)
    [words] = _odd("folder", corpus)
    assert words.startswith(f"{copy}: this folder is a copy of {corpus}, which it lies in")


def test_a_folder_that_may_not_be_read_is_one_reject(
    wav: MakeWav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav("corpus/joy/a.wav")
    wav("corpus/joy/locked/b.wav")
    scandir = os.scandir

    def locked(folder: str) -> object:
        if folder.endswith("locked"):  # as for others than root
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", locked)
    out = tmp_path / "out.jsonl"
    assert app.main(["manifest", "folder", str(tmp_path / "corpus"), "-o", str(out)]) == 3
    assert [record["id"] for record in read_jsonl(out)] == ["joy_a"]


def test_folders_that_merely_have_the_same_names_are_no_copies(
    wav: MakeWav, tmp_path: Path
) -> None:
    for name in ("0/0/a.wav", "0/1/b.wav", "1/0/c.wav", "1/1/d.wav", "2/0/e.wav"):
        wav(name)
    assert list(copies_of_itself(str(tmp_path))) == []


def test_real_corpora_are_not_odd(data: Callable[[str], Path]) -> None:
    for kind in ("ravdess", "emodb", "nemo"):
        assert _odd(kind, data(kind)) == []
