"""A record that brings its sound."""

from __future__ import annotations

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
    """

    samples: Waveform
    cut_off: bool = False


def with_sound(record: Record) -> Utterance:
    """The record with its sound, or with as much of it as can be decoded.

    Raises:
        AudioError: as `audio.load`.
    """
    return (
        record
        if isinstance(record, Utterance)
        else Utterance(record.fields, *sound.load_available(record))
    )
