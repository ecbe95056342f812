"""CREMA-D: 91 actors, 6 emotions, 12 sentences, 7,442 clips.

H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova and R. Verma (2014), "CREMA-D:
Crowd-sourced Emotional Multimodal Actors Dataset", IEEE Transactions on Affective Computing 5(4).
https://github.com/CheyneyComputerScience/CREMA-D
Licence: Open Database License (ODbL) 1.0.

File names: actor_sentence_emotion_level, such as 1001_IEO_ANG_HI. The level is LO, MD or HI for the
sentence IEO ("It's eleven o'clock") and XX, unspecified, for the others. The label is the emotion
the actor was asked for (from the file name), not the vote of the crowd.

A full checkout holds each clip three times; AudioWAV is read where it is there, else AudioMP3, else
VideoFlash. `sex` comes from VideoDemographics.csv in the folder or next to it, where it is there.
The publisher names no split; keep the speakers of training and test apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lanser_cli.corpora.base import audio_files, by_name
from lanser_cli.corpora.table import column_beside
from lanser_cli.records import Dropped, Outcome

LABELS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
_LEVELS = {"LO": "low", "MD": "medium", "HI": "high"}
_SENTENCES = "DFA|IEO|IOM|ITH|ITS|IWL|IWW|MTI|TAI|TIE|TSI|WSI"
# One clip of the original, 1040_ITH_SAD_X, has a single X.
_SCHEME = rf"(?P<id>(10\d\d)_({_SENTENCES})_({'|'.join(LABELS)})_(LO|MD|HI|XX?))"


def read(root: Path) -> Iterator[Outcome]:
    """Records with `speaker` (1001..1091), `label`, `sentence`, `intensity` and, if known, `sex`.

    Raises:
        LanserError: no CREMA-D clip below `root`.
    """
    found = column_beside(root, "VideoDemographics.csv", "ActorID", "Sex")
    sexes = {actor: sex.lower() for actor, sex in found.items()}

    def describe(name: re.Match[str]) -> dict[str, Any] | Dropped:
        identifier, actor, sentence, emotion, level = name.groups()
        return {
            "id": identifier,
            "speaker": actor,
            "lang": "en",
            "label": LABELS[emotion],
            "sentence": sentence,
            "intensity": _LEVELS.get(level, "unspecified"),
            "sex": sexes.get(actor),
        }

    for name in ("AudioWAV", "AudioMP3", "VideoFlash"):
        if next(audio_files(root / name), None):
            root = root / name
            break
    return by_name(root, "CREMA-D", _SCHEME, "1001_IEO_ANG_HI.wav", describe)
