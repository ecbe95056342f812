"""Batch normalisation over all ranks that train together: one batch, whoever holds its rows."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def synchronised(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with each batch norm replaced by one over all ranks; names and weights stay.

    On a GPU it is PyTorch's own, which refuses tensors of a CPU; there it is `RankedNorm`.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, RankedNorm.like(child))
        else:
            synchronised(child, device)
    return module


class RankedNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm whose statistics in training are those of the rows of all ranks.

    Each rank may have another number of rows. In evaluation mode it is an ordinary batch norm.
    """

    @classmethod
    def like(cls, norm: nn.modules.batchnorm._BatchNorm) -> RankedNorm:
        """With the weights and running statistics of `norm`, the very tensors."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var = norm.running_mean, norm.running_var
        made.num_batches_tracked = norm.num_batches_tracked
        return made.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Anything `[batch, channels, ...]`."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        with torch.no_grad():
            mean, variance, total = _moments(input)
            self.num_batches_tracked += 1
            unbiased = variance * (total / (total - 1).clamp(min=1))
            mean, variance, unbiased = (
                found.to(self.running_mean) for found in (mean, variance, unbiased)
            )
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        normed: Tensor = _Normed.apply(
            input, self.weight, self.bias, mean, variance, total, self.eps
        )
        return normed


def _moments(input: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each channel, mean and biased variance over the rows of all ranks; how many values."""
    # With statistics to update, which are in float32, it answers in float32; else as the input is.
    scratch = input.new_zeros(2, input.shape[1], dtype=torch.float32)
    found = torch.batch_norm_update_stats(input, scratch[0], scratch[1], 1.0)
    ours = [one.double() for one in found]
    count = ours[0].new_tensor([input.numel() / input.shape[1]])
    sums = torch.cat([count * ours[0], count * (ours[1] + ours[0] * ours[0]), count])
    dist.all_reduce(sums)
    total = sums[-1]
    mean, square = (sums[:-1] / total).chunk(2)
    return mean, (square - mean * mean).clamp(min=0), total


class _Normed(torch.autograd.Function):
    """Normalise by given statistics, which depend on the input of all ranks.

    The kernels are those of an evaluating batch norm, which takes statistics for constants. What
    they lack of the gradient is affine in the input, `gain * input + level` of each channel:
    with x the normalised input, `-weight / deviation * (mean(grad) + x * mean(grad * x))`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        total: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(input, weight, mean, variance, total)
        ctx.eps = eps
        return nn.functional.batch_norm(input, mean, variance, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input, weight, mean, variance, total = ctx.saved_tensors
        ours, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            *(grad, input, weight, mean, variance, None, None, False, ctx.eps, [True, True, True])
        )
        sums = torch.stack([by_bias, by_weight])
        dist.all_reduce(sums)
        level, gain = sums / total
        inverse = (variance + ctx.eps).rsqrt()
        scale = inverse if weight is None else inverse * weight
        gain = -scale * inverse * gain
        level = -scale * level - mean * gain
        shape = [1, -1, *[1] * (input.dim() - 2)]
        ours.addcmul_(input, gain.to(ours).view(shape)).add_(level.to(ours).view(shape))
        if weight is None:
            by_weight = by_bias = None
        return ours, by_weight, by_bias, None, None, None, None
