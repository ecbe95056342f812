"""The corpora with annotation files: IEMOCAP and MELD."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from corpora.outcomes import MakeWav, sorted_out
from lanser_cli import corpora
from lanser_cli.corpora import meld as meld_reader
from lanser_cli.errors import LanserError
from lanser_cli.stage import unique

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-F1:\tNeutral;\t(curious)
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M001\texc\t[2.5000, 2.5000, 2.5000]
[12.0 - 13.0]\tSes01F_impro01_F002\thap\t[2.5000, 2.5000, 2.5000]
[14.0 - 15.0]\tSes01F_impro01_F003\txxx\t[2.5000, 2.5000, 2.5000]
[16.0 - 17.0]\tSes01F_impro01_M004\tfru\t[2.5000, 2.5000, 2.5000]
[18.0 - 19.0]\tSes01F_impro01_M005\tsad\t[2.5000, 2.5000, 2.5000]
[20.0 - 21.0]\tSes01F_impro01_M006\tjoy\t[2.5000, 2.5000, 2.5000]
[22.0 - 23.0 Ses01F_impro01_M007 ang
[24.0 - 25.0]\tSes01F_impro01_M008\tang\t[2.5000, 2.5000, 2.5000]
"""
TRANSCRIPT = """Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
M: [LAUGHTER]
Ses01F_impro01_MXX0 [009.0-010.0]: Hm.
Ses01F_impro01_M001 [010.0100-011.3925]: Yeah: sure.
"""


@pytest.fixture
def iemocap(wav: MakeWav, tmp_path: Path) -> Path:
    for session, name in ((1, "Ses01F_impro01"), (3, "Ses03M_script02_1")):
        dialog = tmp_path / f"Session{session}" / "dialog"
        for folder in ("EmoEvaluation/Categorical", "transcriptions"):
            (dialog / folder).mkdir(parents=True)
        for utterance in ["F000", "M001", "F002", "F003", "M004", "M006", "M008", "M099"]:
            wav(f"Session{session}/sentences/wav/{name}/{name}_{utterance}.wav")
        wav(f"Session{session}/dialog/wav/{name}.wav")
        text = EVALUATION.replace("Ses01F_impro01", name)
        (dialog / "EmoEvaluation" / f"{name}.txt").write_text(text)
        (dialog / "EmoEvaluation" / f"._{name}.txt").write_bytes(b"\0\1\xff")
    (tmp_path / "Session1/dialog/transcriptions/Ses01F_impro01.txt").write_text(TRANSCRIPT)
    return tmp_path


def test_iemocap(iemocap: Path) -> None:
    records, rejects, dropped = sorted_out(corpora.read("iemocap", iemocap))
    assert [(record.id, record.label, record.fields["fold"]) for record in records] == [
        ("Ses01F_impro01_F000", "neutral", "1"),
        ("Ses01F_impro01_M001", "happy", "1"),  # exc
        ("Ses01F_impro01_F002", "happy", "1"),  # hap
        ("Ses01F_impro01_M008", "angry", "1"),
        ("Ses03M_script02_1_F000", "neutral", "3"),
        ("Ses03M_script02_1_M001", "happy", "3"),
        ("Ses03M_script02_1_F002", "happy", "3"),
        ("Ses03M_script02_1_M008", "angry", "3"),
    ]
    wanted = iemocap / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M001.wav"
    assert records[1].fields == {
        "id": "Ses01F_impro01_M001",
        "audio_filepath": str(wanted),
        "duration": 0.25,
        "speaker": "Ses01M",
        "lang": "en",
        "label": "happy",
        "fold": "1",
        "dialogue": "Ses01F_impro01",
        "sex": "male",
        "text": "Yeah: sure.",
    }
    assert records[4].speaker == "Ses03F"
    assert records[4].text is None
    assert Counter(item.reason for item in dropped) == {
        "no label agreed on": 2,
        "label frustrated": 2,
        "sound without annotation": 2,
    }
    errors = [reject.error for reject in rejects if "Session1" in reject.error]
    assert len(errors) * 2 == len(rejects) == 6
    assert "no sound of 'Ses01F_impro01_M005'" in errors[0]
    assert "Ses01F_impro01.txt:13: unknown label 'joy'" in errors[1]
    assert "Ses01F_impro01.txt:14: not of the form" in errors[2]


def test_utterances_of_a_dialogue_come_in_the_order_in_which_they_were_said(iemocap: Path) -> None:
    """The corpus has all of one speaker, then all of the other; context is what was said before."""
    name = "Ses01F_impro01"
    by_speaker = "".join(
        f"[{begin} - {end}]\t{name}_{utterance}\tneu\t[2.5, 2.5, 2.5]\n"
        for begin, end, utterance in (
            ("6.2901", "8.2357", "F000"),
            ("10.0100", "11.3925", "F002"),
            ("7.5712", "10.4750", "M001"),
        )
    )
    (iemocap / f"Session1/dialog/EmoEvaluation/{name}.txt").write_text(by_speaker)
    records, _, _ = sorted_out(corpora.read("iemocap", iemocap))
    said = [record.id for record in records if record.fields["dialogue"] == name]
    assert said == [f"{name}_{utterance}" for utterance in ("F000", "M001", "F002")]


