"""Tables as programs and people write them."""

from __future__ import annotations

import csv as csv_module
import io
import json
from pathlib import Path

import pytest

from corpora.outcomes import MakeWav, sorted_out
from lanser_cli import corpora
from lanser_cli.corpora import csv
from lanser_cli.corpora.table import Table
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record, Reject


@pytest.fixture
def clips(wav: MakeWav, tmp_path: Path) -> Path:
    for name in ("one.wav", "two.wav", "three.wav"):
        wav(name)
    return tmp_path


def _records(folder: Path, text: str | bytes, name: str = "t.csv", **options: object) -> list:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    records, rejects, _ = sorted_out(csv.read(path, **options))  # type: ignore[arg-type]
    assert rejects == []
    return records


PLAIN = "audio_filepath,label\none.wav,glad\ntwo.wav,sad\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_an_encoding_is_found_out(clips: Path, encoding: str) -> None:
    found = _records(clips, PLAIN.replace("glad", "fröhlich").encode(encoding))
    assert [record.label for record in found] == ["fröhlich", "sad"]


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        "sep=;\r\n" + PLAIN.replace(",", ";"),
        "\n\n" + PLAIN,
        ";;\r\n" + PLAIN.replace(",", ";"),
        "audio_filepath,label,,\none.wav,glad,,\ntwo.wav,sad,,\n",  # a header with empty ends
        "audio_filepath,label\none.wav,glad,\ntwo.wav,sad,,\n",  # rows with empty ends
        "audio_filepath;label\none.wav;glad;\n;;;\n\ntwo.wav;sad;\n",  # and empty rows
        "audio_filepath, label \n one.wav ,  glad\u00a0\n\ttwo.wav,sad \n",
        'audio_filepath, "label"\n"one.wav", "glad"\n"two.wav" ,"sad" \n',
        '"audio_filepath"\t"label"\n"one.wav"\t"glad"\n"two.wav"\t"sad"\n',  # R's write.table
    ],
)
def test_what_programs_write_is_the_same_table(clips: Path, text: str) -> None:
    found = _records(clips, text)
    assert [(record.id, record.label) for record in found] == [("one", "glad"), ("two", "sad")]
    assert [set(record.fields) for record in found] == [
        {"id", "audio_filepath", "duration", "label"}
    ] * 2


def test_a_header_may_hold_line_ends_and_other_separators(clips: Path) -> None:
    text = '"audio_filepath";"label,\r\none, or other"\none.wav;glad\n'
    found = _records(clips, text, label_column="label, one, or other")
    assert [record.label for record in found] == ["glad"]


def test_a_cell_may_hold_line_ends_that_look_like_rows(clips: Path) -> None:
    text = 'audio_filepath,text,label\none.wav,"Well, then,\nyes, no",glad\ntwo.wav,"a ""b""",sad\n'
    found = _records(clips, text)
    assert [record.text for record in found] == ["Well, then,\nyes, no", 'a "b"']


def test_decimal_commas_are_read_where_commas_part_nothing(clips: Path) -> None:
    found = _records(clips, "audio_filepath;offset;duration\none.wav;0,05;0,1\n")
    assert [(record.offset, record.duration) for record in found] == [(0.05, 0.1)]
    path = clips / "comma.csv"
    path.write_text('audio_filepath,offset\none.wav,"0,05"\n')
    _, [reject], _ = sorted_out(csv.read(path))
    assert reject.error.endswith("'offset' must be a number, not '0,05'")


@pytest.mark.parametrize("closing", ['and so" it went', 'so it went"', "it went"])
def test_stray_quotation_marks_spoil_their_own_row_only(tmp_path: Path, closing: str) -> None:
    rows = [f"{number}.wav,sad,line {number}" for number in range(200)]
    rows[50] = '50.wav,sad,"Well he said'
    rows[150] = f"150.wav,sad,{closing}"
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["audio_filepath,label,text", *rows, ""]))
    found = list(Table(path))
    bad = [row for _, row in found if isinstance(row, Reject)]
    good = [row for _, row in found if not isinstance(row, Reject)]
    assert len(found) == 200 and len(good) == 199
    assert bad[0].error.startswith(f"{path}:52: a quotation mark opens a cell here")
    assert {row["audio_filepath"] for row in good} == {f"{n}.wav" for n in range(200) if n != 50}
    assert good[-1] == {"audio_filepath": "199.wav", "label": "sad", "text": "line 199"}


