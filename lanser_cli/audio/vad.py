"""Voice activity: the probability of speech, frame by frame."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lanser_cli.audio.sound import SAMPLE_RATE, Waveform
from lanser_cli.errors import LanserError, missing_extra, require

FRAME = 512
"""Samples that get one probability of speech, 32 ms."""


_CONTEXT = 64
"""Samples before a frame that silero-vad takes with it."""

_BLOCK = 1024
"""Frames computed at once, 33 s."""


class VoiceActivity:
    """silero-vad's sequence model: many frames at once instead of one by one.

    onnxruntime runs it, which takes a quarter of the memory that PyTorch does. silero-vad's package
    is not imported: it would import PyTorch, and set it to one thread for the whole process.

    Raises:
        LanserError: the extra `vad` is missing, or its wheel has other files.
    """

    def __init__(self) -> None:
        spec = importlib.util.find_spec("silero_vad")
        if spec is None or not spec.submodule_search_locations:
            raise missing_extra("silero_vad", "vad")
        onnxruntime = require("onnxruntime", "vad")
        path = Path(spec.submodule_search_locations[0], "data", "silero_vad_16k_sequence.onnx")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no common class
            raise LanserError(
                f"{path}: not the model of silero-vad 6.2.3: run  pip install 'lanser[vad]'"
            ) from error
        self.reset()

    def reset(self) -> None:
        """Forget what was heard: a new recording begins."""
        self._rest: Waveform = np.zeros(_CONTEXT, np.float32)
        self._state = [np.zeros((1, 1, 128), np.float32)] * 2

    def push(self, samples: Waveform) -> NDArray[np.float32]:
        """Probabilities of speech, `[frames]`, of the frames that these samples complete."""
        heard = np.concatenate([self._rest, samples])
        count = (len(heard) - _CONTEXT) // FRAME
        self._rest = heard[count * FRAME :]
        if not count:
            return np.empty(0, np.float32)
        frames = sliding_window_view(heard, _CONTEXT + FRAME)[::FRAME]
        blocks = [self._run(frames[at : at + _BLOCK]) for at in range(0, count, _BLOCK)]
        return np.concatenate(blocks)

    def flush(self) -> NDArray[np.float32]:
        """The probability of an unfinished last frame, filled with silence: `[0 or 1]`."""
        left = len(self._rest) - _CONTEXT
        return self.push(np.zeros(FRAME - left, np.float32)) if left else np.empty(0, np.float32)

    def speech_seconds(self, clip: Waveform, threshold: float = 0.5) -> float:
        """How many seconds of a clip (float32 `[samples]`, 16 kHz) are speech."""
        self.reset()
        frames = sum(int((part >= threshold).sum()) for part in (self.push(clip), self.flush()))
        return frames * FRAME / SAMPLE_RATE

    def _run(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        hidden, cell = self._state
        inputs = {"input": np.ascontiguousarray(frames), "h": hidden, "c": cell}
        found, *self._state = self._session.run(["speech_probs", "hn", "cn"], inputs)
        return np.asarray(found, np.float32).reshape(-1)
