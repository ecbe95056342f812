"""Trained networks as one that runs elsewhere: sound and lengths in, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from lanser_cli.audio import silence
from lanser_cli.models.classifier import SpeechClassifier


class Portable(nn.Module):
    """What `predict` answers, crops and all, in operations that exporters know.

    Sound `[batch, samples]` (float32, 16 kHz, -1..1) and lengths `[batch]` (int64, samples) in,
    probabilities `[batch, labels]` out: the mean over crops and over the networks. What lies behind
    an utterance's length is not heard, so that an answer does not depend on what else is in a
    batch.

    Args:
        models: of one architecture, which does not normalise by speaker. Their front-ends are
            changed.
    """

    def __init__(self, models: Sequence[SpeechClassifier]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.size, self.trim = models[0].crop_samples, models[0].architecture.trim
        for model in models:
            model.front_end.mel = _Mel(model.front_end.mel)

    def forward(self, sound: Tensor, lengths: Tensor) -> Tensor:
        begin, end = torch.zeros_like(lengths), lengths.clamp(max=sound.shape[1])
        if self.trim:
            begin, end = sounding(sound, end)
        step = self.size // 2
        over = (end - begin - self.size).clamp(min=0)
        crops = (over + step - 1) // step + 1
        places = torch.arange(sound.shape[1] // step + 2, device=sound.device)
        row, place = (places < crops[:, None]).nonzero(as_tuple=True)  # of each crop that there is
        torch._check(row.shape[0] > 0)  # as the exporter cannot know
        at = torch.arange(self.size, device=sound.device)
        at = at + (begin[row] + torch.minimum(place * step, over[row]))[:, None]
        samples = sound[row[:, None], at.clamp(max=sound.shape[1] - 1)]
        heard = torch.where(at < end[row][:, None], samples, 0.0)
        found = torch.stack([model(heard).softmax(-1) for model in self.models]).mean(0)
        owners = torch.arange(sound.shape[0], device=sound.device)[:, None] == row
        answer: Tensor = (owners / crops[:, None]) @ found
        return answer


def sounding(sound: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """`silence.sounding` of each row: where it begins and ends, `[batch]` each, in samples."""
    size, margin = silence.FRAME, silence.MARGIN
    count = lengths // size
    frames = sound.shape[1] // size + 2  # at least two: an exporter takes one for a constant
    padded = nn.functional.pad(sound, (0, frames * size - sound.shape[1])).double()
    power = padded.view(-1, frames, size).square().mean(2)
    number = torch.arange(frames, device=sound.device)
    whole = number < count[:, None]
    power = torch.where(whole, power, 0.0)
    loud = whole & (power >= power.amax(1, keepdim=True) / 10 ** (silence.BELOW_DB / 10))
    first = (torch.where(loud, number, frames).amin(1) - margin).clamp(min=0)
    last = torch.where(loud, number, 0).amax(1) + 1 + margin
    short = count == 0
    begin = torch.where(short, 0, first * size)
    return begin, torch.where(short | (last >= count), lengths, last * size)


class _Mel(nn.Module):
    """torchaudio's mel spectrogram as two products of matrices.

    ONNX has an STFT, but few runtimes do. The frames times a windowed Fourier basis are the same
    numbers everywhere.
    """

    def __init__(self, mel: MelSpectrogram) -> None:
        super().__init__()
        stft = mel.spectrogram
        self.size, self.hop = stft.n_fft, stft.hop_length
        before = (stft.n_fft - stft.win_length) // 2
        after = stft.n_fft - stft.win_length - before
        window = nn.functional.pad(stft.window.double(), (before, after))
        basis = torch.fft.rfft(window.diag())
        self.register_buffer("basis", torch.cat([basis.real, basis.imag], dim=1).float())
        self.register_buffer("bank", mel.mel_scale.fb)

    def forward(self, waveform: Tensor) -> Tensor:
        around = (self.size // 2, self.size // 2)
        padded = nn.functional.pad(waveform[:, None], around, mode="reflect")[:, 0]
        real, imaginary = (padded.unfold(1, self.size, self.hop) @ self.basis).chunk(2, dim=2)
        mel: Tensor = (real.square() + imaginary.square()) @ self.bank
        return mel.transpose(1, 2)
