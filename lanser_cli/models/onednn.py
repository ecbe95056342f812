"""Matrix products by oneDNN: a CPU computes the same numbers in less time, or nearly the same."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn


def has_onednn() -> bool:
    """Whether `multiply` works here."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def int8_pays() -> bool:
    """Whether this CPU multiplies 8-bit integers faster than floats (VNNI, AMX)."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))


def multiply(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    then: Literal["none", "gelu"] = "none",
) -> torch.Tensor:
    """`then(x @ weight.T + bias)` in float32: `[..., n]` by `[m, n]` -> `[..., m]`, by oneDNN.

    On AMD's CPUs it is twice as fast as MKL, which is PyTorch's own choice. GELU is the exact one.
    """
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")


class OneDnnLinear(nn.Module):
    """A float32 linear map by oneDNN, fused with the activation behind it."""

    def __init__(self, linear: nn.Linear, then: Literal["none", "gelu"] = "none") -> None:
        super().__init__()
        self.weight, self.bias, self._then = linear.weight, linear.bias, then

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return multiply(x, self.weight, self.bias, self._then)


class Int8Linear(nn.Module):
    """A linear map in int8, with a scale for each token and one for each output; float32 out.

    Dynamic quantisation usually has one scale for a whole batch. Then the token with the largest
    value decides how coarsely all the others are rounded.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = (weight.abs().amax(dim=1) / 127).clamp_(min=1e-30)
        quantised = (weight / scale[:, None]).round_().to(torch.int8)
        self.register_buffer("weight", quantised.t().contiguous())
        self.register_buffer("scale", scale)
        self.register_buffer(
            "bias", torch.zeros(1) if linear.bias is None else linear.bias.detach()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        scale = (rows.abs().amax(dim=1, keepdim=True) / 127).clamp_(min=1e-30)
        sums = torch._int_mm((rows / scale).round_().to(torch.int8), self.weight)
        out = torch.addcmul(self.bias, sums.float().mul_(self.scale), scale)
        return out.view(*x.shape[:-1], -1)


def replace_linears(
    module: nn.Module, kind: type[nn.Module], of: type[nn.Linear] = nn.Linear
) -> None:
    """Replace each linear map of exactly the type `of` inside `module` by `kind(linear)`."""
    for name, child in module.named_children():
        if type(child) is of:
            setattr(module, name, kind(child))
        else:
            replace_linears(child, kind, of)
