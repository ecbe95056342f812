"""RAVDESS, speech part: 24 actors, 8 emotions, 2 sentences, 1,440 clips.

S. R. Livingstone and F. A. Russo (2018), "The Ryerson Audio-Visual Database of Emotional Speech
and Song (RAVDESS): a dynamic, multimodal set of facial and vocal expressions in North American
English", PLoS ONE 13(5): e0196391. https://zenodo.org/records/1188976
Licence: CC BY-NC-SA 4.0 (not for commercial use).

File names: modality-channel-emotion-intensity-statement-repetition-actor, two digits each.
Modality 01 is audio and video, 02 video only, 03 audio only; channel 01 speech, 02 song;
intensity 01 normal, 02 strong; statement 01 "Kids are talking by the door", 02 "Dogs are sitting
by the door"; actors with odd numbers are male, with even numbers female.

Songs and clips without sound are left out, and so is the video of a take that is there as audio.
The publisher names no split; keep the speakers of training and test apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lanser_cli.corpora.base import audio_files, by_name
from lanser_cli.records import Dropped, Outcome

LABELS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
_SCHEME = r"(?P<id>(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-0[12]-(0[1-9]|1\d|2[0-4]))"


def read(root: Path) -> Iterator[Outcome]:
    """Records with `speaker` (Actor_01..24), `label`, `sentence`, `intensity` and `sex`.

    Raises:
        LanserError: no RAVDESS clip below `root`.
    """
    audio_only = {path.stem for path in audio_files(root) if path.stem.startswith("03-")}

    def describe(name: re.Match[str]) -> dict[str, Any] | Dropped:
        identifier, modality, channel, emotion, intensity, sentence, actor = name.groups()
        if channel == "02":
            return Dropped(identifier, "song")
        if modality == "02":
            return Dropped(identifier, "video without sound")
        if modality == "01" and f"03{identifier[2:]}" in audio_only:
            return Dropped(identifier, "video of a take that is there as audio")
        return {
            "id": identifier,
            "speaker": f"Actor_{actor}",
            "lang": "en",
            "label": LABELS[emotion],
            "sentence": sentence,
            "intensity": "strong" if intensity == "02" else "normal",
            "sex": "male" if int(actor) % 2 else "female",
        }

    return by_name(root, "RAVDESS", _SCHEME, "03-01-06-01-02-01-12.wav", describe)
