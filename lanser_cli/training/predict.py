"""Apply trained models to records: `prediction` and `scores`."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lanser_cli import console, jsonl
from lanser_cli.audio import channels, sound
from lanser_cli.audio.measured import Load
from lanser_cli.choices import Channel, Removing
from lanser_cli.devices import parse_devices
from lanser_cli.digests import string64
from lanser_cli.entailment.calibration import FEW
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.models.classifier import SpeechClassifier
from lanser_cli.pipe import Pipe
from lanser_cli.records import Outcome, Record, Reject, attempt
from lanser_cli.rows import WithRow
from lanser_cli.shards import reader
from lanser_cli.stage import unique, windows
from lanser_cli.tally import Tally
from lanser_cli.training import runs
from lanser_cli.training.finite import ADVICE
from lanser_cli.training.heard import marking
from lanser_cli.training.identity import digest_of_weights
from lanser_cli.training.speakers import Speakers, by_speaker
from lanser_cli.training.translation import Translation
from lanser_cli.workers import spread

STAGE = "predict"
WINDOW = 64
"""Records whose sound is in memory together."""

SAMPLE = 1000
"""Records that the mean of `--calibrate batch` is taken over."""

_CROPS_AT_ONCE = 64


def predict_files(
    inputs: Sequence[str],
    run: Path,
    pipe: Pipe,
    *,
    channel: Channel = "mix",
    crosswalk: str | None = None,
    calibrate: Removing = "none",
    device: str = "auto",
) -> Tally:
    """Predict the emotion of records, each id once, with the model of a run folder.

    Args:
        inputs: as `reader.records_of` takes them.
        pipe: one that has rows gets the representation of each record.
        channel: which one of a recording is heard.
        crosswalk: `SOURCE:TARGET`, to answer in the labels of TARGET.
        calibrate: `batch` divides the probabilities by their mean over the input, or over 1,000
            records of it, chosen by their ids.

    Raises:
        UsageError, LanserError: there is no such run or device; the input is a stream, which
            cannot be read twice where it must; there is no mean to divide by; or as
            `Translation.of`.
    """
    reader.check_inputs(inputs)
    items = partial(_unique, inputs, channel)
    if pipe.has_rows:
        run = runs.one_model(run, "--embed --run")
    devices, translation, speakers = parse_devices(device), None, None
    folders = runs.model_folders(run)
    architecture = runs.read_architecture(folders[0])
    if by_speaker(architecture):
        _check_files(inputs, f"{run} was trained with --normalise speaker, which")
        console.info(f"{STAGE}: transductive: each speaker is normalised by all of the input")
        records = _records(items())
        speakers = Speakers.measured(records, architecture, STAGE, lambda _refused_later: None)
    if crosswalk is not None or calibrate == "batch":
        translation = Translation.of(architecture.labels, crosswalk)
    if translation is not None and calibrate == "batch":
        _check_files(inputs, "--calibrate batch")
        console.info(
            f"{STAGE}: transductive: probabilities are divided by their mean over the input"
        )
        sample = _sampled(items(), make_predictor(devices[0], run=run, speakers=speakers))
        translation = translation.without_mean(sample)
    make = partial(
        make_predictor, run=run, translation=translation, speakers=speakers, embed=pipe.has_rows
    )
    settings = {
        "--run (its weights)": [digest_of_weights(folder) for folder in folders],
        "--crosswalk": crosswalk and translation and translation.in_short,
        "--calibrate": calibrate,
        "--channel": channel,
        **({"--embed": True} if pipe.has_rows else {}),
        **({"--normalise": "speaker"} if by_speaker(architecture) else {}),
    }
    process = marking(spread(make, devices), folders, STAGE)
    return pipe.run(items(pipe.part), process, settings, count=lambda: reader.count(inputs))


def _check_files(inputs: Sequence[str], what: str) -> None:
    if any(map(jsonl.is_stream, inputs)):
        raise UsageError(f"{what} reads its input twice: name files, not a stream")


def _unique(
    inputs: Sequence[str], channel: Channel, part: tuple[int, int] | None = None
) -> Iterator[Outcome]:
    part = None if channel == "each" else part  # a file is then more than one item
    items = reader.records_of(inputs, STAGE, part=part)
    return unique(channels.heard(items, channel, STAGE), STAGE)


def _records(items: Iterable[Outcome]) -> Iterator[Record]:
    return (item for item in items if isinstance(item, Record))


def _sampled(items: Iterable[Outcome], predictor: Predictor) -> NDArray[np.float64]:
    """Probabilities of the run's labels for a sample of the input: `[n, labels]`.

    Raises:
        LanserError: there is none, or all are the same.
    """
    sample = heapq.nsmallest(SAMPLE, _records(items), key=lambda record: string64(record.id))
    rows = [row for window in windows(sample, WINDOW) for row in predictor.probabilities(window)]
    if not rows:
        raise LanserError("--calibrate batch: no sound of the input can be read")
    found = np.array(rows)
    different = len(np.unique(found.round(6), axis=0))
    if different == 1:
        raise LanserError(
            "--calibrate batch: the model answers all of the input alike, so that the mean would "
            "take away all it says: leave it out, or give the whole input"
        )
    if different < FEW:
        console.warn(
            f"--calibrate batch: a mean over {different} different answers is no prior, and takes "
            "away much of what they say: leave it out, or give more speech"
        )
    return found


def make_predictor(
    device: str,
    *,
    run: Path,
    translation: Translation | None = None,
    speakers: Speakers | None = None,
    embed: bool = False,
) -> Predictor:
    """Load the model of a run folder, or the models of its folds, which then vote.

    Raises:
        LanserError: not a run folder, or unfinished.
    """
    models = [runs.load_model(folder, device) for folder in runs.model_folders(run)]
    return Predictor(models, STAGE, translation, speakers=speakers, embed=embed)


class Predictor:
    """A window function: the mean probability over crops, and over models if there are several.

    Args:
        translation: to the labels that are answered; None for the models' own.
        load: gives the sound of a record.
        speakers: the levels of all speakers, if the models take them off.
        embed: whether a record comes with the representation of its sound as well.
    """

    def __init__(
        self,
        models: Sequence[SpeechClassifier],
        stage: str = STAGE,
        translation: Translation | None = None,
        *,
        load: Load = sound.load,
        speakers: Speakers | None = None,
        embed: bool = False,
    ) -> None:
        self.labels = models[0].architecture.labels
        if any(model.architecture.labels != self.labels for model in models):
            raise LanserError("the folds of this run have different labels: name one of them")
        self._models, self._stage = models, stage
        self._translation, self._load, self._speakers = translation, load, speakers
        self._embed = embed
        if translation is not None:
            self.labels = translation.labels

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        outcomes, found, embeddings = self._answered(window)
        for place, (index, probabilities) in enumerate(found.items()):
            record = self._predicted(window[index], probabilities)
            if embeddings is not None:
                record = WithRow(record.fields, embeddings[place].numpy())
            outcomes[index] = record
        return [outcome for outcome in outcomes if outcome is not None]

    def probabilities(self, window: Sequence[Record]) -> list[list[float]]:
        """Those of the records that can be answered, `[n, labels]`, not rounded as `scores` are."""
        return [row.tolist() for row in self._answered(window)[1].values()]

    def answers(
        self, waveforms: Sequence[Tensor], levels: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Probabilities of the labels, `[n, labels]`, and representations, `[n, features]`.

        Args:
            waveforms: 16 kHz, `[samples]` each, on the CPU.
            levels: of their speakers, `[n, 2, mels]`, if the models take them off.

        Returns:
            Float32, on the CPU; no representations if none were asked for.

        Raises:
            LanserError: an answer is NaN: sound is finite, so it is the weights.
        """
        found, given = [], {} if levels is None else {"levels": levels}
        for model in self._models:
            if self._embed:
                given["shares"] = torch.tensor([model.share(waveform) for waveform in waveforms])
            function = partial(_both if self._embed else _probabilities, model)
            found.append(per_utterance(model, waveforms, function, **given))
        probabilities, embeddings = torch.stack(found).mean(dim=0), None
        if not bool(torch.isfinite(probabilities).all()):
            raise LanserError(
                f"{self._stage}: the network's answers are not finite, since its weights are too "
                f"large: train it anew: {ADVICE}"
            )
        if self._embed:
            count = len(self._models[0].architecture.labels)
            probabilities, embeddings = probabilities[:, :count], probabilities[:, count:]
        if self._translation is not None:
            probabilities = torch.from_numpy(self._translation(probabilities.double().numpy()))
        return probabilities, embeddings

    def _answered(
        self, window: Sequence[Record]
    ) -> tuple[list[Outcome | None], dict[int, Tensor], Tensor | None]:
        """Rejects in their places, probabilities by place, and representations if asked for."""
        outcomes, waveforms = load_window(window, self._stage, self._load)
        levels = self._levels(window, outcomes, waveforms)
        if not waveforms:
            return outcomes, {}, None
        mean, embeddings = self.answers(list(waveforms.values()), levels)
        return outcomes, dict(zip(waveforms, mean, strict=True)), embeddings

    def _levels(
        self,
        window: Sequence[Record],
        outcomes: list[Outcome | None],
        waveforms: dict[int, Tensor],
    ) -> Tensor | None:
        """Of the waveforms' speakers, `[n, 2, mels]`; what has none becomes a reject."""
        if self._speakers is None:
            return None
        found = []
        for index in list(waveforms):
            levels = attempt(self._speakers.of, window[index], self._stage)
            if isinstance(levels, Reject):
                outcomes[index] = levels
                del waveforms[index]
            else:
                found.append(levels)
        return torch.stack(found) if found else None

    def _predicted(self, record: Record, probabilities: Tensor) -> Record:
        scores = {
            label: round(float(probability), 6)
            for label, probability in zip(self.labels, probabilities, strict=True)
        }
        return record.with_answer(
            prediction=self.labels[int(probabilities.argmax())], scores=scores
        )