def test_what_csv_writes_is_read_as_it_was(tmp_path: Path) -> None:
    """Cells of all the characters that need care, as Python's own module writes them."""
    pieces = ["a", '"', '""', "x\ny", "r\r\ns", "u,v", "p;q", "|", "'", "é", "t\tt", "- -"]
    rows = [
        [f"{index}.wav", first + second, "last"]
        for index, (first, second) in enumerate(
            (first, second) for first in pieces for second in pieces
        )
    ]
    text = io.StringIO(newline="")
    csv_module.writer(text).writerows([["audio_filepath", "text", "label"], *rows])
    path = tmp_path / "t.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    table = Table(path, wanted=("audio_filepath",))
    table.anchor = "audio_filepath"
    found = [list(row.values()) for _, row in table if isinstance(row, dict)]
    assert found == [[cell.strip() for cell in row] for row in rows]


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for content, why in (
        (b"PK\3\4workbook", "is no table but a workbook or another zip file: save it as CSV"),
        (b"\xef\xbb\xbfaudio_filepath,Gef\xfchl\n", "its header is not UTF-8: convert the file"),
    ):
        path.write_bytes(content)
        with pytest.raises(LanserError, match=why):
            csv.read(path)
    path.write_bytes(b"audio_filepath,label\none\0.wav,sad\n")
    [(_, reject)] = Table(path)
    assert isinstance(reject, Reject) and "NUL" in reject.error


def test_common_voice_is_read_as_such(wav: MakeWav, tmp_path: Path) -> None:
    wav("cv/clips/common_voice_sv_1.wav")
    table = tmp_path / "cv" / "dev.tsv"
    table.write_text(
        "client_id\tpath\tsentence_id\tsentence\tup_votes\tage\tlocale\tsegment\n"
        'f00d\tcommon_voice_sv_1.wav\t9a\t"Nej," sa hon.\t2\ttwenties\tsv-SE\t\n',
        encoding="utf-8",
    )
    [record], _, _ = sorted_out(corpora.read("csv", table))
    assert record.fields == {
        "id": "common_voice_sv_1",
        "audio_filepath": str(tmp_path / "cv/clips/common_voice_sv_1.wav"),
        "duration": 0.25,
        "split": "dev",
        "speaker": "f00d",
        "sentence_id": "9a",
        "text": '"Nej," sa hon.',
        "up_votes": "2",
        "age": "twenties",
        "lang": "sv-SE",
    }


def test_hugging_faces_metadata_is_read_as_such(clips: Path) -> None:
    found = _records(clips, "file_name,transcription,label\none.wav,hello,1\n", "metadata.csv")
    assert found[0].fields == {
        "id": "one",
        "audio_filepath": str(clips / "one.wav"),
        "duration": 0.25,
        "text": "hello",
        "label": "1",
    }


def test_a_column_keeps_its_name_where_the_form_of_the_table_lacks_the_one_for_it(
    wav: MakeWav, clips: Path
) -> None:
    """Hugging Face's tables may call the transcript `text`; it was lost without a word."""
    [found] = _records(clips, "file_name,text\none.wav,hello\n", "metadata.csv")
    assert found.text == "hello"
    wav("clips/one.wav")
    [found] = _records(clips, "client_id,path,sentence,lang\nf00d,one.wav,nej,sv\n")
    assert (found.text, found.fields["lang"]) == ("nej", "sv")


