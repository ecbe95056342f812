"""What is drawn for an utterance: a function of seed, epoch and utterance, never of rank or step.

So one process hears what two would hear, and a resumed run what an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from lanser_cli.models.front_end import MASK_DRAWS

Key: TypeAlias = tuple[int, int, bool]
"""(epoch, index, counts): what is drawn is a function of the first two and the seed; the third says
whether the utterance counts in the loss, or only fills a place up."""


def generator(*words: object) -> np.random.Generator:
    """The random numbers that these words name."""
    return np.random.default_rng(list("/".join(map(str, words)).encode()))


@dataclass(frozen=True, slots=True)
class Draws:
    """The draws of a batch.

    Attributes:
        share: float32 `[batch]`, 0..1: how much of itself each utterance keeps in mixup.
        masks: float32 `[batch, MASK_DRAWS]`, 0..1: where the masks of SpecAugment lie.
    """

    share: Tensor
    masks: Tensor

    @classmethod
    def of(cls, seed: int, keys: Sequence[Key], alpha: float) -> Draws:
        """Draw for the utterances of a batch, the shares from Beta(alpha, alpha)."""
        shares, masks = [], []
        for epoch, index, _ in keys:
            draw = generator(seed, epoch, index, "batch")
            masks.append(draw.random(MASK_DRAWS, np.float32))
            shares.append(draw.beta(alpha, alpha) if alpha > 0 else 1.0)
        return cls(torch.tensor(shares, dtype=torch.float32), torch.from_numpy(np.stack(masks)))

    def to(self, device: torch.device) -> Draws:
        return Draws(self.share.to(device), self.masks.to(device))


def mixed(
    waveform: Tensor, target: Tensor, weight: Tensor, share: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mixup (Zhang et al. 2018) of the rows of a batch in pairs: 0 with 1, 2 with 3, and so on.

    Both rows of a pair keep the share of its first, so each target counts by its utterance's
    weight, in sum over the pair as without mixup. A last row without a partner stays as it is.
    Pairs, and not a permutation of the batch, since no pair lies on two ranks.

    Args:
        share: `[batch]`; 1 leaves a pair as it is.
    """
    kept, other = _pairs(share)
    ours, theirs = kept * weight, (1 - kept) * weight[other]
    total = ours + theirs
    mass = ours[:, None] * target + theirs[:, None] * target[other]
    return blended(waveform, share), mass / total.clamp(min=1e-12)[:, None], total


def blended(values: Tensor, share: Tensor) -> Tensor:
    """The rows of a batch, `[batch, ...]`, mixed in the pairs and shares of `mixed`."""
    kept, other = _pairs(share)
    return torch.lerp(values[other], values, kept.view(-1, *[1] * (values.dim() - 1)))


def _pairs(share: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row, how much of itself it keeps, and which row it is mixed with: `[batch]`."""
    row = torch.arange(len(share), device=share.device)
    first = row & ~1
    other = torch.where(row == first, row + 1, first).clamp(max=len(row) - 1)
    return share[first], other
