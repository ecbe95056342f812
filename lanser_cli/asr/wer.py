"""Word error rate of transcripts against what was said."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lanser_cli import console
from lanser_cli.audio.manifests import adapt
from lanser_cli.errors import LanserError
from lanser_cli.jsonl import read_records
from lanser_cli.output import warn_of
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.stage import Process, watching

STAGE = "transcribe"

_UNPARTED = ("zh", "yue", "ja", "th", "lo", "my")
"""Languages that are written without blanks between words."""


@dataclass(frozen=True, slots=True)
class Errors:
    """Word errors, and the words that were said."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    words: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.words + other.words,
        )

    @property
    def count(self) -> int:
        return self.substitutions + self.deletions + self.insertions


def word_errors(said: str, heard: str, lang: str | None = None) -> Errors:
    """The fewest errors that turn one text into the other.

    Both are normalised as in Whisper's evaluation. English spelling, numbers and contractions count
    as equal where `lang` is English or unknown; elsewhere case and punctuation alone do. Where no
    blanks part words, each letter is one. The stop that Whisper's normaliser leaves of "well..." is
    none. Vowel signs, as of Hindi, which it takes for blanks, belong to their words.
    """
    import jiwer

    tag = (lang or "en").lower()
    normalised = _normaliser(tag[:2] == "en", tag.partition("-")[0] in _UNPARTED)
    said, heard = _words(normalised(said)), _words(normalised(heard))
    if not said:
        return Errors(insertions=len(heard.split()))
    found = jiwer.process_words(said, heard)
    words = found.hits + found.substitutions + found.deletions
    return Errors(found.substitutions, found.deletions, found.insertions, words)


def _words(text: str) -> str:
    return " ".join(word for word in text.split() if any(map(str.isalnum, word)))


class Score:
    """Counts word errors by id. The references are held in memory; their `lang` goes before.

    Raises:
        LanserError: the file cannot be read, or holds no record with `text`.
    """

    def __init__(self, reference: Path) -> None:
        self._references: dict[str, tuple[str, str | None]] = {}
        self._scored: set[str] = set()
        self._left_out: Counter[str] = Counter()
        for item in read_records([str(reference)], STAGE, adapt=adapt):
            if isinstance(item, Reject):
                warn_of(item)
                self._left_out["references that cannot be read"] += 1
            elif item.text is None:
                self._left_out["references without text"] += 1
            elif item.id in self._references:
                self._left_out["references whose id came before"] += 1
            else:
                self._references[item.id] = item.text, item.word("lang")
        if not self._references:
            raise LanserError(f"{reference}: no record with 'text' in it to score against")
        self.errors, self.utterances = Errors(), 0

    def add(self, record: Record) -> None:
        """Count the errors of a transcript, if there is a reference for it."""
        found = self._references.get(record.id)
        if found is None or record.text is None:
            missing = "a reference" if found is None else "text"
            self._left_out[f"transcripts without {missing}"] += 1
            return
        said, lang = found
        self._scored.add(record.id)
        self.utterances += 1
        self.errors += word_errors(said, record.text, lang or record.word("lang"))

    def watching(self, process: Process) -> Process:
        """The same process; at its end the rate is said on stderr."""
        return watching(process, self._see, self._say)

    def _see(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Record):
                self.add(outcome)

    def _say(self) -> None:
        console.info(f"{STAGE}: {self}")
        left_out = self.left_out
        if left_out:
            reasons = ", ".join(f"{reason} ({count})" for reason, count in sorted(left_out.items()))
            console.info(f"{STAGE}: not scored: {reasons}")

    def read(self, path: Path) -> None:
        """Score a file of transcripts, and say the rate on stderr."""
        self._see(read_records([str(path)], STAGE))
        self._say()

    @property
    def left_out(self) -> Counter[str]:
        """What was not scored, by reason."""
        found = self._left_out.copy()
        if missing := len(self._references) - len(self._scored):
            found["references without a transcript"] = missing
        return found

    def __str__(self) -> str:
        found = self.errors
        if not found.words and self.utterances:
            return (
                f"word error rate: no words in the references of {self.utterances} utterances, "
                f"{found.insertions} in their transcripts"
            )
        if not found.words:
            return f"word error rate: none of {len(self._references)} references was transcribed"
        return (
            f"word error rate {100 * found.count / found.words:.2f} %: {found.substitutions} "
            f"substitutions, {found.deletions} deletions, {found.insertions} insertions in "
            f"{found.words} words of {self.utterances} utterances "
            f"({len(self._references)} references)"
        )


@lru_cache(maxsize=3)
def _normaliser(english: bool, unparted: bool) -> Any:
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

    if english:
        return EnglishTextNormalizer()
    found = BasicTextNormalizer(split_letters=unparted)
    found.clean = _without_symbols
    return found


def _without_symbols(text: str) -> str:
    """As Whisper's `remove_symbols`, but for marks on letters, which it makes blanks."""
    letters = unicodedata.normalize("NFKC", text)
    return "".join(" " if unicodedata.category(letter)[0] in "PS" else letter for letter in letters)
