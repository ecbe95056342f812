"""Recordings to utterances: where they are cut, what they carry, and what it costs."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Lanser, read_jsonl, tone, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

from lanser_cli.audio import sound
from lanser_cli.audio.segments import Segmentation, _Cutter, segment
from lanser_cli.audio.utterance import Utterance
from lanser_cli.audio.vad import FRAME, VoiceActivity
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Dropped, Record, Reject

needs_vad = pytest.mark.skipif(
    importlib.util.find_spec("silero_vad") is None, reason="needs the extra vad"
)


def of(path: Path, **fields: object) -> Record:
    return Record({"id": path.stem, "audio_filepath": str(path), **fields})


@pytest.fixture(scope="module")
def talk(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four read sentences with two seconds of silence behind each, as one WAV of about 30 s."""
    parts = []
    for path in sorted((shared / "ljspeech32" / "wavs").glob("*.wav"))[:4]:
        parts += [sound.read(str(path)), np.zeros(32_000, np.float32)]
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, np.concatenate(parts), 16_000)
    return path


# ---------------------------------------------------------------- by the clock


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1.0, [1.0]),
        (4.0, [4.0]),
        (5.0, [4.0, 1.0]),
        (4.5, [2.25, 2.25]),
        (9.0, [4.0, 4.0, 1.0]),
        (8.5, [4.0, 2.25, 2.25]),
    ],
)
def test_by_the_clock(seconds: float, expected: list[float], tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(seconds), 16_000)
    how = Segmentation("fixed", min_seconds=1.0, max_seconds=4.0)
    found = list(segment([of(path)], how, "test"))
    assert all(isinstance(item, Utterance) for item in found)
    assert [item.duration for item in found] == expected
    starts = [sum(expected[:number]) for number in range(len(expected))]
    assert [item.offset for item in found] == starts
    assert np.array_equal(np.concatenate([item.samples for item in found]), sound.read(str(path)))


def test_an_utterance_is_what_its_record_says(tmp_path: Path) -> None:
    """Read by offset and duration, the file gives the samples that the utterance brought."""
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(9.0), 16_000)
    record = of(path, offset=0.5, duration=7.0, speaker="s", mine=[1])
    how = Segmentation("fixed", min_seconds=1.0, max_seconds=3.0)
    found = list(segment([record], how, "test"))
    assert [item.id for item in found] == ["a", "a-000003000", "a-000006000"]
    assert [item.offset for item in found] == [0.5, 3.5, 6.5]
    for item in found:
        assert isinstance(item, Utterance)
        assert item.fields["mine"] == [1] and item.speaker == "s"
        assert np.array_equal(sound.load(Record(item.fields)), item.samples)
        assert not isinstance(item.with_fields(text="x"), Utterance), "its samples are given up"


def test_the_bounds_must_fit() -> None:
    with pytest.raises(UsageError, match="at least twice as long"):
        Segmentation("vad", min_seconds=3.0, max_seconds=5.0)
    with pytest.raises(UsageError, match="choose from none, vad, fixed"):
        Segmentation("speakers")
    for without_end in ({"max_seconds": math.inf}, {"min_silence": math.inf}):
        with pytest.raises(UsageError, match="give seconds, not infinity"):
            Segmentation("fixed", **without_end)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_recording_that_breaks_off(suffix: str, tmp_path: Path) -> None:
    """What comes before the break is cut; the rest is said."""
    generator = np.random.default_rng(0)
    whole = tmp_path / f"whole.{suffix}"
    soundfile.write(whole, 0.1 * generator.standard_normal(10 * 16_000), 16_000)
    path = tmp_path / f"cut.{suffix}"
    data = whole.read_bytes()
    path.write_bytes(data[: round(0.55 * len(data))])
    how = Segmentation("fixed", min_seconds=1.0, max_seconds=2.0)
    *found, last = segment([of(path)], how, "test")
    assert [item.duration for item in found][:2] == [2.0, 2.0]
    got = np.concatenate([item.samples for item in found if isinstance(item, Utterance)])
    assert 5.0 < len(got) / 16_000 < 5.6
    assert np.array_equal(got, sound.read(str(whole))[: len(got)])
    assert isinstance(last, Reject)
    assert "cut off or damaged: only 5." in last.error and "of the 10.000 s" in last.error


