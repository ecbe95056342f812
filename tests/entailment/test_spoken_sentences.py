"""The sentences in spoken style that the embedded entailment model is trained on."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path

import pytest
from conftest import ROOT

from lanser_cli.entailment import load_taxonomy, taxonomy_names

FILE = ROOT / "recipes" / "spoken_sentences.tsv"
WORDS = ROOT / "recipes" / "embedded_entailment_words.json"
APART = [ROOT / "recipes" / f"spoken_{part}.tsv" for part in ("dev", "test")]
NEAR = 0.8
"""Two sentences that share this part of their words, of all that either has, are nearly equal."""


def words(sentence: str) -> tuple[str, ...]:
    """The words without case and punctuation."""
    return tuple(re.findall(r"[\w']+", sentence.lower().replace("’", "'")))


def read(path: Path) -> list[tuple[str, str]]:
    """Label and sentence of every line."""
    with path.open(encoding="utf-8", newline="") as lines:
        head, *rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    assert head == ["label", "sentence"]
    return [(label, sentence) for label, sentence in rows]


@pytest.fixture(scope="module")
def sentences() -> list[tuple[str, str]]:
    return read(FILE)


@pytest.fixture(scope="module")
def own() -> dict[str, set[str]]:
    """The words that name a label, for every label that ships and others."""
    named: dict[str, set[str]] = defaultdict(set)
    for label, said in json.loads(WORDS.read_text("utf-8"))["more"].items():
        nouns, adjectives, _ = said.split(" | ")
        first = f"{nouns.split(', ')[0]} {adjectives.split(', ')[0]}"
        named[label] |= {word for word in words(first) if len(word) > 4} - {"sense", "feeling"}
    for name in taxonomy_names():
        taxonomy = load_taxonomy(name)
        for row in zip(taxonomy.labels, taxonomy.nouns, taxonomy.adjectives, strict=True):
            named[row[0]] |= {word for word in words(" ".join(row)) if len(word) > 2} - {"the"}
    return named


def test_every_label_that_ships_has_sixty_and_ninety_others_twenty(
    sentences: list[tuple[str, str]], own: dict[str, set[str]]
) -> None:
    counts = Counter(label for label, _ in sentences)
    ship = {label for name in taxonomy_names() for label in load_taxonomy(name).labels}
    assert ship <= set(counts) <= set(own)
    assert min(counts[label] for label in ship) >= 60
    others = {label: count for label, count in counts.items() if label not in ship}
    assert len(others) >= 90 and min(others.values()) >= 20


def test_those_kept_apart_have_forty_of_each_of_seven_labels() -> None:
    for path in APART:
        counts = Counter(label for label, _ in read(path))
        assert counts == dict.fromkeys(load_taxonomy("meld7").labels, 40)


def test_none_is_there_twice_too_short_too_long_or_begins_like_many(
    sentences: list[tuple[str, str]],
) -> None:
    said = [words(sentence) for _, sentence in sentences]
    assert [line for line, times in Counter(said).items() if times > 1] == []
    assert [line for line in said if not 3 <= len(line) <= 40] == []
    begins, times = Counter(line[:3] for line in said).most_common(1)[0]
    assert times <= len(said) / 100, begins


def test_few_name_their_label_and_half_are_written_as_a_recogniser_writes(
    sentences: list[tuple[str, str]], own: dict[str, set[str]]
) -> None:
    of: dict[str, list[str]] = defaultdict(list)
    for label, sentence in sentences:
        of[label].append(sentence)
    for label, mine in of.items():
        naming = sum(not own[label].isdisjoint(words(sentence)) for sentence in mine)
        bare = sum(re.fullmatch(r"[a-z' ]+", sentence) is not None for sentence in mine)
        assert naming / len(mine) < 0.25, label
        assert 0.4 < bare / len(mine) < 0.6, label


def lines_of_test_sets(text: Path) -> Iterator[str]:
    """What a model trained on these sentences is tested with: corpora, and the examples."""
    for name, column in (("meld_test.csv", 1), ("emory_test.csv", 0)):
        with (text / name).open(encoding="utf-8", newline="") as lines:
            yield from (row[column] for row in csv.reader(lines))
    for name, column in (("go_test.tsv", 0), ("xed_en.tsv", 0), ("xed_neutral.txt", 1)):
        for line in (text / name).read_text(encoding="utf-8").splitlines():
            yield line.split("\t")[column]
    for path in APART:
        yield from (sentence for _, sentence in read(path))
    for line in (ROOT / "examples/speech/written.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)["written"]


def nearly_equal(
    mine: Iterable[frozenset[str]], others: Iterable[frozenset[str]]
) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """The pairs with a Jaccard similarity of NEAR or more.

    Such a pair shares one of its rarest words: prefix filtering, Chaudhuri, Ganti and Kaushik
    (2006), A primitive operator for similarity joins in data cleaning.
    """
    others = set(others)
    common = Counter(word for line in others for word in line)

    def rarest(line: frozenset[str]) -> list[str]:
        rare_first = sorted(line, key=lambda word: (common[word], word))
        return rare_first[: len(line) - ceil(NEAR * len(line)) + 1]

    holding: dict[str, list[frozenset[str]]] = defaultdict(list)
    for line in others:
        for word in rarest(line):
            holding[word].append(line)
    for line in mine:
        for word in rarest(line):
            for other in holding[word]:
                if len(line & other) >= NEAR * len(line | other):
                    yield line, other


def test_none_is_nearly_equal_to_a_line_of_a_test_set(
    sentences: list[tuple[str, str]], shared: Path
) -> None:
    mine = {frozenset(words(sentence)): sentence for _, sentence in sentences}
    theirs = {frozenset(words(line)): line for line in lines_of_test_sets(shared / "text")}
    del theirs[frozenset()]
    planted = frozenset(words("Do you want to get a sandwich or some coffee with me later?"))
    assert any(True for _ in nearly_equal([planted], [planted - {"later"}, *theirs]))
    assert [(mine[a], theirs[b]) for a, b in nearly_equal(mine, theirs)] == []
