"""Order, batches and blame, with an engine that hears a clip's length."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import tone

from lanser_cli.asr import Transcript, make_engine, transcribe
from lanser_cli.asr.transcribing import Transcriber
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record, Reject


class LengthEngine:
    """Writes down how many samples it was given; fails on the lengths it was told to."""

    name = "length"

    def __init__(self, *, bad: Sequence[int] = (), longest: float | None = None) -> None:
        self.max_seconds = longest
        self.batches: list[list[int]] = []
        self._bad = bad

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
        lengths = [len(clip) for clip in clips]
        self.batches.append(lengths)
        if set(lengths) & set(self._bad):
            raise RuntimeError("out of luck")
        return [Transcript(f"{length} samples", -0.25, 0.5) for length in lengths]


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Twenty records of 1600 to 3500 samples, in no order."""
    folder = tmp_path_factory.mktemp("shuffled")
    lengths = [1600 + 100 * step for step in range(20)]
    random.Random(0).shuffle(lengths)
    records = []
    for length in lengths:
        path = folder / f"{length}.wav"
        soundfile.write(path, tone(length / 16_000), 16_000)
        records.append(Record({"id": f"n{length}", "audio_filepath": str(path), "mine": length}))
    return records


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_order_is_kept_whatever_the_lengths(batch_size: int, shuffled: list[Record]) -> None:
    engine = LengthEngine()
    outcomes = Transcriber(engine, batch_size)(shuffled)
    assert [outcome.id for outcome in outcomes] == [record.id for record in shuffled]
    for outcome in outcomes:
        assert isinstance(outcome, Record)
        assert outcome.text == f"{outcome.fields['mine']} samples"
    assert max(map(len, engine.batches)) <= batch_size
    seen = [length for batch in engine.batches for length in batch]
    assert seen == sorted(seen), "clips of like length belong together"


def test_a_failing_batch_rejects_the_culprits_only(shuffled: list[Record]) -> None:
    outcomes = Transcriber(LengthEngine(bad=[2000, 3100]), 8)(shuffled)
    assert [outcome.id for outcome in outcomes] == [record.id for record in shuffled]
    rejects = [outcome for outcome in outcomes if isinstance(outcome, Reject)]
    assert {reject.id for reject in rejects} == {"n2000", "n3100"}
    for reject in rejects:
        assert reject.stage == "transcribe"
        assert reject.error == "length failed on it: RuntimeError: out of luck"
    assert all(
        outcome.text == f"{outcome.fields['mine']} samples"
        for outcome in outcomes
        if isinstance(outcome, Record)
    )


def test_a_broken_engine_ends_the_run(shuffled: list[Record]) -> None:
    class Broken(LengthEngine):
        def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
            raise LanserError("the weights are gone")

    with pytest.raises(LanserError, match="the weights are gone"):
        Transcriber(Broken(), 4)(shuffled)


def test_longer_than_the_window_is_a_reject(shuffled: list[Record]) -> None:
    engine = LengthEngine(longest=0.2)
    outcomes = Transcriber(engine, 4)(shuffled)
    for outcome in outcomes:
        assert isinstance(outcome, Reject) == (int(str(outcome.id)[1:]) > 3200)
    (worst,) = [outcome for outcome in outcomes if outcome.id == "n3500"]
    assert isinstance(worst, Reject)
    assert "0.2 s is longer than the 0 s" in worst.error
    assert "give records with 'offset' and 'duration'" in worst.error
    part = shuffled[0].with_fields(duration=0.05)
    assert isinstance(Transcriber(engine, 4)([part])[0], Record)


def test_what_is_written(shuffled: list[Record], tmp_path: Path) -> None:
    record = shuffled[0]
    length = int(record.id[1:])
    (found,) = Transcriber(LengthEngine(), 4)([record])
    assert isinstance(found, Record)
    assert list(found.fields) == ["id", "audio_filepath", "mine", "duration", "text", "asr"]
    assert found.duration == round(length / 16_000, 6)
    rate = round(2 / (length / 16_000), 4)
    assert found.fields["asr"] == {
        "model": "length",
        "avg_logprob": -0.25,
        "no_speech_prob": 0.5,
        "compression_ratio": pytest.approx(len(found.text or "") / 20, rel=0.1),
        "words_per_second": rate,
        "flags": ["speech_rate"] if rate > 6 else [],
    }
    assert record.text is None, "the record given is left as it was"


def test_bad_sound_is_a_reject_between_its_neighbours(shuffled: list[Record]) -> None:
    gone = Record({"id": "gone", "audio_filepath": "/nowhere/gone.wav"})
    outcomes = Transcriber(LengthEngine(), 4)([shuffled[0], gone, shuffled[1]])
    assert [type(outcome) for outcome in outcomes] == [Record, Reject, Record]
    assert isinstance(outcomes[1], Reject)
    assert outcomes[1].error == "/nowhere/gone.wav: there is no such file"
    assert outcomes[1].record == gone.fields


def test_the_language_heard_does_not_replace_the_one_known(shuffled: list[Record]) -> None:
    class Norwegian(LengthEngine):
        def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
            return [Transcript("ja", lang="no") for _ in clips]

    known = shuffled[0].with_fields(lang="sv")
    found = Transcriber(Norwegian(), 4)([known, shuffled[1]])
    assert [item.fields["lang"] for item in found if isinstance(item, Record)] == ["sv", "no"]
    assert isinstance(found[0], Record) and "avg_logprob" not in found[0].fields["asr"]


def test_transcribe_as_a_function(shuffled: list[Record], capsys: pytest.CaptureFixture) -> None:
    many = [record.with_fields(id=f"{record.id}-{n}") for n in range(5) for record in shuffled]
    gone = Record({"id": "gone", "audio_filepath": "/nowhere/gone.wav"})
    rejects: list[Reject] = []
    found = transcribe([gone, *many], LengthEngine(), on_reject=rejects.append)
    assert [record.id for record in found] == [record.id for record in many]
    assert [reject.id for reject in rejects] == ["gone"]
    assert list(transcribe([gone], LengthEngine())) == []
    captured = capsys.readouterr()
    assert "rejected: gone: /nowhere/gone.wav" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("name", ["", "whisper", "whisper:", "hf:", "sphinx:x", "kaldi:x", "base"])
def test_unknown_engines(name: str) -> None:
    with pytest.raises(UsageError, match="choose whisper:SIZE") as caught:
        make_engine(name)
    assert f"'{name}'" in str(caught.value)
    assert "hf:FOLDER" in str(caught.value) and "sphinx" in str(caught.value)


def test_stereo_and_rate_are_settled_before_the_engine(tmp_path: Path) -> None:
    wave = np.stack([tone(0.5, rate=44_100)] * 2, axis=1)
    soundfile.write(tmp_path / "a.wav", wave, 44_100)
    engine = LengthEngine()
    Transcriber(engine, 1)([Record({"id": "a", "audio_filepath": str(tmp_path / "a.wav")})])
    assert engine.batches == [[8_000]]
