"""The surest mistakes: wrong answers that were given with the highest probability, to listen to."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import partial

from lanser_cli.audio import sound
from lanser_cli.records import Record, Reject, attempt
from lanser_cli.shards.encoder import opus_uri

MOST = 20
"""Mistakes that are kept."""

SECONDS = 10.0
"""Of sound that is shown of each."""

_SCORES = {"prediction": "scores", "emotion": "emotion_scores"}
"""Where the probabilities of an answer are."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer: its probability, 0..1, the record, and what would have been right."""

    probability: float
    record: Record
    truth: str
    answer: str

    def __lt__(self, other: Mistake) -> bool:
        """Whether it is less sure, or as sure and later by its id."""
        return (self.probability, other.record.id) < (other.probability, self.record.id)

    def clip(self) -> str | None:
        """The beginning of its sound, a `data:` URI of Ogg Opus; None where it is not at hand."""
        most = round(SECONDS * sound.SAMPLE_RATE)
        samples = attempt(partial(sound.load_int16, most=most), self.record, "eval")
        return None if isinstance(samples, Reject) else opus_uri(samples, self.record.id)


class Mistakes:
    """The surest of the mistakes that it has seen, of which there may be millions.

    Args:
        answer: the key of the answer; its probability is looked up in the scores beside it.
    """

    def __init__(self, answer: str) -> None:
        self._answer, self._scores = answer, _SCORES.get(answer, "scores")
        self._kept: list[Mistake] = []

    def see(self, record: Record, truth: object) -> None:
        """Look at a record; without an answer, or without its probability, there is nothing."""
        answer, scores = record.word(self._answer), record.fields.get(self._scores)
        if answer is None or truth is None or answer == str(truth) or not isinstance(scores, dict):
            return
        probability = scores.get(answer)
        if not isinstance(probability, int | float):
            return
        mistake = Mistake(float(probability), record, str(truth), answer)
        if len(self._kept) < MOST:
            heapq.heappush(self._kept, mistake)
        elif self._kept[0] < mistake:
            heapq.heapreplace(self._kept, mistake)

    @property
    def surest(self) -> list[Mistake]:
        """From the surest on."""
        return sorted(self._kept, reverse=True)
