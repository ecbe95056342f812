"""What a network makes of an utterance at each of its layers, from the stem to the last block.

Maps are averaged over bands and over the frames that lie on sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lanser_cli.models.classifier import Architecture, SpeechClassifier, mean_over_sound

Features = dict[str, NDArray[np.float32]]
"""Layer → `[utterances, channels]`, from the stem on."""

_CROPS_AT_ONCE = 32


def untrained(architecture: Architecture, front_end: nn.Module, seed: int) -> SpeechClassifier:
    """The network before training, with the front-end of the trained one.

    Every residual branch is live. timm sets the scale at the end of each to zero, which eases
    training but leaves of a network that was not trained little more than its stem.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SpeechClassifier(architecture)
    for module in model.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    # What tells the two apart is to be the training, not the scale of the input.
    model.front_end.load_state_dict(front_end.state_dict())
    return model.eval()


@torch.inference_mode()
def embed(model: SpeechClassifier, waveforms: Sequence[Tensor]) -> Features:
    """Every layer's mean map of each utterance, a mean over its crops."""
    device = next(model.parameters()).device
    crops = [model.crops(waveform) for waveform in waveforms]
    flat = torch.cat(crops)
    shares = torch.tensor(
        [
            model.share(waveform)
            for waveform, group in zip(waveforms, crops, strict=True)
            for _ in group
        ],
        device=device,
    )
    parts: dict[str, list[Tensor]] = {}
    for begin in range(0, len(flat), _CROPS_AT_ONCE):
        batch = slice(begin, begin + _CROPS_AT_ONCE)
        for name, values in _pooled(model, flat[batch].to(device), shares[batch]).items():
            parts.setdefault(name, []).append(values)
    sizes = [len(group) for group in crops]
    return {
        name: torch.stack([group.mean(dim=0) for group in torch.cat(values).split(sizes)]).numpy()
        for name, values in parts.items()
    }


def stack(parts: Sequence[Features]) -> Features:
    """Features of several windows, one below the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _pooled(model: SpeechClassifier, crops: Tensor, shares: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}

    def keep(name: str, _module: nn.Module, _inputs: object, maps: Tensor) -> None:
        found[name] = mean_over_sound(maps, shares).cpu()

    hooks = [layer.register_forward_hook(partial(keep, name)) for name, layer in _layers(model)]
    try:
        model(crops)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _layers(model: SpeechClassifier) -> list[tuple[str, nn.Module]]:
    """The stem and each residual block, by name, in the order of the sound's way."""
    stages = [getattr(model.backbone, f"layer{number}") for number in (1, 2, 3, 4)]
    blocks = [
        (f"block {stage}.{place}", block)
        for stage, blocks in enumerate(stages, start=1)
        for place, block in enumerate(blocks, start=1)
    ]
    return [("stem", model.backbone.maxpool), *blocks]
