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

    Raises:
        UsageError: there is no such `name`.
    """

    name: str
    labels: tuple[str, ...]
    crop_seconds: float = 3.0
    front_end: FrontEnd = field(default_factory=FrontEnd)
    trim: bool = False

    def __post_init__(self) -> None:
        if self.name not in ARCHITECTURES:
            raise UsageError(
                f"unknown architecture '{self.name}': choose from {', '.join(ARCHITECTURES)}"
            )


class SpeechClassifier(nn.Module):
    """A log-mel front-end, a timm ResNet on it, and a linear layer."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
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

    def heads(
        self, waveform: Tensor, shares: Tensor | None = None, levels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits as of `forward`, and the representation: the mean of the last block's maps.

        Args:
            shares: as of `mean_over_sound`.
            levels: as of `LogMel`.
        """
        maps = self.backbone.forward_features(self._image(waveform, None, levels))
        return self.backbone.forward_head(maps), mean_over_sound(maps, shares)

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
        size, waveform = self.crop_samples, self.trimmed(waveform)
        if len(waveform) <= size:
            return nn.functional.pad(waveform, (0, size - len(waveform))).unsqueeze(0)
        starts = [*range(0, len(waveform) - size, size // 2), len(waveform) - size]
        return torch.stack([waveform[start : start + size] for start in starts])

    def share(self, waveform: Tensor) -> float:
        """How much of each crop of a waveform is sound: 1, or less where it had to be filled up."""
        return min(1.0, len(self.trimmed(waveform)) / self.crop_samples)

    def trimmed(self, waveform: Tensor) -> Tensor:
        """What the network is given of a waveform `[samples]`, as its architecture says."""
        return waveform[sounding(waveform.numpy())] if self.architecture.trim else waveform


def mean_over_sound(maps: Tensor, shares: Tensor | None = None) -> Tensor:
    """Maps `[crops, channels, bands, frames]` to their means over the sound `[crops, channels]`.

    The zeros behind a short clip are left out, or its length could be read off them.

    Args:
        shares: how much of each crop is sound, from its beginning, 0..1 `[crops]`; None: all of it.
    """
    frames = maps.shape[-1]
    spectrum = maps.float().mean(dim=2)
    if shares is None:
        return spectrum.mean(dim=-1)
    lengths = (shares * frames).ceil().clamp(1, frames)
    on_sound = torch.arange(frames, device=maps.device) < lengths[:, None]
    return (spectrum * on_sound[:, None]).sum(dim=-1) / lengths[:, None]
