"""The page to hear a sample on: one HTML file with its sound in it, worked by the keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from lanser_cli import __version__, console
from lanser_cli.audio import sound
from lanser_cli.digests import string64
from lanser_cli.errors import LanserError
from lanser_cli.listening.marks import NONE_OF_THESE, STAGE, digest, labels_of, read_sample
from lanser_cli.output import write_whole
from lanser_cli.provenance import command_line
from lanser_cli.records import Record, Reject, attempt
from lanser_cli.shards.encoder import opus_uri
from lanser_cli.tally import Ledger

SECONDS = 15.0
"""Of each clip that are on the page: 200 clips of this length stay below 20 MB."""

KEYS = 9
"""Labels that a key is for. Of more labels, each clip shows its own and the likeliest."""


@dataclass(frozen=True, slots=True)
class Clip(Record):
    """A record with its sound.

    Attributes:
        sound: a `data:` URI of Ogg Opus.
        whole: whether that is all of it, or its beginning.
    """

    sound: str
    whole: bool

    def as_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """What the page shows of it."""
        scores = self.emotion_scores or {}
        shown = list(labels)
        if len(shown) > KEYS:
            shown.sort(key=lambda name: (name != self.emotion, -scores.get(name, 0.0), name))
            shown = shown[:KEYS]
        return {
            "id": self.id,
            "text": self.text or "",
            "emotion": self.emotion,
            "choices": [[name, scores.get(name, 0.0)] for name in shown],
            "whole": self.whole,
            "sound": self.sound,
        }


def write_page(inputs: Sequence[str], output: Path, ledger: Ledger) -> dict[str, Any]:
    """Write the page of a sample; what the result line says of it.

    Raises:
        LanserError: there is no clip whose sound can be read.
    """
    sample = read_sample(inputs, ledger)
    page, labels = digest(sample), labels_of(sample)
    with console.progress(STAGE, len(sample)) as meter:
        clips = []
        for clip in _clips(sample, ledger):
            clips.append(clip)
            meter.reach(len(clips))
    if not clips:
        raise LanserError(f"{STAGE}: no clip whose sound can be read ({ledger})")
    if cut := sum(not clip.whole for clip in clips):
        console.info(f"{STAGE}: of {cut} clips the first {SECONDS:g} s alone are on the page")
    # Whoever stops early has then heard a random part of each stratum.
    clips.sort(key=lambda clip: string64(f"{page} {clip.id}"))
    data = {
        "page": page,
        "labels": [*labels, NONE_OF_THESE],
        "left_out": len(sample) - len(clips),
        "clips": [clip.as_json(labels) for clip in clips],
    }
    template = (files("lanser_cli.listening") / "page.html").read_text(encoding="utf-8")
    whole = Template(template).substitute(
        # No text can end the element that the data is in, nor begin a comment there.
        data=json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
        seconds=f"{SECONDS:g}",
        command=escape(" ".join(command_line())),
        version=__version__,
    )
    write_whole(output, whole)
    return {"page": page, "clips": len(clips), "labels": labels}


def _clips(sample: Sequence[Record], ledger: Ledger) -> Iterator[Clip]:
    for record in sample:
        clip = attempt(_clip, record, STAGE)
        if isinstance(clip, Reject):
            ledger.reject(clip)
        else:
            ledger.done += 1
            yield clip


def _clip(record: Record) -> Clip:
    most = round(SECONDS * sound.SAMPLE_RATE)
    samples = sound.load_int16(record, most + 1)
    return Clip(record.fields, opus_uri(samples[:most], record.id), len(samples) <= most)
