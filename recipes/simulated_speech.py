"""Say recordings again with a prosody that follows an emotion by a known strength.

    python recipes/simulated_speech.py corpus.jsonl --strength 0.5 --out speech/

The voices are real, the prosody is SYNTHETIC. The WORLD vocoder (Morise, Yokomori and Ozawa 2016)
takes a recording apart, and puts it together with the pitch, pitch range, tempo and effort that
examples/make_corpus.py gives an emotion, chance included; each utterance shows it more or less.
Effort is level, and with it a brighter voice. Every recording is said once in every emotion, so
that words and speakers tell nothing of it. Of records with a `label` only those labelled neutral
are taken. At `--strength 0` the emotions differ by chance alone, at 1 as the table says.

`speech.jsonl` has the records, with the emotion that each is said in as `label`. Weak labels are
made, not guessed: `labels-A.jsonl` has as `emotion` that label with probability A, else one of the
five others; at `chance` (one sixth) it says nothing. `--labels-only` makes more of them for speech
that is in the folder already: those that would have been made with it, by the same `--seed`.

Needs pyworld (pip install pyworld-prebuilt).
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import make_corpus
from make_corpus import SAMPLE_RATE, Prosody, Speaker

from lanser_cli import jsonl
from lanser_cli.audio import sound
from lanser_cli.errors import LanserError
from lanser_cli.output import write_whole
from lanser_cli.records import Record, Reject

EMOTIONS = tuple(make_corpus.PROSODY)
KEPT = ("speaker", "sex", "sentence")
"""Of the recording's record; its own words and labels are not those of what is made of it."""

SHOWN = (0.4, 1.6)
"""How much of its emotion an utterance shows, times the strength: drawn evenly between these."""

LONGEST = 6.0
"""Seconds of a recording that are said again, its first ones."""

OCTAVE_DB = 0.3
"""How much brighter an octave gets for a dB of level: the spectrum of loud speech is less steep."""

FEWEST_VOICED = 40
"""Frames of 5 ms. Less has no pitch to set."""

Samples = NDArray[np.float64]


def say(samples: Samples, prosodies: Sequence[Prosody], seeds: Sequence[int]) -> list[Samples]:
    """The recording with each prosody; nothing where it has hardly any voice.

    Args:
        samples: `[n]`, mono, at SAMPLE_RATE.
        prosodies: pitch in semitones from that of the recording, range and rate as its multiples,
            loudness in dB above make_corpus.REFERENCE_RMS_DB.
        seeds: of the silence and the faint noise around each.
    """
    import pyworld

    voice = np.ascontiguousarray(make_corpus.trim(samples), dtype=np.float64)
    f0, times = pyworld.dio(voice, SAMPLE_RATE, f0_floor=60.0, f0_ceil=600.0)
    f0 = pyworld.stonemask(voice, f0, times, SAMPLE_RATE)
    voiced = f0 > 0
    if voiced.sum() < FEWEST_VOICED:
        return []
    power = pyworld.cheaptrick(voice, f0, times, SAMPLE_RATE)
    noise = pyworld.d4c(voice, f0, times, SAMPLE_RATE)
    pitch = np.log2(f0[voiced])
    mean = float(pitch.mean())
    octaves = np.log2(np.maximum(np.linspace(0, SAMPLE_RATE / 2, power.shape[1]), 100.0) / 500.0)
    said = []
    for wanted, seed in zip(prosodies, seeds, strict=True):
        moved = f0.copy()
        moved[voiced] = 2.0 ** (mean + wanted.pitch / 12 + wanted.range * (pitch - mean))
        brighter = power * 10 ** (OCTAVE_DB * wanted.loudness * octaves / 10)
        frame_ms = pyworld.default_frame_period / wanted.rate
        said.append(
            make_corpus.recorded(
                pyworld.synthesize(moved, brighter, noise, SAMPLE_RATE, frame_ms),
                wanted.loudness,
                seed,
            )
        )
    return said


