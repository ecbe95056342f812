"""Sound files for the tests of this room."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile


def noise(seconds: float = 2.0, rate: int = 16_000) -> np.ndarray:
    """It cannot be compressed, so that a file cut in half has lost half of its sound."""
    generator = np.random.default_rng(0)
    return (0.1 * generator.standard_normal(round(seconds * rate))).astype(np.float32)


def sine(seconds: float, hertz: float, rate: int) -> np.ndarray:
    phase = 2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(phase)).astype(np.float32)


def save(path: Path, wave: np.ndarray, rate: int = 16_000, **options: str) -> Path:
    soundfile.write(path, wave, rate, **options)
    return path


def cut(suffix: str, part: float, seconds: float = 2.0) -> Callable[[Path], Path]:
    """Makes `cut.suffix`, the first `part` of the bytes of `whole.suffix` next to it."""

    def make(folder: Path) -> Path:
        whole = save(folder / f"whole.{suffix}", noise(seconds))
        path = folder / f"cut.{suffix}"
        path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
        return path

    return make


def text_file(folder: Path) -> Path:
    path = folder / "text.wav"
    path.write_text("dear diary, today I learned what a container is\n" * 40)
    return path


def link_in_a_circle(folder: Path) -> Path:
    path = folder / "circle.wav"
    path.symlink_to(path)
    return path


def archive(path: Path, members: dict[str, bytes]) -> Path:
    """A tar of these members, in this order."""
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def encoded(
    wave: np.ndarray, container: str, codec: str, rate: int = 16_000, channels: int = 1
) -> bytes:
    """A waveform, the same in all channels, through one of FFmpeg's coders; needs PyAV."""
    import av

    buffer, layout = io.BytesIO(), {1: "mono", 2: "stereo"}[channels]
    with av.open(buffer, "w", format=container) as file:
        track = file.add_stream(codec, rate=rate, layout=layout)
        resampler = av.AudioResampler(track.format, layout, rate)
        for at in range(0, len(wave), 1024):
            part = np.ascontiguousarray(np.stack([wave[at : at + 1024]] * channels))
            frame = av.AudioFrame.from_ndarray(part.astype(np.float32), "fltp", layout)
            frame.sample_rate = rate
            for fitting in resampler.resample(frame):
                file.mux(track.encode(fitting))
        file.mux(track.encode())
    return buffer.getvalue()
