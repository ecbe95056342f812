"""SAVEE: 4 male speakers, 7 emotions, 480 clips.

Surrey Audio-Visual Expressed Emotion.

S. Haq and P. J. B. Jackson (2009), "Speaker-dependent audio-visual emotion recognition", AVSP 2009.
http://kahlan.eps.surrey.ac.uk/savee
Licence: free for research, after registration with the University of Surrey.

File names: AudioData/SPEAKER/ and the letters of the emotion with the number of the sentence, such
as AudioData/DC/a01.wav; or everything in the name, DC_a01.wav. The letters: a anger, d disgust,
f fear, h happiness, n neutral, sa sadness, su surprise. 15 sentences an emotion, 30 for neutral.

`sentence` is the corpus' own numbering within an emotion (a01). Three sentences are common to all
emotions and have another `sentence` in each, so this is no key to sentence-disjoint splits.
The publisher names no split; keep the speakers of training and test apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lanser_cli.corpora.base import by_name
from lanser_cli.records import Dropped, Outcome

LABELS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
_SCHEME = r"(?P<speaker>DC|JE|JK|KL)[/_](?P<emotion>sa|su|[adfhn])(?P<number>[0-3]\d)"


def read(root: Path) -> Iterator[Outcome]:
    """Records with `id` (DC_a01), `speaker` (DC, JE, JK, KL), `label`, `sentence` and `sex`.

    Raises:
        LanserError: no SAVEE clip below `root`.
    """
    return by_name(root, "SAVEE", _SCHEME, "DC/a01.wav", _describe)


def _describe(name: re.Match[str]) -> dict[str, Any] | Dropped:
    speaker, emotion, number = name.groups()
    return {
        "id": f"{speaker}_{emotion}{number}",
        "speaker": speaker,
        "lang": "en",
        "label": LABELS[emotion],
        "sentence": f"{emotion}{number}",
        "sex": "male",
    }
