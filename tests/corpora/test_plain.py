"""Folders and tables of anyone's making."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpora.outcomes import MakeWav, sorted_out
from lanser_cli import corpora
from lanser_cli.corpora import csv, folder
from lanser_cli.errors import LanserError, UsageError


def test_folder_labels(wav: MakeWav, tmp_path: Path) -> None:
    wav("angry/b.wav")
    wav("angry/a.wav")
    wav("sehr müde/tief/c.flac")
    wav("loose.wav")
    wav("happy/broken.wav").write_bytes(b"RIFF....")
    records, rejects, _ = sorted_out(corpora.read("folder", tmp_path))
    found = {Path(record.audio_filepath or "").name: record.label for record in records}
    assert found == {"loose.wav": None, "a.wav": "angry", "b.wav": "angry", "c.flac": "sehr müde"}
    assert "angry_a" in [record.id for record in records]
    assert [reject.id for reject in rejects] == ["happy_broken"]
    unlabelled, _, _ = sorted_out(folder.read(tmp_path, labels=False))
    assert all("label" not in record.fields for record in unlabelled)
    assert [record.id for record in unlabelled] == [record.id for record in records]


def test_folder_without_audio(tmp_path: Path) -> None:
    with pytest.raises(LanserError, match="no audio file in this folder or below it"):
        corpora.read("folder", tmp_path)


def test_csv_a_column_of_emotions_is_a_weak_label_and_that_is_said(
    wav: MakeWav, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """People's labels are often called so; and a map of labels does not pass over them."""
    wav("a.wav")
    table = tmp_path / "clips.csv"
    table.write_text("audio_filepath,emotion\na.wav,angry\n")
    [record], _, _ = sorted_out(csv.read(table))
    assert (record.emotion, record.label) == ("angry", None)
    assert "'emotion' is read as a weak label" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no labels to map: name their column with --label-column"):
        csv.read(table, label_map="angry=anger")
    capsys.readouterr()
    [record], _, _ = sorted_out(csv.read(table, label_column="emotion", label_map="angry=anger"))
    assert record.label == "anger"
    table.write_text("audio_filepath,emotion,emotion_score\na.wav,angry,0.5\n")
    list(csv.read(table))
    assert capsys.readouterr().err == ""


def test_csv_named_columns_and_passengers(
    wav: MakeWav, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wav("clips/a.wav")
    wav("clips/b.wav")
    table = tmp_path / "clips.csv"
    table.write_text(
        "\ufeff,path,emotion,who,fold,label,take\n"
        '0,clips/a.wav,angry,ann,1,17,"first, loud"\n'
        "1,clips/b.wav,,bob,2,18,\n",
        encoding="utf-8",
    )
    items = csv.read(table, audio_column="path", label_column="emotion", speaker_column="who")
    records, rejects, _ = sorted_out(items)
    assert not rejects
    assert records[0].fields == {
        "id": "clips_a",
        "audio_filepath": str(tmp_path / "clips/a.wav"),
        "duration": 0.25,
        "label": "angry",
        "speaker": "ann",
        "fold": "1",
        "take": "first, loud",
    }
    said = f"{table}: its column 'label' is left out: label is from 'emotion'\n"
    assert capsys.readouterr().err == said
    assert records[1].label is None and "take" not in records[1].fields


def test_an_utterance_of_no_length_is_not_the_rest_of_its_file(
    wav: MakeWav, tmp_path: Path
) -> None:
    wav("a.wav")
    table = tmp_path / "clips.csv"
    table.write_text("audio_filepath,offset,duration\na.wav,0.1,0\na.wav,0.1,\n")
    [record], [reject], _ = sorted_out(corpora.read("csv", table))
    assert record.duration == 0.15
    assert reject.error.endswith("clips.csv:2: a.wav: a duration of 0 s holds no sample")


def test_tsv_defaults_parts_of_files_and_stray_quotes(wav: MakeWav, tmp_path: Path) -> None:
    long = wav("a.wav")
    table = tmp_path / "clips.tsv"
    table.write_text(
        "id\taudio_filepath\toffset\tduration\tlabel\ttext\n"
        f'one\t{long}\t0.05\t0.1\tsad\t"Well\n'
        f"two\t{long}\t0.05\t\tsad\tYes\n"
        "\n"
        f"three\t{long}\t9\t\tsad\tNo\n"
        f"four\t{long}\tsoon\t\tsad\tNo\n"
        f"f.ive\t{long}\t\t\tsad\tNo\n"
        "six\tgone.wav\t\t\tsad\tNo\n"
        "seven\t\t\t\tsad\tNo\n"
        f"eight\t{long}\t-1\t\tsad\tNo\n"
        f"nine\t{long}\n"
    )
    records, rejects, _ = sorted_out(corpora.read("csv", table))
    assert [(record.id, record.offset, record.duration) for record in records] == [
        ("one", 0.05, 0.1),
        ("two", 0.05, 0.2),
    ]
    assert records[0].text == '"Well'
    errors = {reject.id: reject.error.partition("clips.tsv:")[2] for reject in rejects}
    assert "5: " in errors["three"] and "offset 9.0 s lies behind its end" in errors["three"]
    assert errors["four"] == "6: 'offset' must be a number, not 'soon'"
    assert "must consist of letters" in errors["f.ive"]
    assert "there is no such file" in errors["six"]
    assert errors["seven"] == "9: no audio file in this row"
    assert errors["eight"] == "10: 'offset' must not be negative, it is -1.0"
    assert errors[None] == "11: 2 fields where the header has 6"
    assert len(rejects) == 7


def test_csv_bad_bytes_and_huge_fields_spoil_their_row_only(wav: MakeWav, tmp_path: Path) -> None:
    wav("a.wav")
    table = tmp_path / "clips.csv"
    rows = [b"audio_filepath,text", b"a.wav,M\xfcde", b"a.wav," + b"x" * 200_000, b"a.wav,fine"]
    table.write_bytes(b"\n".join(rows))
    records, rejects, _ = sorted_out(corpora.read("csv", table))
    assert [record.text for record in records] == ["fine"]
    assert "clips.csv:2: not UTF-8" in rejects[0].error
    assert "clips.csv:3: field larger than field limit" in rejects[1].error


def test_csv_set_up_errors(tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    with pytest.raises(LanserError, match="there is no such file"):
        corpora.read("csv", table)
    with pytest.raises(LanserError, match="cannot be read"):
        corpora.read("csv", tmp_path)
    table.write_text("")
    with pytest.raises(LanserError, match="the file is empty"):
        corpora.read("csv", table)
    table.write_text("a,b,a\n")
    with pytest.raises(LanserError, match="two columns are called 'a'"):
        corpora.read("csv", table)
    table.write_text("path,emotion\n")
    with pytest.raises(UsageError, match=r"no column 'audio_filepath': .* --audio-column; the"):
        corpora.read("csv", table)
    with pytest.raises(UsageError, match="no column 'label': name another with --label-column"):
        csv.read(table, audio_column="path", label_column="label")
    assert list(csv.read(table, audio_column="path")) == []


def test_no_such_corpus(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are: crema-d, csv"):
        corpora.read("mosei", tmp_path)
