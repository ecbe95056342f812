"""When two transcripts say the same."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = re.compile(r"['\u2018\u2019\u02bc\u0060\u00b4]")
_WORDS = re.compile(r"[^\W_]+")


def spoken_form(text: str) -> str:
    """What two transcripts have in common if they say the same: equal for equal texts.

    Letter case, punctuation, and the width and number of spaces do not count. An apostrophe joins
    ("don't", "dont"); any other mark parts ("well-known", "well known").
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_WORDS.findall(_APOSTROPHES.sub("", folded)))
