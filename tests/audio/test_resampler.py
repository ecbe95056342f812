"""To mono at 16 kHz: level, frequency and length stay, in one piece and in many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import noise, save, sine

from lanser_cli.audio import sound
from lanser_cli.audio.resampler import Resampler, mono, resample
from lanser_cli.audio.sound import read


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


@pytest.mark.parametrize("rate", [16_000, 8_000, 22_050, 24_414, 44_100, 48_000])
def test_in_pieces_as_in_one(rate: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "a.wav"
    wave = (0.1 * generator.standard_normal((round(3.3 * rate), 2))).astype(np.float32)
    soundfile.write(path, wave, rate, subtype="FLOAT")
    pieces = list(sound.stream(str(path), seconds=0.7))
    assert len(pieces) > 3
    whole = sound.read(str(path))
    joined = np.concatenate(pieces)
    assert joined.shape == whole.shape
    assert np.abs(joined - whole).max() < 1e-6
    part = np.concatenate(list(sound.stream(str(path), 0.5, 1.25, seconds=0.4)))
    assert np.abs(part - sound.read(str(path), 0.5, 1.25)).max() < 1e-6


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_414, 44_100, 96_000])
@pytest.mark.parametrize("length", [1, 100, 5_000, 30_000])
def test_pieces_of_any_size_give_what_the_whole_gives(rate: int, length: int) -> None:
    wave = noise(1.0, length)
    whole = resample(wave, rate)
    for size in (1_000, 7_777):
        resampler = Resampler(rate)
        pieces = [resampler.push(wave[at : at + size]) for at in range(0, length, size)]
        found = np.concatenate([*pieces, resampler.flush()])
        assert found.shape == whole.shape
        assert np.abs(found - whole).max() < 1e-6


def test_sound_at_16_khz_is_not_copied() -> None:
    wave = noise(0.1)
    assert resample(wave, 16_000) is wave
    assert Resampler(16_000).push(wave) is wave
    assert np.shares_memory(mono(wave[:, None], "x"), wave)
