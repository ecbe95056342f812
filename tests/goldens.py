"""Golden files: what a command made once, kept in tests/golden/, and what it makes today.

They are compared byte for byte, after `settled` has hidden what a machine decides and a user does
not: versions, the folder a test works in, the bytes and checksums of packed sound, which belong to
the codec's release, and digits of computed numbers, which differ between processors. `make golden`
writes the files anew; read the difference before you commit it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parent / "golden"
Numbers = Literal["exact", "rounded", "trained"]
"""As they stand; to three digits behind the point; or hidden, being made by training."""

_DIGITS = 3
_HIDDEN = '"…"'
_NOT_LEARNT = ("chance", "epoch", "lr")
_VERSIONS = re.compile(r'("versions": ?\{)[^}]*\}')
_PACKED = re.compile(r'("(?:bytes|sha256)": ?)("[0-9a-f]{64}"|\d+)')
_NUMBER = re.compile(
    r'(?P<key>"(?P<name>\w+)": ?)?(?<![\w.])(?P<number>-?\d+(\.\d+(e-\d+)?|e-\d+))(?![\w.])'
)
_BEST = re.compile(r'("control": ?)"[^"]*"')
"""The best of several controls, which a last digit may choose."""


def settled(text: str, folder: Path, numbers: Numbers = "exact") -> str:
    """Hide what a machine decides.

    Args:
        folder: where the command ran; its name becomes FOLDER.
        numbers: what becomes of the numbers with a decimal point.
    """
    text = _VERSIONS.sub(r"\1}", text.replace(str(folder), "FOLDER"))
    text = _PACKED.sub(rf"\1{_HIDDEN}", text)
    if numbers == "exact":
        return text
    text = _BEST.sub(rf"\1{_HIDDEN}", text)

    def hidden(match: re.Match[str]) -> str:
        if numbers == "rounded":
            number = str(round(float(match["number"]), _DIGITS) + 0.0)  # which is never -0.0
        else:
            number = match["number"] if match["name"] in _NOT_LEARNT else _HIDDEN
        return (match["key"] or "") + number

    return _NUMBER.sub(hidden, text)


@dataclass(frozen=True)
class Golden:
    """Compare with tests/golden/NAME: `golden("eval.jsonl", settled(text, folder))`.

    Attributes:
        renew: write the file instead.
    """

    renew: bool

    def __call__(self, name: str, text: str) -> None:
        """Compare byte for byte."""
        if self.renew:
            (FOLDER / name).write_text(text, encoding="utf-8")
        kept = (FOLDER / name).read_text(encoding="utf-8")
        changes = difflib.unified_diff(kept.splitlines(), text.splitlines(), name, "now", n=0)
        assert text == kept, "\n".join([*changes, "meant? then: make golden"])

    def near(self, name: str, numbers: Mapping[str, Sequence[float]], tolerance: float) -> None:
        """Compare numbers within a tolerance."""
        if self.renew:
            rounded = {key: [round(number, 5) for number in row] for key, row in numbers.items()}
            text = ",\n".join(f'  "{key}": {row}' for key, row in rounded.items())
            (FOLDER / name).write_text(f"{{\n{text}\n}}\n", encoding="utf-8")
        kept = json.loads((FOLDER / name).read_text(encoding="utf-8"))
        assert list(kept) == list(numbers)
        for key, row in numbers.items():
            far = [abs(one - other) for one, other in zip(row, kept[key], strict=True)]
            assert max(far) <= tolerance, f"{key}: {row} is not near {kept[key]}"