def test_faults_are_rejects_and_rejects_pass(tmp_path: Path) -> None:
    before = Reject("x", "test", "bad already", None)
    gone = of(tmp_path / "gone.wav")
    nan = tmp_path / "nan.wav"
    soundfile.write(nan, np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    items = [before, gone, of(nan), Record({"id": "none"})]
    found = list(segment(items, Segmentation("fixed"), "test"))
    assert all(isinstance(item, Reject) for item in found)
    errors = [item.error for item in found if isinstance(item, Reject)]
    assert errors[0] == "bad already"
    assert "there is no such file" in errors[1]
    assert "NaN, infinite" in errors[2]
    assert errors[3] == "has no 'audio_filepath'"


# ---------------------------------------------------------------- by voice


def cuts(probabilities: list[float], how: Segmentation) -> list[tuple[int, int]]:
    cutter = _Cutter(how)
    needed = [0]

    def heard() -> Iterator[float]:
        for probability in probabilities:
            yield probability
            needed.append(cutter.needed)

    found = []
    for start, end in cutter.cut(heard()):
        assert start >= needed[-1], "the samples were forgotten"
        found.append((start, end))
    return found


SECOND = 16_000 / FRAME


def frames(seconds: float) -> int:
    return round(seconds * SECOND)


def speech(*spells: tuple[float, float]) -> list[float]:
    """Probabilities for spells of (probability, seconds)."""
    return [probability for probability, seconds in spells for _ in range(frames(seconds))]


def test_an_utterance_ends_at_a_pause() -> None:
    found = cuts(speech((0.1, 3), (0.9, 5), (0.1, 2), (0.9, 4), (0.1, 3)), Segmentation("vad"))
    assert len(found) == 2
    (first, second) = [(start / SECOND, end / SECOND) for start, end in found]
    assert first == pytest.approx((2.9, 8.1), abs=0.07)
    assert second == pytest.approx((9.9, 14.1), abs=0.07)


def test_a_short_pause_or_dip_ends_nothing() -> None:
    dips = speech((0.9, 2.5), (0.1, 0.2), (0.9, 2), (0.4, 1.0), (0.9, 2), (0.1, 3))
    assert len(cuts(dips, Segmentation("vad"))) == 1
    assert len(cuts(dips, Segmentation("vad", min_silence=0.1))) == 2


def test_a_word_alone_takes_in_silence() -> None:
    ((start, end),) = cuts(speech((0.1, 3), (0.9, 0.5), (0.1, 5)), Segmentation("vad"))
    assert start / SECOND == pytest.approx(2.9, abs=0.05)
    assert (end - start) / SECOND == pytest.approx(2.0, abs=0.04)
    ((start, end),) = cuts(speech((0.1, 3), (0.9, 0.5)), Segmentation("vad"))
    assert end == frames(3) + frames(0.5), "at the end of the file it reaches back"
    assert (end - start) / SECOND == pytest.approx(2.0, abs=0.04)


def test_a_click_is_no_utterance() -> None:
    assert cuts(speech((0.1, 3), (0.9, 0.1), (0.1, 5)), Segmentation("vad")) == []


def test_speech_in_utterances_shorter_than_a_click_is_not_lost() -> None:
    how = Segmentation("vad", min_seconds=0.1, max_seconds=0.3)
    found = cuts(speech((0.1, 3), (0.9, 5), (0.1, 2)), how)
    inside = sum(min(end, frames(8)) - max(start, frames(3)) for start, end in found)
    assert inside >= frames(5) - frames(0.1)


def test_what_never_pauses_is_cut_at_its_quietest() -> None:
    probabilities = speech((0.9, 15.0), (0.6, 0.2), (0.9, 14.8))
    first, second = cuts(probabilities, Segmentation("vad"))
    assert first[1] == second[0]
    assert frames(15.0) < first[1] < frames(15.2)
    assert second[1] == len(probabilities)


bounds = st.sampled_from([(2.0, 20.0), (0.5, 1.0), (1.0, 6.0)])
spells = st.lists(
    st.tuples(st.sampled_from([0.02, 0.4, 0.6, 0.98]), st.floats(0.05, 9.0)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(bounds=bounds, spells=spells)
def test_utterances_are_bounded_in_order_and_miss_no_speech(
    bounds: tuple[float, float], spells: list[tuple[float, float]]
) -> None:
    how = Segmentation("vad", min_seconds=bounds[0], max_seconds=bounds[1])
    probabilities = speech(*spells)
    found = cuts(probabilities, how)
    total = len(probabilities)
    for (_, end), (start, _) in pairwise(found):
        assert end <= start
    for start, end in found:
        assert 0 <= start < end <= total
        assert end - start <= how.max_seconds * SECOND
        assert end - start >= how.min_seconds * SECOND or end == total
    covered = np.zeros(total, bool)
    for start, end in found:
        covered[start:end] = True
    missed = 0
    for probability, inside in zip(probabilities, covered, strict=True):
        missed = missed + 1 if probability >= 0.5 and not inside else 0
        assert missed < frames(how.min_speech), "speech that is in no utterance"


@needs_vad
def test_probabilities_are_those_of_silero(talk: Path) -> None:
    import torch

    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None and spec.submodule_search_locations
    reference = torch.jit.load(Path(spec.submodule_search_locations[0], "data", "silero_vad.jit"))
    wave = sound.read(str(talk))[: 16_000 * 12 + 100]
    padded = np.pad(wave, (0, -len(wave) % FRAME))
    with torch.inference_mode():
        expected = [
            reference(torch.from_numpy(padded[at : at + FRAME]), 16_000).item()
            for at in range(0, len(padded), FRAME)
        ]
    voice = VoiceActivity()
    for _ in range(2):  # the second time nothing of the first may be left
        voice.reset()
        pieces = [wave[:700], wave[700:50_000], wave[50_000:]]
        found = [*(voice.push(piece) for piece in pieces), voice.flush()]
        assert np.abs(np.concatenate(found) - expected).max() < 1e-4
    assert 0.2 < np.mean(expected) < 0.99


@needs_vad
def test_it_does_without_pytorch() -> None:
    """Which takes seconds to import, and most of the memory."""
    code = (
        "import sys; from lanser_cli.audio.vad import VoiceActivity; VoiceActivity();"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr


@needs_vad
def test_a_wheel_with_other_files_is_one_kind_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from types import SimpleNamespace

    older = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: older)
    with pytest.raises(LanserError, match=r"not the model of silero-vad 6.2.3: run  pip") as caught:
        VoiceActivity()
    assert "\n" not in str(caught.value)


@needs_vad
def test_real_speech(talk: Path) -> None:
    """Four sentences, four utterances, and hardly any of the silence between."""
    found = list(segment([of(talk)], Segmentation("vad", min_silence=1.0), "test"))
    assert len(found) == 4
    whole = sound.read(str(talk))
    for item in found:
        assert isinstance(item, Utterance) and item.duration is not None
        start = round(item.offset * 16_000)
        assert np.array_equal(item.samples, whole[start : start + len(item.samples)])
    seconds = sum(item.duration or 0.0 for item in found if isinstance(item, Utterance))
    assert seconds == pytest.approx(len(whole) / 16_000 - 8.0, abs=1.5)
    assert list(segment([of(talk)], Segmentation("vad", min_silence=1.0), "test"))[2].id == (
        found[2].id
    )


@needs_vad
def test_no_speech_is_dropped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16_000 * 3, np.float32), 16_000)
    assert list(segment([of(path)], Segmentation("vad"), "test")) == [
        Dropped("silence", "no speech")
    ]


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad", None)

    def untouched() -> Iterator[Record]:
        raise AssertionError("a record was read")
        yield

    with pytest.raises(LanserError, match=r"pip install 'lanser\[vad\]'"):
        segment(untouched(), Segmentation("vad"), "test")


# ---------------------------------------------------------------- the command


@pytest.mark.slow
@needs_vad
def test_segments_parts_and_resume(
    lanser: Lanser, talk: Path, tiny_whisper: Path, tmp_path: Path
) -> None:
    model = ("--model", f"whisper:{tiny_whisper}", "--device", "cpu", "--segment", "vad")
    more = (*model, "--max-seconds", "5", "--min-seconds", "1")
    source = write_jsonl(
        tmp_path / "in.jsonl",
        [{"id": "talk", "audio_filepath": str(talk), "mine": 1}, {"id": "gone"}],
    )
    out = tmp_path / "out.jsonl"
    lanser("transcribe", source, *more, "-o", out, check=3)
    whole = out.read_bytes()
    values = read_jsonl(whole)
    assert len(values) > 6
    assert all(value["mine"] == 1 and "text" in value for value in values)
    offsets = [value["offset"] for value in values]
    assert offsets == sorted(offsets)
    parts = [
        read_jsonl(lanser("transcribe", source, *more, "--part", f"{n}/2", check=None).stdout)
        for n in (1, 2)
    ]
    ids = [value["id"] for value in values]
    assert [value["id"] for value in parts[0]] == ids[::2]
    assert [value["id"] for value in parts[1]] == ids[1::2]
    out.unlink()
    lines = whole.splitlines(keepends=True)
    (tmp_path / "out.jsonl.part").write_bytes(b"".join(lines[:3]) + lines[3][:9])
    again = lanser("transcribe", source, *more, "-o", out, "--resume", check=3)
    assert out.read_bytes() == whole
    assert b"3 already done" in again.stderr
    refused = lanser("transcribe", talk, *model[:4], check=3)
    assert b"cut it with --segment vad" in refused.stderr


MEMORY = """
import json, re, sys
from pathlib import Path
from lanser_cli.records import Record
from lanser_cli.audio.segments import Segmentation, segment
record = Record({"id": "a", "audio_filepath": sys.argv[1]})
count = sum(1 for _ in segment([record], Segmentation(sys.argv[2]), "test"))
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
print(json.dumps([count, int(peak[1]) / 1024]))
"""


@pytest.mark.slow
@needs_vad
@pytest.mark.parametrize("method", ["fixed", "vad"])
def test_memory_does_not_grow_with_length(method: str, talk: Path, tmp_path: Path) -> None:
    """Fifteen minutes against two and a half; as float32 they are 48 MB more."""
    if not Path("/proc/self/status").exists():
        pytest.skip("Linux only")
    wave = sound.read(str(talk))
    used = []
    for repeats in (4, 24):
        path = tmp_path / f"{repeats}.flac"
        soundfile.write(path, np.tile(wave, repeats), 16_000)
        command = [sys.executable, "-c", MEMORY, str(path), method]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        count, megabytes = json.loads(result.stdout)
        assert count > repeats
        used.append(megabytes)
    assert used[1] < used[0] + 15
    assert used[1] < 300
