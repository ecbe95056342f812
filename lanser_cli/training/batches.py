"""Records to training batches: random crops, and the same number of steps on every rank."""

from __future__ import annotations

import gc
import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from os.path import dirname
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lanser_cli import console
from lanser_cli.audio import sound
from lanser_cli.audio.lender import is_lent
from lanser_cli.audio.silence import sounding
from lanser_cli.audio.source import file_of
from lanser_cli.errors import LanserError, RecordError, of_one_record
from lanser_cli.training.ahead import fetched_ahead
from lanser_cli.training.augmentation import Augmentation
from lanser_cli.training.draws import Key, generator
from lanser_cli.training.examples import Example
from lanser_cli.training.stop import ignore_in_worker
from lanser_cli.workers import die_with_parent

Batch: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""waveform `[batch, samples]`, -1..1; target `[batch, labels]`; weight `[batch]`, 0 for what fills
a place up or cannot be read, else 1."""


class Strings:
    """Many strings as one block of bytes, which a forked worker reads without copying it.

    (To touch a Python object is to write its reference count, and so to copy its page.)
    """

    def __init__(self, values: Sequence[str]) -> None:
        encoded = [value.encode("utf-8", "surrogateescape") for value in values]
        self.block = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)

    def __getitem__(self, index: int) -> str:
        start, end = self._ends[index : index + 2]
        return self.block[start:end].decode("utf-8", "surrogateescape")


class Crops(Dataset[Batch]):
    """Batches of random crops of utterances, by their keys.

    The crop is a function of seed, epoch and index alone, so that a resumed run hears what an
    uninterrupted one would have heard. An utterance that cannot be read is a silence of weight 0:
    ranks keep step, and each process that decodes says it once.

    Args:
        keep: keep what was decoded in memory.
        trim: leave the silence before and after out.
        augmentation: what is done to each crop.

    Attributes:
        crop: samples of one.
        ids: of the utterances.
        targets: float32 `[utterances, labels]`.
        shards: the number of the tar or folder that each utterance lies in.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        crop_samples: int,
        seed: int,
        *,
        keep: bool = False,
        trim: bool = False,
        augmentation: Augmentation | None = None,
    ) -> None:
        records = [example.record for example in examples]
        paths = [record.audio_filepath or "" for record in records]
        self.ids, self._paths = Strings([record.id for record in records]), Strings(paths)
        self.targets = torch.tensor([example.target for example in examples])
        self._spans = np.array(
            [(one.offset, _or_nan(one.duration), _or_nan(one.channel)) for one in records],
            np.float64,
        )
        files = map(file_of, paths)
        homes = [
            dirname(path) if file == path else file for path, file in zip(paths, files, strict=True)
        ]
        # Not by NumPy: its strings, all as wide as the longest, take a kilobyte each to sort.
        self._homes = sorted(set(homes))
        numbers = {home: number for number, home in enumerate(self._homes)}
        self.shards = np.fromiter((numbers[home] for home in homes), np.int64, len(homes))
        self._places = np.full((len(paths), 2), -1, np.int64)
        for index in np.argsort(self.shards, kind="stable"):  # so that each tar is listed once
            self._places[index] = sound.locate(paths[index]) or (-1, -1)
        self.crop, self._seed = crop_samples, seed
        self._trim, self._augmentation = trim, augmentation
        self._whole = lru_cache(maxsize=2048)(self._decode) if keep else None
        self._silent: set[int] = set()

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def come_and_go(self) -> bool:
        """Whether there are tars that are here only while they are read."""
        return any(map(is_lent, self._homes))

    def home(self, index: int) -> str:
        """The tar or folder that an utterance lies in."""
        return self._homes[self.shards[index]]

    def __getitem__(self, keys: Sequence[Key]) -> Batch:
        waveform = torch.empty(len(keys), self.crop, dtype=torch.int16)
        weight = self.fill(waveform, keys)
        return as_float(waveform), self.targets[[index for _, index, _ in keys]], weight

    def fill(self, waveform: Tensor, keys: Sequence[Key]) -> Tensor:
        """Write the crops into int16 `[batch, samples]`, and return their weights `[batch]`."""
        weights = []
        for row, (epoch, index, counts) in zip(waveform.numpy(), keys, strict=True):
            draw = random.Random(f"{self._seed}/{epoch}/{index}").random()
            try:
                with of_one_record():
                    crop = self._augmented(epoch, index, draw)
            except RecordError as error:
                if index not in self._silent:
                    self._silent.add(index)
                    console.warn(f"left out of training: {self.ids[index]}: {error}")
                crop, counts = row[:0], False
            before = int(draw * (self.crop - len(crop) + 1))
            row[:before] = 0
            row[before : before + len(crop)] = crop
            row[before + len(crop) :] = 0
            weights.append(float(counts))
        return torch.tensor(weights)

    def _augmented(self, epoch: int, index: int, draw: float) -> NDArray[np.int16]:
        if not self._augmentation:
            return self._cut(index, draw, self.crop)
        drawn = generator(self._seed, epoch, index, "perturbed")
        rate = self._augmentation.rate(drawn)
        crop = self._cut(index, draw, math.ceil(self.crop * rate))
        return self._augmentation(crop, rate, drawn)[: self.crop]

    def _cut(self, index: int, draw: float, size: int) -> NDArray[np.int16]:
        def choose(length: int) -> int:
            return int(draw * (max(0, length - size) + 1))

        if self._whole is not None or self._trim:
            whole = (self._whole or self._decode)(index)
            start = choose(len(whole))
            return whole[start : start + size]
        place, bytes_ = self._places[index].tolist()
        where = (place, bytes_) if bytes_ >= 0 else None
        return sound.read_crop(*self._span(index), size, choose, where)

    def _decode(self, index: int) -> NDArray[np.int16]:
        whole = sound.to_int16(sound.read(*self._span(index)))
        return whole[sounding(whole)] if self._trim else whole

    def _span(self, index: int) -> tuple[str, float, float | None, int | None]:
        path = self._paths[index]
        if not path:
            raise RecordError("has no 'audio_filepath'")
        offset, duration, channel = self._spans[index].tolist()
        # NaN stands for what the record does not say.
        length = None if duration != duration else duration
        return path, offset, length, None if channel != channel else int(channel)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. A GPU goes on computing meanwhile: pinned memory is copied beside."""
    if device.type != "cuda":
        return tensor
    with torch.cuda.device(device):  # a thread begins with the first GPU, whosever it is
        return tensor.pin_memory().to(device, non_blocking=True)


def as_float(waveform: Tensor) -> Tensor:
    """int16 as float32 in -1..1."""
    if waveform.device.type != "cpu":
        return waveform * (1 / 32768)
    # Not by torch: its threads spin afterwards, on cores that the decoders need.
    return torch.from_numpy(np.multiply(waveform.numpy(), 1 / 32768, dtype=np.float32))


def _or_nan(number: float | None) -> float:
    return float("nan") if number is None else number


class StepSampler(Sampler[list[Key]]):
    """Batches of keys for one rank, from any step on: a function of seed, epoch and rank.

    An epoch is one seeded order of all utterances, cut into `ceil(n / (batch_size * ranks))` steps
    of one size, give or take one: no utterance counts more than another for being in a last batch
    of two. Each rank takes a stretch of a step's utterances, two by two where `batch_size` is even,
    so that mixup has the same pairs whatever the number of ranks. Where a step has fewer utterances
    than there are ranks, its first fills the place of those without, and does not count.

    Args:
        count: utterances.
        epochs: how many, at least; None where `steps` says how long.
        batch_size: at most, on this rank.
        steps: how many, at least; None for whole epochs.
        resampled: draw the utterances of an epoch with replacement instead.
        buffer: 0 shuffles all utterances at once. Otherwise the shards are shuffled, and the
            utterances within each; the sequence is then shuffled again in blocks of this many,
            which lie in a few shards.
        shards: the shard of each utterance, for `buffer`.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        epochs: int | None,
        *,
        seed: int,
        steps: int | None = None,
        rank: int = 0,
        ranks: int = 1,
        start: int = 0,
        resampled: bool = False,
        buffer: int = 0,
        shards: NDArray[np.int64] | None = None,
    ) -> None:
        self._count, self.batch_size = count, batch_size
        self._seed, self._rank, self._ranks, self._start = seed, rank, ranks, start
        self._resampled, self._buffer = resampled, buffer
        self._shards = np.zeros(count, np.int64) if shards is None else shards
        self.steps_per_epoch = -(-count // (batch_size * ranks))
        self.total = max(self.steps_per_epoch * (epochs or 0), steps or 0)
        """Steps from the first to the last."""
        sizes = [len(self._mine(step, r)) for step in (0, -1) for r in range(ranks)]
        self.smallest = max(1, min(sizes))
        """Utterances of the smallest batch of any rank."""
        self.block = buffer // ranks
        """Utterances of a shuffled block, on this rank."""

    def __len__(self) -> int:
        return self.total - self._start

    def __iter__(self) -> Iterator[list[Key]]:
        return itertools.islice(self._from_start(), len(self))

    def _from_start(self) -> Iterator[list[Key]]:
        first_epoch, skip = divmod(self._start, self.steps_per_epoch)
        for epoch in itertools.count(first_epoch):
            order = self.order(epoch)
            for step in range(skip, self.steps_per_epoch):
                mine = self._mine(step, self._rank)
                filled_up = [(epoch, int(order[mine.start]), False)]
                yield [(epoch, int(order[place]), True) for place in mine] or filled_up
            skip = 0

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The utterances of an epoch in their order."""
        if self._resampled:
            draw = generator(self._seed, epoch, "resampled")
            return draw.integers(self._count, size=self._count)
        draw = generator(self._seed, epoch)
        if not self._buffer:
            return draw.permutation(self._count)
        places = draw.permutation(int(self._shards.max()) + 1)
        order = np.lexsort((draw.random(self._count), places[self._shards]))
        for start in range(0, self._count, self._buffer):
            draw.shuffle(order[start : start + self._buffer])
        return order

    def _mine(self, step: int, rank: int) -> range:
        """The places of an epoch's order that a step has for a rank; empty where it has none."""
        step %= self.steps_per_epoch
        size, longer = divmod(self._count, self.steps_per_epoch)
        start = step * size + min(step, longer)
        size += step < longer
        unit = 2 if self.batch_size % 2 == 0 and size >= 2 * self._ranks else 1
        units = -(-size // unit)
        ends = [min(units * r // self._ranks * unit, size) for r in (rank, rank + 1)]
        return range(start + ends[0], start + ends[1])


def batches(
    crops: Crops, sampler: StepSampler, workers: int, device: torch.device | None = None
) -> Iterator[Batch]:
    """The batches that the sampler names, decoded in so many processes, on a device.

    Workers write into a ring of slots that they share with this process: a fresh piece of shared
    memory for each batch would cost a fifth of the time that decoding takes.
    """
    device = device or torch.device("cpu")
    steps: Iterable[list[Key]] = sampler
    if crops.come_and_go:
        steps = fetched_ahead(sampler, crops.home, sampler.block)
    if not workers:
        for keys in steps:
            waveform, target, weight = crops[keys]
            yield sent(waveform, device), sent(target, device), sent(weight, device)
        return
    ring = _Ring(crops, workers * _AHEAD + 2, sampler.batch_size)
    loader = DataLoader(
        ring,
        sampler=enumerate(steps),
        batch_size=None,  # the sampler's keys are whole batches
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=_AHEAD,
        worker_init_fn=_freeze,
        multiprocessing_context="fork",  # a fork server would be its parent, and outlive this one
    )
    for found in loader:
        if isinstance(found, LanserError):
            raise found
        number, indices, weights = found
        waveform = sent(ring.slot(number, len(indices)), device)
        target = sent(crops.targets[indices], device)
        yield as_float(waveform), target, sent(torch.tensor(weights), device)


_AHEAD = 2
"""Batches that each worker is asked for ahead."""


_Filled: TypeAlias = tuple[int, list[int], list[float]]
"""Number of a batch, its utterances and their weights."""


class _Ring(Dataset[_Filled | LanserError]):
    """Numbered batches, their sound in the slot of their number.

    When a batch is handed out, those behind it are asked for up to one less than there are slots:
    none is written over before the next one is asked for. An error that ends the run is handed out
    in the place of a batch: PyTorch would make a page of it.
    """

    def __init__(self, crops: Crops, slots: int, batch_size: int) -> None:
        self._crops = crops
        self._slots = torch.empty(slots, batch_size, crops.crop, dtype=torch.int16).share_memory_()

    def slot(self, number: int, count: int) -> Tensor:
        return self._slots[number % len(self._slots), :count]

    def __getitem__(self, key: tuple[int, list[Key]]) -> _Filled | LanserError:
        number, keys = key
        try:
            weight = self._crops.fill(self.slot(number, len(keys)), keys)
        except LanserError as error:
            return error
        return number, [index for _, index, _ in keys], weight.tolist()


def _as_it_is(found: Any) -> Any:
    return found


def _freeze(worker: int) -> None:
    """Keep the collector from visiting what was forked, which would copy it page by page."""
    gc.freeze()
    ignore_in_worker()
    die_with_parent()
