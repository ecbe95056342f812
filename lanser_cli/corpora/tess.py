"""TESS: 2 women, 7 emotions, 200 words, 2,800 clips.

Toronto Emotional Speech Set.

M. K. Pichora-Fuller and K. Dupuis (2020), "Toronto emotional speech set (TESS)", Scholars Portal
Dataverse. https://doi.org/10.5683/SP2/E8H2MF
Licence: CC BY-NC-ND 4.0 (not for commercial use).

File names: speaker_word_emotion, such as OAF_back_angry or YAF_dog_ps, in any folders. OAF is the
older, YAF the younger speaker; the word is what follows "Say the word"; ps is pleasant surprise,
here "surprise". One clip of the original, OA_bite_neutral, lacks the F. A well-known copy holds the
folder 'TESS Toronto emotional speech set data' within itself once more: name the inner one.

With two speakers, both actresses of one project, results say little about other voices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lanser_cli.corpora.base import by_name
from lanser_cli.records import Dropped, Outcome

LABELS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "pleasant_surprise": "surprise",
    "pleasant_surprised": "surprise",
    "ps": "surprise",
    "sad": "sad",
}
_SCHEME = rf"(?P<id>([OY]A)F?_([A-Za-z]+)_({'|'.join(LABELS)}))"


def read(root: Path) -> Iterator[Outcome]:
    """Records with `speaker` (OAF, YAF), `label`, `sentence` (the word) and `sex`.

    Raises:
        LanserError: no TESS clip below `root`.
    """
    return by_name(root, "TESS", _SCHEME, "OAF_back_angry.wav", _describe)


def _describe(name: re.Match[str]) -> dict[str, Any] | Dropped:
    identifier, speaker, word, emotion = name.groups()
    return {
        "id": identifier,
        "speaker": f"{speaker}F",
        "lang": "en",
        "label": LABELS[emotion],
        "sentence": word.lower(),
        "sex": "female",
    }
