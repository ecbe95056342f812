"""The networks that `--model` names: one row of a table each.

The options' help reads the table, so nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Shape:
    """A ResNet, in the words of timm's own.

    Attributes:
        block: `basic` (two 3x3 convolutions) or `bottleneck` (1x1, 3x3, 1x1, four times as wide).
        layers: blocks in each of the four stages.
        channels: width of each stage.
        stem_width: width of the first convolution.
        note: a word or two for the help.
    """

    block: Literal["basic", "bottleneck"]
    layers: tuple[int, int, int, int]
    channels: tuple[int, int, int, int] = (64, 128, 256, 512)
    stem_width: int = 64
    note: str = ""


ARCHITECTURES: dict[str, Shape] = {
    "resnet50": Shape("bottleneck", (3, 4, 6, 3)),
    "resnet18": Shape("basic", (2, 2, 2, 2)),
    "resnet18-slim": Shape(
        "basic", (2, 2, 2, 2), (32, 64, 128, 256), 32, note="2.8 M parameters, for a CPU"
    ),
}
"""By name, in the order of the help."""


def architectures_in_words() -> str:
    """What `--model` can be, for its help: `resnet50, ..., resnet18-slim (for a CPU)`."""
    return ", ".join(
        f"{name} ({shape.note})" if shape.note else name for name, shape in ARCHITECTURES.items()
    )
