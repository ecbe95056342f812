"""The decoders: sample formats, containers, and the same three functions of both."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from conftest import tone
from sounds import noise, save, sine, text_file

from lanser_cli.audio import libsndfile, pyav
from lanser_cli.audio.decoder import Block, Unsupported, on_seconds, regroup
from lanser_cli.audio.sound import AudioError, CutOff, Info, probe, read, stream
from lanser_cli.audio.source import Source

# ---------------------------------------------------------------- the functions of both


@pytest.fixture(params=["libsndfile", "pyav"])
def decoder(request: pytest.FixtureRequest) -> ModuleType:
    if request.param == "pyav":
        pytest.importorskip("av")
    return {"libsndfile": libsndfile, "pyav": pyav}[request.param]


@pytest.fixture
def stereo(tmp_path: Path) -> tuple[Source, np.ndarray]:
    """A WAV of 2 s in two channels at 22.05 kHz, and what is in it."""
    wave = np.stack([sine(2.0, hertz, 22_050) for hertz in (300, 500)], axis=1)
    return Source(str(save(tmp_path / "a.wav", wave, 22_050, subtype="FLOAT"))), wave


def test_probe(decoder: ModuleType, stereo: tuple[Source, np.ndarray]) -> None:
    assert decoder.probe(stereo[0]) == Info(2.0, 22_050, 2)


@pytest.mark.parametrize(
    ("offset", "duration", "start", "stop"),
    [(0.0, None, 0, 44_100), (0.5, None, 11_025, 44_100), (1.0007, 0.3337, 22_065, 29_423)],
)
def test_load_and_stream_give_the_same_frames(
    decoder: ModuleType,
    stereo: tuple[Source, np.ndarray],
    offset: float,
    duration: float | None,
    start: int,
    stop: int,
) -> None:
    source, wave = stereo
    frames, rate = decoder.load(source, offset, duration)
    assert (frames.dtype, rate) == (np.float32, 22_050)
    assert np.array_equal(frames, wave[start:stop])
    blocks = list(decoder.stream(source, offset, duration, 0.1))
    assert len(blocks) > 1 and {rate for _, rate in blocks} == {22_050}
    assert np.array_equal(np.concatenate([frames for frames, _ in blocks]), wave[start:stop])


def test_sound_in_memory_is_decoded_as_in_a_file(
    decoder: ModuleType, stereo: tuple[Source, np.ndarray]
) -> None:
    source, wave = stereo
    member = Source("x.tar#a.wav", Path(source.path).read_bytes())
    assert np.array_equal(decoder.load(member, 0.0, None).frames, wave)
    assert decoder.probe(member) == decoder.probe(source)


def test_an_offset_behind_the_end(decoder: ModuleType, stereo: tuple[Source, np.ndarray]) -> None:
    for read_it in (decoder.load, lambda *span: list(decoder.stream(*span, 1.0))):
        with pytest.raises(AudioError, match=r"offset 3.0 s lies behind its end at 2.000 s"):
            read_it(stereo[0], 3.0, None)


def test_a_duration_without_a_sample(
    decoder: ModuleType, stereo: tuple[Source, np.ndarray]
) -> None:
    with pytest.raises(AudioError, match=r"a duration of 1e-05 s holds no sample"):
        decoder.load(stereo[0], 1.0, 1e-5)


def test_what_is_no_sound(decoder: ModuleType, tmp_path: Path) -> None:
    """libsndfile leaves it to PyAV, which has the last word."""
    source = Source(str(text_file(tmp_path)))
    wanted = AudioError if decoder is pyav else Unsupported
    for function in (decoder.load, lambda *span: list(decoder.stream(*span, 1.0))):
        with pytest.raises(wanted):
            function(source, 0.0, None)
    with pytest.raises(wanted):
        decoder.probe(source)


def test_a_container_that_is_cut_off(tmp_path: Path) -> None:
    """The blocks before the cut come first; its header says how long it should be."""
    av = pytest.importorskip("av")
    path = tmp_path / "a.m4a"
    samples = np.rint(noise(4.0) * 32767).astype(np.int16)
    with av.open(str(path), "w", format="ipod", options={"movflags": "faststart"}) as container:
        track = container.add_stream("alac", rate=16_000, layout="mono")
        for at in range(0, len(samples), 4_000):
            part = samples[None, at : at + 4_000]
            frame = av.AudioFrame.from_ndarray(part, format="s16p", layout="mono")
            frame.sample_rate = 16_000
            container.mux(track.encode(frame))
        container.mux(track.encode())
    source = Source(str(path))
    whole = pyav.load(source, 0.0, None).frames
    assert np.array_equal(whole[:, 0], samples / np.float32(32768))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CutOff, match="cut off or damaged"):
        pyav.load(source, 0.0, None)
    blocks = []
    with pytest.raises(CutOff, match=r"only [12]\.\d+ s of the 4.000 s that its header promises"):
        for block in pyav.stream(source, 0.0, None, 0.5):
            blocks.append(block.frames)
    found = np.concatenate(blocks)
    assert 1.0 < len(found) / 16_000 < 3.0
    assert np.array_equal(found, whole[: len(found)])


@pytest.mark.parametrize("channels", [1, 2])
def test_a_fault_comes_behind_all_that_was_decoded_before_it(channels: int) -> None:
    """However blocks are regrouped: none is held back, and nothing is given twice."""
    wave = noise(2.75)[:, None].repeat(channels, axis=1)

    def damaged() -> Iterator[Block]:
        for at in range(0, len(wave), 4_000):
            yield Block(wave[at : at + 4_000], 16_000)
        raise CutOff("cut off")

    for regrouped in (regroup(damaged(), 1.0), on_seconds(damaged(), 0.5)):
        found = []
        with pytest.raises(CutOff):
            for block in regrouped:
                found.append(block.frames)
        assert np.array_equal(np.concatenate(found), wave)


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


@pytest.mark.parametrize("suffix", ["flv", "mp3"])
def test_containers_in_pieces(suffix: str, shared: Path) -> None:
    if suffix == "flv":
        pytest.importorskip("av")
    path = str(sorted((shared / "containers").glob(f"*.{suffix}"))[0])
    joined = np.concatenate(list(stream(path, seconds=0.3)))
    whole = read(path)
    assert joined.shape == whole.shape
    assert np.abs(joined - whole).max() < 1e-6


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


def test_a_file_that_ctrl_c_comes_behind_the_closing_of_is_freed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, freed = soundfile._snd, []

    class Interrupted:
        def __getattr__(self, name: str) -> object:
            return getattr(library, name)

        def sf_close(self, file: object) -> int:
            freed.append(library.sf_close(file))
            raise KeyboardInterrupt

    file = libsndfile.File(str(save(tmp_path / "a.wav", noise(0.1))))
    monkeypatch.setattr(soundfile, "_snd", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        file.close()
    file.close()
    assert freed == [0]
