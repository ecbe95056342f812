"""Batch normalisation over all ranks that train together: one batch, whoever holds its rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


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
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        values = input.float()
        ours, mean = (found.double() for found in torch.var_mean(values, axes, correction=0))
        count = mean.new_tensor([input.numel() / input.shape[1]])
        sums = all_reduce(torch.cat([count * mean, count * (ours + mean * mean), count]))
        total = sums[-1]
        mean, square = (sums[:-1] / total).chunk(2)
        variance = (square - mean * mean).clamp(min=0)
        with torch.no_grad():
            self.num_batches_tracked += 1
            unbiased = variance * (total / (total - 1).clamp(min=1))
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var), self.momentum)
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale
        if self.bias is not None:
            shift = shift + self.bias
        return torch.addcmul(shift.float().view(shape), values, scale.float().view(shape)).to(
            input.dtype
        )