def test_a_second_file_or_line_of_an_utterance_is_counted(
    iemocap: Path, wav: MakeWav, tmp_path: Path
) -> None:
    """Such as sound that was extracted beside the video, and a line that says another label."""
    name = "Ses01F_impro01"
    wav(f"Session1/sentences/wav/{name}/{name}_F000.flac")
    with (iemocap / f"Session1/dialog/EmoEvaluation/{name}.txt").open("a") as stream:
        stream.write(f"[6.2901 - 8.2357]\t{name}_F000\tang\t[2.5, 2.5, 2.5]\n")
    found = list(unique(corpora.read("iemocap", iemocap), "manifest"))
    _, rejects, dropped = sorted_out(found)
    assert [item.id for item in dropped if item.reason == "another file of a clip"] == [
        f"{name}_F000"
    ]
    assert [one.error for one in rejects if one.id == f"{name}_F000"] == [
        f"duplicate id '{name}_F000': make ids unique"
    ]
    meld = tmp_path / "meld"
    _meld(meld, "test", "1,Hi.,Ross,joy,positive,0,0,8")
    wav("meld/dia0_utt0.mp4")
    wav("meld/dia0_utt0.wav")
    [record], _, [other] = sorted_out(corpora.read("meld", meld))
    assert (record.audio_filepath, other.reason) == (
        str(meld / "dia0_utt0.wav"),
        "another file of a clip",
    )


def test_clips_of_a_part_without_annotations_are_counted(
    iemocap: Path, wav: MakeWav, tmp_path: Path
) -> None:
    """Such as a session, or a split, of which the sound alone was unpacked."""
    wav("Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav")
    _, _, dropped = sorted_out(corpora.read("iemocap", iemocap))
    assert ("Ses02F_impro01_F000", "sound without annotation") in [
        (item.id, item.reason) for item in dropped
    ]
    meld = tmp_path / "meld"
    _meld(meld, "test", "1,Hi.,Ross,joy,positive,0,0,8")
    wav("meld/output_repeated_splits_test/dia0_utt0.wav")
    wav("meld/train_splits/dia0_utt0.wav")
    [record], _, [other] = sorted_out(corpora.read("meld", meld))
    assert (record.id, other.id) == ("test_dia0_utt0", "train_dia0_utt0")
    assert other.reason == "clip without annotation"


def test_iemocap_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(LanserError, match="name the folder that holds Session1"):
        corpora.read("iemocap", tmp_path)


HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season"


def _meld(root: Path, split: str, *rows: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / f"{split}_sent_emo.csv").write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")


def test_meld(wav: MakeWav, tmp_path: Path) -> None:
    _meld(
        tmp_path / "train",
        "train",
        '1,"I\u0092m fine, thanks.",Chandler,neutral,neutral,0,0,8',
        "2,What?,The Interviewer,surprise,negative,0,1,8",
        "3,Gone.,Joey,joy,positive,125,3,8",
        "4,Hm.,Joey,bored,positive,126,0,8",
        "5,torn",
    )
    _meld(tmp_path, "dev", "1,Hi.,Ross,joy,positive,0,0,8")
    _meld(tmp_path, "test", "1,No clips.,Ross,joy,positive,0,0,8")
    wav("train/train_splits/dia0_utt0.mp4")
    wav("train/train_splits/dia0_utt1.wav")
    wav("train/train_splits/dia126_utt0.wav")
    wav("train/train_splits/dia999_utt0.wav")
    wav("dev_splits_complete/dia0_utt0.flac")
    records, rejects, dropped = sorted_out(corpora.read("meld", tmp_path))
    assert [(record.id, record.label, record.fields["split"]) for record in records] == [
        ("train_dia0_utt0", "neutral", "train"),
        ("train_dia0_utt1", "surprise", "train"),
        ("dev_dia0_utt0", "joy", "dev"),
    ]
    assert records[0].text == "I’m fine, thanks."
    assert records[0].fields["dialogue"] == "train_dia0"
    assert records[1].speaker == "The Interviewer"
    assert [reject.error.partition("train_sent_emo.csv:")[2] for reject in rejects] == [
        "4: there is no clip 'dia125_utt3'",
        "5: unknown emotion 'bored'",
        "6: 2 fields where the header has 8",
    ]
    assert {(item.id, item.reason) for item in dropped} == {
        ("train_dia999_utt0", "clip without annotation"),
        ("test_dia0_utt0", "no clips of the test split"),
    }


def test_meld_clips_beside_a_lone_table(wav: MakeWav, tmp_path: Path) -> None:
    _meld(tmp_path, "test", "1,Hi.,Ross,joy,positive,0,0,8")
    wav("dia0_utt0.wav")
    records, _, _ = sorted_out(corpora.read("meld", tmp_path))
    assert [record.id for record in records] == ["test_dia0_utt0"]
    # Beside two tables it could be either's.
    _meld(tmp_path, "dev", "1,Hi.,Ross,joy,positive,0,0,8")
    with pytest.raises(LanserError, match="no MELD in it"):
        corpora.read("meld", tmp_path)


def test_meld_table_without_a_column(tmp_path: Path) -> None:
    (tmp_path / "train_sent_emo.csv").write_text("Utterance,Speaker\nHi.,Ross\n")
    with pytest.raises(LanserError, match="no column 'Emotion'; the header has: Utterance"):
        corpora.read("meld", tmp_path)


def test_meld_text_without_clips(tmp_path: Path) -> None:
    _meld(tmp_path, "test", "1,Hi.,Ross,joy,positive,0,0,8")
    with pytest.raises(LanserError, match="no MELD in it"):
        corpora.read("meld", tmp_path)


@pytest.mark.parametrize("time", ["9" * 400 + ":00:01,000", "", "1:2", "00:00:0x,1", None])
def test_a_time_of_meld_that_is_none_says_nothing(time: str | None) -> None:
    assert meld_reader._seconds("01:00:02,500") == 3602.5
    assert math.isnan(meld_reader._seconds(time))
