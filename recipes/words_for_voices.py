"""Give real emotional voices sentences whose words say the emotion with a known probability.

    python recipes/words_for_voices.py nEMO/ --sentences go_dev.tsv go_test.tsv --p 0.5 > out.jsonl

The clips are nEMO's: acted emotion in Polish, whose sentences say nothing of it. What a clip gets
as `text` is a real English sentence that its readers gave one label (GoEmotions; use parts that no
model here was trained on: dev and test). It says the emotion of the voice with probability `--p`,
else one of the five others, all equally likely. At `--p chance` (one sixth) the words say
nothing of the voice; at 1 all of it. So the answer of an experiment on these records is known.

Every clip is a record: `id`, `audio_filepath`, `speaker`, `text`; and two that pre-training on weak
labels does not read, `label` (what was acted) and `text_emotion` (what the sentence's readers
said), both in the words of the taxonomies ekman6 and meld7. No sentence is used twice before all of
its emotion were used once. All is drawn from `--seed`: the same clips, sentences and seed give the
same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# nEMO's names of its emotions, and those that both keys get.
VOICES = {
    "anger": "anger",
    "fear": "fear",
    "happiness": "joy",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprised": "surprise",
}

# The labels of GoEmotions that say each. Close relatives are taken along where the label of that
# name has few sentences; those that its authors group elsewhere, or that fit two, are left out.
SAYS = {
    "anger": ("anger", "annoyance"),
    "fear": ("fear", "nervousness"),
    "joy": ("joy", "amusement", "excitement", "love", "gratitude"),
    "neutral": ("neutral",),
    "sadness": ("sadness", "disappointment", "grief", "remorse"),
    "surprise": ("surprise", "confusion", "realization"),
}

# GoEmotions' own numbers: the place in its list, from 0.
GOEMOTIONS = [
    *("admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion"),
    *("curiosity", "desire", "disappointment", "disapproval", "disgust", "embarrassment"),
    *("excitement", "fear", "gratitude", "grief", "joy", "love", "nervousness", "optimism"),
    *("pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral"),
]

NAME = re.compile(rf"(?P<speaker>[A-Z]{{2}}\d)_(?P<emotion>{'|'.join(VOICES)})_(?P<number>\d+)")
SOUND = (".wav", ".flac", ".opus", ".ogg")


@dataclass(frozen=True)
class Clip:
    """One recording of nEMO."""

    path: Path
    speaker: str
    emotion: str
    number: int


class Sentences:
    """The sentences of each emotion, dealt out in a drawn order, and again when all are out."""

    def __init__(self, by_emotion: dict[str, list[str]], rng: random.Random) -> None:
        self._decks = {name: rng.sample(found, len(found)) for name, found in by_emotion.items()}
        self.used: Counter[str] = Counter()

    def deal(self, emotion: str) -> str:
        deck = self._decks[emotion]
        sentence = deck[self.used[emotion] % len(deck)]
        self.used[emotion] += 1
        return sentence

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {self.used[name]} from {len(deck)}" for name, deck in self._decks.items()
        )


def read_clips(root: Path) -> list[Clip]:
    """The clips below a folder, sorted by name."""
    found = []
    for path in sorted(root.rglob("*")):
        name = NAME.fullmatch(path.stem)
        if name and path.suffix in SOUND:
            found.append(Clip(path, name["speaker"], VOICES[name["emotion"]], int(name["number"])))
    return found


def read_sentences(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Sentences with one label that says an emotion, each text once, by emotion.

    A line is `sentence TAB label numbers with commas TAB id`. A text that occurs with labels of two
    emotions is left out.
    """
    says = {label: emotion for emotion, labels in SAYS.items() for label in labels}
    found: dict[str, set[str]] = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            text, numbers, _ = line.split("\t")
            if "," not in numbers:
                label = GOEMOTIONS[int(numbers)]
                found.setdefault(text.strip(), set()).add(says.get(label, ""))
    by_emotion: dict[str, list[str]] = {emotion: [] for emotion in SAYS}
    for text, emotions in found.items():
        [first, *others] = emotions
        if first and text and not others:
            by_emotion[first].append(text)
    return by_emotion


def first_of_each(clips: Sequence[Clip], count: int) -> list[Clip]:
    """`count` clips or a few less, as many of each speaker and emotion, by sentence number."""
    groups: dict[tuple[str, str], list[Clip]] = {}
    for clip in clips:
        groups.setdefault((clip.speaker, clip.emotion), []).append(clip)
    each = max(1, count // len(groups))
    return [c for group in groups.values() for c in sorted(group, key=lambda c: c.number)[:each]]


def records(
    clips: Sequence[Clip], sentences: Sentences, p: float, rng: random.Random
) -> Iterator[dict[str, str]]:
    """A record for each clip; its text says its emotion with probability `p`."""
    for clip in clips:
        other = rng.choice([emotion for emotion in SAYS if emotion != clip.emotion])
        said = clip.emotion if rng.random() < p else other
        yield {
            "id": clip.path.stem,
            "audio_filepath": str(clip.path.resolve()),
            "speaker": clip.speaker,
            "text": sentences.deal(said),
            "label": clip.emotion,
            "text_emotion": said,
        }


def probability(word: str) -> float:
    """A number in 0..1, or `chance`."""
    value = 1 / len(SAYS) if word == "chance" else float(word)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("nemo", type=Path, help="folder of nEMO's clips, SPEAKER_EMOTION_NUMBER")
    parser.add_argument(
        "--sentences", type=Path, nargs="+", required=True, help="GoEmotions as TSV: dev and test"
    )
    parser.add_argument(
        "--p", type=probability, default=1.0, help="that words say the voice's emotion, or chance"
    )
    parser.add_argument("--clips", type=int, help="about so many, balanced (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="all choices are drawn from it")
    args = parser.parse_args(argv)

    clips = read_clips(args.nemo)
    if not clips:
        print(f"words_for_voices: no clip such as EB0_anger_1.wav in {args.nemo}", file=sys.stderr)
        return 1
    if args.clips:
        clips = first_of_each(clips, args.clips)
    by_emotion = read_sentences(args.sentences)
    if absent := [emotion for emotion, found in by_emotion.items() if not found]:
        print(f"words_for_voices: no sentence says {', '.join(absent)}", file=sys.stderr)
        return 1
    rng = random.Random(args.seed)
    sentences = Sentences(by_emotion, rng)
    for record in records(clips, sentences, args.p, rng):
        print(json.dumps(record, ensure_ascii=False))
    print(f"words_for_voices: {len(clips)} clips; sentences: {sentences}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
