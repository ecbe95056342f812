"""A Whisper in one safetensors file: 8 bits a weight, and its dimensions next to them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from whisper.model import ModelDimensions, Whisper

SCALE = ".scale"
"""`NAME.scale`, float32 `[rows]`, stands next to an int8 `NAME` `[rows, ...]`: their product is
the weight."""


def write(path: Path, dims: ModelDimensions, weights: dict[str, torch.Tensor]) -> None:
    """Write a Whisper's weights with 8 bits for each number of a matrix.

    Args:
        path: a .safetensors file.
        dims: go into its header.
        weights: a state dict of openai-whisper's `Whisper`. Matrices and kernels get int8 with a
            scale for each row (output); vectors and positions stay float16.
    """
    from safetensors.torch import save_file

    packed = {}
    for name, weight in weights.items():
        if weight.dim() == 1 or name.endswith("positional_embedding"):
            packed[name] = weight.half()
        else:
            packed[name], packed[name + SCALE] = _quantise(weight.float())
    save_file(
        {name: tensor.contiguous() for name, tensor in packed.items()},
        path,
        {"dims": json.dumps(asdict(dims))},
    )


def read(path: Path) -> Whisper:
    """Load what `write` wrote into openai-whisper's own model, float32, on the CPU.

    Raises:
        ValueError, RuntimeError, OSError: the file is not whole, or not of this kind.
    """
    from safetensors import SafetensorError, safe_open
    from whisper.model import ModelDimensions, Whisper

    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get("dims")
            if header is None:
                raise ValueError("it holds no Whisper dimensions")
            dims = ModelDimensions(**json.loads(header))
            packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (SafetensorError, TypeError) as error:
        raise ValueError(str(error)) from error
    weights = {
        name: _restored(tensor, packed.get(name + SCALE))
        for name, tensor in packed.items()
        if not name.endswith(SCALE)
    }
    model = Whisper(dims)
    model.load_state_dict(weights)
    return model.eval()


def _quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale = weight.flatten(1).abs().amax(dim=1).clamp(min=1e-12) / 127
    return (weight / _along(scale, weight)).round().to(torch.int8), scale


def _restored(tensor: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    return tensor.float() if scale is None else tensor.float() * _along(scale, tensor)


def _along(scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`[rows]` in a shape that multiplies the rows of `weight`."""
    return scale.reshape(-1, *[1] * (weight.dim() - 1))
