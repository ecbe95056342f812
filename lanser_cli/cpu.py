"""What a CPU multiplies with, and how it keeps its memory: the same answers in less time."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Literal

import torch
from torch import nn


def keep_memory() -> None:
    """Have glibc keep large blocks that are freed.

    By default it gives them back to the system, which clears them again for every layer: a third
    of int8's time. Elsewhere than in glibc there is no such call.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # malloc.h
    with suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 25)
        libc.mallopt(trim_threshold, (1 << 31) - 1)
        libc.mallopt(top_pad, 1 << 28)


def has_onednn() -> bool:
    """Whether `multiply` works here."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def multiply(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    then: Literal["none", "gelu"] = "none",
) -> torch.Tensor:
    """`then(x @ weight.T + bias)` in float32: `[..., n]` by `[m, n]` -> `[..., m]`, by oneDNN.

    MKL, PyTorch's own choice, halves the rate of AMD's CPUs. GELU is the exact one.
    """
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")


class OneDnnLinear(nn.Module):
    """A float32 linear map by oneDNN, and what comes behind it in the same breath."""

    def __init__(self, linear: nn.Linear, then: Literal["none", "gelu"] = "none") -> None:
        super().__init__()
        self.weight, self.bias, self._then = linear.weight, linear.bias, then

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return multiply(x, self.weight, self.bias, self._then)


def replace_linears(
    module: nn.Module, kind: type[nn.Module], of: type[nn.Linear] = nn.Linear
) -> None:
    """Put `kind(linear)` in the place of each linear map of exactly this type inside `module`."""
    for name, child in module.named_children():
        if type(child) is of:
            setattr(module, name, kind(child))
        else:
            replace_linears(child, kind, of)
