"""Other people's tools read what lanser writes: lhotse, NeMo, Hugging Face datasets."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import ROOT, read_jsonl, tone, write_jsonl

from lanser_cli.app import main
from lanser_cli.audio.sound import load
from lanser_cli.records import Record

RATE = 16_000
FORMATS = ROOT / "docs" / "formats.md"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sound in it, and records.jsonl: two files, and two utterances of a third."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = np.random.default_rng(0)
    (folder / "clips").mkdir()
    for name in ("a", "b", "long"):
        noise = 0.01 * draw.standard_normal(2 * RATE)
        soundfile.write(folder / "clips" / f"{name}.wav", tone(2.0) + noise, RATE)
    (folder / "clips" / "a.wav").rename(folder / "clips" / "a.b.wav")
    good = {"model": "m", "avg_logprob": -0.2, "flags": []}
    weak = {"emotion": "joy", "emotion_score": 0.9, "emotion_scores": {"joy": 0.9, "fear": 0.1}}
    nothing = dict.fromkeys(("emotion", "emotion_score", "emotion_scores"))
    said = {"entailment": {"model": "e", "templates": ["{}"], "margin": 2.2}}
    flagged = {**good, "flags": ["repetition"]}
    empty = {"entailment": {"model": "e", "templates": ["{}"], "abstained": "repetition"}}
    values: list[dict[str, Any]] = [
        {"id": "a", "audio_filepath": "clips/a.b.wav", "label": "sad", "text": "no", "asr": flagged}
        | nothing
        | empty,
        {"id": "b", "audio_filepath": "clips/b.wav", "duration": 2.0, "label": "joy", "asr": good}
        | {"speaker": "anna", "lang": "en", "text": "so it is", **weak, **said},
        {"id": "c", "audio_filepath": "clips/long.wav", "offset": 0.25, "duration": 0.75}
        | {"text": "it", "label": "joy", **weak, **said},
        {"id": "d", "audio_filepath": "clips/long.wav", "offset": 1.1, "label": "fear"}
        | {"text": "", "asr": {**good, "events": ["[music]"]}, "mine": {"kept": [1, None]}},
    ]
    write_jsonl(folder / "records.jsonl", values)
    return folder


def made(corpus: Path, to: str, output: Path, *, code: int = 0) -> list[dict[str, Any]]:
    words = ["manifest", "jsonl", str(corpus / "records.jsonl"), "--to", to, "-o", str(output)]
    assert main([*words, "--rejects", str(corpus / "rejects.jsonl"), "--force"]) == code
    return read_jsonl(output)


def nulls(value: object) -> bool:
    """Whether a line has a key without a value."""
    return isinstance(value, dict) and any(item is None for item in value.values())


# ---------------------------------------------------------------- lhotse


def test_lhotse_reads_cuts_with_the_sound_of_their_records(corpus: Path, tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse")
    path = tmp_path / "cuts.jsonl"
    made(corpus, "lhotse", path)
    cuts = lhotse.CutSet.from_file(path).to_eager()
    lhotse.qa.validate(cuts, read_data=True)
    records = [Record(fields) for fields in read_jsonl(corpus / "records.jsonl")]
    assert [cut.id for cut in cuts] == [record.id for record in records]
    for cut, record in zip(cuts, records, strict=True):
        here = record.with_fields(audio_filepath=str(corpus / str(record.audio_filepath)))
        np.testing.assert_allclose(cut.load_audio()[0], load(here), atol=1e-6)
        [said] = cut.supervisions
        assert (said.text, said.speaker) == (record.text, record.speaker)
        assert said.custom["label"] == record.label
        assert said.custom.get("emotion") == record.emotion
    assert list(cuts)[1].supervisions[0].language == "en"

    [example] = re.findall(r"```json cut\n(.*?)```", FORMATS.read_text(encoding="utf-8"), re.DOTALL)
    shown, second = json.loads(example), json.loads(path.read_text().splitlines()[1])
    assert list(shown) == list(second) and list(shown["recording"]) == list(second["recording"])
    assert list(shown["supervisions"][0]) == list(second["supervisions"][0])

    back = tmp_path / "back.jsonl"
    assert main(["manifest", "jsonl", str(path), "-o", str(back)]) == 0
    spans = [(one["id"], one["offset"], one["text"]) for one in read_jsonl(back)]
    assert spans == [(record.id, record.offset, record.text) for record in records]


def test_records_are_a_file_of_jsonl_and_what_is_none_ends_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of tars gave nothing, exit code 0; and a tar was told to be called *.tar."""
    packed = tmp_path / "shards" / "speech.tar"
    packed.parent.mkdir()
    with tarfile.open(packed, "w") as archive:
        archive.addfile(tarfile.TarInfo("a.json"))
    said = {packed.parent: "is a folder: name the file of records", packed: "but a tar: unpack it"}
    for path, why in said.items():
        assert main(["manifest", "jsonl", str(path)]) == 1
        assert why in capsys.readouterr().err


# ---------------------------------------------------------------- NeMo