def _probabilities(model: SpeechClassifier, crops: Tensor, **given: Tensor) -> Tensor:
    found: Tensor = model(crops, **given)
    return found.softmax(-1)


def _both(model: SpeechClassifier, crops: Tensor, **given: Tensor) -> Tensor:
    logits, representation = model.heads(crops, **given)
    return torch.cat([logits.softmax(-1), representation], dim=1)


@torch.inference_mode()
def per_utterance(
    model: SpeechClassifier,
    waveforms: Sequence[Tensor],
    function: Callable[..., Tensor],
    **given: Tensor,
) -> Tensor:
    """Apply a function of crops `[n, samples] -> [n, d]` and average it over each utterance.

    Args:
        given: `[utterances, ...]`; the function is given the rows of its crops by the same names.

    Returns:
        float32 on the CPU, `[utterances, d]`.
    """
    device = next(model.parameters()).device
    crops = [model.crops(waveform) for waveform in waveforms]
    sizes = [len(group) for group in crops]
    flat, parts = torch.cat(crops), []
    owners = torch.repeat_interleave(torch.tensor(sizes))
    for start in range(0, len(flat), _CROPS_AT_ONCE):
        rows = slice(start, start + _CROPS_AT_ONCE)
        theirs = {name: value[owners[rows]].to(device) for name, value in given.items()}
        parts.append(function(flat[rows].to(device), **theirs).float().cpu())
    split = torch.cat(parts).split(sizes)
    return torch.stack([group.mean(dim=0) for group in split])


def load_window(
    window: Sequence[Record], stage: str, load: Load = sound.load
) -> tuple[list[Outcome | None], dict[int, Tensor]]:
    """Decode a window: rejects in their places, and waveforms by place."""
    outcomes: list[Outcome | None] = [None] * len(window)
    waveforms: dict[int, Tensor] = {}
    for index, record in enumerate(window):
        waveform = attempt(load, record, stage)
        if isinstance(waveform, Reject):
            outcomes[index] = waveform
        else:
            waveforms[index] = torch.from_numpy(waveform)
    return outcomes, waveforms
