"""Word error rate of transcripts against what was said."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from lanser_cli import console
from lanser_cli.audio.manifests import adapt
from lanser_cli.errors import LanserError
from lanser_cli.jsonl import read_records
from lanser_cli.output import warn_of
from lanser_cli.pipe import Process, watching
from lanser_cli.records import Outcome, Record

STAGE = "transcribe"


class Score:
    """Counts word errors by id. The references are held in memory.

    Both texts are normalised as in Whisper's evaluation: English spelling, numbers and
    contractions for records whose `lang` is English or unknown, else case and punctuation only.

    Raises:
        LanserError: the file cannot be read, or holds no record with `text`.
    """

    def __init__(self, reference: Path) -> None:
        self._references: dict[str, str] = {}
        for item in read_records([str(reference)], STAGE, adapt=adapt):
            if isinstance(item, Record) and item.text is not None:
                self._references[item.id] = item.text
            elif not isinstance(item, Record):
                warn_of(item)
        if not self._references:
            raise LanserError(f"{reference}: no record with 'text' in it to score against")
        self.substitutions = self.deletions = self.insertions = self.words = self.utterances = 0

    def add(self, record: Record) -> None:
        """Count the errors of a transcript, if there is a reference for it."""
        import jiwer

        said = self._references.get(record.id)
        if said is None or record.text is None:
            return
        normalised = _normaliser(str(record.fields.get("lang") or "en").lower()[:2] == "en")
        said, heard = normalised(said).strip(), normalised(record.text).strip()
        self.utterances += 1
        if not said:
            self.insertions += len(heard.split())
            return
        found = jiwer.process_words(said, heard)
        self.substitutions += found.substitutions
        self.deletions += found.deletions
        self.insertions += found.insertions
        self.words += found.hits + found.substitutions + found.deletions

    def watching(self, process: Process) -> Process:
        """The same process; at its end the rate is said on stderr."""
        return watching(process, self._see, self._say)

    def _see(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Record):
                self.add(outcome)

    def _say(self) -> None:
        console.info(f"{STAGE}: {self}")

    def read(self, path: Path) -> None:
        """Score a file of transcripts, and say the rate on stderr."""
        self._see(read_records([str(path)], STAGE))
        self._say()

    def __str__(self) -> str:
        if not self.words:
            return f"word error rate: none of {len(self._references)} references was transcribed"
        errors = self.substitutions + self.deletions + self.insertions
        return (
            f"word error rate {100 * errors / self.words:.2f} %: {self.substitutions} "
            f"substitutions, {self.deletions} deletions, {self.insertions} insertions in "
            f"{self.words} words of {self.utterances} utterances "
            f"({len(self._references)} references)"
        )


@lru_cache(maxsize=2)
def _normaliser(english: bool) -> Any:
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

    return EnglishTextNormalizer() if english else BasicTextNormalizer()
