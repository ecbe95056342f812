"""Speak sentences whose words carry an emotion, with a prosody that follows it by a known strength.

    python recipes/simulated_speech.py --strength 0.5 --without slt --out speech/

SYNTHETIC speech, made as examples/make_corpus.py makes it, from the sentences in examples/. At
`--strength` 0 the prosody says nothing of the emotion, at 1 as much as in examples/. All voices of
flite speak but the one that is held out. Weak labels are made, not guessed: `labels-A.jsonl` has
the sentence's emotion with probability A, else one of the five others; at `chance` (one sixth) it
says nothing. `speech.jsonl` has the records: `id`, `audio_filepath`, `speaker`, `voice`, and
`written_for`, which no training reads.

Needs numpy, scipy, soundfile and the program `flite` (Debian: apt-get install flite).
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import make_corpus  # noqa: E402  (a script next to its data, not a package)

EMOTIONS = tuple(make_corpus.PROSODY)


def plan(
    sentences: dict[str, list[str]], without: str, strength: float, folder: Path, seed: int
) -> list[make_corpus.Utterance]:
    """Share the sentences out among the speakers, evenly within an emotion."""
    rng = random.Random(f"{seed}/speech")
    speakers = [
        replace(speaker, expression=strength * speaker.expression)
        for speaker in make_corpus.SPEAKERS
        if speaker.voice != without
    ]
    turn = cycle(speakers)
    found = []
    for emotion, texts in sentences.items():
        turns = [next(turn) for _ in texts]
        rng.shuffle(turns)
        for number, (text, speaker) in enumerate(zip(texts, turns, strict=True), start=1):
            path = folder / f"{emotion}-{number:02d}.ogg"
            key = f"{seed}/{text}"
            found.append(make_corpus.Utterance(path, text, speaker, emotion, key))
    return found


def weak_labels(
    utterances: Sequence[make_corpus.Utterance], accuracy: str, seed: int
) -> list[dict[str, object]]:
    """A label for each utterance, right with the probability named."""
    right = 1 / len(EMOTIONS) if accuracy == "chance" else float(accuracy)
    rng = random.Random(f"{seed}/labels")
    lines: list[dict[str, object]] = []
    for one in utterances:
        other = rng.choice([emotion for emotion in EMOTIONS if emotion != one.emotion])
        label = one.emotion if rng.random() < right else other
        lines.append({"id": one.path.stem, "emotion": label})
    return lines


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--strength", type=float, default=1.0, help="of the prosody, 0..1")
    parser.add_argument("--without", default="", help="voice that is held out")
    parser.add_argument(
        "--accuracies", nargs="+", default=["chance", "0.7", "1"], help="of the weak labels"
    )
    parser.add_argument("--sentences", type=int, default=50, help="of each emotion (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="all choices are drawn from it")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    args = parser.parse_args(argv)

    if (problem := make_corpus.missing_program()) is not None:
        print(f"simulated_speech: {problem}", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    every, _ = make_corpus.read_sentences(EXAMPLES / "sentences.tsv")
    sentences = {emotion: texts[: args.sentences] for emotion, texts in every.items()}
    utterances = plan(sentences, args.without, args.strength, args.out, args.seed)
    with multiprocessing.Pool(args.jobs) as pool:
        durations = pool.map(make_corpus.make_one, [(one, args.seed) for one in utterances])
    for accuracy in args.accuracies:
        labels = weak_labels(utterances, accuracy, args.seed)
        make_corpus.write_jsonl(args.out / f"labels-{accuracy}.jsonl", labels)
    records: list[dict[str, object]] = [
        {
            "id": one.path.stem,
            "audio_filepath": one.path.name,
            "duration": round(duration, 3),
            "speaker": one.speaker.name,
            "voice": one.speaker.voice,
            "written_for": one.emotion,
        }
        for one, duration in zip(utterances, durations, strict=True)
    ]
    make_corpus.write_jsonl(args.out / "speech.jsonl", records)  # last: it says that all is there
    print(f"simulated_speech: {len(records)} utterances in {args.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
