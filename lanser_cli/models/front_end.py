"""The front-end: waveform to log-mel, computed on the device and inside the model.

A model that carries its own front-end can be given nothing but sound, and a run folder alone
rebuilds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchaudio
from torch import Tensor, nn

from lanser_cli.audio.sound import SAMPLE_RATE
from lanser_cli.choices import Normalising
from lanser_cli.errors import LanserError

_MASKS = 2
"""Bands, and stretches of time, that are masked in each utterance."""

MASK_DRAWS = 4 * _MASKS
"""Random numbers that the masks of an utterance take."""


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """Log-mel settings.

    Attributes:
        mels: number of mel bands.
        window_ms, hop_ms: analysis window and step, milliseconds.
        low_hz, high_hz: edges of the mel filter bank.
        normalise: `utterance` frees each band of its mean and deviation over what is heard at once,
            and so of the voice's and the room's level; `speaker` of those over all of a speaker's
            sound, which `LogMel` is told as levels; `none` leaves them.
    """

    mels: int = 64
    window_ms: float = 25.0
    hop_ms: float = 10.0
    low_hz: float = 50.0
    high_hz: float = 8000.0
    normalise: Normalising = "none"


class LogMel(nn.Module):
    """Waveform `[batch, samples]` (16 kHz) to normalised log-mel `[batch, 1, mels, frames]`.

    Each band is normalised by running statistics of the training data (a batch norm without
    parameters, as `bn0` in PANNs, Kong et al. 2020). Nothing is normalised per utterance, unless
    the settings say so: how loud someone speaks is part of how they feel.

    In training mode, bands and stretches of time are masked (SpecAugment, Park et al. 2019).
    """

    def __init__(self, settings: FrontEnd) -> None:
        super().__init__()
        window = round(SAMPLE_RATE * settings.window_ms / 1000)
        self.mel = torchaudio.transforms.MelSpectrogram(
            SAMPLE_RATE,
            n_fft=max(512, 1 << (window - 1).bit_length()),
            win_length=window,
            hop_length=round(SAMPLE_RATE * settings.hop_ms / 1000),
            f_min=settings.low_hz,
            f_max=settings.high_hz,
            n_mels=settings.mels,
        )
        self.normalise = settings.normalise
        self.norm = nn.BatchNorm1d(settings.mels, affine=False)

    def forward(
        self, waveform: Tensor, draws: Tensor | None = None, levels: Tensor | None = None
    ) -> Tensor:
        """Log-mel of a waveform.

        Args:
            draws: where masks lie, `[batch, MASK_DRAWS]`, 0..1; None draws anew. In training only.
            levels: mean and deviation of each row's speaker, `[batch, 2, mels]`, as `levels_of`
                has them, where the settings free log-mel of these; otherwise they do not count.

        Raises:
            LanserError: there are none.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            logmel, heard = self.bands(waveform)
            if self.normalise == "utterance":
                logmel = freed(logmel, heard, levels_of(logmel, heard))
            elif self.normalise == "speaker":
                if levels is None:
                    raise LanserError(
                        "this network was trained with --normalise speaker, so it must be told who "
                        "speaks: only finetune, efficiency, predict and eval do that"
                    )
                logmel = freed(logmel, heard, levels)
            logmel = self.norm(logmel)
        if self.training:
            if draws is None:
                draws = torch.rand(len(logmel), MASK_DRAWS, device=logmel.device)
            logmel = masked(logmel, draws)
        image: Tensor = logmel.unsqueeze(1)
        return image

    def bands(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel as it is, `[batch, mels, frames]`, and which frames are sound.

        The latter is `[batch, 1, frames]`; frames of zeros fill up.
        """
        mel = self.mel(waveform.float())
        return torch.log(mel + 1e-6), mel.sum(1, keepdim=True) > 0


def levels_of(logmel: Tensor, heard: Tensor) -> Tensor:
    """Mean and deviation of each band of each row, over the frames that are sound.

    Args:
        logmel, heard: as `LogMel.bands` gives them.

    Returns:
        `[batch, 2, mels]`.
    """
    count = heard.sum(2).clamp(min=1)
    mean = (logmel * heard).sum(2) / count
    centred = (logmel - mean.unsqueeze(2)) * heard
    return torch.stack([mean, (centred.square().sum(2) / count).sqrt()], dim=1)


def freed(logmel: Tensor, heard: Tensor, levels: Tensor) -> Tensor:
    """Log-mel less these means, over these deviations; frames that only fill up become 0.

    Args:
        levels: `[batch, 2, mels]`.
    """
    mean, deviation = levels.unsqueeze(3).unbind(1)
    return (logmel - mean) * heard / deviation.clamp(min=1e-3)


def masked(logmel: Tensor, draws: Tensor) -> Tensor:
    """`[batch, mels, frames]` with some bands and stretches of time of each utterance set to 0.

    A band is up to an eighth of all, a stretch up to 30 frames or a fifth of them.

    Args:
        draws: `[batch, MASK_DRAWS]`, 0..1: two numbers a mask, its width and its place.
    """
    _, mels, frames = logmel.shape
    places = draws.view(-1, _MASKS, 2, 2)  # batch, masks, axis, width and place
    hidden = torch.zeros_like(logmel, dtype=torch.bool)
    for axis, (size, most) in enumerate(((mels, mels // 8), (frames, min(30, frames // 5)))):
        width = places[:, :, axis, :1] * most
        start = (places[:, :, axis, 1:] * (size - width)).floor()
        at = torch.arange(size, device=logmel.device)
        inside = (at >= start) & (at < start + width.floor())
        hidden |= inside.any(1).unsqueeze(2 - axis)
    return logmel.masked_fill(hidden, 0.0)
