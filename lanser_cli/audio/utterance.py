"""A record together with its sound."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lanser_cli.audio.sound import SAMPLE_RATE, Waveform, load_available
from lanser_cli.records import Record


@dataclass(frozen=True, slots=True, eq=False)
class Utterance(Record):
    """A record together with its sound.

    Attributes:
        samples: float32 `[samples]`, mono, 16 kHz.
        cut_off: whether the file is cut off, so that this is not all of the sound.
        decoding: seconds that decoding it took; 0 where nobody measured.
    """

    samples: Waveform
    cut_off: bool = False
    decoding: float = 0.0

    @property
    def seconds(self) -> float:
        """How long its sound is, whatever the record says."""
        return len(self.samples) / SAMPLE_RATE


def with_sound(record: Record, most: float | None = None) -> Utterance:
    """The record with its sound, or with as much of it as can be decoded.

    Args:
        most: seconds that are decoded; None: all.

    Raises:
        AudioError: as in `load_available`.
    """
    if isinstance(record, Utterance):
        return record
    begun = time.perf_counter()
    said, wanted = record.duration, record
    if most is not None and (said is None or said > most):
        wanted = record.with_fields(duration=most)
    samples, cut_off = load_available(wanted)
    return Utterance(record.fields, samples, cut_off, time.perf_counter() - begun)
