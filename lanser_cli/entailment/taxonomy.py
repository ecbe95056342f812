"""Taxonomies: the emotion labels to choose from, and the words a hypothesis says them with.

They are data: `taxonomies/NAME.json` in this folder, or a user's own file of the same form:

    {"name": "mine", "source": "who defined it",
     "labels": {"joy": {"noun": "joy", "adjective": "joyful", "common": "joy"}, ...}}

A label may have `words` in other languages: `"words": {"de": {"noun": "Freude", ...}, ...}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from lanser_cli.digests import string64
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.shape import load_json

_FOLDER = Path(__file__).parent / "taxonomies"
_KEYS = ("name", "source", "labels")
_WORDS = ("noun", "adjective")
CUSTOM = "custom"
"""The name of all taxonomies that are lists of labels on a command line."""
ENGLISH = "en"
"""The language of a label's own noun and adjective; `words` has those of others."""
COMMON = ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral")
"""What labels of different taxonomies have in common: Ekman's six emotions, and none of them."""
Words: TypeAlias = "Mapping[str, tuple[str, str]]"
"""A label's noun and adjective, by language."""


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Labels in their publisher's order.

    Attributes:
        name: goes into the record as `entailment.taxonomy`.
        source: where the list comes from.
        labels: what is written to `emotion`.
        nouns: fit "This text expresses {}."
        adjectives: fit "The speaker feels {adjective}."
        common: the nearest of `COMMON`, or None where none is near; for crosswalks.
        words: a label's nouns and adjectives in other languages; empty where it has none.
        lang: the language of the nouns and adjectives.
    """

    name: str
    source: str
    labels: tuple[str, ...]
    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    common: tuple[str | None, ...]
    words: tuple[Words, ...] = field(default=(), repr=False, hash=False)
    lang: str = field(default=ENGLISH, repr=False)

    @classmethod
    def of_labels(cls, labels: Sequence[str]) -> Taxonomy:
        """A taxonomy from bare labels, each its own noun and adjective, and common if it is one.

        Raises:
            UsageError: fewer than two labels, an empty one, or one that occurs twice.
        """
        names = tuple(label.strip() for label in labels)
        _check_labels(names, "--labels")
        common = tuple(name if name in COMMON else None for name in names)
        return cls(CUSTOM, "given on the command line", names, names, names, common)

    @property
    def in_short(self) -> str:
        """Its name, the number of labels, and a digest of all it says."""
        return f"{self.name} ({len(self.labels)} labels, {string64(repr(self)):016x})"

    def without(self, labels: Sequence[str]) -> Taxonomy:
        """The same less some labels."""
        kept = [place for place, label in enumerate(self.labels) if label not in labels]

        def left(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[place] for place in kept) if column else ()

        return replace(
            self,
            labels=left(self.labels),
            nouns=left(self.nouns),
            adjectives=left(self.adjectives),
            common=left(self.common),
            words=left(self.words),
        )

    def in_language(self, lang: str) -> Taxonomy:
        """The same labels, asked for in another language.

        Raises:
            UsageError: a label has no words in it; the message names the languages there are.
        """
        if lang == self.lang:
            return self
        if not self.words or any(lang not in words for words in self.words):
            known = sorted(set.intersection(*map(set, self.words))) if self.words else []
            raise UsageError(
                f"--lang {lang}: taxonomy '{self.name}' has words in "
                f"{', '.join([ENGLISH, *known])}: write 'words' for '{lang}' into a taxonomy file"
            )
        nouns, adjectives = zip(*(words[lang] for words in self.words), strict=True)
        return replace(self, nouns=nouns, adjectives=adjectives, lang=lang)

    @classmethod
    def from_file(cls, path: Path) -> Taxonomy:
        """Read a taxonomy file.

        Raises:
            UsageError: not there, not JSON, a missing or misspelt key, or bad labels.
        """
        value = read_object(path, _KEYS)
        entries = value["labels"]
        if not isinstance(entries, dict):
            raise UsageError(f"{path}: 'labels' must be an object: label -> noun and adjective")
        for label, words in entries.items():
            if not isinstance(words, dict):
                raise UsageError(f"{path}: label '{label}' must be an object with noun, adjective")
            where = f"{path}: label '{label}'"
            _check_keys(words, _WORDS, where, optional=("common", "words"))
            _check_said(words, where)
            _check_common(words.get("common"), where)
            _check_words(words.get("words", {}), where)
        labels = tuple(entries)
        _check_labels(labels, str(path))
        foreign = tuple(
            {lang: (str(its["noun"]), str(its["adjective"])) for lang, its in others.items()}
            for others in (words.get("words", {}) for words in entries.values())
        )
        for key in ("name", "source"):
            if not isinstance(value[key], str):
                raise UsageError(f"{path}: '{key}' must be a string")
        return cls(
            value["name"],
            value["source"],
            labels,
            tuple(str(words["noun"]) for words in entries.values()),
            tuple(str(words["adjective"]) for words in entries.values()),
            tuple(words.get("common") for words in entries.values()),
            foreign if any(foreign) else (),
        )

    def as_json(self) -> dict[str, Any]:
        """As in a taxonomy file."""
        columns = zip(self.labels, self.nouns, self.adjectives, self.common, strict=True)
        labels: dict[str, dict[str, Any]] = {
            label: {"noun": noun, "adjective": adjective, "common": common}
            for label, noun, adjective, common in columns
        }
        for label, words in zip(self.labels, self.words, strict=bool(self.words)):
            if words:
                labels[label]["words"] = {
                    lang: dict(zip(_WORDS, its, strict=True)) for lang, its in words.items()
                }
        return {"name": self.name, "source": self.source, "labels": labels}


def taxonomy_names() -> list[str]:
    """Names of the taxonomies that ship with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load_taxonomy(name: str) -> Taxonomy:
    """A taxonomy by its name, or from a file whose path ends in .json.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    if name.endswith(".json"):
        return Taxonomy.from_file(Path(name))
    if name not in taxonomy_names():
        near = get_close_matches(name, taxonomy_names(), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UsageError(
            f"unknown taxonomy '{name}': {hint}choose from {', '.join(taxonomy_names())}, "
            "or give a .json file"
        )
    return Taxonomy.from_file(_FOLDER / f"{name}.json")


def read_object(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The JSON object in a file, which must have these keys and no others.

    Raises:
        UsageError: not there, not JSON, a key that occurs twice, is missing or unknown.
    """
    try:
        value = load_json(path, f"an object with {', '.join(keys)}")
    except LanserError as error:
        raise UsageError(str(error)) from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}: must hold an object with {', '.join(keys)}")
    _check_keys(value, keys, str(path))
    return value


