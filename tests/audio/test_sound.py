"""Any container to float32 mono 16 kHz, and every way in which a file is no sound."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ENVIRONMENT, tone, write_jsonl

from lanser_cli.audio import ingest
from lanser_cli.audio.ingest import check_audio_inputs
from lanser_cli.audio.sound import AudioError, Info, decode_bytes, load, probe, read, salvage
from lanser_cli.errors import LanserError
from lanser_cli.records import Record, Reject


def noise(seconds: float = 2.0, rate: int = 16_000) -> np.ndarray:
    """It cannot be compressed, so that a file cut in half has lost half of its sound."""
    generator = np.random.default_rng(0)
    return (0.1 * generator.standard_normal(round(seconds * rate))).astype(np.float32)


def save(path: Path, wave: np.ndarray, rate: int = 16_000, **options: str) -> Path:
    soundfile.write(path, wave, rate, **options)
    return path


def sine(seconds: float, hertz: float, rate: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


# ---------------------------------------------------------------- faults


def missing(folder: Path) -> Path:
    return folder / "missing.wav"


def zero_bytes(folder: Path) -> Path:
    (folder / "zero.wav").touch()
    return folder / "zero.wav"


def zero_length(folder: Path) -> Path:
    return save(folder / "nothing.wav", np.zeros(0, np.float32))


def not_a_number(folder: Path) -> Path:
    wave = tone(0.5)
    wave[100] = np.nan
    return save(folder / "nan.wav", wave, subtype="FLOAT")


def infinite(folder: Path) -> Path:
    wave = tone(0.5)
    wave[100] = -np.inf
    return save(folder / "inf.wav", wave, subtype="FLOAT")


def cut(suffix: str, part: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        whole = save(folder / f"whole.{suffix}", noise())
        path = folder / f"cut.{suffix}"
        path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
        return path

    return make


def text_file(folder: Path) -> Path:
    path = folder / "text.wav"
    path.write_text("dear diary, today I learned what a container is\n" * 40)
    return path


def folder_named_wav(folder: Path) -> Path:
    (folder / "x.wav").mkdir()
    return folder / "x.wav"


def silent_video(folder: Path) -> Path:
    av = pytest.importorskip("av")
    path = folder / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            picture = np.zeros((64, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def link_in_a_circle(folder: Path) -> Path:
    path = folder / "circle.wav"
    path.symlink_to(path)
    return path


def dead_link(folder: Path) -> Path:
    path = folder / "dead.wav"
    path.symlink_to(folder / "gone.wav")
    return path


def huge_promise(folder: Path) -> Path:
    """A FLAC whose header claims 4 billion samples: memory must not be taken on its word."""
    path = save(folder / "huge.flac", noise())
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F
    path.write_bytes(data)
    return path


FAULTS = {
    "missing": (missing, "there is no such file"),
    "0 bytes": (zero_bytes, "the file is empty (0 bytes)"),
    "zero length": (zero_length, "no audio samples in it (zero length)"),
    "NaN": (not_a_number, "NaN or infinite samples in it"),
    "infinite": (infinite, "NaN or infinite samples in it"),
    "cut WAV": (cut("wav", 0.5), "only 0.999 s of the 2.000 s that its header promises"),
    "cut FLAC": (cut("flac", 0.5), "cut off or damaged: not all of the 2.000 s"),
    "header of a WAV": (cut("wav", 0.0005), "not a readable audio or video file"),
    "header of a FLAC": (cut("flac", 0.002), "cut off or damaged"),
    "header of an MP3": (cut("mp3", 0.01), "not a readable audio or video file"),
    "text": (text_file, "not a readable audio or video file"),
    "folder": (folder_named_wav, "is a folder, not an audio file"),
    "video without sound": (silent_video, "has no audio track"),
    "link in a circle": (link_in_a_circle, "a symbolic link that leads nowhere, or in a circle"),
    "dead link": (dead_link, "a symbolic link that leads nowhere"),
    "huge promise": (huge_promise, "cut off or damaged"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_sentence_that_names_the_file(name: str, tmp_path: Path) -> None:
    make, sentence = FAULTS[name]
    path = make(tmp_path)
    with pytest.raises(AudioError) as caught:
        load(Record({"id": "a", "audio_filepath": str(path)}))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert sentence in message
    assert "\n" not in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(tmp_path: Path) -> None:
    path = save(tmp_path / "locked.wav", tone(0.2))
    path.chmod(0)
    with pytest.raises(AudioError, match=r"locked\.wav: may not be read \(permissions\)"):
        read(str(path))


def test_a_record_without_a_path() -> None:
    with pytest.raises(AudioError, match="has no 'audio_filepath'"):
        load(Record({"id": "a"}))


def test_a_cut_mp3_gives_what_is_whole(tmp_path: Path) -> None:
    """The frames of an MP3 stand alone, and its header promises no exact length."""
    whole = read(str(save(tmp_path / "w.mp3", noise())))
    part = read(str(cut("mp3", 0.5)(tmp_path)))
    assert 0.3 * len(whole) < len(part) < 0.7 * len(whole)
    assert np.isfinite(part).all()


def test_the_part_before_the_cut_can_be_had(tmp_path: Path) -> None:
    path = str(cut("wav", 0.5)(tmp_path))
    assert np.array_equal(read(path, 0.25, 0.5), read(path, 0.0, 0.75)[4000:])
    with pytest.raises(AudioError, match="cut off"):
        read(path, 0.5, 1.0)


def test_containers_need_an_extra_and_the_message_names_it(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(shared / "containers" / "1001_DFA_ANG_XX.flv")
    monkeypatch.setitem(sys.modules, "av", None)
    for function in (read, probe):
        with pytest.raises(AudioError, match=re.escape("pip install 'lanser[video]'")) as caught:
            function(path)
        assert str(caught.value).startswith(path)


def test_wav_needs_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert len(read(str(save(tmp_path / "a.wav", tone(0.5))))) == 8000


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_damaged_bytes_raise_nothing_but_audio_errors(suffix: str, tmp_path: Path) -> None:
    whole = save(tmp_path / f"a.{suffix}", noise(0.3)).read_bytes()
    generator = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in generator.integers(0, generator.choice([60, len(whole)]), 3):
            damaged[place] = generator.integers(256)
        try:
            wave = decode_bytes(bytes(damaged), "damaged")
        except AudioError as error:
            assert str(error).startswith("damaged: ")
        else:
            assert len(wave) and np.isfinite(wave).all()


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize(
    ("subtype", "step"),
    [
        ("PCM_U8", 2.0**-7),
        ("PCM_16", 2.0**-15),
        ("PCM_24", 2.0**-23),
        ("PCM_32", 2.0**-23),
        ("FLOAT", 0.0),
        ("DOUBLE", 0.0),
    ],
)
def test_sample_formats(subtype: str, step: float, tmp_path: Path) -> None:
    wave = tone(0.5)
    found = read(str(save(tmp_path / "a.wav", wave, subtype=subtype)))
    assert found.dtype == np.float32
    assert found.shape == wave.shape
    assert np.abs(found - wave).max() <= step


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(channels: int, tmp_path: Path) -> None:
    wave = np.stack([sine(0.5, 100.0 * (c + 1), 16_000) for c in range(channels)], axis=1)
    path = str(save(tmp_path / "a.wav", wave, subtype="FLOAT"))
    assert np.allclose(read(path), wave.mean(axis=1), atol=1e-6)
    assert probe(path) == Info(0.5, 16_000, channels)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 24_414, 44_100, 48_000, 96_000])
def test_resampling_keeps_frequency_level_and_length(rate: int, tmp_path: Path) -> None:
    path = str(save(tmp_path / "a.wav", sine(2.0, 1000.0, rate), rate, subtype="FLOAT"))
    found = read(path)
    assert abs(len(found) - 32_000) <= 1
    middle = found[4_000:28_000]
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.5, rel=0.01)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * 16_000 / len(middle) == pytest.approx(1000.0, abs=1.0)
    expected = sine(2.0, 1000.0, 16_000)[4_000:28_000]
    assert np.abs(middle - expected).max() < 0.01, "shifted in time"


def test_resampling_lets_nothing_alias(tmp_path: Path) -> None:
    """11 kHz cannot be told at 16 kHz; without a filter it would come back as 5 kHz."""
    found = read(str(save(tmp_path / "a.wav", sine(1.0, 11_000.0, 48_000), 48_000)))
    assert np.sqrt(np.mean(found[2_000:-2_000] ** 2)) < 0.005


def test_what_was_written_to_a_pipe_has_no_length_in_its_header(tmp_path: Path) -> None:
    wave = noise(1.0)
    data = bytearray(save(tmp_path / "a.wav", wave).read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "piped.wav").write_bytes(data)
    found = read(str(tmp_path / "piped.wav"))
    assert np.array_equal(found, read(str(tmp_path / "a.wav")))


def test_a_flac_that_was_written_to_a_pipe(tmp_path: Path) -> None:
    pytest.importorskip("av")
    whole = save(tmp_path / "a.flac", noise(1.0))
    data = bytearray(whole.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    piped = tmp_path / "piped.flac"
    piped.write_bytes(data)
    assert np.array_equal(read(str(piped)), read(str(whole)))
    assert probe(str(piped)).duration == pytest.approx(1.0)


def test_wrong_names(shared: Path, tmp_path: Path) -> None:
    """AIFF named .wav, as TESS has it, and a FLAC named .mp3."""
    path = str(shared / "containers" / "507testYAF_germ_angry29.wav")
    assert Path(path).read_bytes().startswith(b"FORM")
    assert len(read(path)) / 16_000 == pytest.approx(probe(path).duration, abs=1e-3)
    flac = save(tmp_path / "a.mp3", tone(0.5), format="FLAC", subtype="PCM_16")
    assert np.abs(read(str(flac)) - tone(0.5)).max() <= 2.0**-15


@pytest.mark.parametrize("suffix", ["flv", "mp3"])
def test_real_containers(suffix: str, shared: Path) -> None:
    if suffix == "flv":
        pytest.importorskip("av")
    paths = sorted((shared / "containers").glob(f"*.{suffix}"))
    assert len(paths) == 6
    for path in paths:
        wave = read(str(path))
        info = probe(str(path))
        assert 1.5 < info.duration < 3.5
        assert len(wave) / 16_000 == pytest.approx(info.duration, abs=0.1)
        assert 0.001 < np.sqrt(np.mean(wave**2)) < 0.5, "silence or noise"


def test_real_rates(shared: Path) -> None:
    path = str(shared / "containers" / "762testOAF_food_fear52.wav")
    assert probe(path).sample_rate == 96_000
    wave = read(path)
    assert len(wave) / 16_000 == pytest.approx(probe(path).duration, abs=1e-3)
    jfk = str(shared / "containers" / "jfk.flac")
    assert len(read(jfk)) == 11 * 16_000
    assert probe(jfk).channels == 2


def test_decoding_from_memory(tmp_path: Path) -> None:
    path = save(tmp_path / "a.flac", tone(0.5))
    assert np.array_equal(decode_bytes(path.read_bytes(), "x"), read(str(path)))
    with pytest.raises(AudioError, match=r"^x: not a readable"):
        decode_bytes(b"nonsense" * 100, "x")


# ---------------------------------------------------------------- offset and duration


@pytest.mark.parametrize(
    ("offset", "duration", "start", "stop"),
    [
        (0.0, None, 0, 32_000),
        (0.5, None, 8_000, 32_000),
        (0.25, 0.5, 4_000, 12_000),
        (0.1234, 0.01, 1_974, 2_134),
        (1.5, 9.0, 24_000, 32_000),
    ],
)
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_slices_are_exact(
    suffix: str, offset: float, duration: float | None, start: int, stop: int, tmp_path: Path
) -> None:
    path = str(save(tmp_path / f"a.{suffix}", noise()))
    assert np.array_equal(read(path, offset, duration), read(path)[start:stop])


def test_slices_of_containers(shared: Path) -> None:
    pytest.importorskip("av")
    path = str(shared / "containers" / "1001_DFA_ANG_XX.flv")
    whole, part = read(path), read(path, 0.5, 1.0)
    assert len(part) == 16_000
    inside = slice(50, -50)  # the resampler sees silence beyond the edges of the slice
    assert np.abs(part - whole[8_000:24_000])[inside].max() < 1e-3
    with pytest.raises(AudioError, match=r"offset 99.0 s lies behind its end at 2.273 s"):
        read(path, 99.0)


@pytest.mark.parametrize("offset", [2.0, 50.0])
def test_offset_behind_the_end(offset: float, tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", noise())
    wanted = f"offset {offset} s lies behind its end at 2.000 s"
    with pytest.raises(AudioError, match=re.escape(wanted)):
        load(Record({"id": "a", "audio_filepath": str(path), "offset": offset}))


# ---------------------------------------------------------------- tar members


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_members_of_a_tar(tmp_path: Path) -> None:
    first = save(tmp_path / "1.flac", tone(0.3, 150)).read_bytes()
    second = save(tmp_path / "2.flac", tone(0.4, 250)).read_bytes()
    tar = archive(tmp_path / "x.tar", {"a.flac": first, "deep/b.flac": second})
    assert np.array_equal(read(f"{tar}#a.flac"), decode_bytes(first, ""))
    assert np.array_equal(read(f"{tar}#deep/b.flac"), decode_bytes(second, ""))
    assert probe(f"{tar}#a.flac").duration == pytest.approx(0.3)
    with pytest.raises(AudioError, match=r"x\.tar: no member 'c\.flac' in it"):
        read(f"{tar}#c.flac")
    with pytest.raises(AudioError, match=r"y\.tar: cannot be read as a tar"):
        read(f"{tmp_path}/y.tar#a.flac")


def test_a_tar_that_was_written_anew_is_read_anew(tmp_path: Path) -> None:
    sounds = [save(tmp_path / f"{n}.flac", tone(0.1 * n)).read_bytes() for n in (2, 3)]
    for sound in sounds:
        tar = archive(tmp_path / "x.tar", {"pad.txt": bytes(len(sound)), "a.flac": sound})
        assert np.array_equal(read(f"{tar}#a.flac"), decode_bytes(sound, ""))


def test_a_hash_in_a_file_name_is_no_member(tmp_path: Path) -> None:
    path = save(tmp_path / "take#1.wav", tone(0.2))
    assert len(read(str(path))) == 3_200
    records = write_jsonl(tmp_path / "in.jsonl", [{"audio_filepath": "take#1.wav"}])
    (record,) = ingest.ingest([str(records)], "test")
    assert isinstance(record, Record)
    assert len(load(record)) == 3_200


# ---------------------------------------------------------------- ingest


def ingested(*inputs: object) -> list[Record | Reject]:
    return list(ingest.ingest(map(str, inputs), "test"))


def test_folders_are_walked_sorted_and_ids_come_from_below_them(tmp_path: Path) -> None:
    for name in ("b/2.wav", "b/10.flac", "a/z.ogg", "c.WAV", "b/notes.txt", "a/.DS_Store"):
        path = tmp_path / "speech" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".wav", ".flac", ".ogg"):
            soundfile.write(path, tone(0.2), 16_000, format=path.suffix[1:].upper())
        else:
            path.write_text("no sound")
    found = ingested(tmp_path / "speech")
    assert [item.id for item in found] == ["c", "a_z", "b_10", "b_2"]
    assert all(isinstance(item, Record) and item.duration == 0.2 for item in found)
    (tmp_path / "speech").rename(tmp_path / "moved")
    assert [item.id for item in ingested(tmp_path / "moved")] == ["c", "a_z", "b_10", "b_2"]


def test_globs_and_files(clips: Path, tmp_path: Path) -> None:
    ids = [item.id for item in ingested(clips / "clip-0[13].wav", clips / "clip-00.wav")]
    assert ids == ["clip-01", "clip-03", "clip-00"]
    for name in ("b", "b/deep", "a"):
        (tmp_path / name).mkdir()
        save(tmp_path / name / f"{name[-1]}1.wav", tone(0.2))
        save(tmp_path / name / f"{name[-1]}22.wav", tone(0.2))
    assert [item.id for item in ingested(tmp_path / "**" / "?1.wav")] == ["a1", "b1", "p1"]


def test_a_bad_file_in_a_folder_is_one_reject(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", tone(0.2))
    text_file(tmp_path)
    save(tmp_path / "z.wav", tone(0.2))
    good, bad, last = ingested(tmp_path)
    assert isinstance(good, Record) and isinstance(last, Record)
    assert isinstance(bad, Reject)
    assert (bad.id, bad.stage) == ("text", "test")
    assert "not a readable audio" in bad.error


def test_jsonl_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", tone(0.3))
    records = write_jsonl(tmp_path / "in.jsonl", [{"id": "x", "audio_filepath": "a.wav"}, {}])
    record, reject = ingested(records)
    assert isinstance(record, Record) and len(load(record)) == 4_800
    assert isinstance(reject, Reject) and "in.jsonl:2:" in reject.error


def test_names_that_are_not_ascii(tmp_path: Path) -> None:
    save(tmp_path / "Grüße 你好.wav", tone(0.2))
    save(tmp_path / "Grüße 你們.wav", tone(0.2))
    found = ingested(tmp_path)
    assert all(isinstance(item, Record) for item in found)
    ids = [item.id for item in found]
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", str(identifier)) for identifier in ids)
    assert [item.id for item in ingested(tmp_path)] == ids
    assert all(len(load(item)) == 3_200 for item in found if isinstance(item, Record))


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    plain = save(tmp_path / "a.wav", tone(0.2))
    try:
        os.rename(plain, os.fsencode(tmp_path) + b"/caf\xe9.wav")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (reject,) = ingested(tmp_path)
    assert isinstance(reject, Reject)
    assert "file name is not UTF-8: rename it" in reject.error
    reject.error.encode("utf-8")


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", tone(0.2))
    link_in_a_circle(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path)
    record, reject = ingested(tmp_path)
    assert isinstance(record, Record) and record.id == "a"
    assert isinstance(reject, Reject) and "in a circle" in reject.error


def test_inputs_are_checked_before_anything_is_read(tmp_path: Path, clips: Path) -> None:
    check_audio_inputs(["-", str(clips), str(clips / "*.wav"), str(clips / "clip-00.wav")])
    with pytest.raises(LanserError, match="no audio file in this folder or below it"):
        check_audio_inputs([str(tmp_path)])
    for name in ("missing.wav", "*.wav"):
        with pytest.raises(LanserError, match="there is no such file or folder"):
            check_audio_inputs([str(tmp_path / name)])


def test_importing_this_room_loads_no_heavy_library() -> None:
    code = "import sys, lanser_cli.audio; print([m for m in ('torch', 'scipy', 'soundfile', 'av') "
    code += "if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    assert result.stdout.strip() == "[]", result.stderr


# ---------------------------------------------------------------- sound that is odd, not broken


def silence(folder: Path) -> Path:
    return save(folder / "odd.wav", np.zeros(16_000, np.float32))


def only_noise(folder: Path) -> Path:
    return save(folder / "odd.flac", noise(1.0))


def ten_milliseconds(folder: Path) -> Path:
    return save(folder / "odd.wav", tone(0.01))


def six_channels(folder: Path) -> Path:
    return save(folder / "odd.wav", np.stack([tone(0.5)] * 6, axis=1))


def wrong_extension(folder: Path) -> Path:
    return save(folder / "odd.mp3", tone(0.5), format="FLAC", subtype="PCM_16")


def one_bit(folder: Path) -> Path:
    """DSD in a DSF container: 1 bit a sample, 2.8 MHz."""
    data = bytes([0x69]) * 4096 * 86
    header = b"DSD " + (28).to_bytes(8, "little") + (92 + len(data)).to_bytes(8, "little")
    header += bytes(8)
    numbers = (1, 0, 1, 1, 2_822_400, 1)
    form = b"fmt " + (52).to_bytes(8, "little")
    form += b"".join(number.to_bytes(4, "little") for number in numbers)
    form += (8 * len(data)).to_bytes(8, "little") + (4096).to_bytes(4, "little") + bytes(4)
    sound = b"data" + (12 + len(data)).to_bytes(8, "little") + data
    (folder / "odd.dsf").write_bytes(header + form + sound)
    return folder / "odd.dsf"


ODD = {
    "silence": silence,
    "noise": only_noise,
    "10 ms": ten_milliseconds,
    "6 channels": six_channels,
    "wrong extension": wrong_extension,
    "1 bit": one_bit,
}


@pytest.mark.parametrize("name", ODD)
def test_odd_sound_is_decoded(name: str, tmp_path: Path) -> None:
    if name == "1 bit":
        pytest.importorskip("av")
    path = str(ODD[name](tmp_path))
    wave = read(path)
    assert len(wave) / 16_000 == pytest.approx(probe(path).duration, abs=0.01)
    assert np.isfinite(wave).all()
    whole, is_cut = salvage(Record({"id": "a", "audio_filepath": path}))
    assert np.array_equal(whole, wave) and not is_cut


def test_a_corrupt_video(shared: Path, tmp_path: Path) -> None:
    """Damage in the middle, or an end that is missing: some sound or one sentence, never more."""
    pytest.importorskip("av")
    whole = (shared / "containers" / "1001_DFA_ANG_XX.flv").read_bytes()
    generator = np.random.default_rng(2)
    kept = 0
    for trial in range(12):
        data = bytearray(whole)
        if trial % 2:
            data = data[: round(len(data) * generator.uniform(0.02, 0.9))]
        else:
            start = generator.integers(0, len(data) - 4000)
            data[start : start + 4000] = generator.bytes(4000)
        path = tmp_path / f"{trial}.flv"
        path.write_bytes(data)
        try:
            wave, _ = salvage(Record({"id": "a", "audio_filepath": str(path)}))
        except AudioError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        else:
            kept += 1
            assert len(wave) and np.isfinite(wave).all()
    assert kept > 2
