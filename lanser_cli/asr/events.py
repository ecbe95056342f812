"""What a recogniser writes that nobody said: `[laughter]`, `(sighs)`, `*coughs*`, `♪`, `<unk>`."""

from __future__ import annotations

import re

_EVENT = re.compile(
    r"<\|(?P<tag>[^<>|]*)\|>"  # SenseVoice: <|HAPPY|>, <|Speech|>
    r"|<(?P<token>/?[A-Za-z_]+)>"
    r"|[\[【](?P<square>[^\[\]【】]*)[\]】]"
    r"|[(（](?P<round>[^()（）]*)[)）]"
    r"|(?<!\w)\*(?P<stars>[^*\s](?:[^*]*[^*\s])?)\*(?!\w)"  # but not in f*ck
    r"|(?P<sign>[♩-♯🎵🎶🎼]+|[\U0001f300-\U0001faff\u2600-\u27bf]\ufe0f?)"
)
_BEFORE_MARK = re.compile(r"\s+(?=[,.!?;:])")


def parted(text: str) -> tuple[str, list[str]]:
    """The words of a transcript, and the events among them, in order and without their brackets.

    A text without events is left as it is; what has nothing but events and marks has no words.
    Words that are sung stay: of `♪ la la ♪` only the notes are events.
    """
    events = [
        next(filter(None, (part and part.strip() for part in found.groups())), "")
        for found in _EVENT.finditer(text)
    ]
    if not events:
        return text, []
    words = _BEFORE_MARK.sub("", " ".join(_EVENT.sub(" ", text).split())).lstrip(" ,.!?;:-")
    has_words = any(character.isalnum() for character in words)
    return words if has_words else "", [event for event in events if event]
