"""A record that brings its sound."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lanser_cli.audio import sound
from lanser_cli.records import Record

if TYPE_CHECKING:
    from lanser_cli.audio.sound import Waveform


@dataclass(frozen=True, slots=True, eq=False)
class Utterance(Record):
    """A record that brings its sound.

    Attributes:
        samples: float32 `[samples]`, mono, 16 kHz.
        cut_off: whether its file breaks off, so that this is not all of it.
        decoding: seconds that decoding it took; 0 where nobody measured.
    """

    samples: Waveform
    cut_off: bool = False
    decoding: float = 0.0


def with_sound(record: Record) -> Utterance:
    """The record with its sound, or with as much of it as can be decoded.

    Raises:
        AudioError: as `audio.load`.
    """
    if isinstance(record, Utterance):
        return record
    begun = time.perf_counter()
    samples, cut_off = sound.salvage(record)
    return Utterance(record.fields, samples, cut_off, time.perf_counter() - begun)
