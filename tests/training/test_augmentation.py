"""Perturbed crops: as loud, as noisy and as fast as asked for, and the same on every rank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import Lanser

from lanser_cli.audio.silence import sounding
from lanser_cli.errors import UsageError
from lanser_cli.records import Record
from lanser_cli.training.augmentation import Augmentation, parse_range, stretched
from lanser_cli.training.batches import Crops
from lanser_cli.training.examples import Example


def power(wave: np.ndarray) -> float:
    return float(np.mean(np.square(wave.astype(np.float64))))


@pytest.fixture
def wave() -> np.ndarray:
    """Two seconds of 200 Hz with a beat of 4 Hz, int16."""
    time = np.arange(32_000) / 16_000
    beats = 1 + 0.5 * np.sin(2 * np.pi * 4 * time)
    return (3_000 * np.sin(2 * np.pi * 200 * time) * beats).astype(np.int16)


def peak(wave: np.ndarray, low: float, high: float) -> float:
    """The strongest frequency between two, Hz."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 18))
    hertz = np.fft.rfftfreq(1 << 18, 1 / 16_000)
    inside = (hertz > low) & (hertz < high)
    return float(hertz[inside][spectrum[inside].argmax()])


def test_gain_is_even_in_decibels(wave: np.ndarray) -> None:
    draw = np.random.default_rng(0)
    made = [Augmentation(gain_db=12)(wave, 1.0, draw) for _ in range(300)]
    gains = [10 * np.log10(power(one) / power(wave)) for one in made]
    assert -12.1 < min(gains) < -11 and 11 < max(gains) < 12.1 and abs(np.mean(gains)) < 1


def test_noise_is_as_far_below_as_said(wave: np.ndarray) -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        noise = Augmentation(noise_db=(10, 20))(wave, 1.0, draw) - wave.astype(np.float64)
        below = 10 * np.log10(power(wave) / power(noise))
        assert 9.8 < below < 20.2


@pytest.mark.parametrize("rate", [0.8, 0.95, 1.1, 1.25])
def test_tempo_changes_beats_and_not_pitch(wave: np.ndarray, rate: float) -> None:
    made = stretched(wave.astype(np.float32), rate)
    assert len(made) == round(len(wave) / rate)
    assert peak(made, 150, 199 + 4) == pytest.approx(200, abs=2)
    beats = np.abs(made)
    assert peak(beats - beats.mean(), 2, 8) == pytest.approx(4 * rate, abs=0.25)
    assert power(made) == pytest.approx(power(wave), rel=0.15)


def test_what_is_drawn_hangs_on_seed_epoch_and_index(tmp_path: Path, wave: np.ndarray) -> None:
    soundfile.write(tmp_path / "a.wav", wave, 16_000)
    record = Record({"id": "a", "audio_filepath": str(tmp_path / "a.wav")})
    perturbed = Augmentation(6.0, (10.0, 40.0), 0.2)

    def crop(seed: int, epoch: int, *, keep: bool = False) -> torch.Tensor:
        examples = [Example(record, (1.0,))] * 2
        crops = Crops(examples, 8_000, seed, keep=keep, augmentation=perturbed)
        return crops[[(epoch, 1, True)]][0]

    assert torch.equal(crop(0, 0), crop(0, 0, keep=True))
    assert not torch.equal(crop(0, 0), crop(0, 1)) and not torch.equal(crop(0, 0), crop(1, 0))
    assert crop(0, 0).shape == (1, 8_000)


def test_silence_before_and_after_is_trimmed(tmp_path: Path, wave: np.ndarray) -> None:
    quiet = np.random.default_rng(0).integers(-3, 4, 16_000).astype(np.int16)
    padded = np.concatenate([quiet, wave, quiet[:8_000]])
    found = sounding(padded)
    assert 14_400 <= found.start <= 16_000 and 48_000 <= found.stop <= 49_600
    assert sounding(quiet) == slice(0, 16_000) and sounding(quiet[:0]) == slice(0, 0)
    soundfile.write(tmp_path / "a.wav", padded, 16_000)
    record = Record({"id": "a", "audio_filepath": str(tmp_path / "a.wav")})
    crops = Crops([Example(record, (1.0,))], 40_000, 0, trim=True)
    heard = crops[[(0, 0, True)]][0][0]
    assert (heard == 0).sum() > 40_000 - (found.stop - found.start), "the rest fills up"


@pytest.mark.parametrize("text", ["10", "a..b", "40..10", "..", "1..inf", "nan..1", "10..4000"])
def test_a_range_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"--noise-db .*: write LOW..HIGH, such as 10..40"):
        parse_range(text, "--noise-db")
    assert parse_range("10..40", "x") == (10.0, 40.0)


def test_a_range_is_refused_before_anything_is_read(tmp_path: Path, lanser: Lanser) -> None:
    line = ("pretrain", tmp_path / "none.jsonl", "-o", tmp_path / "run", "--noise-db", "loud")
    assert b"--noise-db loud: write LOW..HIGH" in lanser(*line, check=2).stderr
