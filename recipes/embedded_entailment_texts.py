"""The texts of train_embedded_entailment.py: which there are, how they are heard, which are kept.

A text is `(text, labels)`. What is trained on is freed of all that is tested on, also nearly so.
"""

from __future__ import annotations

import csv
import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

Comment = tuple[str, list[str]]
NAMES = ["John", "Mary", "Mike", "Sarah", "David", "Emma", "Chris", "Anna", "Rachel", "Joe"]
PLACES = ["London", "Boston", "Paris", "Denver", "Leeds"]
XED = ["anger", "anticipation", "disgust", "fear", "joy", "sadness", "surprise", "trust", "neutral"]
"""XED's labels; its files number them from 1."""
EMORY = {
    "Joyful": "joy",
    "Mad": "anger",
    "Neutral": "neutral",
    "Peaceful": "calmness",
    "Powerful": "power",
    "Sad": "sadness",
    "Scared": "fear",
}
FILLERS = ["um", "uh", "like", "you know", "i mean", "well"]
SHORT = ["a", "an", "the", "to", "of", "in", "on", "at", "is", "it", "i", "and", "so", "do"]
"""Words that recognisers drop."""


def read_comments(path: Path, labels: list[str]) -> list[Comment]:
    """GoEmotions comments with the names of their labels."""
    rows = (line.split("\t") for line in path.read_text("utf-8").split("\n") if line)
    return [(text, [labels[int(n)] for n in numbers.split(",")]) for text, numbers, _ in rows]


def read_xed(folder: Path, part: str) -> list[Comment]:
    """Lines of XED: `train` (nine tenths), or the halves `dev`, `test` of the last, by a hash."""
    lines = []
    for name, order in (("xed_en.tsv", 1), ("xed_neutral.txt", -1)):  # text, numbers; number, text
        rows = (folder / name).read_text("utf-8").split("\n")
        lines += [row.split("\t")[::order] for row in rows if row.count("\t") == 1]
    chosen = []
    for text, numbers in lines:
        twentieth = int(hashlib.sha256(key(text).encode()).hexdigest()[:8], 16) % 20
        if part == {0: "test", 1: "dev"}.get(twentieth, "train"):
            text = re.sub(r"\s+([.,!?;:])", r"\1", text).strip()
            chosen.append((text, [XED[int(n) - 1] for n in numbers.split(",")]))
    return chosen


def read_spoken(path: Path) -> list[Comment]:
    """Sentences written for this project in spoken style; none where the file is not there."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["sentence"], [row["label"]]) for row in rows]


def read_utterances(path: Path) -> list[Comment]:
    """Utterances of MELD or EmoryNLP and their emotions."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(row["Utterance"], [EMORY.get(row["Emotion"], row["Emotion"])]) for row in rows]


def read_set(data: Path, name: str, labels: list[str]) -> list[Comment]:
    """A set to evaluate on, as it is named on the command line."""
    if name.startswith("go_"):
        return read_comments(data / f"text/{name}.tsv", labels)
    if name.startswith("spoken_"):
        return read_spoken(Path(__file__).parent / f"{name}.tsv")
    if name.startswith("xed_"):
        return read_xed(data / "text", name.removeprefix("xed_"))
    return read_utterances(data / f"text/{name}.csv")


def words_of(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation."""
    return re.findall(r"[\w']+", text.lower().replace("’", "'"))


def key(text: str) -> str:
    """What two texts have in common if they differ in case, punctuation and spaces alone."""
    return " ".join(words_of(text))


@dataclass
class Held:
    """Texts that are tested on, to find them, or nearly them, in what is trained on.

    Nearly: seven tenths of the shorter one's runs of three words, three at least, are in the other.
    """

    keys: set[str] = field(default_factory=set)
    runs: dict[tuple[str, ...], list[int]] = field(default_factory=lambda: defaultdict(list))
    sizes: list[int] = field(default_factory=list)

    def add(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.keys.add(key(text))
            for run in (runs := _runs(text)):
                self.runs[run].append(len(self.sizes))
            self.sizes.append(len(runs))

    def has(self, text: str) -> str | None:
        """`exact`, `near`, or None."""
        if key(text) in self.keys:
            return "exact"
        runs = _runs(text)
        found = Counter(other for run in runs for other in self.runs.get(run, ()))
        near = (count >= max(3, 0.7 * min(len(runs), self.sizes[n])) for n, count in found.items())
        return "near" if any(near) else None

    def without(self, texts: list[Comment]) -> tuple[list[Comment], dict[str, int]]:
        """The texts that are not tested on, and how many of the others there were."""
        fates = [self.has(text) for text, _ in texts]
        kept = [one for one, fate in zip(texts, fates, strict=True) if fate is None]
        return kept, dict(Counter(fate for fate in fates if fate))


def _runs(text: str) -> set[tuple[str, ...]]:
    words = words_of(text)
    return set(zip(words, words[1:], words[2:], strict=False))


@dataclass
class Ear:
    """How a recogniser hears: a simple model of its errors, in about one word of ten.

    Of a hundred words about four become others that sound alike, if training text has such; two are
    dropped, if they are short and common; two come after a filler, and one is said twice.
    """

    alike: dict[str, list[str]]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Ear:
        """Words sound alike that have the same first sound, consonants and syllables, about."""
        counts = Counter(word for text in texts for word in words_of(text))
        groups = defaultdict(list)
        for word, count in sorted(counts.items()):
            if count >= 5 and word.isalpha():
                groups[sound(word)].append(word)
        return cls({word: [w for w in g if w != word] for g in groups.values() for word in g})

    def hear(self, text: str, rng: random.Random) -> str:
        heard: list[str] = []
        for word in words_of(text):
            chance = rng.random()
            if chance < 0.04 and self.alike.get(word):
                word = rng.choice(self.alike[word])
            elif 0.04 <= chance < 0.12 and word in SHORT:  # about a quarter of all words are
                continue
            elif 0.12 <= chance < 0.14:
                heard.append(rng.choice(FILLERS))
            elif 0.14 <= chance < 0.15:
                heard.append(word)
            heard.append(word)
        return " ".join(heard)


def sound(word: str) -> str:
    """A key that words share which sound alike: voicing, double letters and vowels do not count."""
    word = re.sub("c(?=[eiy])", "s", word)
    for letters, one in (("ph", "f"), ("ck", "k"), ("wr", "r"), ("kn", "n"), ("wh", "w")):
        word = word.replace(letters, one)
    merged = word.translate(str.maketrans("bdgvzcqxjy", "ptkfskkkki"))
    merged = re.sub(r"[aeiou]+", "a", merged.rstrip("e") or merged)
    return re.sub(r"(.)\1+", r"\1", merged)


def as_heard(text: str, rng: random.Random | None = None, ear: Ear | None = None) -> str:
    """A text as a transcript might have it.

    Names stand for placeholders. With `rng`, half of the texts become bare lower-case words, and
    with `ear` half of those have a recogniser's errors.
    """
    text = re.sub(r"\[(NAME|PERSON)\]", lambda _: rng.choice(NAMES) if rng else NAMES[0], text)
    text = re.sub(r"\[LOCATION\]", lambda _: rng.choice(PLACES) if rng else PLACES[0], text)
    text = text.replace("[RELIGION]", "religion").replace("’", "'")
    if rng and rng.random() < 0.5:
        heard = ear.hear(text, rng) if ear and rng.random() < 0.5 else key(text)
        text = heard or text
    return text
