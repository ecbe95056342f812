"""Records to training batches: random crops, and the same number of steps on every rank."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lanser_cli import audio, console
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.records import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

Key = tuple[int, int]
"""(epoch, index): what a crop is a function of, besides the seed."""


@dataclass(frozen=True, slots=True)
class Example:
    """An utterance and its target: a probability for each label, summing to 1."""

    record: Record
    target: tuple[float, ...]


def weak_examples(
    records: Iterable[Record], labels: Sequence[str], *, soft: bool = False
) -> list[Example]:
    """Examples from weak labels: the arg-max label, or with `soft` all of `emotion_scores`.

    Records without a weak label are left out.
    """
    examples = []
    for record in records:
        if record.emotion is None:
            continue
        if soft and record.emotion_scores:
            weights = [record.emotion_scores.get(label, 0.0) for label in labels]
            total = sum(weights) or 1.0
            examples.append(Example(record, tuple(weight / total for weight in weights)))
        else:
            examples.append(Example(record, one_hot(record.emotion, labels)))
    return examples


def human_examples(records: Iterable[Record], labels: Sequence[str]) -> list[Example]:
    """Examples from human labels."""
    return [
        Example(record, one_hot(record.label, labels))
        for record in records
        if record.label is not None
    ]


def one_hot(label: str, labels: Sequence[str]) -> tuple[float, ...]:
    """A target with all its mass on one label.

    Raises:
        LanserError: the label is not among them.
    """
    if label not in labels:
        raise LanserError(f"label '{label}' is not one of the model's: {', '.join(labels)}")
    return tuple(float(label == other) for other in labels)


def weak_label_set(records: Sequence[Record]) -> tuple[str, ...]:
    """The labels to pre-train on: those scored, in the taxonomy's order, that occur.

    Raises:
        LanserError: fewer than two occur.
    """
    occurring = {record.emotion for record in records if record.emotion is not None}
    scored: dict[str, None] = {}
    for record in records:
        scored.update(dict.fromkeys(record.emotion_scores or {}))
    ordered = [label for label in scored if label in occurring]
    ordered += sorted(label for label in occurring if label not in scored)
    return _at_least_two(ordered, "weak labels ('emotion', from lanser entail-label)")


def human_label_set(records: Sequence[Record]) -> tuple[str, ...]:
    """The human labels that occur, sorted.

    Raises:
        LanserError: fewer than two occur.
    """
    found = sorted({record.label for record in records if record.label is not None})
    return _at_least_two(found, "human labels ('label', from lanser manifest)")


def _at_least_two(labels: Sequence[str], what: str) -> tuple[str, ...]:
    if len(labels) < 2:
        found = f"only '{labels[0]}'" if labels else "none"
        raise LanserError(
            f"training needs records with at least two different {what}; found {found}"
        )
    return tuple(labels)


class Crops(Dataset[tuple[Tensor, Tensor, float]]):
    """Random crops of utterances.

    An item is `(waveform [samples], target [labels], weight)`. The crop is a function of seed,
    epoch and index alone, so that a resumed run hears what an uninterrupted one would have heard.
    An utterance that cannot be read is a silence of weight 0: ranks keep step, and it is said once.
    """

    def __init__(
        self, examples: Sequence[Example], crop_samples: int, seed: int, *, keep: bool = False
    ) -> None:
        self._examples, self._crop, self._seed = examples, crop_samples, seed
        self._load = lru_cache(maxsize=2048)(self._decode) if keep else self._decode
        self._silent: set[int] = set()

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor, float]:
        epoch, index = key
        target = torch.tensor(self._examples[index].target)
        try:
            samples = self._load(index)
        except RecordError as error:
            if index not in self._silent:
                self._silent.add(index)
                console.warn(f"left out of training: {self._examples[index].record.id}: {error}")
            return torch.zeros(self._crop), target, 0.0
        return torch.from_numpy(self._cut(samples, epoch, index)), target, 1.0

    def _decode(self, index: int) -> NDArray[np.int16]:
        waveform = audio.load(self._examples[index].record)
        return (np.clip(waveform, -1.0, 1.0) * 32767).astype(np.int16)

    def _cut(self, samples: NDArray[np.int16], epoch: int, index: int) -> NDArray[np.float32]:
        draw = random.Random(f"{self._seed}/{epoch}/{index}")
        spare = len(samples) - self._crop
        if spare >= 0:
            start = draw.randint(0, spare)
            crop = samples[start : start + self._crop]
        else:
            before = draw.randint(0, -spare)
            crop = np.pad(samples, (before, -spare - before))
        return crop.astype(np.float32) / np.float32(32767)


class StepSampler(Sampler[list[Key]]):
    """Batches of keys for one rank, from any step on.

    Every epoch is one seeded shuffle, dealt out to the ranks like cards. Where the deal does not
    come out even, the first cards are dealt once more, so that all ranks make the same number of
    steps: `ceil(ceil(n / ranks) / batch_size)` an epoch.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        epochs: int,
        *,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        start: int = 0,
    ) -> None:
        self._count, self._batch_size, self._epochs = count, batch_size, epochs
        self._seed, self._rank, self._ranks, self._start = seed, rank, ranks, start
        self._share = -(-count // ranks)
        self.steps_per_epoch = -(-self._share // batch_size)

    def __len__(self) -> int:
        return self.steps_per_epoch * self._epochs - self._start

    def __iter__(self) -> Iterator[list[Key]]:
        first_epoch, skip = divmod(self._start, self.steps_per_epoch)
        for epoch in range(first_epoch, self._epochs):
            order = list(range(self._count))
            random.Random(f"{self._seed}/{epoch}").shuffle(order)
            while len(order) < self._share * self._ranks:
                order += order[: self._share * self._ranks - len(order)]
            mine = [(epoch, index) for index in order[self._rank :: self._ranks]]
            batches = [
                mine[start : start + self._batch_size]
                for start in range(0, self._share, self._batch_size)
            ]
            yield from batches[skip:]
            skip = 0


def loader(crops: Crops, sampler: StepSampler, workers: int) -> DataLoader[tuple[Tensor, ...]]:
    """Batches `(waveform [batch, samples], target [batch, labels], weight [batch])`."""
    return DataLoader(
        crops,
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )
