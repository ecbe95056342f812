"""Every way in which a file is no sound, or only part of it; and sound that is odd, not broken."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ENVIRONMENT, tone
from sounds import cut, link_in_a_circle, noise, save, sine, text_file

from lanser_cli.audio import mp3, remainder
from lanser_cli.audio.ingest import ingest
from lanser_cli.audio.remainder import _flac_frames
from lanser_cli.audio.resampler import resample
from lanser_cli.audio.segments import Segmentation, segment
from lanser_cli.audio.sound import (
    AudioError,
    CutOff,
    load,
    load_available,
    load_int16,
    probe,
    read,
    stream,
)
from lanser_cli.records import Record, Reject

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


def rate_of(hertz: int) -> Callable[[Path], Path]:
    """A WAV whose header gives a rate that it does not have."""

    def make(folder: Path) -> Path:
        path = save(folder / "rate.wav", noise(1.0))
        data = bytearray(path.read_bytes())
        data[24:28] = hertz.to_bytes(4, "little")
        path.write_bytes(data)
        return path

    return make


def flac_of(samples: int, seconds: float = 2.0) -> Callable[[Path], Path]:
    """A FLAC whose header gives a number of samples that it does not have."""

    def make(folder: Path) -> Path:
        path = save(folder / "count.flac", noise(seconds))
        data = bytearray(path.read_bytes())
        packed = int.from_bytes(data[18:26], "big") >> 36 << 36 | samples
        data[18:26] = packed.to_bytes(8, "big")
        path.write_bytes(data)
        return path

    return make


def float_of(value: float) -> Callable[[Path], Path]:
    """Two channels of which one has a sample that no recorder writes."""

    def make(folder: Path) -> Path:
        wave = np.zeros((1600, 2), np.float32)
        wave[800] = value, value
        return save(folder / "float.wav", wave, subtype="FLOAT")

    return make


def metadata_alone(folder: Path) -> Path:
    """What a recorder leaves that dies before the first frame is out."""
    data = save(folder / "whole.flac", noise()).read_bytes()
    at, last = 4, False
    while not last:
        last, at = bool(data[at] & 0x80), at + 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    path = folder / "alone.flac"
    path.write_bytes(data[:at])
    return path


FAULTS = {
    "missing": (missing, "there is no such file"),
    "0 bytes": (zero_bytes, "the file is empty (0 bytes)"),
    "zero length": (zero_length, "no audio samples in it (zero length)"),
    "NaN": (not_a_number, "NaN, infinite or huge samples in it"),
    "infinite": (infinite, "NaN, infinite or huge samples in it"),
    "huge": (float_of(3e38), "NaN, infinite or huge samples in it"),
    "1e30": (float_of(1e30), "NaN, infinite or huge samples in it"),
    "cut WAV": (cut("wav", 0.5), "only 0.999 s of the 2.000 s that its header promises"),
    "cut FLAC": (cut("flac", 0.5), "cut off or damaged: not all of the 2.000 s"),
    "header of a WAV": (cut("wav", 0.0005), "not a readable audio or video file"),
    "header of a FLAC": (cut("flac", 0.002), "cut off or damaged"),
    "metadata of a FLAC": (metadata_alone, "cut off or damaged: not all of the 2.000 s"),
    "header of an MP3": (cut("mp3", 0.01), "not a readable audio or video file"),
    "text": (text_file, "is no sound but a text"),
    "1 Hz": (rate_of(1), "a sample rate of 1 Hz, but sound has 1000 to 768000 Hz"),
    "10 MHz": (rate_of(10_000_019), "a sample rate of 10000019 Hz"),
    "1 GHz": (rate_of(999_999_937), "a sample rate of 999999937 Hz"),
    "2^36 samples": (flac_of((1 << 36) - 1), "cut off or damaged"),
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
    folder = tmp_path / "locked"
    folder.mkdir(0)
    for name in (path, folder, folder / "a.wav"):
        with pytest.raises(AudioError, match=r"locked.*: may not be read \(permissions\)"):
            read(str(name))


def test_a_record_without_a_path() -> None:
    with pytest.raises(AudioError, match="has no 'audio_filepath'"):
        load(Record({"id": "a"}))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_damaged_bytes_raise_nothing_but_audio_errors(suffix: str, tmp_path: Path) -> None:
    whole = save(tmp_path / f"a.{suffix}", noise(0.3)).read_bytes()
    path = tmp_path / f"damaged.{suffix}"
    generator = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in generator.integers(0, generator.choice([60, len(whole)]), 3):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            wave = read(str(path))
        except AudioError as error:
            assert str(error).startswith(f"{path}: ")
        else:
            assert len(wave) and np.isfinite(wave).all()


LYING = {name: FAULTS[name] for name in ("1 Hz", "10 MHz", "1 GHz", "2^36 samples")}


@pytest.mark.parametrize("name", LYING)
def test_a_header_that_lies_takes_no_memory(name: str, tmp_path: Path) -> None:
    """Read whole, in pieces, as 16-bit samples, and its header alone, within 1 GB of addresses."""
    make, sentence = LYING[name]
    path = str(make(tmp_path))
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from lanser_cli.audio import sound
record = sound.Record({{"id": "a", "audio_filepath": {path!r}}})
for function in (sound.load, sound.load_int16, lambda _: list(sound.stream({path!r}))):
    try:
        print(len(function(record)))
    except sound.AudioError as error:
        print(error)
    except MemoryError:
        print("MemoryError")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT},
        timeout=60,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all(sentence in line for line in lines), done


@pytest.mark.parametrize("rate", [1_000, 11_127, 44_101, 191_999, 767_999, 768_000])
def test_odd_rates_keep_speed_and_pitch(rate: int, tmp_path: Path) -> None:
    path = str(save(tmp_path / "a.wav", sine(0.5, 220, rate), rate))
    wave = read(path)
    assert len(wave) == pytest.approx(8_000, abs=1)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 160_000))
    assert np.argmax(spectrum) / 10 == pytest.approx(220, abs=0.3)
    assert np.abs(np.concatenate(list(stream(path, seconds=0.1))) - wave).max() < 1e-6


def test_a_thousand_channels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", np.repeat(tone(0.1)[:, None], 1_000, axis=1), subtype="FLOAT")
    assert np.allclose(read(str(path)), tone(0.1), atol=1e-6)


# ---------------------------------------------------------------- sound that is cut off


@pytest.mark.parametrize("suffix", ["wav", "w64", "rf64", "aiff", "au", "flac", "mp3"])
def test_a_cut_file_that_was_found_in_a_folder_is_said_to_be_cut(
    suffix: str, tmp_path: Path
) -> None:
    """Its length is what its header promises, so that who reads so far learns what is missing."""
    (record,) = ingest([str(cut(suffix, 0.5, seconds=5.0)(tmp_path))], "x")
    assert isinstance(record, Record) and record.duration == pytest.approx(5.0, abs=0.001)
    with pytest.raises(CutOff):
        load(record)
    wave, is_cut = load_available(record)
    assert is_cut and 1.5 < len(wave) / 16_000 < 3.0
    *found, reject = segment([record], Segmentation("fixed"), "x")
    assert len(found) == 1 and isinstance(reject, Reject) and "cut off" in reject.error


@pytest.mark.parametrize("suffix", ["ogg", "opus", "caf"])
def test_a_cut_file_whose_length_is_not_known_is_said_to_be_cut(
    suffix: str, tmp_path: Path
) -> None:
    """Also for the seconds that it is thought to have; a part before the cut is there."""
    if suffix == "caf":
        pytest.importorskip("av")
    whole = tmp_path / f"whole.{suffix}"
    how = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    data = save(whole, noise(5.0), **how).read_bytes()
    for size in (len(data) // 2, len(data) - len(data) // 5):
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(data[:size])
        for fields in ({}, {"duration": probe(str(path)).duration}):
            wave, is_cut = load_available(
                Record({"id": "a", "audio_filepath": str(path), **fields})
            )
            assert is_cut and 1.0 < len(wave) / 16_000 < 4.5
        assert len(read(str(path), 0.25, 0.5)) == 8_000
    assert len(read(str(whole))) == 80_000


def test_an_ogg_that_ends_with_a_page_is_whole(tmp_path: Path) -> None:
    """A stream that was recorded has no last page that says that it is the last."""
    path = save(tmp_path / "a.ogg", noise(5.0))
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"OggS")])
    wave, is_cut = load_available(Record({"id": "a", "audio_filepath": str(path)}))
    assert not is_cut and len(wave) > 16_000
    for more in (b"Og", data[data.rindex(b"OggS") :][:27]):
        path.write_bytes(data[: data.rindex(b"OggS")] + more)
        with pytest.raises(CutOff):
            read(str(path))


def mp3_of(*parts: np.ndarray) -> bytes:
    """An MP3 of variable bit rate."""
    buffer = io.BytesIO()
    how = {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.2}
    with soundfile.SoundFile(buffer, "w", 16_000, 1, **how) as file:
        file.write(np.concatenate(parts))
    return buffer.getvalue()


def test_all_of_an_mp3_is_read_that_is_longer_than_its_first_frames_say(tmp_path: Path) -> None:
    """Two that were joined, and one without a header that counts its frames."""
    pytest.importorskip("av")
    data = mp3_of(noise(3.0), np.zeros(112_000, np.float32))
    size, _ = mp3._frame(data[:10])
    for found, seconds in ((data, 10.0), (data + data, 20.0), (data[size:], 10.0)):
        path = tmp_path / "a.mp3"
        path.write_bytes(found)
        assert len(read(str(path))) / 16_000 == pytest.approx(seconds, abs=0.3)
        assert probe(str(path)).duration == pytest.approx(seconds, abs=0.3)


@pytest.mark.parametrize("lost", [400, 3000])
@pytest.mark.parametrize("where", [0.25, 0.5])
def test_the_end_of_a_damaged_mp3_is_not_lost_in_silence(
    tmp_path: Path, lost: int, where: float
) -> None:
    """Without a header that counts its frames libsndfile takes the guessed end for the true one."""
    data = mp3_of(noise(3.0), np.zeros(112_000, np.float32))
    data = data[mp3._frame(data[:10])[0] :]
    at = int(where * len(data))
    damaged = data[:at] + data[at + lost :]
    most = 16 * lost + mp3.SLACK  # at 8 kbit/s
    tag = b"TAG" + bytes([0xFF, 0xFB]) * 62 + b"."  # looks like headers, and is none
    assert mp3.samples(io.BytesIO(damaged + tag)) >= mp3.samples(io.BytesIO(data)) - most
    path = tmp_path / "a.mp3"
    path.write_bytes(damaged)
    with pytest.raises(CutOff):
        read(str(path))


def test_an_mp3_is_not_said_to_be_as_long_as_its_first_frames_say(tmp_path: Path) -> None:
    """One without a header that counts its frames, which begins with silence."""
    data = mp3_of(np.zeros(48_000, np.float32), noise(10.0))
    size, _ = mp3._frame(data[:10])
    path = tmp_path / "a.mp3"
    path.write_bytes(data[size:])
    with soundfile.SoundFile(path) as file:
        assert file.frames > 40 * 16_000, "what libsndfile guesses"
    assert probe(str(path)).duration == len(read(str(path))) / 16_000
    assert probe(str(path)).duration == pytest.approx(13.0, abs=0.3)


def test_the_part_before_the_cut_can_be_had(tmp_path: Path) -> None:
    path = str(cut("wav", 0.5)(tmp_path))
    assert np.array_equal(read(path, 0.25, 0.5), read(path, 0.0, 0.75)[4000:])
    with pytest.raises(AudioError, match="cut off"):
        read(path, 0.5, 1.0)


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_what_is_left_of_a_cut_file(suffix: str, tmp_path: Path) -> None:
    """It is decoded as far as it goes, and said to be cut off."""
    path = cut(suffix, 0.5, seconds=10.0)(tmp_path)
    whole = tmp_path / f"whole.{suffix}"
    for name, expected in ((whole, False), (path, True)):
        for fields in ({}, {"duration": 10.0}):
            record = Record({"id": "a", "audio_filepath": str(name), **fields})
            wave, is_cut = load_available(record)
            assert is_cut is expected
            assert (4.0 < len(wave) / 16_000 < 6.0) is expected
    record = Record({"id": "a", "audio_filepath": str(path), "duration": 2.0})
    wave, is_cut = load_available(record)
    assert (len(wave), is_cut) == (32_000, False), "what was asked for is there"


def chain(subtype: str) -> Callable[[Path], Path]:
    """Ogg streams one after the other, as web radio writes them."""

    def make(folder: Path) -> Path:
        path = folder / "chain.ogg"
        parts = [tone(1.0), noise(0.5), tone(0.2)]
        path.write_bytes(
            b"".join(
                save(folder / "one.ogg", wave, format="OGG", subtype=subtype).read_bytes()
                for wave in parts
            )
        )
        return path

    return make


def wav_of(promised: int, more: bytes = b"") -> Callable[[Path], Path]:
    """Two seconds of sound, of which the header promises so many bytes; and what is behind."""

    def make(folder: Path) -> Path:
        path = save(folder / "more.wav", noise())
        data = path.read_bytes()
        path.write_bytes(data[:40] + promised.to_bytes(4, "little") + data[44:] + more)
        return path

    return make


BEYOND = {
    "WAV": (wav_of(16_000), "its header promises 0.500 s, and 1.500 s lie behind"),
    "WAV of a recorder that died": (wav_of(0), "its header promises 0.000 s, and 2.000 s lie"),
    "WAVs joined": (
        lambda folder: wav_of(64_000, wav_of(64_000)(folder).read_bytes())(folder),
        "its header promises 2.000 s, and 2.001 s lie behind",
    ),
    "Vorbis": (chain("VORBIS"), "a chain of several Ogg streams, of which only the first, 1.000 s"),
    "Opus": (chain("OPUS"), "a chain of several Ogg streams, of which only the first, 1.000 s"),
    "FLAC": (flac_of(8_000), "holds 2.000 s, but its header promises 0.500 s"),
    "FLAC, a little": (flac_of(31_990), "holds 2.000 s, but its header promises 1.999 s"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_sound_behind_the_end_that_a_header_speaks_of_is_not_left_out_in_silence(
    name: str, tmp_path: Path
) -> None:
    make, sentence = BEYOND[name]
    path = str(make(tmp_path))
    record = Record({"id": "a", "audio_filepath": path, "duration": 0.1})
    functions = (lambda _: probe(path), lambda _: list(stream(path)), load, load_int16)
    for function in (*functions, load_available):
        with pytest.raises(AudioError, match=re.escape(f"{path}: {sentence}")):
            function(record)


@pytest.mark.parametrize(
    "more",
    [
        bytes(100_000),
        b"TAG" + 125 * b"a",
        b"ID3\4" + 9_999 * b"a",
        b"LIST\x0c\0\0\0INFOISFT\0\0\0\0",
        b"LIST\xff\0\0\0INFO",
    ],
)
def test_a_whole_wav_may_have_tags_and_zeros_behind_it(more: bytes, tmp_path: Path) -> None:
    assert len(read(str(wav_of(64_000, more)(tmp_path)))) == 32_000


def test_a_whole_ogg_is_no_chain(tmp_path: Path) -> None:
    for subtype in ("VORBIS", "OPUS"):
        wave = read(str(save(tmp_path / "a.ogg", noise(30.0), format="OGG", subtype=subtype)))
        assert len(wave) == 30 * 16_000


def test_the_pages_of_an_ogg_are_walked_once_a_reading(tmp_path: Path, monkeypatch) -> None:
    """Of a recording of hours they are many; a chain and a torn end are told in the same pass."""
    path, walks = str(save(tmp_path / "a.ogg", noise(1.0))), []
    pages = remainder._pages
    monkeypatch.setattr(remainder, "_pages", lambda stream: walks.append(1) or pages(stream))
    for number, function in enumerate((read, probe, lambda path: list(stream(path))), 1):
        function(path)
        assert len(walks) == number


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 12_345])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_whole_flac_is_not_taken_for_one_that_promises_less(
    rate: int, subtype: str, channels: int, tmp_path: Path
) -> None:
    for seconds in (0.01, 0.5, 3.0):
        wave = np.stack([noise(seconds, rate)] * channels, axis=1)
        path = save(tmp_path / "a.flac", wave, rate, subtype=subtype)
        for tag in (b"", b"TAG" + bytes(125)):
            path.write_bytes(path.read_bytes() + tag)
            with path.open("rb") as stream_of:
                assert _flac_frames(stream_of) == len(wave)


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
            wave, _ = load_available(Record({"id": "a", "audio_filepath": str(path)}))
        except AudioError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        else:
            kept += 1
            assert len(wave) and np.isfinite(wave).all()
    assert kept > 2


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


# ---------------------------------------------------------------- sound that is odd, not broken


def silence(folder: Path) -> Path:
    return save(folder / "odd.wav", np.zeros(16_000, np.float32))


def only_noise(folder: Path) -> Path:
    return save(folder / "odd.flac", noise(1.0))


def ten_milliseconds(folder: Path) -> Path:
    return save(folder / "odd.wav", tone(0.01))


def antiphase(folder: Path) -> Path:
    """One voice in two channels, one of them upside down."""
    return save(folder / "odd.wav", np.stack([tone(0.5), -tone(0.5)], axis=1))


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
    "antiphase": antiphase,
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
    whole, is_cut = load_available(Record({"id": "a", "audio_filepath": path}))
    assert np.array_equal(whole, wave) and not is_cut


def test_channels_that_cancel_out_are_not_taken_for_silence(tmp_path: Path) -> None:
    path = str(antiphase(tmp_path))
    assert np.abs(read(path) - tone(0.5)).max() < 1e-4
    assert np.array_equal(np.concatenate(list(stream(path, seconds=0.05))), read(path))
    wide = np.stack([tone(0.5), noise(0.5)], axis=1)
    found = read(str(save(tmp_path / "wide.wav", wide, subtype="FLOAT")))
    assert np.allclose(found, wide.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_channels_that_cancel_out_in_a_part_are_heard_alike_whole_in_parts_and_in_pieces(
    rate: int, tmp_path: Path
) -> None:
    left = noise(6.0, rate)
    right = np.where(np.arange(len(left)) < 3 * rate, left, -left)  # a cable is changed
    path = str(save(tmp_path / "a.wav", np.stack([left, right], axis=1), rate, subtype="FLOAT"))
    whole = read(path)
    assert np.abs(whole - resample(left, rate)).max() < 1e-5
    for seconds in (0.3, 2.5):
        assert np.abs(np.concatenate(list(stream(path, seconds=seconds))) - whole).max() < 1e-5
    part = read(path, 2.5, 2.25)
    pieces = np.concatenate(list(stream(path, 2.5, 2.25, seconds=0.4)))
    assert np.abs(part - pieces).max() < 1e-5
    middle = slice(1_000, 35_000)  # a filter hears no neighbours at an edge
    assert np.abs(part[middle] - whole[40_000:76_000][middle]).max() < 1e-5


def test_what_is_slow_to_import_is_imported_when_it_is_needed() -> None:
    code = "import sys; from lanser_cli.audio import ingest, segments, sound, utterance;"
    code += "print([name for name in ('torch', 'scipy', 'av') if name in sys.modules])"
    environment = {**os.environ, **ENVIRONMENT}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert result.stdout.strip() == "[]", result.stderr
