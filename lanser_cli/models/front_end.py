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


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """Log-mel settings.

    Attributes:
        mels: number of mel bands.
        window_ms, hop_ms: analysis window and step, milliseconds.
        low_hz, high_hz: edges of the mel filter bank.
    """

    mels: int = 64
    window_ms: float = 25.0
    hop_ms: float = 10.0
    low_hz: float = 50.0
    high_hz: float = 8000.0


class LogMel(nn.Module):
    """Waveform `[batch, samples]` (16 kHz) to normalised log-mel `[batch, 1, mels, frames]`.

    Each band is normalised by running statistics of the training data (a batch norm without
    parameters, as `bn0` in PANNs, Kong et al. 2020). Nothing is normalised per utterance: how
    loud someone speaks is part of how they feel.

    In training mode, bands and stretches of time are masked (SpecAugment, Park et al. 2019).

    Args:
        settings: the front-end.
        masks: how many bands and how many stretches to mask; 0 for none.
    """

    def __init__(self, settings: FrontEnd, masks: int = 2) -> None:
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
        self.norm = nn.BatchNorm1d(settings.mels, affine=False)
        self.masks = masks
        self.mask_band = torchaudio.transforms.FrequencyMasking(settings.mels // 8, iid_masks=True)
        self.mask_time = torchaudio.transforms.TimeMasking(30, iid_masks=True, p=0.2)

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            logmel = self.norm(torch.log(self.mel(waveform.float()) + 1e-6))
        image: Tensor = logmel.unsqueeze(1)
        if self.training:
            for _ in range(self.masks):
                image = self.mask_time(self.mask_band(image))
        return image
