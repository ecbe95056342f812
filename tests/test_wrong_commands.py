"""Wrong command lines, as people type them in their first days, each with what is answered.

They are in `tests/wrong_commands.txt`, the answers in `tests/golden/wrong-commands.txt`: read them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import read_jsonl, write_jsonl
from goldens import Golden

from lanser_cli import app

LINES = [
    line
    for line in (Path(__file__).parent / "wrong_commands.txt").read_text().splitlines()
    if not line.startswith("#")
]


@pytest.fixture
def desk(
    clips: Path, labelled: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder as somebody has it after an hour."""
    folder = tmp_path / "desk"
    for name in ("speech", "empty", "moved"):
        (folder / name).mkdir(parents=True)
    for clip in sorted(clips.glob("*.wav"))[:2]:
        shutil.copy(clip, folder / "speech" / f"{'ab'['01' in clip.name]}.wav")
    records = read_jsonl(labelled)
    wanted = {
        "words": ("id", "audio_filepath", "duration", "text"),
        "weak": ("id", "audio_filepath", "duration", "text", "emotion", "emotion_scores"),
        "corpus": ("id", "audio_filepath", "duration", "label", "speaker"),
    }
    for name, keys in wanted.items():
        write_jsonl(folder / f"{name}.jsonl", [{key: one[key] for key in keys} for one in records])
    answers = [{"id": one["id"], "label": one["label"], "prediction": "joy"} for one in records]
    write_jsonl(folder / "answers.jsonl", [{**one, "id": f"x{one['id']}"} for one in answers])
    relative = [{**one, "audio_filepath": Path(one["audio_filepath"]).name} for one in records]
    write_jsonl(folder / "moved" / "weak.jsonl", relative)
    (folder / "table.csv").write_text("audio_filepath,label\nspeech/a.wav,joy\n")
    (folder / "array.json").write_text('[{"id": "a", "text": "hello"}]\n')
    (folder / "page.html").write_text("<!DOCTYPE html>\n<html></html>\n")
    (folder / "pointer.jsonl").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    (folder / "notes.txt").write_text("call the speakers\n")
    (folder / "mine.json").write_text('{"name": "mine", "labels": ["joy", "joy"]}')
    (folder / "typo.toml").write_text('[entail-label]\ntaxonmy = "ekman6"\n')
    shutil.make_archive(str(folder / "film"), "gztar", folder / "speech")
    (folder / "run").symlink_to(tiny_run)
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    assert app.main(["shard", "weak.jsonl", "-o", "shards", "--quiet"]) == 0
    return folder


def test_each_has_one_answer_that_says_what_to_do(
    desk: Path, golden: Golden, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    told = []
    for line in LINES:
        code = app.main(shlex.split(line))
        err = capfd.readouterr().err
        assert code in (1, 2, 3), f"{line}: {code}\n{err}"
        assert not (desk / "out").exists(), f"{line} left something behind"
        told.append(f"$ lanser {line}\n{_of_no_machine(err, desk)}{code}\n")
    golden("wrong-commands.txt", "\n".join(told))


def _of_no_machine(said: str, desk: Path) -> str:
    """Without seconds and rates, and where the home and the desk are."""
    said = re.sub(r" \([0-9.]+ s, [0-9.]+/s\)", "", said)
    return said.replace(str(desk), "FOLDER").replace(str(Path.home()), "HOME")
