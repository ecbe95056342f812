"""nEMO: 9 actors, 6 emotions, 90 sentences, 4,481 clips, in Polish.

I. Christop (2024), "nEMO: dataset of emotional speech in Polish", LREC-COLING 2024.
https://github.com/amu-cai/nEMO
Licence: CC BY-NC-SA 4.0 (not for commercial use).

File names: SPEAKER_EMOTION_SENTENCE, such as EB0_anger_1. The emotions: anger, fear, happiness,
neutral, sadness, surprised. Each sentence is spoken in every emotion, so its words say nothing of
the label. data.tsv (columns file_id, raw_text and others), next to the clips or one folder above,
has the text; without it records have none.

The publisher names no split; keep the speakers of training and test apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lanser_cli.corpora.base import by_name, check_folder
from lanser_cli.corpora.table import column_beside
from lanser_cli.records import Dropped, Outcome

LABELS = ("anger", "fear", "happiness", "neutral", "sadness", "surprised")
_MEN = {"KS0", "MP0", "SM0", "TP0", "WR0"}
_SCHEME = rf"(?P<id>([A-Z]{{2}}\d)_({'|'.join(LABELS)})_(\d+))"


def read(root: Path) -> Iterator[Outcome]:
    """Records with `speaker` (EB0), `label`, `sentence` (1..90), `sex` and, if there, `text`.

    Raises:
        LanserError: no nEMO clip below `root`.
    """
    check_folder(root)
    found = column_beside(root, "data.tsv", "file_id", "raw_text")
    texts = {name.removesuffix(".wav"): text for name, text in found.items()}

    def describe(name: re.Match[str]) -> dict[str, Any] | Dropped:
        identifier, speaker, emotion, sentence = name.groups()
        return {
            "id": identifier,
            "speaker": speaker,
            "lang": "pl",
            "label": emotion,
            "sentence": sentence,
            "sex": "male" if speaker in _MEN else "female",
            "text": texts.get(identifier),
        }

    return by_name(root, "nEMO", _SCHEME, "EB0_anger_1.wav", describe)
