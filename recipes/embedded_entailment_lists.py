"""The training and evaluation data of train_embedded_entailment.py: reading it, and making lists.

A list is a premise with several hypotheses under one template, one of them right.
"""

from __future__ import annotations

import csv
import json
import math
import random
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CLASSES = ["entailment", "neutral", "contradiction"]
LISTS = json.loads((Path(__file__).parent / "embedded_entailment_words.json").read_text("utf-8"))
NAMES = ["John", "Mary", "Mike", "Sarah", "David", "Emma", "Chris", "Anna", "Rachel", "Joe"]
EMORY = {
    "Joyful": "joy",
    "Mad": "anger",
    "Neutral": "neutral",
    "Peaceful": "calmness",
    "Powerful": "power",
    "Sad": "sadness",
    "Scared": "fear",
}
Comment = tuple[str, list[str]]


@dataclass
class Words:
    """The ways to say a label, and the labels too close to it to be called wrong."""

    noun: list[str]
    adjective: list[str]
    close: set[str]

    def pick(self, form: str, rng: random.Random) -> str:
        """The canonical word half of the time, else any of its synonyms."""
        words: list[str] = getattr(self, form)
        return words[0] if rng.random() < 0.5 else rng.choice(words)


@dataclass
class Item:
    """A premise and its hypotheses.

    `target` sums to one over the hypotheses; `known` is each one's own probability, NaN where
    nothing is known. A pair of natural language inference has its class instead.
    """

    premise: str
    hypotheses: list[str]
    target: list[float]
    known: list[float]
    nli_class: int = -1


@dataclass
class ListOptions:
    """How lists are made: see the command line of train_embedded_entailment.py."""

    list_size: int
    coarse: float
    outside: float
    gold: float
    balance: float
    keep_neutral: float


def read_words(table: str) -> dict[str, Words]:
    """The words of `LISTS[table]`, a label each."""
    words = {}
    for label, line in LISTS[table].items():
        parts = [[w.strip() for w in part.split(",")] for part in f"{line} | ".split(" | ")[:3]]
        words[label] = Words(parts[0], parts[1], {w for w in parts[2] if w})
    return words


def read_comments(path: Path, labels: list[str]) -> list[Comment]:
    """GoEmotions comments with the names of their labels."""
    rows = (line.split("\t") for line in path.read_text("utf-8").split("\n") if line)
    return [(text, [labels[int(n)] for n in numbers.split(",")]) for text, numbers, _ in rows]


def read_nli(folder: Path, held_out: int) -> tuple[list[Item], list[Item]]:
    """Inference pairs to train on, and the last `held_out` or so of SNLI test to evaluate on."""
    sets: dict[str, list[Item]] = {}
    for name in ("snli_dev", "snli_test"):
        lines = (folder / f"{name}.txt").read_text("utf-8").split("\n")
        rows = (line.split("\t") for line in lines if line)
        sets[name] = [Item(a, [b], [], [], int(c)) for a, b, c in rows]
    # SNLI puts the hypotheses of one premise side by side: cut between premises.
    test = sets["snli_test"]
    cut = len(test) - held_out
    while test[cut].premise == test[cut - 1].premise:
        cut -= 1
    train = sets["snli_dev"] + test[:cut]
    columns = {
        "conj.tsv": ("Premise", "Hypothesis", "Label"),
        "med.tsv": ("sentence1", "sentence2", "gold_label"),
    }
    for name, (a, b, c) in columns.items():
        with (folder / name).open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                if row[c] in CLASSES and len(row[a]) + len(row[b]) < 220:  # the long ones cost most
                    train.append(Item(row[a], [row[b]], [], [], CLASSES.index(row[c])))
    return train, test[cut:]


def as_heard(text: str, rng: random.Random | None = None) -> str:
    """A comment as a transcript might have it.

    Names stand for placeholders and, with `rng`, half of the comments become bare lower-case words.
    """
    text = re.sub(r"\[NAME\]", lambda _: rng.choice(NAMES) if rng else NAMES[0], text)
    text = text.replace("[RELIGION]", "religion").replace("’", "'")
    if rng and rng.random() < 0.5:
        bare = re.sub(r"\s+", " ", re.sub(r"[^\w' ]+", " ", text.lower())).strip()
        text = bare or text
    return text


def fill(listed: Iterable[Words], rng: random.Random) -> list[str]:
    """Hypotheses for the labels of one list, all under one randomly chosen template."""
    form = "noun" if rng.random() < 0.55 else "adjective"
    templates = LISTS["templates"][form]
    template = templates[0] if rng.random() < 0.3 else rng.choice(templates)
    if rng.random() < 0.1:  # users' own labels are put in as they are, whatever the template
        form = "adjective" if form == "noun" else "noun"
    return [template.format(words.pick(form, rng)) for words in listed]