def make_all(record: Record, *, strength: float, folder: Path, seed: int) -> list[dict[str, Any]]:
    """Write the recording in every emotion; its new records, none without a voice."""
    samples = sound.load(record)[: int(LONGEST * SAMPLE_RATE)].astype(np.float64)
    names = {emotion: f"{record.id}-{emotion}" for emotion in EMOTIONS}
    chances = [random.Random(f"{seed}/{name}") for name in names.values()]
    plain = Speaker("", "", tract=1.0, pitch=0.0, loudness=0.0, expression=strength)
    prosodies = [
        make_corpus.draw_prosody(
            emotion, replace(plain, expression=strength * rng.uniform(*SHOWN)), rng
        )
        for emotion, rng in zip(EMOTIONS, chances, strict=True)
    ]
    found = say(samples, prosodies, [rng.getrandbits(32) for rng in chances])
    records = []
    for (emotion, name), made in zip(names.items(), found, strict=False):
        path = folder / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)  # an id may be a path
        sf.write(path, made.astype(np.float32), SAMPLE_RATE)
        records.append(
            {
                "id": name,
                "audio_filepath": f"{name}.flac",
                "duration": round(len(made) / SAMPLE_RATE, 3),
                **{key: word for key in KEPT if (word := record.word(key))},
                "label": emotion,
            }
        )
    return records


def weak_labels(
    records: Sequence[dict[str, Any]], accuracy: str, seed: int
) -> list[dict[str, object]]:
    """A label for each record, right with the probability named."""
    right = 1 / len(EMOTIONS) if accuracy == "chance" else float(accuracy)
    rng = random.Random(f"{seed}/labels")
    lines: list[dict[str, object]] = []
    for one in records:
        other = rng.choice([emotion for emotion in EMOTIONS if emotion != one["label"]])
        lines.append({"id": one["id"], "emotion": one["label"] if rng.random() < right else other})
    return lines


def neutral_recordings(path: Path, count: int | None, seed: int) -> list[Record]:
    """The records of a JSONL that are labelled neutral or not at all; `count` of them, drawn.

    Raises:
        LanserError: a line is no record, or there is no such record.
    """
    found = []
    for item in jsonl.read_records([str(path)], "simulated_speech"):
        if isinstance(item, Reject):
            raise LanserError(f"{path}: {item.error}")
        if isinstance(item, Record) and item.label in (None, "neutral"):
            found.append(item)
    if not found:
        raise LanserError(f"{path}: no record is labelled neutral, or without a label")
    if count is not None and count < len(found):
        found = random.Random(f"{seed}/recordings").sample(found, count)
    return found


def spoken(folder: Path) -> list[dict[str, Any]]:
    """The records of speech that is in the folder already.

    Raises:
        LanserError: there is none.
    """
    found = jsonl.read_records([str(folder / "speech.jsonl")], "simulated_speech")
    return [item.fields for item in found if isinstance(item, Record)]


def write_labels(records: Sequence[dict[str, Any]], args: argparse.Namespace) -> None:
    """Weak labels of each accuracy, a file each."""
    for accuracy in args.accuracies:
        labels = weak_labels(records, accuracy, args.seed)
        write_whole(args.out / f"labels-{accuracy}.jsonl", make_corpus.json_lines(labels))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recordings", type=Path, help="JSONL, as `lanser manifest` writes it")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--strength", type=float, default=1.0, help="of the prosody, 0..1")
    parser.add_argument(
        "--accuracies", nargs="+", default=["chance", "0.7", "1"], help="of the weak labels"
    )
    parser.add_argument(
        "--labels-only", action="store_true", help="for speech that is in the folder already"
    )
    parser.add_argument("--count", type=int, help="of recordings to take (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="all choices are drawn from it")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    args = parser.parse_args(argv)

    if not args.labels_only and importlib.util.find_spec("pyworld") is None:
        print("simulated_speech: needs pyworld: pip install pyworld-prebuilt", file=sys.stderr)
        return 2
    one = partial(make_all, strength=args.strength, folder=args.out, seed=args.seed)
    try:
        if args.labels_only:
            write_labels(spoken(args.out), args)
            return 0
        recordings = neutral_recordings(args.recordings, args.count, args.seed)
        args.out.mkdir(parents=True, exist_ok=True)
        with multiprocessing.Pool(args.jobs) as pool:
            made = pool.map(one, recordings)
    except LanserError as error:  # of a recording that cannot be read, too
        print(f"simulated_speech: {error}", file=sys.stderr)
        return 1
    records = [record for several in made for record in several]
    write_labels(records, args)
    write_whole(
        args.out / "speech.jsonl", make_corpus.json_lines(records)
    )  # last: it says that all is there
    silent = sum(not several for several in made)
    print(
        f"simulated_speech: {len(recordings)} recordings, {silent} of them with hardly any voice "
        f"and left out; {len(records)} utterances in {args.out}",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