def _check_labels(labels: Sequence[str], where: str) -> None:
    if len(labels) < 2:
        raise UsageError(f"{where}: a taxonomy needs at least two labels")
    for label in labels:
        if not label.strip():
            raise UsageError(f"{where}: there is an empty label")
        if labels.count(label) > 1:
            raise UsageError(f"{where}: label '{label}' occurs twice")


def _check_common(value: object, where: str) -> None:
    if value is not None and value not in COMMON:
        raise UsageError(f"{where}: 'common' is {nearest(str(value), COMMON)}")


def _check_words(value: object, where: str) -> None:
    if not isinstance(value, dict) or not all(isinstance(its, dict) for its in value.values()):
        raise UsageError(f"{where}: 'words' must be an object: language -> noun and adjective")
    for lang, its in value.items():
        _check_keys(its, _WORDS, f"{where}: words in '{lang}'")
        _check_said(its, f"{where}: words in '{lang}'")


def _check_said(its: Mapping[str, object], where: str) -> None:
    for key in _WORDS:
        word = its[key]
        if not isinstance(word, str) or not word.strip():
            raise UsageError(f"{where}: '{key}' must be a word, as the hypothesis says it")


def nearest(word: str, known: Sequence[str]) -> str:
    """`'joi': did you mean 'joy'?`, or what is known where nothing is near."""
    near = get_close_matches(word, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
    return f"'{word}': {hint}"


def _check_keys(
    value: dict[str, object], wanted: Sequence[str], where: str, optional: Sequence[str] = ()
) -> None:
    for key in value:
        if key not in wanted and key not in optional:
            raise UsageError(f"{where}: unknown key {nearest(key, [*wanted, *optional])}")
    for key in wanted:
        if key not in value:
            raise UsageError(f"{where}: key '{key}' is missing")
