"""lanser from Python: `lanser_cli.transcribe`, `label`, `predict` and `load`.

Paths, texts or records in, an iterator of records out, with what the command of that name adds.
What goes wrong with one record is a reject: `on_reject` is given it, or it is said on stderr. What
is wrong with the call is a `lanser_cli.errors.LanserError`, raised at once.

Importing `lanser_cli` imports none of this, nor PyTorch, before one of these names is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lanser_cli.errors import RecordError, UsageError
from lanser_cli.output import warn_of
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.stage import WindowFunction, applied, unique

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lanser_cli.training.predict import Predictor

PathLike: TypeAlias = "str | Path"
"""An audio file, a folder, a glob, JSONL or a tar, as commands take them."""

Text: TypeAlias = "str | Record | Mapping[str, Any]"
Item: TypeAlias = "str | Path | Record | Mapping[str, Any]"
OnReject: TypeAlias = "Callable[[Reject], object]"

_ONE = (str, Path, Record, Mapping)
"""What is an item, and not several, although Python may iterate over it."""


def transcribe(
    paths: Item | Iterable[Item],
    *,
    model: str = "embedded",
    lang: str | None = None,
    device: str = "auto",
    on_reject: OnReject | None = None,
) -> Iterator[Record]:
    """Speech to text: adds `text` and `asr`.

    Args:
        paths: what to hear; records are of utterances in files. Ids are made of what lies below the
            common folder of a list of paths, and of the name alone of what an iterator gives.
        model: as `lanser transcribe --model` takes it.
        lang: language spoken; None: as detected.

    Raises:
        UsageError, LanserError: there is no such model, device or input.
    """
    from lanser_cli.asr import transcriber
    from lanser_cli.asr.transcribe import TranscribeSettings, make_transcriber

    items = _items(paths, transcriber.STAGE)
    function = make_transcriber(_device(device), TranscribeSettings(model, lang))
    return _records(items, function, transcriber.STAGE, transcriber.WINDOW, on_reject)


def label(
    texts: Text | Iterable[Text],
    *,
    taxonomy: PathLike = "goemotions",
    labels: Sequence[str] | None = None,
    model: str = "embedded",
    templates: str | Sequence[str] = (),
    device: str = "auto",
    on_reject: OnReject | None = None,
) -> Iterator[Record]:
    """Text to weak label: adds `emotion`, `emotion_scores` and `entailment`.

    Args:
        texts: texts, whose ids are `text-0` and so on, or records with `text`.
        taxonomy: a name or a file.
        labels: words to choose from instead.
        model: as `lanser entail-label --model` takes it.
        templates: hypotheses; by default that of the command.

    Raises:
        UsageError, LanserError: there is no such model, taxonomy or device.
    """
    from lanser_cli.entailment import labeller, load_task
    from lanser_cli.entailment.entail_label import LabelSettings, make_labeller

    items = (
        Record({"id": f"text-{number}", "text": text}) if isinstance(text, str) else text
        for number, text in enumerate([texts] if isinstance(texts, _ONE) else texts)
    )
    words = [labels] if isinstance(labels, str) else labels
    hypotheses = [templates] if isinstance(templates, str) else templates
    task = load_task(str(taxonomy), words, None, hypotheses)
    function = make_labeller(_device(device), task, LabelSettings([model]))
    given = _items(items, labeller.STAGE)
    return _records(given, function, labeller.STAGE, labeller.WINDOW, on_reject)


def predict(
    paths: Item | Iterable[Item],
    *,
    run: PathLike,
    device: str = "auto",
    on_reject: OnReject | None = None,
) -> Iterator[Record]:
    """Speech to emotion by a trained model: adds `prediction` and `scores`.

    Args:
        paths: as of `transcribe`.
        run: folder of pretrain or finetune; the folds of one vote.

    Raises:
        UsageError, LanserError: as `load`; there is no such input.
    """
    from lanser_cli.training import predict as room

    items = _items(paths, room.STAGE)
    function = load(run, device=device).predictor
    return _records(items, function, room.STAGE, room.WINDOW, on_reject)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a trained model says of one sound.

    Attributes:
        prediction: the label with the highest probability.
        scores: label -> probability.
        embedding: the representation, `[features]`; None of a vote, whose networks have one each.
    """

    prediction: str
    scores: dict[str, float]
    embedding: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model; `load` makes one.

    Attributes:
        labels: what it chooses from.
        predictor: records in, outcomes out, a window at a time.
    """

    labels: tuple[str, ...]
    predictor: Predictor

    def predict(self, sound: PathLike | NDArray[Any], *, sample_rate: int = 16_000) -> Answer:
        """What it says of a whole file, or of mono samples `[samples]`, floats about -1..1.

        Args:
            sample_rate: Hz, of the samples; a file has its own.

        Raises:
            RecordError: no such file, not sound, or samples of another shape.
        """
        import torch

        probabilities, embeddings = self.predictor.answers(
            [torch.from_numpy(_waveform(sound, sample_rate))]
        )
        scores = dict(zip(self.labels, probabilities[0].tolist(), strict=True))
        embedding = None if embeddings is None else embeddings[0].numpy()
        return Answer(self.labels[int(probabilities[0].argmax())], scores, embedding)


def load(run: PathLike, *, device: str = "auto") -> Model:
    """A trained model from its run folder; of a run with folds all of them, which vote.

    Raises:
        UsageError: it normalises by speaker, and so needs all of a speaker's sound at once.
        LanserError: not a finished run.
    """
    from lanser_cli.training import runs
    from lanser_cli.training.predict import make_predictor
    from lanser_cli.training.speakers import by_speaker

    run = Path(run)
    folders = runs.model_folders(run)
    if by_speaker(runs.read_architecture(folders[0])):
        raise UsageError(
            f"{run} was trained with --normalise speaker, which reads all sound of a speaker "
            "first: use lanser predict"
        )
    predictor = make_predictor(_device(device), run=run, embed=len(folders) == 1)
    return Model(predictor.labels, predictor)


def _device(name: str) -> str:
    from lanser_cli.devices import parse_devices

    return parse_devices(name)[0]


def _waveform(sound: PathLike | NDArray[Any], sample_rate: int) -> NDArray[np.float32]:
    import numpy as np

    from lanser_cli.audio.resampler import check_rate, mono, resample
    from lanser_cli.audio.sound import read

    if isinstance(sound, (str, Path)):
        return read(str(sound))
    check_rate(sample_rate, "the array")
    sound = np.asarray(sound)
    if sound.ndim != 1 or not len(sound) or not np.issubdtype(sound.dtype, np.floating):
        raise RecordError(
            f"an array of {sound.dtype} {list(sound.shape)} is no sound: give mono samples, floats "
            "of one dimension"
        )
    return resample(mono(sound.astype(np.float32)[:, None], "the array"), sample_rate)


def _items(given: Item | Iterable[Item], stage: str) -> Iterator[Outcome]:
    """Records of what was given. Paths that are named together have ids below a common folder.

    Raises:
        LanserError: a path is not there; at once, unless it comes from an iterator.
    """
    from lanser_cli.shards import reader

    if isinstance(given, _ONE):
        given = [given]
    if isinstance(given, Sequence) and all(isinstance(item, (str, Path)) for item in given):
        paths = [str(item) for item in given]
        reader.check_inputs(paths, bare=True)
        return reader.records_of(paths, stage, bare=True)
    return _one_by_one(given, stage)


def _one_by_one(given: Iterable[Item], stage: str) -> Iterator[Outcome]:
    for item in given:
        if isinstance(item, (str, Path)):
            yield from _items(item, stage)
        elif isinstance(item, Record):
            yield item
        else:
            value = dict(item) if isinstance(item, Mapping) else item
            try:
                yield Record.parse(value)
            except RecordError as error:
                yield Reject(None, stage, str(error), value)


def _records(
    items: Iterator[Outcome],
    function: WindowFunction,
    stage: str,
    window: int,
    on_reject: OnReject | None,
) -> Iterator[Record]:
    """What a stage makes of the records among the items, in order."""
    refuse = on_reject or warn_of

    def good() -> Iterator[Record]:
        for item in unique(items, stage):
            if isinstance(item, Record):
                yield item
            elif isinstance(item, Reject):
                refuse(item)

    return applied(function, good(), window, refuse)
