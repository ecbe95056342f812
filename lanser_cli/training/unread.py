"""Sound that cannot be read in training: counted, and too much of it ends a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch.distributed as dist

from lanser_cli.audio import sound
from lanser_cli.devices import Ranks
from lanser_cli.errors import LanserError
from lanser_cli.records import Record, Reject, attempt
from lanser_cli.training.draws import Key

MOST = 0.05
"""Share of what was asked for that may be unreadable."""

FEW = 2
"""So many unreadable ones in an epoch end no run, however small it is."""

_ENOUGH = 10_000
"""Utterances whose share is sure enough; less than a whole epoch of fewer would be chance."""


def unread_reject(record: Record, stage: str) -> Reject:
    """Of an utterance that could not be read in training; to read it again says why."""
    found = attempt(sound.load, record, stage)
    if isinstance(found, Reject):
        return found
    return Reject.of(record, stage, "could not be read while it was trained on, and now can")


class Unread:
    """How much was asked for and could not be read.

    Args:
        utterances: of an epoch.

    Attributes:
        places: which ones, of those asked for on this rank.
        asked, missed: so far, on all ranks.
    """

    def __init__(self, what: str, utterances: int) -> None:
        self._what, self._epoch, self._least = what, utterances, min(utterances, _ENOUGH)
        self.places: set[int] = set()
        self.asked = self.missed = 0.0

    def note(self, keys: Sequence[Key], weights: Iterable[float]) -> None:
        """Remember which of a batch are unreadable: what counts and has weight 0."""
        self.places.update(
            index
            for (_, index, counts), weight in zip(keys, weights, strict=True)
            if counts and not weight
        )

    def add(self, asked: float, missed: float) -> None:
        """Count a step of all ranks.

        Raises:
            LanserError: more than a twentieth of what was asked for cannot be read, or nothing.
        """
        self.asked += asked
        self.missed += missed
        nothing = self.asked >= self._least and self.missed == self.asked
        few = FEW * math.ceil(self.asked / self._epoch)
        if nothing or self.missed > max(few, MOST * max(self.asked, self._least)):
            raise LanserError(
                f"{self._what}: {self.missed:.0f} of {self.asked:.0f} utterances asked for so far "
                f"cannot be read, more than {MOST:.0%}: look at the first of them above, and at "
                "where 'audio_filepath' leads"
            )

    def gathered(self, ranks: Ranks) -> set[int]:
        """Those of all ranks."""
        if ranks.count == 1:
            return self.places
        found: list[set[int]] = [set()] * ranks.count
        dist.all_gather_object(found, self.places)
        return set().union(*found)
