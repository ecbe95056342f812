"""Order, batches and blame, with an engine that hears a clip's length."""

from __future__ import annotations

import pickle
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import tone

from lanser_cli.asr.engine import Transcript
from lanser_cli.asr.quality import Thresholds
from lanser_cli.asr.throughput import Throughput
from lanser_cli.asr.transcribe import TranscribeSettings, decode_ahead
from lanser_cli.asr.transcriber import Transcribed, Transcriber
from lanser_cli.audio import sound, utterance
from lanser_cli.audio.ingest import ingest
from lanser_cli.audio.segments import Segmentation
from lanser_cli.audio.utterance import Utterance
from lanser_cli.audio.vad import VoiceActivity
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record, Reject
from lanser_cli.stage import one_process, windows


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
    assert "it is longer than the 0 s" in worst.error
    assert "give records with 'offset' and 'duration'" in worst.error
    part = shuffled[0].with_fields(duration=0.05)
    assert isinstance(Transcriber(engine, 4)([part])[0], Record)


def test_hours_of_sound_are_not_decoded_to_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(tone(1.0), 100), 16_000)
    (record,) = ingest([str(path)], "x")
    assert isinstance(record, Record)
    decoded: list[int] = []
    load = utterance.load_available

    def counted(record: Record) -> tuple[np.ndarray, bool]:
        samples, is_cut = load(record)
        decoded.append(len(samples) // 16_000)
        return samples, is_cut

    monkeypatch.setattr(utterance, "load_available", counted)
    for seconds, length in ((100.0, "100.0 s"), (None, "it")):
        ahead = decode_ahead([record.with_fields(duration=seconds)])
        (found,) = Transcriber(LengthEngine(longest=30.0), 4)(ahead)
        assert isinstance(found, Reject)
        assert f"{length} is longer than the 30 s" in found.error
    (found,) = Transcriber(LengthEngine(), 4)(decode_ahead([record]))
    assert isinstance(found, Record) and found.text == "1600000 samples"
    assert decoded == [60, 31, 60, 31, 60, 100]


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
    assert [isinstance(outcome, Record) for outcome in outcomes] == [True, False, True]
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


def test_a_language_that_is_not_that_of_the_record_is_said_once(
    shuffled: list[Record], capsys: pytest.CaptureFixture
) -> None:
    """As of German speech that a model for English has heard."""

    class English(LengthEngine):
        def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
            return [Transcript("yeah", lang="en") for _ in clips]

    hear = Transcriber(English(), 8)
    hear([shuffled[0], shuffled[1].with_fields(lang="EN-US")])
    assert capsys.readouterr().err == ""
    hear([record.with_fields(lang="de") for record in shuffled])
    assert re.fullmatch(
        r"transcribe: 'n\d+' has the 'lang' 'de', but length wrote down 'en': .*'de'\n",
        capsys.readouterr().err,
    )


def test_stereo_and_rate_are_settled_before_the_engine(tmp_path: Path) -> None:
    wave = np.stack([tone(0.5, rate=44_100)] * 2, axis=1)
    soundfile.write(tmp_path / "a.wav", wave, 44_100)
    engine = LengthEngine()
    Transcriber(engine, 1)([Record({"id": "a", "audio_filepath": str(tmp_path / "a.wav")})])
    assert engine.batches == [[8_000]]


# ---------------------------------------------------------------- memory, decoding ahead, trust


class SmallMemory(LengthEngine):
    """Has no room for more than three clips at once."""

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
        if len(clips) > 3:
            self.batches.append([len(clip) for clip in clips])
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().transcribe(clips)


def test_out_of_memory_halves_the_batch_and_goes_on(
    shuffled: list[Record], capsys: pytest.CaptureFixture
) -> None:
    engine = SmallMemory()
    transcriber = Transcriber(engine, 12)
    outcomes = [*transcriber(shuffled), *transcriber(shuffled)]
    assert [outcome.id for outcome in outcomes] == [record.id for record in shuffled] * 2
    assert all(isinstance(outcome, Record) for outcome in outcomes)
    sizes = [len(batch) for batch in engine.batches]
    assert sizes[:3] == [12, 6, 3]
    assert sizes.count(12) == 1 and max(sizes[4:]) <= 6 and max(sizes[-8:]) == 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, "said once"
    assert "length ran out of memory with 12 clips at once" in said[0]


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: device-side assert triggered\nSearch for `cudaErrorAssert' in its pages",
        "CUDA failed with error an illegal memory access was encountered",
    ],
)
def test_a_gpu_that_fails_ends_the_run_instead_of_rejecting_all_that_follows(
    shuffled: list[Record], said: str
) -> None:
    """After such an error no call of the process succeeds, whatever the clip."""

    class Broken(LengthEngine):
        def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
            raise RuntimeError(said)

    with pytest.raises(LanserError, match=f"length: {said.splitlines()[0]}: .*--resume"):
        Transcriber(Broken(), 4)(shuffled)


def test_no_memory_for_cublas_is_no_failure_of_the_gpu(shuffled: list[Record]) -> None:
    class Small(SmallMemory):
        def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
            if len(clips) > 3:
                raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublas")
            return super().transcribe(clips)

    assert all(isinstance(outcome, Record) for outcome in Transcriber(Small(), 12)(shuffled))


def test_no_memory_for_a_single_clip_is_a_reject(shuffled: list[Record]) -> None:
    class None_(LengthEngine):
        def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
            raise MemoryError("no room")

    outcomes = Transcriber(None_(), 4)(shuffled[:3])
    assert all(isinstance(outcome, Reject) for outcome in outcomes)
    assert "length failed on it: MemoryError: no room" in str(outcomes[0])


def test_decoded_ahead_or_not_is_the_same(shuffled: list[Record], tmp_path: Path) -> None:
    gone = Record({"id": "gone", "audio_filepath": "/nowhere/gone.wav"})
    window = [*shuffled[:3], gone, *shuffled[3:5]]
    ready = decode_ahead(window)
    assert [isinstance(item, Utterance) for item in ready] == [True] * 3 + [False] + [True] * 2
    assert all(item.decoding > 0 for item in ready if isinstance(item, Utterance))
    assert Transcriber(LengthEngine(), 4)(ready) == Transcriber(LengthEngine(), 4)(window)


def test_what_it_took_travels_with_the_record(shuffled: list[Record]) -> None:
    class Slow(LengthEngine):
        def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
            time.sleep(0.1)
            return super().transcribe(clips)

    found = pickle.loads(pickle.dumps(Transcriber(Slow(), 4)(shuffled[:6])))
    assert all(isinstance(item, Transcribed) for item in found)
    assert [item.seconds for item in found] == [
        record.fields["mine"] / 16_000 for record in shuffled[:6]
    ]
    assert sum(item.model for item in found) == pytest.approx(0.2, abs=0.1)
    assert all(item.decoding > 0 for item in found)
    assert not set(found[0].fields) & {"seconds", "decoding", "model"}


def test_a_file_that_vanishes_after_it_was_found(tmp_path: Path) -> None:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", tone(0.3), 16_000)
    records = [item for item in ingest([str(tmp_path)], "x") if isinstance(item, Record)]
    (tmp_path / "a.wav").unlink()
    for window in (records, decode_ahead(records)):
        reject, record = Transcriber(LengthEngine(), 4)(window)
        assert isinstance(reject, Reject) and "there is no such file" in reject.error
        assert isinstance(record, Record) and record.text == "4800 samples"


def test_what_is_cut_off_is_flagged_and_can_be_read_again(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "a.flac"
    soundfile.write(path, 0.1 * generator.standard_normal(160_000), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (record,) = ingest([str(path)], "x")
    assert isinstance(record, Record) and record.duration == 10.0
    (found,) = Transcriber(LengthEngine(), 4)([record])
    assert isinstance(found, Record)
    assert found.fields["asr"]["flags"] == ["cut_off"]
    assert found.duration is not None and 4.0 < found.duration < 6.0
    assert len(sound.load(found)) / 16_000 == pytest.approx(found.duration, abs=1e-4)


def test_a_record_that_ends_behind_its_file_gets_the_length_of_what_was_heard(
    tmp_path: Path,
) -> None:
    soundfile.write(tmp_path / "a.wav", tone(3.0), 16_000)
    span = {"audio_filepath": str(tmp_path / "a.wav"), "offset": 1.0}
    said = {"far": 100.0, "near": 2.02, "inside": 0.5, "nothing": 0.0}
    records = [Record({"id": name, **span, "duration": value}) for name, value in said.items()]
    *found, nothing = Transcriber(LengthEngine(), 4)(records)
    assert [one.fields["duration"] for one in found if isinstance(one, Record)] == [2.0, 2.02, 0.5]
    assert isinstance(nothing, Reject) and "a duration of 0 s holds no sample" in nothing.error


def test_voice_activity_is_asked_where_it_should(shuffled: list[Record], tmp_path: Path) -> None:
    """An engine that invents text for a hiss is found out."""
    pytest.importorskip("silero_vad")
    path = tmp_path / "silence.wav"
    hiss = 0.001 * np.random.default_rng(0).standard_normal(32_000)
    soundfile.write(path, hiss, 16_000)
    record = Record({"id": "s", "audio_filepath": str(path)})
    plain, checked = (
        Transcriber(LengthEngine(), 4, voice=voice)([record])[0]
        for voice in (None, VoiceActivity())
    )
    assert isinstance(plain, Record) and isinstance(checked, Record)
    assert plain.fields["asr"]["flags"] == [] and "speech_seconds" not in plain.fields["asr"]
    assert checked.fields["asr"]["flags"] == ["vad"]
    assert checked.fields["asr"]["speech_seconds"] == 0.0


def test_voice_activity_hears_speech(shared: Path) -> None:
    pytest.importorskip("silero_vad")
    path = str(shared / "containers" / "jfk.flac")
    (found,) = Transcriber(LengthEngine(), 4, voice=VoiceActivity())(
        [Record({"id": "jfk", "audio_filepath": path})]
    )
    assert isinstance(found, Record)
    assert found.fields["asr"]["flags"] == []
    assert 6.0 < found.fields["asr"]["speech_seconds"] < 11.0


# ---------------------------------------------------------------- what a run took


def test_throughput_is_said(shuffled: list[Record], capsys: pytest.CaptureFixture) -> None:
    class Slow(LengthEngine):
        def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
            time.sleep(0.2)
            return super().transcribe(clips)

    seconds = sum(record.fields["mine"] for record in shuffled) / 16_000
    process = Throughput(1).watching(one_process(Transcriber(Slow(), 64)))
    begun = time.perf_counter()
    list(process(windows(shuffled, 10)))
    took = time.perf_counter() - begun
    line = capsys.readouterr().err
    found = re.search(
        r"transcribe: (\S+) h of audio, real-time factor (\S+) \((\S+)x\); "
        r"(\S+) s in the model, (\S+) s finding and decoding sound: model-bound$",
        line.strip(),
    )
    assert found, line
    hours, factor, times, model, _ = map(float, found.groups())
    assert hours * 3600 == pytest.approx(seconds, rel=0.01)
    assert factor == pytest.approx(took / seconds, rel=0.1)
    assert times == pytest.approx(1 / factor, rel=0.01)
    assert model == pytest.approx(0.4, abs=0.1)


def test_decoding_may_be_what_holds_it_up(
    shuffled: list[Record], capsys: pytest.CaptureFixture
) -> None:
    def slowly() -> Iterator[list[Record]]:
        for window in windows(shuffled, 10):
            time.sleep(0.1)
            yield window

    list(Throughput(1).watching(one_process(Transcriber(LengthEngine(), 64)))(slowly()))
    assert capsys.readouterr().err.strip().endswith("decode-bound")
    list(Throughput(1).watching(one_process(Transcriber(LengthEngine(), 64)))([]))
    assert capsys.readouterr().err == "", "nothing was transcribed"


# ---------------------------------------------------------------- settings


def test_settings_are_checked_and_become_what_the_room_knows() -> None:
    assert TranscribeSettings("x").segmentation is None
    settings = TranscribeSettings("x", segment="fixed", max_seconds=9.0, vad_threshold=0.4)
    assert settings.segmentation == Segmentation("fixed", max_seconds=9.0, threshold=0.4)
    assert TranscribeSettings("x", no_speech_threshold=0.1).limits == Thresholds(no_speech=0.1)
    assert TranscribeSettings("x").limits == Thresholds()
    with pytest.raises(UsageError, match="at least twice as long"):
        TranscribeSettings("x", segment="fixed", max_seconds=3.0)
    TranscribeSettings("x", max_seconds=3.0)
