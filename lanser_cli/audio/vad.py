"""Voice activity: the probability of speech, frame by frame."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.sound import SAMPLE_RATE, Waveform
from lanser_cli.errors import LanserError, missing_extra

FRAME = 512
"""Samples that get one probability of speech, 32 ms."""


_CONTEXT = 64
"""Samples before a frame that silero-vad takes with it."""


class VoiceActivity:
    """silero-vad, over all frames of a piece at once instead of frame by frame.

    The weights are those of the model in silero-vad's wheel. Its package is not imported, since
    that would set PyTorch to one thread for the whole process.

    Raises:
        LanserError: the extra `vad` is missing, or its wheel has other files.
    """

    def __init__(self) -> None:
        spec = importlib.util.find_spec("silero_vad")
        if spec is None or not spec.submodule_search_locations:
            raise missing_extra("silero_vad", "vad")
        path = Path(spec.submodule_search_locations[0], "data", "silero_vad.jit")
        import torch

        try:
            model = torch.jit.load(str(path), map_location="cpu")._model
            weights: dict[str, Any] = {
                key: value.clone() for key, value in model.state_dict().items()
            }
            self._spectrum = weights["stft.forward_basis_buffer"]
            self._layers = [
                (
                    weights[f"encoder.{layer}.reparam_conv.weight"],
                    weights[f"encoder.{layer}.reparam_conv.bias"],
                    stride,
                )
                for layer, stride in enumerate((1, 2, 2, 1))
            ]
            self._lstm = torch.nn.LSTM(128, 128, batch_first=True).eval()
            cell = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            self._lstm.load_state_dict({f"{key}_l0": weights[f"decoder.rnn.{key}"] for key in cell})
            self._last = weights["decoder.decoder.2.weight"][:, :, 0]
            self._bias = weights["decoder.decoder.2.bias"]
        except (ValueError, RuntimeError, AttributeError, KeyError) as error:
            raise LanserError(
                f"{path}: not the model of silero-vad 6: run  pip install 'lanser[vad]'"
            ) from error
        self.reset()

    def reset(self) -> None:
        """Forget what was heard: a new recording begins."""
        self._rest: Waveform = np.zeros(_CONTEXT, np.float32)
        self._state: Any = None

    def push(self, samples: Waveform) -> NDArray[np.float32]:
        """Probabilities of speech, `[frames]`, of the frames that these samples complete."""
        heard = np.concatenate([self._rest, samples])
        count = (len(heard) - _CONTEXT) // FRAME
        self._rest = heard[count * FRAME :]
        return self._probabilities(heard[: _CONTEXT + count * FRAME], count)

    def flush(self) -> NDArray[np.float32]:
        """The probability of an unfinished last frame, filled with silence: `[0 or 1]`."""
        left = len(self._rest) - _CONTEXT
        return self.push(np.zeros(FRAME - left, np.float32)) if left else np.empty(0, np.float32)

    def speech_seconds(self, clip: Waveform, threshold: float = 0.5) -> float:
        """How many seconds of a clip (float32 `[samples]`, 16 kHz) are speech."""
        self.reset()
        frames = sum(int((part >= threshold).sum()) for part in (self.push(clip), self.flush()))
        return frames * FRAME / SAMPLE_RATE

    def _probabilities(self, heard: Waveform, count: int) -> NDArray[np.float32]:
        import torch
        from torch.nn import functional

        if not count:
            return np.empty(0, np.float32)
        with torch.inference_mode():
            frames = torch.from_numpy(heard).unfold(0, _CONTEXT + FRAME, FRAME)
            x = functional.pad(frames, (0, 64), "reflect")[:, None]
            x = functional.conv1d(x, self._spectrum, stride=128)
            x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
            for weight, bias, stride in self._layers:
                x = functional.conv1d(x, weight, bias, stride=stride, padding=1).relu()
            x, self._state = self._lstm(x[None, :, :, 0], self._state)
            x = functional.linear(x[0].relu(), self._last, self._bias)
            return np.asarray(x.sigmoid()[:, 0].numpy())
