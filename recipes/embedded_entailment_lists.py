"""The lists that train_embedded_entailment.py trains on, made from its texts.

A list is a premise with several hypotheses under one template, one of them right.
"""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from embedded_entailment_texts import XED, Comment, Ear, as_heard, words_of

CLASSES = ["entailment", "neutral", "contradiction"]
TAXONOMIES = Path(__file__).parents[1] / "lanser_cli" / "entailment" / "taxonomies"
LISTS = json.loads((Path(__file__).parent / "embedded_entailment_words.json").read_text("utf-8"))


@dataclass
class Words:
    """The ways to say a label, the labels too close to it to be called wrong, and the closest."""

    noun: list[str]
    adjective: list[str]
    close: set[str]
    closest: str = ""

    @property
    def said(self) -> list[str]:
        """All of them."""
        return [*self.noun, *self.adjective]

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
    spoken_coarse: float
    outside: float
    gold: float
    balance: float
    keep_neutral: float
    ear: Ear | None = None


def read_words(table: str) -> dict[str, Words]:
    """The words of `LISTS[table]`, a label each."""
    words = {}
    for label, line in LISTS[table].items():
        parts = [[w.strip() for w in part.split(",")] for part in f"{line} | ".split(" | ")[:3]]
        words[label] = Words(parts[0], parts[1], {w for w in parts[2] if w}, parts[2][0])
    return words


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
    groups = coarse_groups(labels)
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
        heard = as_heard(text, rng, options.ear)
        yield Item(heard, fill(listed, rng), (target / target.sum()).tolist(), known.tolist())


def coarse_groups(labels: list[str]) -> dict[str, list[int]]:
    """Of Ekman's six and neutral, which of the fine labels each stands for, by their places."""
    groups = {
        name: [labels.index(member) for member in members.split() if member in labels]
        for name, members in LISTS["coarse"].items()
    }
    return {name: members for name, members in groups.items() if members and name in labels}


def xed_items(
    lines: list[Comment],
    posterior: np.ndarray,
    labels: list[str],
    options: ListOptions,
    rng: random.Random,
) -> Iterator[Item]:
    """One list of hypotheses a line of XED, from its own nine labels.

    The teachers know seven of them, by the fine labels that they stand for; for anticipation and
    trust, which they do not know, the gold label is the target.
    """
    words = read_words("more") | read_words("goemotions")
    groups = coarse_groups(labels)
    names = [name for name in XED if name in groups or name in ("anticipation", "trust")]
    gold = np.array([[name in given for name in names] for _, given in lines], dtype=float)
    taught = np.stack(
        [posterior[:, groups[n]].sum(1) if n in groups else gold[:, names.index(n)] for n in names],
        axis=1,
    )
    single = options.gold * gold + (1 - options.gold) * np.minimum(taught, 1)
    prior = (gold / gold.sum(1, keepdims=True)).mean(0)
    for row, (text, given) in enumerate(lines):
        right = names.index(rng.choice(given))
        wrong = [n for n in range(len(names)) if names[n] not in given]
        picked = [right, *rng.sample(wrong, min(len(wrong), options.list_size - 1))]
        if len(picked) < options.list_size:  # a line with nearly all labels
            continue
        target = (single[row, picked] + 1e-6) * prior[picked] ** -options.balance
        heard = as_heard(text, rng, options.ear)
        listed = fill([words[names[n]] for n in picked], rng)
        yield Item(heard, listed, (target / target.sum()).tolist(), single[row, picked].tolist())


@dataclass
class Shipped:
    """The labels that sentences are written for: their words, and the nearest common emotion.

    They are those of the taxonomies that ship, and the other emotions of `LISTS["more"]`, which
    have none.
    """

    words: dict[str, Words]
    common: dict[str, str | None]

    @classmethod
    def read(cls) -> Shipped:
        """Labels that share a family are close; so are those that are said alike.

        One of no taxonomy is close to the families of those that it names as close, and to all
        others of no taxonomy that name one of them too.
        """
        words, common = {}, {}
        synonyms = list((read_words("goemotions") | read_words("more")).values())
        families = [set(line.split(", ")) for line in LISTS["families"]]
        for path in sorted(TAXONOMIES.glob("*.json")):
            for label, entry in json.loads(path.read_text("utf-8"))["labels"].items():
                noun, adjective = entry["noun"], entry["adjective"]
                known = next((each for each in synonyms if each.noun[0] == noun), None)
                close = {label}.union(*(family for family in families if label in family))
                nouns = known.noun if known else [noun]
                adjectives = known.adjective if known else [adjective]
                words[label] = Words(nouns, adjectives, close)
                common[label] = entry.get("common")
        said = {each.noun[0] for each in words.values()}
        more = {k: each for k, each in read_words("more").items() if each.noun[0] not in said}
        for name, each in more.items():
            near = each.close.union(*(family for family in families if family & each.close))
            alike = {other for other, its in more.items() if its.close & each.close}
            words[name] = Words(each.noun, each.adjective, {name} | near | alike)
            common[name] = None
        return cls(words, common)

    def said_as(self, unseen: Collection[str]) -> set[str]:
        """The labels said with a word of these of GoEmotions, or closest to one of these."""
        known = read_words("goemotions")
        said = {noun for name in unseen for noun in known[name].noun}
        near = {name for name, each in read_words("more").items() if each.closest in unseen}
        return near | {name for name, each in self.words.items() if {name, *each.noun[:1]} & said}


def spoken_items(
    sentences: list[Comment],
    options: ListOptions,
    rng: random.Random,
    *,
    copies: int,
    unseen: Collection[str],
) -> Iterator[Item]:
    """Lists for sentences written in spoken style: their label, and labels that are far from it.

    A neutral sentence that holds a word of emotion has that emotion among its wrong answers.
    """
    shipped = Shipped.read()
    labels = [label for label in shipped.words if label not in unseen]
    whole = read_words("goemotions")
    coarse = {name: whole[name] for name in LISTS["coarse"] if name not in unseen}
    size = options.list_size
    for text, (label,) in sentences * copies:
        common = shipped.common[label]
        if common in coarse and rng.random() < options.spoken_coarse:
            far = [words for name, words in coarse.items() if name != common]
            listed = [coarse[common], *rng.sample(far, size - 1)]
        else:
            close = shipped.words[label].close
            others = [
                other
                for other in labels
                if other not in close and label not in shipped.words[other].close
            ]
            said = set(words_of(text))
            named = [other for other in others if said & set(shipped.words[other].said)]
            named = named if label == "neutral" else []
            chosen = rng.sample(named, min(len(named), 1))
            rest = [other for other in others if other not in chosen]
            chosen += rng.sample(rest, size - 1 - len(chosen))
            listed = [shipped.words[name] for name in (label, *chosen)]
        truth = [1.0] + [0.0] * (size - 1)
        yield Item(as_heard(text, rng, options.ear), fill(listed, rng), truth, truth)


def stated_items(
    comments: list[Comment],
    options: ListOptions,
    rng: random.Random,
    *,
    count: int,
    unseen: Collection[str],
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
        others = options.list_size - 1
        listed = [words[name], *(words[n] for n in rng.sample(apart, others))]
        if denied:  # the denied label comes last; nothing is known of the others
            target, known = [0.0] + [1 / others] * others, [0.0] + [math.nan] * others
        else:
            target, known = [1.0] + [0.0] * others, [1.0] + [0.0] * others
        yield Item(as_heard(sentence, rng, options.ear), fill(listed, rng), target, known)
