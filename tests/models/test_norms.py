"""The norm over all ranks: of one rank alone it is PyTorch's, in value and in gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lanser_cli.models import norms


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 5), (6, 8, 5, 7)])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 0.04)])
def test_of_one_rank_it_is_an_ordinary_batch_norm(monkeypatch, dtype, close, shape, affine):
    monkeypatch.setattr(norms.dist, "all_reduce", lambda sums: None)
    torch.manual_seed(0)
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    theirs = kind(8, affine=affine)
    if affine:
        nn.init.normal_(theirs.weight)
        nn.init.normal_(theirs.bias)
    ours = norms.RankedNorm.like(copy.deepcopy(theirs))
    sound, grad = (2 * torch.randn(shape) + 3).to(dtype), torch.randn(shape).to(dtype)
    found = []
    for norm in (ours, theirs):
        leaf = sound.clone().requires_grad_()
        answer = norm(leaf)
        answer.backward(grad)
        learnt = [one.grad for one in norm.parameters()]
        found.append([answer, leaf.grad, *learnt, norm.running_mean, norm.running_var])
    for mine, other in zip(*found, strict=True):
        assert mine.dtype == other.dtype
        torch.testing.assert_close(mine, other, atol=close, rtol=close)
    # Statistics are in float32, whatever the sound is in.
    torch.testing.assert_close(ours.running_var, theirs.running_var, atol=1e-5, rtol=1e-5)
