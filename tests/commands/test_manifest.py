"""`lanser manifest`: corpus in, JSONL out, everything accounted for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from corpora.outcomes import MakeWav

from lanser_cli import app
from lanser_cli.commands.manifest import command as manifest
from lanser_cli.errors import LanserError
from lanser_cli.pipe import Pipe
from lanser_cli.records import Dropped, Record, Reject
from lanser_cli.stage import one_process


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_counts_what_goes_where(
    wav: MakeWav, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("03-01-05-01-01-01-02", "03-02-05-01-01-01-02", "what", "03-01-05-01-01-02-02"):
        wav(f"in/{name}.wav")
    wav("in/again/03-01-05-01-01-02-02.wav")
    out, rejects = tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"
    assert manifest("ravdess", tmp_path / "in", output=out, rejects=rejects) == 3
    assert [line["id"] for line in _lines(out)] == ["03-01-05-01-01-01-02", "03-01-05-01-01-02-02"]
    errors = [str(line["error"]) for line in _lines(rejects)]
    assert "duplicate id '03-01-05-01-01-02-02'" in errors[1]
    assert "not named like a RAVDESS clip" in errors[0]
    assert "manifest: 5 in, 2 out, 2 rejected, 1 dropped (song)" in capsys.readouterr().err


def test_paths_work_from_here(
    wav: MakeWav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav("corpus/03a01Wa.wav")
    monkeypatch.chdir(tmp_path)
    assert manifest("emodb", Path("corpus"), output=Path("out.jsonl")) == 0
    assert _lines(tmp_path / "out.jsonl")[0]["audio_filepath"] == "corpus/03a01Wa.wav"
    monkeypatch.chdir(tmp_path / "corpus")
    assert manifest("emodb", Path("."), output=Path("../out2.jsonl")) == 0
    assert _lines(tmp_path / "out2.jsonl")[0]["audio_filepath"] == "03a01Wa.wav"


def test_parts_add_up(data: Callable[[str], Path], tmp_path: Path) -> None:
    root = data("emodb")
    for name, part in (("whole", None), ("1", "1/3"), ("2", "2/3"), ("3", "3/3")):
        assert manifest("emodb", root, output=tmp_path / name, part=part) == 0
    parts = [line for name in "123" for line in (tmp_path / name).read_text().splitlines()]
    assert sorted(parts) == sorted((tmp_path / "whole").read_text().splitlines())


def test_resume_gives_the_same_bytes(data: Callable[[str], Path], tmp_path: Path) -> None:
    root, out = data("ravdess"), tmp_path / "out.jsonl"
    assert manifest("ravdess", root, output=out) == 0
    whole = out.read_bytes()
    out.unlink()
    (tmp_path / "out.jsonl.part").write_bytes(whole[: len(whole) // 2])
    assert manifest("ravdess", root, output=out, resume=True) == 0
    assert out.read_bytes() == whole


def test_options_of_other_kinds_are_refused_but_not_what_is_set_for_the_verb(
    data: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["manifest", "ravdess", str(data("ravdess")), "-o", str(tmp_path / "out.jsonl")]
    for words, said in (
        (["--label-column", "emotion"], "reads --label-column NAME with kind csv alone"),
        (["--no-labels"], "reads --no-labels with kind folder alone"),
    ):
        assert app.main([*line, *words]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setenv("LANSER_MANIFEST_LABEL_COLUMN", "emotion")
    monkeypatch.setenv("LANSER_MANIFEST_NO_LABELS", "yes")
    assert app.main(line) == 0


def test_csv_and_folder_options(wav: MakeWav, tmp_path: Path) -> None:
    wav("a/x.wav")
    table, out = tmp_path / "t.csv", tmp_path / "out.jsonl"
    table.write_text("file,emotion,who\na/x.wav,sad,ann\n")
    options = {"audio_column": "file", "label_column": "emotion", "speaker_column": "who"}
    assert manifest("csv", table, output=out, **options) == 0
    assert _lines(out)[0] | {"audio_filepath": ""} == {
        "id": "a_x",
        "audio_filepath": "",
        "duration": 0.25,
        "label": "sad",
        "speaker": "ann",
    }
    other = tmp_path / "other.jsonl"
    assert manifest("folder", tmp_path / "a", output=other, no_labels=True) == 0
    assert list(_lines(other)[0]) == ["id", "audio_filepath", "duration"]


def test_an_empty_folder_leaves_no_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(LanserError):
        manifest("tess", tmp_path / "in", output=tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_dropped_items_are_counted_in_every_window(tmp_path: Path) -> None:
    items = [
        Dropped("a", "song"),
        Record({"id": "b"}),
        Reject(None, "manifest", "no", None),
        Record({"id": "c"}),
        Dropped("d", "song"),
    ]
    out = tmp_path / "out.jsonl"
    pipe = Pipe("manifest", out, window=1)
    assert pipe.run(items, one_process(lambda window: list(window))).exit_code == 3
    assert [line["id"] for line in _lines(out)] == ["b", "c"]
    tally = pipe.tally
    assert (tally.read, tally.done, tally.rejected) == (5, 2, 1)
    assert tally.dropped == {"song": 2}
