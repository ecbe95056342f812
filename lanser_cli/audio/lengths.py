"""Limits of length: which utterances are too short or too long to be used."""

from __future__ import annotations

from dataclasses import dataclass

from lanser_cli.audio import sound
from lanser_cli.errors import RecordError, UsageError
from lanser_cli.records import Record

NEAR = 0.025
"""Seconds by which an utterance may end behind its file, as far as headers and decoders differ."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """From how many seconds on, and up to how many, an utterance is used.

    Raises:
        UsageError: no utterance could be.
    """

    min_seconds: float = 0.0
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.max_seconds is not None and self.max_seconds < self.min_seconds:
            raise UsageError(
                f"--min-seconds {self.min_seconds:g} and --max-seconds {self.max_seconds:g} leave "
                "nothing: the former must be the smaller one"
            )

    def fault(self, record: Record) -> str | None:
        """In which way the record is outside, or None. Without `duration` its file is asked.

        A file that cannot be read is not outside: whoever reads its sound will say so.
        """
        if not self.min_seconds and self.max_seconds is None:
            return None
        seconds = record.duration
        if seconds is None:
            try:
                seconds = sound.probe(record.audio_filepath or "").duration - record.offset
            except RecordError:
                return None
        if seconds < self.min_seconds:
            return f"shorter than {self.min_seconds:g} s"
        if self.max_seconds is not None and seconds > self.max_seconds:
            return f"longer than {self.max_seconds:g} s"
        return None


ANY = Lengths()
"""No limit."""
