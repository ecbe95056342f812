"""What a representation is compared with: what can be known without having learned anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lanser_cli.entailment.text_vectors import text_vectors
from lanser_cli.models.classifier import SpeechClassifier
from lanser_cli.records import Record

Matrix = NDArray[Any]

PERCENTILES = (5, 25, 50, 75, 95)

LOG_MEL, TRANSCRIPT, LABEL, SEX, SPEAKER, SHUFFLED, UNTRAINED = (
    "log-mel statistics",
    "transcript",
    "label",
    "sex",
    "speaker",
    "shuffled",
    "untrained",
)


@torch.inference_mode()
def log_mel_statistics(model: SpeechClassifier, waveforms: Sequence[Tensor]) -> Matrix:
    """Mean, sd, mean absolute step and percentiles over time of each band: `[n, 8 mels]`.

    What the network is given, in plain numbers that know of time: a mean alone says nothing of how
    a voice moves.
    """
    front_end, device = model.front_end, next(model.parameters()).device
    fewest = front_end.mel.n_fft // 2 + 1  # half a window is mirrored at each end
    rows = []
    for waveform in map(model.trimmed, waveforms):
        waveform = nn.functional.pad(waveform, (0, max(0, fewest - len(waveform))))
        bands = front_end(waveform[None].to(device))[0, 0].float().cpu().numpy()
        steps = np.abs(np.diff(bands, axis=1))
        moves = steps.mean(axis=1) if steps.shape[1] else np.zeros(len(bands))
        rows.append(
            np.concatenate(
                [bands.mean(1), bands.std(1), moves, np.percentile(bands, PERCENTILES, 1).ravel()]
            )
        )
    return np.stack(rows)


def known(records: Sequence[Record]) -> tuple[dict[str, Matrix], list[str]]:
    """Controls that come from the records alone, and in words which are left out, and why."""
    found: dict[str, Matrix] = {}
    missing = []
    texts = [record.text for record in records]
    if all(texts):
        found[TRANSCRIPT] = text_vectors([str(text) for text in texts])
    else:
        missing.append(f"{TRANSCRIPT}: {_lacking(texts)} records have no text")
    labels = [record.label for record in records]
    label = "label" if all(labels) else "emotion"
    for name, key in ((LABEL, label), (SEX, "sex"), (SPEAKER, "speaker")):
        words = [record.word(key) for record in records]
        if all(words):
            found[name] = one_hot([str(word) for word in words])
        else:
            missing.append(f"{name}: {_lacking(words)} records have none")
    if LABEL in found and label != "label":
        missing.append(f"human label: {_lacking(labels)} records have none: weak ones stand for it")
    return found, missing


def _lacking(words: Sequence[str | None]) -> int:
    """How many are missing, or empty."""
    return sum(not word for word in words)


def one_hot(words: Sequence[str]) -> Matrix:
    """A column for each word, in their order."""
    return np.equal.outer(np.array(words), np.unique(words)).astype(np.float64)


def shuffled(features: Matrix, parts: Sequence[NDArray[np.intp]], seed: int) -> Matrix:
    """Rows dealt out to other utterances of the same part.

    To the probe this is the same as shuffled targets, but targets and speakers stay where they
    are. A probe's score minus this one is its selectivity: Hewitt and Liang (2019), "Designing and
    Interpreting Probes with Control Tasks".
    """
    dealt = features.copy()
    for rows in parts:
        dealt[rows] = features[np.random.default_rng(seed).permutation(rows)]
    return dealt
