"""Answers that never occur as truth: what may be the matter with them."""

from __future__ import annotations

from collections.abc import Iterable

from lanser_cli.entailment.crosswalk import load_crosswalk
from lanser_cli.entailment.taxonomy import Taxonomy, load_taxonomy, taxonomy_names
from lanser_cli.errors import UsageError


def advice(answers: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Sentences on spellings that differ by case or blanks, and on the crosswalk that would help.

    Args:
        answers: all that were given, each once.
        labels: the classes that occur as truth.
    """
    answers, labels = list(answers), list(labels)
    strays = [word for word in answers if word not in labels]
    plain = {_plain(label): label for label in labels}
    alike = {word: plain[_plain(word)] for word in strays if _plain(word) in plain}
    said = []
    if alike:
        pairs = ", ".join(f"'{word}' and '{label}'" for word, label in list(alike.items())[:5])
        said.append(f"{pairs} differ by case or blanks alone: spell truth and answers alike")
    others = [word for word in answers if word not in alike]
    if len(strays) > len(alike):
        said += _crosswalk(others, labels)
    return said


def taxonomy_of(labels: Iterable[str]) -> Taxonomy | None:
    """The smallest of the shipped taxonomies that has all these labels, or None."""
    wanted = set(labels)
    found = [one for one in map(load_taxonomy, taxonomy_names()) if wanted <= set(one.labels)]
    return min(found, key=lambda one: len(one.labels), default=None)


def _crosswalk(answers: list[str], labels: list[str]) -> list[str]:
    source, target = taxonomy_of(answers), taxonomy_of(labels)
    if source is None or target is None or source.name == target.name:
        return []
    # A class that a small truth lacks is no other taxonomy, where one has them all.
    if 2 * len(set(answers) - set(labels)) <= len(answers) and taxonomy_of([*answers, *labels]):
        return []
    try:
        load_crosswalk(target.name, source, partial=True)
    except UsageError:
        return []
    return [
        f"these are labels of {source.name}, the truth has those of {target.name}: map them with "
        f"predict --crosswalk {source.name}:{target.name}, or entail-label --taxonomy "
        f"{source.name} --crosswalk {target.name}"
    ]


def _plain(word: str) -> str:
    return "".join(word.split()).casefold()
