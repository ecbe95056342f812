"""How the prosodic targets compare with Praat's, clip by clip.

    pip install praat-parselmouth
    python tests/bench/praat.py corpus.jsonl... [--every 6]

Parselmouth is Praat as a Python module. Its licence is the GPL, so lanser neither needs nor uses it
but here. Praat's F0 is taken twice, the second time between 0.75 of the first quartile and 2.5
times the third (De Looze and Hirst 2008), for without that a good part of its range is octave
errors. Jitter and shimmer are its "local" ones with the default limits, harmonics to noise that of
"To Harmonicity (cc)", and intensity is over the frames that are at most 25 dB below the loud ones.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from lanser_cli import console, jsonl
from lanser_cli.audio.measured import measured
from lanser_cli.audio.sound import SAMPLE_RATE
from lanser_cli.prosody.targets import ACTIVE_DB, UNITS, measure
from lanser_cli.records import Record
from lanser_cli.tally import Ledger

HOP, FLOOR, CEILING = 0.01, 60.0, 700.0
"""Seconds between frames; Hz, of the first pass."""


def both() -> Callable[[NDArray[np.float32]], tuple[dict[str, float], dict[str, float]]]:
    """What measures a waveform by lanser and by Praat."""
    return lambda waveform: (measure(waveform), by_praat(waveform))


def by_praat(waveform: NDArray[np.float32]) -> dict[str, float]:
    """Praat's targets, those that it has."""
    import parselmouth
    from parselmouth.praat import call

    sound = parselmouth.Sound(waveform.astype(np.float64), SAMPLE_RATE)
    level = call(sound, "To Intensity", 75, HOP, "yes").values[0]
    loud = level[level >= np.percentile(level, 99) - ACTIVE_DB]
    low, high = np.percentile(loud, (5, 95))
    cleanness = call(sound, "To Harmonicity (cc)", HOP, 75, 0.1, 1.0)
    found = {
        # Praat's are re 20 uPa, for which it takes a sample of 1 as 1 Pa
        "intensity_mean": float(loud.mean()) + 20 * np.log10(2e-5),
        "intensity_range": float(high - low),
        "harmonics_to_noise": call(cleanness, "Get mean", 0, 0),
    }
    first = hertz(pitch(sound, FLOOR, CEILING))
    if not len(first):
        return found
    lower, upper = np.percentile(first, (25, 75))
    second = pitch(sound, 0.75 * lower, 2.5 * upper)
    voiced = second.selected_array["frequency"] > 0
    if voiced.sum() < 2:
        return found
    semitones = 12 * np.log2(hertz(second) / 100)
    low, high = np.percentile(semitones, (5, 95))
    marks = call([sound, second], "To PointProcess (cc)")
    limits = (0, 0, 1e-4, 0.02, 1.3)
    return found | {
        "f0_mean": float(semitones.mean()),
        "f0_range": float(high - low),
        "f0_variability": float(semitones.std()),
        "f0_slope": float(np.polyfit(second.xs()[voiced], semitones, 1)[0]),
        "jitter": 100 * call(marks, "Get jitter (local)", *limits),
        "shimmer": 100 * call([sound, marks], "Get shimmer (local)", *limits, 1.6),
    }


def pitch(sound: Any, floor: float, ceiling: float) -> Any:
    """Praat's, with its default costs."""
    from parselmouth.praat import call

    costs = (0.03, 0.45, 0.01, 0.35, 0.14)
    return call(sound, "To Pitch (ac)", HOP, floor, 15, "no", *costs, ceiling)


def hertz(found: Any) -> NDArray[np.float64]:
    """F0 of the voiced frames."""
    values = found.selected_array["frequency"]
    return np.asarray(values[values > 0])


def main() -> None:
    from scipy.stats import spearmanr

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpora", type=Path, nargs="+", help="from lanser manifest")
    parser.add_argument("--every", type=int, default=6, help="measure every N-th clip")
    arguments = parser.parse_args()
    console.configure(quiet_=True)
    for corpus in arguments.corpora:
        items = jsonl.read_records([str(corpus)], "praat")
        records = [one for one in items if isinstance(one, Record)][:: arguments.every]
        with Ledger("praat", None) as ledger:
            found = measured(records, ledger, both, what="praat", processes=1)
        print(f"\n{corpus.stem}, {len(found)} clips\n")
        print(
            "| target | clips | rank correlation | median | median by Praat |\n" + "|---" * 5 + "|"
        )
        for name, unit in UNITS.items():
            pairs = np.array(
                [[one.found[0][name], one.found[1].get(name, np.nan)] for one in found]
            )
            ours, theirs = pairs[np.isfinite(pairs).all(axis=1)].T
            if len(ours):
                rank = spearmanr(ours, theirs).statistic
                medians = f"{np.median(ours):.2f} | {np.median(theirs):.2f}"
                print(f"| `{name}`, {unit} | {len(ours)} | {rank:.3f} | {medians} |")


if __name__ == "__main__":
    main()