def test_nemo_lines_have_what_its_manifests_document(corpus: Path, tmp_path: Path) -> None:
    """`audio_filepath`, `duration`, `offset`, and `text` or `label`, by what is to be learned."""
    lines = made(corpus, "nemo", tmp_path / "manifest.jsonl")
    spans = [(one["offset"], one["duration"]) for one in lines]
    assert spans == [(0.0, 2.0), (0.0, 2.0), (0.25, 0.75), (1.1, pytest.approx(0.9))]
    for one, record in zip(lines, read_jsonl(corpus / "records.jsonl"), strict=True):
        assert Path(one["audio_filepath"]).samefile(corpus / record["audio_filepath"])
        assert (one["text"], one["label"]) == (record["text"], record["label"])
        assert not nulls(one)


# ---------------------------------------------------------------- Hugging Face


def test_an_audio_folder_has_the_columns_of_the_records(corpus: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    lines = made(corpus, "hf", corpus / "metadata.jsonl", code=3)
    assert [one["file_name"] for one in lines] == ["clips/a.b.wav", "clips/b.wav"]
    errors = [one["error"] for one in read_jsonl(corpus / "rejects.jsonl")]
    assert "a whole file, and this is 0.75 s of 2 s" in errors[0]
    assert not any(map(nulls, lines))
    found = datasets.load_dataset(
        "audiofolder",
        data_dir=str(corpus),
        split="train",
        streaming=True,
        cache_dir=str(tmp_path / "cache"),
    )
    assert isinstance(found.features["audio"], datasets.Audio)
    rows = {row["id"]: row for _, row in found._ex_iterable}  # before torchcodec decodes it
    assert {name: row["label"] for name, row in rows.items()} == {"a": "sad", "b": "joy"}
    assert rows["b"]["speaker"] == "anna" and rows["b"]["text"] == "so it is"
    assert Path(rows["b"]["audio"]).samefile(corpus / "clips" / "b.wav")


def test_a_set_with_flags_and_abstentions_is_a_webdataset(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the lines of docs/formats.md."""
    pytest.importorskip("datasets")
    shards = tmp_path / "shards"
    assert main(["shard", str(corpus / "records.jsonl"), "-o", str(shards)]) == 0
    [recipe] = re.findall(r"```python\n(.*?)```", FORMATS.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    exec(recipe, names := {})
    for row, record in zip(names["speech"], read_jsonl(corpus / "records.jsonl"), strict=True):
        changed = ("audio_filepath", "offset", "duration")
        kept = {key: value for key, value in record.items() if key not in changed}
        assert {key: row["json"][key] for key in kept} == kept
        assert soundfile.info(io.BytesIO(row["flac"])).samplerate == RATE


# ---------------------------------------------------------------- what they cannot say


@pytest.mark.parametrize(
    ("to", "fields", "why"),
    [
        ("lhotse", {"audio_filepath": "x.tar#a.flac"}, "x.tar#a.flac: lies in a tar"),
        ("nemo", {"audio_filepath": "x.tar#a.flac"}, "x.tar#a.flac: lies in a tar"),
        ("hf", {"audio_filepath": "x.tar#a.flac"}, "load_dataset('webdataset', ...)"),
        ("lhotse", {"audio_filepath": "stereo.wav"}, "has 2 channels"),
        ("nemo", {"audio_filepath": "mono.wav", "duration": 9.0}, "would end at 9 s"),
        (
            "nemo",
            {"audio_filepath": "mono.wav", "offset": 3.0},
            "has 1 s, and the utterance would begin at 3 s",
        ),
        *(
            (to, {"audio_filepath": "mono.wav", "duration": 0}, "0 s holds no sample")
            for to in ("lhotse", "nemo", "hf")
        ),
        ("hf", {"audio_filepath": "../outside.wav"}, "lies outside"),
        ("nemo", {"audio_filepath": "gone.wav"}, "there is no such file"),
        *(
            (to, {"audio_filepath": "stereo.wav", "audio_channel": 1}, "channel 1 of 2, which")
            for to in ("lhotse", "nemo", "hf")
        ),
    ],
)
def test_what_the_other_cannot_say_is_a_reject(
    to: str, fields: dict[str, Any], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for path, channels in (("stereo.wav", 2), ("mono.wav", 1), ("../outside.wav", 1)):
        soundfile.write(path, np.tile(tone(1.0)[:, None], (1, channels)), RATE)
    line = json.dumps({"id": "a", **fields})
    Path("in.jsonl").write_text(line + "\n")
    output: Sequence[str] = ("-o", "metadata.jsonl", "--rejects", "rejects.jsonl")
    assert main(["manifest", "jsonl", "in.jsonl", "--to", to, *output]) == 3
    [reject] = read_jsonl(Path("rejects.jsonl"))
    assert why in reject["error"] and Path("metadata.jsonl").read_text() == ""


def test_hugging_face_reads_metadata_of_one_name_only(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["manifest", "jsonl", str(corpus / "records.jsonl"), "--to", "hf"]
    assert main([*words, "-o", str(tmp_path / "x.jsonl")]) == 2
    assert "--to hf needs -o FOLDER/metadata.jsonl" in capsys.readouterr().err