def emotion_items(
    comments: list[Comment],
    posterior: np.ndarray,
    labels: list[str],
    options: ListOptions,
    rng: random.Random,
) -> Iterator[Item]:
    """One list of hypotheses a comment, from the 28 labels or from the coarse ones."""
    words, more = read_words("goemotions"), read_words("more")
    groups = {
        name: [labels.index(member) for member in members.split() if member in labels]
        for name, members in LISTS["coarse"].items()
    }
    groups = {name: members for name, members in groups.items() if members and name in labels}
    gold = np.zeros_like(posterior)
    for row, (_, names) in enumerate(comments):
        gold[row, [labels.index(name) for name in names]] = 1.0
    share = options.gold
    blend = share * gold / gold.sum(1, keepdims=True) + (1 - share) * posterior
    single = share * gold + (1 - share) * posterior
    prior = blend.mean(0)
    size = options.list_size
    for row, (text, names) in enumerate(comments):
        if names == ["neutral"] and rng.random() > options.keep_neutral:
            continue
        right = labels.index(rng.choice(names))
        grouped = any(right in members for members in groups.values())
        if rng.random() < options.coarse and grouped:
            wrong = [name for name, ids in groups.items() if right not in ids]
            chosen = rng.sample(wrong, size - 1)
            chosen += [name for name, ids in groups.items() if right in ids]
            listed = [words[name] for name in chosen]
            chance = np.array([blend[row, groups[name]].sum() for name in chosen])
            known = np.array([min(1.0, single[row, groups[name]].sum()) for name in chosen])
            weight = np.array([prior[groups[name]].sum() for name in chosen])
        else:
            picked = [right]
            likely = (np.sqrt(posterior[row]) + 0.02).tolist()
            while len(picked) < size:  # all but the last wrong label are the confusable ones
                pick = rng.choices(range(len(labels)), likely)[0]
                if len(picked) == size - 1:
                    pick = rng.randrange(len(labels))
                if pick not in picked:
                    picked.append(pick)
            listed = [words[labels[n]] for n in picked]
            chance, known, weight = blend[row, picked], single[row, picked], prior[picked]
            if rng.random() < options.outside:  # a wrong label from outside the 28 as the last
                near = {labels[right], *names}
                listed[-1] = rng.choice([w for w in more.values() if not w.close & near])
                chance[-1], known[-1], weight[-1] = 0.0, 0.0, 1 / len(labels)
        target = (chance + 1e-6) * weight**-options.balance
        yield Item(
            as_heard(text, rng), fill(listed, rng), (target / target.sum()).tolist(), known.tolist()
        )


def stated_items(
    count: int, comments: list[Comment], size: int, unseen: Collection[str], rng: random.Random
) -> Iterator[Item]:
    """Lists for sentences that name an emotion or deny one, some after an unemotional comment."""
    words = read_words("goemotions") | read_words("more")
    words = {name: entry for name, entry in words.items() if name not in unseen}
    plain = [text for text, names in comments if names == ["neutral"] and len(text) < 60]
    vague = ("neutral", "realization", "approval", "disapproval", "beauty")
    names = [name for name in words if name not in vague]
    for _ in range(count):
        name = rng.choice(names)
        form = rng.choice(["adjective", "adjective", "noun"])
        denied = rng.random() < 0.25
        sentence = rng.choice(LISTS["denied" if denied else "stated"][form])
        sentence = sentence.format(words[name].pick(form, rng))
        if rng.random() < 0.4:
            sentence = f"{rng.choice(plain).rstrip('.')}. {sentence}"
        close = {n for n in names if n in words[name].close or name in words[n].close}
        apart = [n for n in names if n != name and n not in close]
        others = size - 1
        listed = [words[name], *(words[n] for n in rng.sample(apart, others))]
        if denied:  # the denied label comes last; nothing is known of the others
            target, known = [0.0] + [1 / others] * others, [0.0] + [math.nan] * others
        else:
            target, known = [1.0] + [0.0] * others, [1.0] + [0.0] * others
        yield Item(as_heard(sentence, rng), fill(listed, rng), target, known)


def read_utterances(path: Path) -> tuple[list[str], list[str]]:
    """Utterances of MELD or EmoryNLP and their emotions."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [as_heard(row["Utterance"]) for row in rows], [row["Emotion"] for row in rows]
