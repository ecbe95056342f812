"""How fast prosody is measured, next to a plain loop over librosa.

    python tests/bench/prosody.py [--speech FOLDER] [--clips 1000] [--seconds 4] [--part N]

The clips of the folder (without one, the synthetic speech of examples/) are cut or repeated to
`--seconds`. Two processes measure them from their files as `probe-prosody` does. The loop is what
one writes with librosa: `load`, `pyin` for F0, `rms`, a spectrogram for the tilt, onsets for the
rate; no jitter, no shimmer, no harmonics to noise. Of the loop every N-th clip is timed, since it
is slow, and scaled up.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import soundfile

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from lanser_cli import console
from lanser_cli.audio.measured import measured
from lanser_cli.audio.sound import SAMPLE_RATE
from lanser_cli.audio.walk import SUFFIXES
from lanser_cli.prosody.targets import measurer
from lanser_cli.records import Record
from lanser_cli.tally import Ledger

PROCESSES = 2


def make_clips(arguments: argparse.Namespace, folder: Path) -> list[Path]:
    """`--clips` files of `--seconds`."""
    found = [p for p in sorted(arguments.speech.rglob("*")) if p.suffix.lower() in SUFFIXES]
    size = round(arguments.seconds * SAMPLE_RATE)
    clips = []
    for number in range(arguments.clips):
        sound, rate = soundfile.read(found[number % len(found)], dtype="float32")
        assert rate == SAMPLE_RATE
        clips.append(folder / f"clip-{number:05d}.wav")
        soundfile.write(clips[-1], np.resize(sound, size), SAMPLE_RATE)
    return clips


def ours(clips: list[Path]) -> float:
    """Seconds, the start of the processes included."""
    records = [Record({"id": path.stem, "audio_filepath": str(path)}) for path in clips]
    begun = time.perf_counter()
    with Ledger("bench", None) as ledger:
        found = measured(records, ledger, measurer, what="bench", processes=PROCESSES)
    assert len(found) == len(clips) and any(np.isfinite(one.found["f0_mean"]) for one in found)
    return time.perf_counter() - begun


def with_librosa(clips: list[Path]) -> float:
    """Seconds of the plain loop, after a first clip that compiles what librosa compiles."""
    import librosa

    def measure(path: Path) -> list[float]:
        sound, rate = librosa.load(path, sr=SAMPLE_RATE)
        f0, *_ = librosa.pyin(sound, sr=rate, fmin=50, fmax=1000, frame_length=1024)
        level = librosa.amplitude_to_db(librosa.feature.rms(y=sound)[0])
        power = np.abs(librosa.stft(sound, n_fft=1024)) ** 2
        hertz = librosa.fft_frequencies(sr=rate, n_fft=1024)
        tilt = power[hertz < 1000].sum() / max(power[hertz >= 1000].sum(), 1e-9)
        onsets = librosa.onset.onset_detect(y=sound, sr=rate)
        return [float(np.nanmean(f0)), float(level.mean()), float(tilt), len(onsets)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measure(clips[0])
        begun = time.perf_counter()
        for path in clips:
            measure(path)
        return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", type=Path, default=ROOT / "examples/speech/unlabeled")
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--part", type=int, default=20, help="time the loop on every N-th clip")
    arguments = parser.parse_args()
    console.configure(quiet_=True)
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(arguments, Path(folder))
        part = clips[:: arguments.part]
        fast, slow = ours(clips), with_librosa(part) * len(clips) / len(part)
    print(f"{len(clips)} clips of {arguments.seconds:g} s")
    print("| | s | clips/s | |\n|---|---|---|---|")
    print(f"| lanser, {PROCESSES} processes | {fast:.1f} | {len(clips) / fast:.1f} | 1.00x |")
    ratio = fast / slow
    print(f"| librosa, plain loop | {slow:.1f} | {len(clips) / slow:.1f} | {ratio:.2f}x |")


if __name__ == "__main__":
    main()
