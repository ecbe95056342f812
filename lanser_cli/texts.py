"""When two transcripts say the same, and when two names look the same."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

_APOSTROPHES = re.compile(r"['\u2018\u2019\u02bc\u0060\u00b4]")
_MOST_NAMED = 20

_WORDS = re.compile(r"[^\W_]+")
"""Of ASCII; in other scripts the pieces of words between marks."""
_MOST_SAID = 5


def spoken_form(text: str) -> str:
    """What two transcripts have in common if they say the same: equal for equal texts.

    Letter case, punctuation, and the width and number of spaces do not count. An apostrophe joins
    ("don't", "dont"); any other mark parts ("well-known", "well known").
    """
    folded = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).casefold())
    if folded.isascii():
        return " ".join(_WORDS.findall(folded))
    words = "".join(letter if _spells(letter) else " " for letter in folded).split()
    return " ".join(word for word in words if _WORDS.search(word))


def _spells(letter: str) -> bool:
    """Whether it is a letter, a digit, or a mark on one: the vowels of Devanagari, Thai, Arabic."""
    return letter.isalnum() or (
        unicodedata.category(letter) in ("Mn", "Mc") and not "\ufe00" <= letter <= "\ufe0f"
    )


def near(word: str, known: Iterable[str]) -> str:
    """What to say of a word that is not known: `did you mean 'joy'? there are: anger, joy`.

    Of many that are known some are named.
    """
    names = sorted(set(known))
    found = get_close_matches(word, names, n=1)
    meant = f"did you mean '{found[0]}'? " if found else ""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{meant}there are: {', '.join(names[:_MOST_NAMED]) or 'none'}{more}"


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Groups of different names that people take for one.

    They differ in letter case, blanks, marks that cannot be seen, or Unicode's form alone.
    """
    groups = defaultdict(list)
    for name in names:
        folded = unicodedata.normalize("NFKC", name).casefold()
        seen = (letter for letter in folded if letter.isprintable() and not letter.isspace())
        groups["".join(seen)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def alike(what: str, counts: Mapping[str, int]) -> Iterator[str]:
    """A sentence for each of the first groups of names that look alike.

    Args:
        what: is named: "labels".
        counts: how often each name is there.
    """
    groups = look_alikes(counts)
    for group in groups[:_MOST_SAID]:
        names = ", ".join(f"'{name}' ({counts[name]})" for name in group)
        yield f"{what} that differ by blanks, case or form alone: {names}: write them alike"
    if len(groups) > _MOST_SAID:
        yield f"and {len(groups) - _MOST_SAID} more such groups of {what}"
