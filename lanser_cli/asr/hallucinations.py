"""Texts that Whisper is known to invent where nobody speaks, each with where that is documented."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import TypedDict

from lanser_cli.texts import spoken_form


class Hallucination(TypedDict):
    """One line of `hallucinations.jsonl`."""

    text: str
    lang: str
    source: str


def hallucinations() -> list[Hallucination]:
    """All of `hallucinations.jsonl`."""
    lines = resources.files(__package__).joinpath("hallucinations.jsonl").read_text("utf-8")
    return [json.loads(line) for line in lines.splitlines()]


def is_known(text: str) -> bool:
    """Whether a text is nothing but such ones, once or over and over; case and marks do not count.

    Some are also said in earnest ("Thank you."), so that alone is no reason to distrust a text.
    """
    return _pattern().fullmatch(spoken_form(text)) is not None


@cache
def _pattern() -> re.Pattern[str]:
    known = {re.escape(spoken_form(item["text"])) for item in hallucinations()}
    return re.compile(rf"(?:(?:{'|'.join(sorted(known, key=len, reverse=True))})(?: |$))+")
