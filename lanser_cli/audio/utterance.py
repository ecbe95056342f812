"""A record together with its sound."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lanser_cli.audio.sound import Waveform, load_available
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


def with_sound(record: Record) -> Utterance:
    """The record with its sound, or with as much of it as can be decoded.

    Raises:
        AudioError: as in `load_available`.
    """
    if isinstance(record, Utterance):
        return record
    begun = time.perf_counter()
    samples, cut_off = load_available(record)
    return Utterance(record.fields, samples, cut_off, time.perf_counter() - begun)
