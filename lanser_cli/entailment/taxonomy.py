"""Taxonomies: the emotion labels to choose from, and the words a hypothesis says them with.

They are data: `taxonomies/NAME.json` in this folder, or a user's own file of the same form:

    {"name": "mine", "source": "who defined it",
     "labels": {"joy": {"noun": "joy", "adjective": "joyful", "common": "joy"}, ...}}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lanser_cli.errors import UsageError

_FOLDER = Path(__file__).parent / "taxonomies"
_KEYS = ("name", "source", "labels")
_WORDS = ("noun", "adjective")
COMMON = ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral")
"""What labels of different taxonomies have in common: Ekman's six emotions, and none of them."""


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
    """

    name: str
    source: str
    labels: tuple[str, ...]
    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    common: tuple[str | None, ...]

    @classmethod
    def of_labels(cls, labels: Sequence[str]) -> Taxonomy:
        """A taxonomy from bare labels, each its own noun and adjective, and common if it is one.

        Raises:
            UsageError: fewer than two labels, an empty one, or one that occurs twice.
        """
        names = tuple(label.strip() for label in labels)
        _check_labels(names, "--labels")
        common = tuple(name if name in COMMON else None for name in names)
        return cls("custom", "given on the command line", names, names, names, common)

    def without(self, labels: Sequence[str]) -> Taxonomy:
        """The same less some labels."""
        kept = [place for place, label in enumerate(self.labels) if label not in labels]
        columns = (self.labels, self.nouns, self.adjectives, self.common)
        return Taxonomy(
            self.name,
            self.source,
            *(tuple(column[place] for place in kept) for column in columns),  # type: ignore[arg-type]
        )

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
            _check_keys(words, _WORDS, f"{path}: label '{label}'", optional=("common",))
            _check_common(words.get("common"), f"{path}: label '{label}'")
        labels = tuple(entries)
        _check_labels(labels, str(path))
        return cls(
            str(value["name"]),
            str(value["source"]),
            labels,
            tuple(str(words["noun"]) for words in entries.values()),
            tuple(str(words["adjective"]) for words in entries.values()),
            tuple(words.get("common") for words in entries.values()),
        )

    def as_json(self) -> dict[str, Any]:
        """As in a taxonomy file."""
        words = zip(self.labels, self.nouns, self.adjectives, self.common, strict=True)
        labels = {
            label: {"noun": noun, "adjective": adjective, "common": common}
            for label, noun, adjective, common in words
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
        text = path.read_text(encoding="utf-8")
        value = json.loads(text, object_pairs_hook=_without_repeats)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except _Repeated as error:
        raise UsageError(f"{path}: '{error}' occurs twice") from None
    except ValueError as error:
        raise UsageError(f"{path}: not a JSON file: {error}") from None
    except RecursionError:
        raise UsageError(f"{path}: not a JSON file: nested too deeply") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}: must hold an object with {', '.join(keys)}")
    _check_keys(value, keys, str(path))
    return value


class _Repeated(Exception):
    """A key that occurs twice in one JSON object."""


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object that JSON pairs make; Python would keep the last of a repeated key silently."""
    value: dict[str, object] = {}
    for key, item in pairs:
        if key in value:
            raise _Repeated(key)
        value[key] = item
    return value


def _check_labels(labels: Sequence[str], where: str) -> None:
    if len(labels) < 2:
        raise UsageError(f"{where}: a taxonomy needs at least two labels")
    for label in labels:
        if not label:
            raise UsageError(f"{where}: there is an empty label")
        if labels.count(label) > 1:
            raise UsageError(f"{where}: label '{label}' occurs twice")


def _check_common(value: object, where: str) -> None:
    if value is not None and value not in COMMON:
        raise UsageError(f"{where}: 'common' is {nearest(str(value), COMMON)}")


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
