"""How to train: the settings of a run, whatever it learns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from lanser_cli.choices import TrainingPrecision
from lanser_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the data; None where `steps` says how long.
        batch_size: utterances a step and rank.
        lr: peak learning rate of AdamW, after a linear warm-up over a tenth of the steps; a cosine
            takes it to zero.
        weight_decay: of AdamW.
        mixup: alpha of mixup (Zhang et al. 2018); 0 for none.
        label_smoothing: mass spread over all labels.
        freeze: train the last layer only.
        precision: auto, float32 or bfloat16.
        workers: decoding processes; 0 decodes in the training process and keeps short data in memory.
        checkpoint_every: steps between checkpoints.
        seed: of everything that is drawn.
        resampled: draw utterances with replacement.
        shuffle_buffer: shuffle in blocks of this many, shard by shard; 0 shuffles all at once.
        steps: of the optimizer in all, however much data there is; None where `epochs` says it.

    Raises:
        UsageError: both `resampled` and `shuffle_buffer`, or both or none of `epochs` and `steps`.
    """  # noqa: E501

    epochs: int | None
    batch_size: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.05
    mixup: float = 0.2
    label_smoothing: float = 0.1
    freeze: bool = False
    precision: TrainingPrecision = "auto"
    workers: int = 0
    checkpoint_every: int = 500
    seed: int = 0
    resampled: bool = False
    shuffle_buffer: int = 0
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) is (self.steps is None):
            raise UsageError("say how long to train by --epochs or by --steps, not by both")
        if self.resampled and self.shuffle_buffer:
            raise UsageError(
                "--resampled draws from everything at once: leave --shuffle-buffer out"
            )

    def on(self, device: torch.device) -> Recipe:
        """The recipe with its precision resolved for a device: float32 or bfloat16."""
        if self.precision != "auto":
            return self
        return replace(self, precision="bfloat16" if bfloat16_pays(device) else "float32")


def bfloat16_pays(device: torch.device) -> bool:
    """Whether this device has arithmetic for bfloat16; elsewhere it is emulated, and slow."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))
