"""Apply trained models to records: `prediction` and `scores`, and the pooled representation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lanser_cli.audio import sound
from lanser_cli.devices import parse_devices
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.models.classifier import SpeechClassifier
from lanser_cli.pipe import Pipe, unique
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.tally import Tally
from lanser_cli.training import runs
from lanser_cli.workers import spread

STAGE = "predict"
WINDOW = 64
"""Records whose sound is in memory together."""

_CROPS_AT_ONCE = 64


def predict_records(
    items: Iterable[Outcome], run: Path, pipe: Pipe, *, device: str = "auto"
) -> Tally:
    """Predict the emotion of records, each id once, with the model of a run folder.

    Raises:
        UsageError, LanserError: there is no such device; or as `make_predictor`.
    """
    process = spread(partial(make_predictor, run=run), parse_devices(device))
    return pipe.run(unique(items, STAGE), process)


def make_predictor(device: str, *, run: Path, stage: str = STAGE) -> Predictor:
    """Load the model of a run folder, or the models of its folds, which then vote.

    Raises:
        LanserError: not a run folder, or unfinished.
    """
    models = [runs.load_model(folder, device) for folder in runs.model_folders(run)]
    return Predictor(models, stage)


class Predictor:
    """A window function: the mean probability over crops, and over models if there are several."""

    def __init__(self, models: Sequence[SpeechClassifier], stage: str = STAGE) -> None:
        self.labels = models[0].architecture.labels
        if any(model.architecture.labels != self.labels for model in models):
            raise LanserError("the folds of this run have different labels: name one of them")
        self._models, self._stage = models, stage

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        outcomes, waveforms = load_window(window, self._stage)
        if waveforms:
            clips = list(waveforms.values())
            answers = [
                per_utterance(model, clips, lambda crops, model=model: model(crops).softmax(-1))
                for model in self._models
            ]
            mean = torch.stack(answers).mean(dim=0)
            for index, probabilities in zip(waveforms, mean, strict=True):
                outcomes[index] = self._predicted(window[index], probabilities)
        return [outcome for outcome in outcomes if outcome is not None]

    def _predicted(self, record: Record, probabilities: Tensor) -> Record:
        scores = {
            label: round(float(probability), 6)
            for label, probability in zip(self.labels, probabilities, strict=True)
        }
        return record.with_fields(
            prediction=self.labels[int(probabilities.argmax())], scores=scores
        )


def embed(model: SpeechClassifier, waveforms: Sequence[Tensor]) -> NDArray[np.float64]:
    """The pooled representation, mean over crops: float64 `[utterances, features]`."""
    vectors: NDArray[np.float64] = per_utterance(model, waveforms, model.embed).double().numpy()
    return vectors


@torch.inference_mode()
def per_utterance(
    model: SpeechClassifier, waveforms: Sequence[Tensor], function: Callable[[Tensor], Tensor]
) -> Tensor:
    """Apply a function of crops `[n, samples] -> [n, d]` and average it over each utterance.

    Returns:
        float32 on the CPU, `[utterances, d]`.
    """
    device = next(model.parameters()).device
    crops = [model.crops(waveform) for waveform in waveforms]
    flat = torch.cat(crops)
    parts = [
        function(flat[start : start + _CROPS_AT_ONCE].to(device)).float().cpu()
        for start in range(0, len(flat), _CROPS_AT_ONCE)
    ]
    split = torch.cat(parts).split([len(group) for group in crops])
    return torch.stack([group.mean(dim=0) for group in split])


def load_window(
    window: Sequence[Record], stage: str
) -> tuple[list[Outcome | None], dict[int, Tensor]]:
    """Decode a window: rejects in their places, and waveforms by place."""
    outcomes: list[Outcome | None] = [None] * len(window)
    waveforms: dict[int, Tensor] = {}
    for index, record in enumerate(window):
        try:
            waveforms[index] = torch.from_numpy(sound.load(record))
        except RecordError as error:
            outcomes[index] = Reject.of(record, stage, error)
    return outcomes, waveforms
