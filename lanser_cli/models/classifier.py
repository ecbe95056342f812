"""ResNet on log-mel: waveform in, one logit a label out."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from lanser_cli.audio.silence import sounding
from lanser_cli.audio.sound import SAMPLE_RATE
from lanser_cli.errors import UsageError
from lanser_cli.models.architectures import ARCHITECTURES
from lanser_cli.models.front_end import FrontEnd, LogMel

_BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}


@dataclass(frozen=True, slots=True)
class Architecture:
    """All that is needed to build the network again.

    Attributes:
        name: a key of `ARCHITECTURES`.
        labels: the classes, in the order of the logits.
        crop_seconds: length of audio the network sees at once.
        front_end: the log-mel settings.
        trim: silence before and after speech is left out, in training and of what is predicted.
    """

    name: str
    labels: tuple[str, ...]
    crop_seconds: float = 3.0
    front_end: FrontEnd = field(default_factory=FrontEnd)
    trim: bool = False


class SpeechClassifier(nn.Module):
    """A log-mel front-end, a timm ResNet on it, and a linear layer.

    Raises:
        UsageError: unknown architecture.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        if architecture.name not in ARCHITECTURES:
            raise UsageError(
                f"unknown architecture '{architecture.name}': choose from "
                f"{', '.join(ARCHITECTURES)}"
            )
        self.architecture = architecture
        self.front_end = LogMel(architecture.front_end)
        shape = ARCHITECTURES[architecture.name]
        self.backbone = ResNet(
            block=_BLOCKS[shape.block],
            layers=shape.layers,
            channels=shape.channels,
            stem_width=shape.stem_width,
            in_chans=1,
            num_classes=len(architecture.labels),
        ).to(memory_format=torch.channels_last)

    @property
    def crop_samples(self) -> int:
        return round(self.architecture.crop_seconds * SAMPLE_RATE)

    def forward(
        self, waveform: Tensor, draws: Tensor | None = None, levels: Tensor | None = None
    ) -> Tensor:
        """Waveform `[batch, samples]` to logits `[batch, labels]`; the rest as of `LogMel`."""
        logits: Tensor = self.backbone(self._image(waveform, draws, levels))
        return logits

    def embed(self, waveform: Tensor) -> Tensor:
        """Waveform `[batch, samples]` to the pooled representation `[batch, features]`."""
        maps = self.backbone.forward_features(self._image(waveform))
        pooled: Tensor = self.backbone.forward_head(maps, pre_logits=True)
        return pooled

    def _image(
        self, waveform: Tensor, draws: Tensor | None = None, levels: Tensor | None = None
    ) -> Tensor:
        image: Tensor = self.front_end(waveform, draws, levels)
        return image.contiguous(memory_format=torch.channels_last)

    def crops(self, waveform: Tensor) -> Tensor:
        """Cut one waveform `[samples]` into `[crops, crop_samples]`, half overlapping.

        The last crop ends where the sound ends; a shorter sound is filled up with silence. Every
        crop has the length of training, and an answer does not depend on what else is in a batch.
        """
        size = self.crop_samples
        if self.architecture.trim:
            waveform = waveform[sounding(waveform.numpy())]
        if len(waveform) <= size:
            return nn.functional.pad(waveform, (0, size - len(waveform))).unsqueeze(0)
        starts = [*range(0, len(waveform) - size, size // 2), len(waveform) - size]
        return torch.stack([waveform[start : start + size] for start in starts])
