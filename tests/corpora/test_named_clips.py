"""The corpora whose file names say everything: RAVDESS, EmoDB, CREMA-D, SAVEE, TESS,
nEMO."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from corpora.outcomes import MakeWav, sorted_out
from lanser_cli import corpora
from lanser_cli.errors import LanserError
from lanser_cli.records import check_id

Data = Callable[[str], Path]
NAMED = {
    "ravdess": "Actor_07/03-01-08-02-01-02-07.wav",
    "emodb": "wav/16b10Tb.wav",
    "crema-d": "AudioWAV/1040_ITH_SAD_X.wav",
    "savee": "AudioData/DC/su07.wav",
    "tess": "YAF_pleasant_surprised/YAF_dog_ps.wav",
    "nemo": "samples/EB0_anger_1.wav",
}
OTHER = {
    "ravdess": "03-01-08-02-01-02-08.wav",
    "emodb": "16b10Ta.wav",
    "crema-d": "1041_ITH_SAD_XX.wav",
    "savee": "su08.wav",
    "tess": "YAF_cat_ps.wav",
    "nemo": "EB0_anger_2.wav",
}
TAXONOMY = {
    "ravdess": "ravdess8",
    "emodb": "emodb7",
    "crema-d": "crema6",
    "savee": "savee7",
}


def test_ravdess_real(data: Data) -> None:
    records, rejects, dropped = sorted_out(corpora.read("ravdess", data("ravdess")))
    assert not rejects and not dropped
    assert Counter(record.label for record in records) == {
        "neutral": 48,
        **dict.fromkeys(["calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"], 96),
    }
    assert Counter(record.speaker for record in records) == {
        f"Actor_{number:02d}": 60 for number in range(1, 13)
    }
    paths = [record.audio_filepath or "" for record in records]
    assert paths == sorted(paths) and len({record.id for record in records}) == 720
    assert records[0].fields == {
        "id": "03-01-01-01-01-01-01",
        "audio_filepath": str(data("ravdess") / "Actor_01" / "03-01-01-01-01-01-01.flac"),
        "duration": 3.303313,
        "speaker": "Actor_01",
        "lang": "en",
        "label": "neutral",
        "sentence": "01",
        "intensity": "normal",
        "sex": "male",
    }


def test_nemo_real(data: Data) -> None:
    records, rejects, dropped = sorted_out(corpora.read("nemo", data("nemo")))
    assert not rejects and not dropped and len(records) == 4481
    rows = (data("nemo") / "data.tsv").read_text(encoding="utf-8").splitlines()[1:]
    table = {row.split("\t")[0].removesuffix(".wav"): row.split("\t") for row in rows}
    for record in records:
        _, emotion, text, _, speaker, sex, _ = table[record.id]
        assert (record.label, record.speaker) == (emotion, speaker.strip())
        assert (record.fields["sex"], record.text) == (sex, text.strip())
    sentences = {(r.fields["sentence"], r.text) for r in records}
    assert len({number for number, _ in sentences}) == 90
    assert records[0].fields["lang"] == "pl"


def test_emodb_real(data: Data) -> None:
    records, rejects, _ = sorted_out(corpora.read("emodb", data("emodb")))
    assert not rejects
    assert Counter(record.label for record in records) == {
        "anger": 127,
        "neutral": 79,
        "happiness": 71,
        "sadness": 62,
    }
    assert len({record.speaker for record in records}) == 10
    assert {record.fields["lang"] for record in records} == {"de"}
    assert {record.fields["sentence"] for record in records} == set(
        ["a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10"]
    )


def test_crema_d_real_with_demographics(data: Data, tmp_path: Path) -> None:
    shutil.copytree(data("crema_d_few"), tmp_path / "AudioWAV")
    shutil.copy(data("crema_d_meta") / "VideoDemographics.csv", tmp_path)
    records, rejects, _ = sorted_out(corpora.read("crema-d", tmp_path))
    assert not rejects and len(records) == 10
    by_id = {record.id: record for record in records}
    assert by_id["1054_IEO_FEA_HI"].fields["intensity"] == "high"
    assert by_id["1054_IEO_FEA_HI"].fields["sex"] == "female"
    assert by_id["1066_IWW_SAD_XX"].label == "sad"
    # The audio folder itself may be named too.
    again, _, _ = sorted_out(corpora.read("crema-d", tmp_path / "AudioWAV"))
    assert [record.fields for record in again] == [record.fields for record in records]


def test_rows_of_a_side_table_that_cannot_be_read_are_said(
    wav: MakeWav, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for actor in ("1001", "1002"):
        wav(f"AudioWAV/{actor}_IEO_ANG_HI.wav")
    (tmp_path / "VideoDemographics.csv").write_text("ActorID,Age,Sex\n1001,51,Male\n1002,Female\n")
    records, _, _ = sorted_out(corpora.read("crema-d", tmp_path))
    assert [record.fields.get("sex") for record in records] == ["male", None]
    said = capsys.readouterr().err
    assert "rows passed over: 1, such as" in said and "VideoDemographics.csv:3: 2 fields" in said


def test_crema_d_in_video_and_mp3(data: Data) -> None:
    pytest.importorskip("av")
    records, rejects, _ = sorted_out(corpora.read("crema-d", data("containers")))
    assert Counter(Path(record.audio_filepath or "").suffix for record in records) == {
        ".flv": 6,
        ".mp3": 6,
    }
    assert all(1 < (record.duration or 0) < 5 for record in records)
    # jfk and three TESS clips lie in the same folder.
    assert len(rejects) == 4
    assert all("not named like a CREMA-D clip" in reject.error for reject in rejects)


def test_crema_d_reads_one_of_three_copies(wav: MakeWav, tmp_path: Path) -> None:
    for folder in ("AudioMP3", "AudioWAV", "VideoFlash"):
        wav(f"{folder}/1001_DFA_ANG_XX.wav")
    records, _, _ = sorted_out(corpora.read("crema-d", tmp_path))
    assert [Path(record.audio_filepath or "").parent.name for record in records] == ["AudioWAV"]
    assert "sex" not in records[0].fields


@pytest.mark.parametrize("kind", NAMED)
def test_odd_files_are_rejected_one_by_one(kind: str, wav: MakeWav, tmp_path: Path) -> None:
    good = wav(NAMED[kind])
    folder = good.parent.relative_to(tmp_path)
    wav(f"{folder}/{OTHER[kind]}").write_bytes(b"")
    wav(f"{folder}/notes from the studio.wav")
    wav(f"{folder}/._{good.name}")
    records, rejects, _ = sorted_out(corpora.read(kind, tmp_path))
    assert [record.audio_filepath for record in records] == [str(good)]
    assert records[0].duration == 0.25
    check_id(records[0].id)
    assert len(rejects) == 2
    messages = " ".join(reject.error for reject in rejects)
    assert "is empty (0 bytes)" in messages
    assert "notes from the studio.wav: not named like a" in messages
    if kind in TAXONOMY:
        taxonomies = Path(corpora.__file__).parents[1] / "entailment" / "taxonomies"
        taxonomy = json.loads((taxonomies / f"{TAXONOMY[kind]}.json").read_text())
        module = import_module(f"lanser_cli.corpora.{kind.replace('-', '_')}")
        assert set(module.LABELS.values()) == set(taxonomy["labels"])


@pytest.mark.parametrize("kind", NAMED)
def test_a_folder_without_the_corpus_is_one_error(kind: str, wav: MakeWav, tmp_path: Path) -> None:
    wav("music/song.wav")
    with pytest.raises(LanserError, match=r"no .* clip in this folder .* named like"):
        corpora.read(kind, tmp_path)
    with pytest.raises(LanserError, match="there is no such folder"):
        corpora.read(kind, tmp_path / "nowhere")


def test_ravdess_leaves_out_songs_silent_video_and_second_copies(
    wav: MakeWav, tmp_path: Path
) -> None:
    for name in (
        "03-01-05-01-01-01-02",
        "01-01-05-01-01-01-02",  # video of the same take
        "01-01-05-01-01-02-02",  # video of a take that is there in no other form
        "02-01-05-01-01-01-02",
        "03-02-05-01-01-01-02",
    ):
        wav(f"{name}.wav")
    records, rejects, dropped = sorted_out(corpora.read("ravdess", tmp_path))
    assert [record.id for record in records] == ["01-01-05-01-01-02-02", "03-01-05-01-01-01-02"]
    assert not rejects
    assert {(item.id, item.reason) for item in dropped} == {
        ("01-01-05-01-01-01-02", "video of a take that is there as audio"),
        ("02-01-05-01-01-01-02", "video without sound"),
        ("03-02-05-01-01-01-02", "song"),
    }


def test_ravdess_codes_out_of_range_are_rejected(wav: MakeWav, tmp_path: Path) -> None:
    wav("03-01-05-01-01-01-02.wav")
    wav("03-01-09-01-01-01-02.wav")
    wav("03-01-05-01-01-01-25.wav")
    records, rejects, _ = sorted_out(corpora.read("ravdess", tmp_path))
    assert len(records) == 1 and len(rejects) == 2


def test_savee_by_folder_and_flat(wav: MakeWav, tmp_path: Path) -> None:
    wav("AudioData/DC/a01.wav")
    wav("AudioData/KL/sa15.flac")
    wav("flat/JE_n30.wav")
    records, rejects, _ = sorted_out(corpora.read("savee", tmp_path))
    assert not rejects
    assert [
        (record.id, record.speaker, record.label, record.fields["sentence"]) for record in records
    ] == [
        ("DC_a01", "DC", "anger", "a01"),
        ("KL_sa15", "KL", "sadness", "sa15"),
        ("JE_n30", "JE", "neutral", "n30"),
    ]
    one, _, _ = sorted_out(corpora.read("savee", tmp_path / "AudioData" / "DC"))
    assert [record.id for record in one] == ["DC_a01"]


def test_tess_labels(wav: MakeWav, tmp_path: Path) -> None:
    for emotion in ["angry", "disgust", "fear", "happy", "neutral", "ps", "sad"]:
        wav(f"OAF_{emotion}/OAF_Back_{emotion}.wav")
    wav("OAF_neutral/OA_bite_neutral.wav")
    records, rejects, _ = sorted_out(corpora.read("tess", tmp_path))
    assert not rejects
    assert Counter(record.label for record in records) == {
        **dict.fromkeys(["angry", "disgust", "fear", "happy", "surprise", "sad"], 1),
        "neutral": 2,
    }
    assert {record.speaker for record in records} == {"OAF"}
    assert {record.fields["sentence"] for record in records} == {"back", "bite"}