def test_root_text_and_labels_can_be_named(wav: MakeWav, tmp_path: Path) -> None:
    wav("sound/deep/a.wav")
    table = tmp_path / "tables" / "t.csv"
    table.parent.mkdir()
    table.write_text(
        "file,emo,words\ndeep/a.wav,exc,hi\ndeep\\a.wav,xxx,\ndeep/a.wav,odd,ho\n", encoding="utf-8"
    )
    maps = tmp_path / "map.json"
    maps.write_text(json.dumps({"exc": "happy", "xxx": ""}))
    for words in ("exc=happy, xxx=", str(maps)):
        items = csv.read(
            table,
            audio_column="file",
            label_column="emo",
            text_column="words",
            audio_root=tmp_path / "sound",
            label_map=words,
        )
        [record], [reject], [dropped] = sorted_out(items)
        assert (record.label, record.text) == ("happy", "hi")
        assert record.audio_filepath == str(tmp_path / "sound/deep/a.wav")
        assert dropped.reason == "label xxx"
        assert reject.error.endswith("label 'odd' is not in --label-map")


def test_paths_of_windows_are_found(wav: MakeWav, tmp_path: Path) -> None:
    wav("deep/a.wav")
    found = _records(tmp_path, "audio_filepath\r\ndeep\\a.wav\r\n")
    assert [(record.id, record.audio_filepath) for record in found] == [
        ("deep_a", str(tmp_path / "deep/a.wav"))
    ]


def test_a_path_with_a_hash_mark_is_found_from_the_working_folder(
    wav: MakeWav, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav("take#1.wav")
    (tmp_path / "tables").mkdir()
    monkeypatch.chdir(tmp_path)
    [record] = _records(tmp_path / "tables", "audio_filepath\ntake#1.wav\n")
    assert record.audio_filepath == "take#1.wav"


def test_a_column_is_named_for_one_key(clips: Path) -> None:
    (clips / "t.csv").write_text(PLAIN)
    with pytest.raises(UsageError, match="column 'label' is named for 2 keys"):
        csv.read(clips / "t.csv", label_column="label", speaker_column="label")


def test_a_label_map_with_a_label_twice_is_refused(clips: Path) -> None:
    (clips / "t.csv").write_text(PLAIN)
    (clips / "map.json").write_text('{"glad": "happy", "sad": "sad", "glad": "joy"}')
    with pytest.raises(UsageError, match="'glad' occurs twice"):
        csv.read(clips / "t.csv", label_map=str(clips / "map.json"))


@pytest.mark.parametrize("words", ["", "a", "a=b,a=c", "=b", "nowhere.json"])
def test_a_label_map_that_is_none_is_refused(clips: Path, words: str) -> None:
    (clips / "t.csv").write_text(PLAIN)
    with pytest.raises(UsageError, match=r"--label-map|nowhere\.json: cannot be read"):
        csv.read(clips / "t.csv", label_map=words)


def test_whole_numbers_are_names_in_jsonl_too() -> None:
    record = Record.parse({"id": 7, "speaker": 3, "label": 1, "mine": 5})
    assert (record.id, record.speaker, record.label, record.fields["mine"]) == ("7", "3", "1", 5)
    for value in (1.5, True, [1]):
        with pytest.raises(LanserError, match="'label' must be a string"):
            Record.parse({"id": "a", "label": value})


def test_real_tables_are_read_cell_by_cell(shared: Path) -> None:
    """The columns of real tables, next to what splitting their lines gives."""
    for name, wanted in (("nemo/data.tsv", "raw_text"), ("speechocean/metadata.tsv", "text")):
        lines = (shared / name).read_text(encoding="utf-8").splitlines()
        table = Table(shared / name, needs=(wanted,))
        place = lines[0].split("\t").index(wanted)
        found = [row[wanted] for _, row in table if isinstance(row, dict)]
        assert found == [line.split("\t")[place].strip() for line in lines[1:]]
    demographics = Table(shared / "crema_d_meta" / "VideoDemographics.csv", needs=("ActorID",))
    assert len([row for _, row in demographics if isinstance(row, dict)]) == 91
