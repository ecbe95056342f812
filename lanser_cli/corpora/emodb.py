"""EmoDB: 10 speakers, 7 emotions, 10 sentences, 535 clips, in German.

The Berlin database of emotional speech.

F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier and B. Weiss (2005), "A database of German
emotional speech", Interspeech 2005. http://emodb.bilderbar.info
Licence: free to use; its second release (Zenodo) is CC0.

File names: two digits for the speaker, the sentence (a01..b10), the first letter of the emotion's
German word, a letter for the version. 03a01Wa is speaker 03, sentence a01, Wut (anger), version a.
The letters: W Wut, L Langeweile, E Ekel, A Angst, F Freude, T Trauer, N neutral.

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
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "N": "neutral",
    "T": "sadness",
}
_MEN = {"03", "10", "11", "12", "15"}
_SCHEME = r"(?P<id>(03|08|09|1[0-6])([ab](?:0\d|10))([WLEAFNT])[a-z]?)"


def read(root: Path) -> Iterator[Outcome]:
    """Records with `speaker` (03..16), `label`, `sentence` (a01..b10) and `sex`; `lang` is de.

    Raises:
        LanserError: no EmoDB clip below `root`.
    """
    return by_name(root, "EmoDB", _SCHEME, "03a01Wa.wav", _describe)


def _describe(name: re.Match[str]) -> dict[str, Any] | Dropped:
    identifier, speaker, sentence, emotion = name.groups()
    return {
        "id": identifier,
        "speaker": speaker,
        "lang": "de",
        "label": LABELS[emotion],
        "sentence": sentence,
        "sex": "male" if speaker in _MEN else "female",
    }
