"""The config of a run folder: which keys its readers rely on, and what each may be."""

from __future__ import annotations

from typing import get_args

from lanser_cli.choices import Normalising
from lanser_cli.models.architectures import ARCHITECTURES
from lanser_cli.shape import COUNT, NOT_NEGATIVE, Maybe, Shape, That


def _between(low: float, high: float) -> That:
    return That(float, f"from {low:g} to {high:g}", lambda value: low <= value <= high)


def _one_of(*names: str) -> That:
    return That(str, f"one of {', '.join(names)}", lambda value: value in names)


FRONT_END: Shape = {
    "mels": Maybe(That(int, "from 1 to 1024", lambda value: 1 <= value <= 1024)),
    "window_ms": Maybe(_between(1, 1000)),
    "hop_ms": Maybe(_between(1, 1000)),
    "low_hz": Maybe(NOT_NEGATIVE),
    "high_hz": Maybe(_between(1, 8000)),
    "normalise": Maybe(_one_of(*get_args(Normalising))),
}

ARCHITECTURE: Shape = {
    "name": _one_of(*ARCHITECTURES),
    "labels": That(
        [str], "labels, each once", lambda value: value and len(set(value)) == len(value)
    ),
    "crop_seconds": Maybe(_between(0.025, 600)),
    "trim": Maybe(bool),
    "front_end": FRONT_END,
}

_SEEN: Shape = {
    "run": str,
    "checked": bool,
    **{key: COUNT for key in ("speaker", "voice", "id", "sound")},
    "examples": [str],
}

CONFIG: Shape = {
    "verb": Maybe(str),
    "argv": Maybe([str]),
    "versions": Maybe({str: str}),
    "init": Maybe(str),
    "missing": Maybe(str),
    "models": Maybe([str]),
    "identity": Maybe({str: str}),
    "architecture": Maybe({"front_end": Maybe({})}),  # wholly checked where a network is made of it
    "test_speakers": Maybe([str]),
    "validation_speakers": Maybe([str]),
    "protocol": Maybe(
        {
            "protocol": Maybe(str),
            "fraction": Maybe(
                That(float, "above 0 and at most 1", lambda value: 0 < value <= 1),
            ),
        }
    ),
    "seen": Maybe(
        That(_SEEN, f"an object of {', '.join(_SEEN)}", lambda value: value.keys() == _SEEN.keys())
    ),
}
