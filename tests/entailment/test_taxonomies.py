"""Taxonomies and templates: what ships, and what a misspelt one is answered."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lanser_cli.entailment import (
    DEFAULT_TEMPLATE,
    Taxonomy,
    Template,
    load_taxonomy,
    load_templates,
)
from lanser_cli.entailment import taxonomy_names as names
from lanser_cli.entailment.taxonomy import COMMON
from lanser_cli.errors import UsageError

WORDS = {"joy": ("joy", "joyful"), "fear": ("fear", "afraid")}


def write(path: Path, **changes: object) -> str:
    value: dict[str, object] = {
        "name": "mine",
        "source": "me",
        "labels": {label: {"noun": n, "adjective": a} for label, (n, a) in WORDS.items()},
    }
    value.update(changes)
    path.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))
    return str(path)


@pytest.mark.parametrize("name", names())
def test_all_that_ship_load(name: str) -> None:
    taxonomy = load_taxonomy(name)
    assert taxonomy.name == name
    assert len(taxonomy.source) > 10
    assert len(taxonomy.labels) == len(set(taxonomy.labels)) >= 2
    for words in (taxonomy.nouns, taxonomy.adjectives):
        assert len(words) == len(taxonomy.labels)
        assert len(set(words)) == len(words), "two labels that no hypothesis can tell apart"
        assert all(word and word == word.strip() for word in words)


@pytest.mark.parametrize("name", [name for name in names() if name[-1].isdigit()])
def test_a_number_in_a_name_is_its_size(name: str) -> None:
    assert len(load_taxonomy(name).labels) == int(re.sub(r"\D", "", name))


def test_the_labels_of_goemotions_are_those_of_its_authors_in_order(shared: Path) -> None:
    published = (shared / "text" / "go_labels.txt").read_text().split()
    assert list(load_taxonomy("goemotions").labels) == published


def test_one_label_is_said_alike_in_all_taxonomies() -> None:
    said: dict[str, tuple[str, str, str | None]] = {}
    for name in names():
        taxonomy = load_taxonomy(name)
        for label, *words in zip(
            taxonomy.labels, taxonomy.nouns, taxonomy.adjectives, taxonomy.common, strict=True
        ):
            assert said.setdefault(label, tuple(words)) == tuple(words), f"{name}: {label}"  # type: ignore[arg-type]


def test_common_labels_are_themselves() -> None:
    for name in names():
        taxonomy = load_taxonomy(name)
        for label, common in zip(taxonomy.labels, taxonomy.common, strict=True):
            assert common is None or common in COMMON
            assert label not in COMMON or common == label


def test_unknown_names_name_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown taxonomy 'ekmann6': did you mean 'ekman6'"):
        load_taxonomy("ekmann6")
    with pytest.raises(UsageError, match=r"unknown taxonomy 'zzz': choose from .*goemotions"):
        load_taxonomy("zzz")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    taxonomy = load_taxonomy(write(tmp_path / "mine.json"))
    assert taxonomy == Taxonomy(
        "mine", "me", ("joy", "fear"), ("joy", "fear"), ("joyful", "afraid"), (None, None)
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": None, "lables": {}}, "unknown key 'lables': did you mean 'labels'?"),
        ({"sourse": "x"}, "unknown key 'sourse': did you mean 'source'?"),
        ({"zzz": 1}, "unknown key 'zzz': known are name, source, labels"),
        ({"source": None}, "key 'source' is missing"),
        ({"labels": ["joy", "fear"]}, "'labels' must be an object"),
        ({"labels": {"joy": "joy", "fear": "fear"}}, "label 'joy' must be an object"),
        (
            {"labels": {"joy": {"noun": "joy", "adjectiv": "joyful"}}},
            "label 'joy': unknown key 'adjectiv': did you mean 'adjective'?",
        ),
        ({"labels": {"joy": {"noun": "joy"}}}, "label 'joy': key 'adjective' is missing"),
        (
            {"labels": {"joy": {"noun": "joy", "adjective": "joyful"}}},
            "a taxonomy needs at least two labels",
        ),
        ({"labels": {}}, "a taxonomy needs at least two labels"),
        (
            {"labels": {"joy": {"noun": "joy", "adjective": "joyful", "comon": "joy"}}},
            "label 'joy': unknown key 'comon': did you mean 'common'?",
        ),
        (
            {"labels": {"joy": {"noun": "joy", "adjective": "joyful", "common": "joi"}}},
            "label 'joy': 'common' is 'joi': did you mean 'joy'?",
        ),
        (
            {"labels": {"joy": {"noun": "joy", "adjective": "joyful", "common": "zzz"}}},
            "'common' is 'zzz': known are anger, disgust",
        ),
        (
            {"labels": {"joy": {"noun": "joy", "adjective": "joyful", "words": ["de"]}}},
            "label 'joy': 'words' must be an object: language -> noun and adjective",
        ),
        (
            {"labels": {"joy": {"noun": "a", "adjective": "b", "words": {"de": {"noun": "c"}}}}},
            "label 'joy': words in 'de': key 'adjective' is missing",
        ),
        ({"name": 6}, "'name' must be a string"),
        (
            {"labels": {"joy": {"noun": None, "adjective": "joyful"}}},
            "label 'joy': 'noun' must be a word",
        ),
        (
            {
                "labels": {
                    "joy": {
                        "noun": "a",
                        "adjective": "b",
                        "words": {"de": dict(noun="c", adjective=" ")},
                    }
                }
            },
            "label 'joy': words in 'de': 'adjective' must be a word",
        ),
    ],
)
def test_faults_of_a_file(changes: dict[str, object], sentence: str, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.json", **changes)
    with pytest.raises(UsageError) as caught:
        load_taxonomy(path)
    assert str(caught.value).startswith(path)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("lang", ["de", "es", "fr", "pl"])
def test_ekman6_and_meld7_can_be_asked_for_in_other_languages(lang: str) -> None:
    seven = load_taxonomy("meld7").in_language(lang)
    assert seven.labels == load_taxonomy("meld7").labels and seven.lang == lang
    assert all(len(set(words)) == 7 for words in (seven.nouns, seven.adjectives))
    assert set(load_taxonomy("ekman6").in_language(lang).nouns) < set(seven.nouns)
    first, *others = load_templates((), lang, sweep=True)
    assert load_templates((), lang) == (first,) and "{adjective}" in others[-1].text
    if lang == "de":
        assert "Diese Person empfindet Wut." in first.hypotheses(seven)


def test_a_language_without_words_or_template_is_refused_with_those_there_are(
    tmp_path: Path,
) -> None:
    words = {"it": {"noun": "gioia", "adjective": "felice"}}
    labels = {
        "joy": {"noun": "joy", "adjective": "joyful", "words": words},
        "fear": {"noun": "fear", "adjective": "afraid", "words": words},
    }
    mine = load_taxonomy(write(tmp_path / "mine.json", labels=labels))
    assert Taxonomy.from_file(Path(write(tmp_path / "2.json", **mine.as_json()))) == mine
    assert mine.in_language("it").nouns == ("gioia", "gioia")
    assert mine.in_language("it").without(["joy"]).labels == ("fear",)
    with pytest.raises(UsageError, match=r"--lang de: taxonomy 'mine' has words in en, it: write"):
        mine.in_language("de")
    with pytest.raises(UsageError, match=r"'goemotions' has words in en: write"):
        load_taxonomy("goemotions").in_language("de")
    with pytest.raises(UsageError, match=r"--lang it: a template ships for en, de, es, fr, pl: na"):
        load_templates((), "it")
    assert load_templates(("Prova {}.",), "it") == (Template("Prova {}."),)


def test_a_label_that_occurs_twice_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    entry = '{"noun": "joy", "adjective": "joyful"}'
    labels = f'{{"joy": {entry}, "fear": {entry}, "joy": {entry}}}'
    path.write_text(f'{{"name": "mine", "source": "me", "labels": {labels}}}')
    with pytest.raises(UsageError, match="'joy' occurs twice"):
        load_taxonomy(str(path))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.json: cannot be read: No such file"):
        load_taxonomy(str(tmp_path / "gone.json"))
    deep = '{"name":' + "[" * 100_000
    for text, sentence in (
        ("{", "not JSON"),
        ("[]", "must hold an object with name"),
        (deep, "nested too deeply"),
    ):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(UsageError, match=sentence):
            load_taxonomy(str(tmp_path / "bad.json"))
    (tmp_path / "bad.json").write_bytes(b'{"name": "caf\xe9"}')
    with pytest.raises(UsageError, match="not JSON"):
        load_taxonomy(str(tmp_path / "bad.json"))


def test_labels_on_the_command_line() -> None:
    taxonomy = Taxonomy.of_labels(["happy", " sad"])
    assert taxonomy.labels == taxonomy.nouns == taxonomy.adjectives == ("happy", "sad")
    for labels, sentence in (
        (["happy"], "needs at least two labels"),
        (["happy", ""], "an empty label"),
        (["happy", "sad", "happy "], "label 'happy' occurs twice"),
    ):
        with pytest.raises(UsageError, match=sentence):
            Taxonomy.of_labels(labels)


def test_templates_put_the_fitting_word_in() -> None:
    nouns, adjectives = ("joy", "fear"), ("joyful", "afraid")
    taxonomy = Taxonomy("mine", "me", nouns, nouns, adjectives, (None, None))
    assert Template("I feel {}.").hypotheses(taxonomy) == ["I feel joy.", "I feel fear."]
    assert Template("{noun}!").hypotheses(taxonomy) == ["joy!", "fear!"]
    assert Template("So {adjective}.").hypotheses(taxonomy) == ["So joyful.", "So afraid."]
    assert Template(DEFAULT_TEMPLATE).hypotheses(taxonomy)[1].endswith("fear.")


def test_words_are_put_in_as_they_are() -> None:
    taxonomy = Taxonomy.of_labels([r"\1 \g<0>", "{}"])
    assert Template("<{}>").hypotheses(taxonomy) == [r"<\1 \g<0>>", "<{}>"]


@pytest.mark.parametrize(
    "text", ["", "no slot.", "{} and {}", "{noun} {adjective}", "{verb}", "{", "{}}", "{{}}", "{0}"]
)
def test_broken_slots(text: str) -> None:
    with pytest.raises(UsageError, match="must have exactly one slot") as caught:
        Template(text)
    assert f"'{text}'" in str(caught.value)
