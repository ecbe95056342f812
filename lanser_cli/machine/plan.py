"""The verb plan: what so many hours of speech take, stage by stage, by measured rates."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lanser_cli.choices import Codec
from lanser_cli.errors import UsageError
from lanser_cli.shape import NOT_NEGATIVE, POSITIVE, Maybe, read_json
from lanser_cli.shards.pack import Packing
from lanser_cli.summary import Summary

SHIPPED = Path(__file__).with_name("rates.json")

_SCHEMA = 1
_RATE = Maybe({"model": Maybe(str), "rate": POSITIVE, "source": str})
_DEVICE = {
    "device": str,
    "price": NOT_NEGATIVE,
    "price_source": str,
    "rates": {name: _RATE for name in ("transcribe", "entail-label", "shard", "pretrain")},
}
_SHAPE = {"currency": str, "cpu": _DEVICE, "gpu": _DEVICE}

_CORES = 2
"""Processors that are one device of the rates for CPUs."""

_FLAC, _OPUS = 12_700, 3_400
"""Bytes of a second of speech: docs/scale.md, Shards."""

_HEARD, _LABELLED, _SCORE = 344, 530, 22
"""Bytes of a record after transcribe; of one with a weak label, and of each label's score in it."""

_MEMBERS = 1_600
"""Bytes of a sample in a tar besides its sound and its record: two headers, and padding. Of 4,481
samples the mean is 1,608."""

_MOST_PARTS = 1000
"""What Slurm's MaxArraySize allows where nobody has raised it."""

_LONGEST = 24.0
"""Hours that a part should take at most: what many clusters give."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much speech there is, and what is to be done with it.

    Attributes:
        hours: of speech.
        utterance: mean length of an utterance, seconds.
        gpus: for transcribe, entail-label and pretrain; 0: they run on processors.
        cores: processors for whatever does not run on a GPU.
        labels: of the taxonomy, times hypothesis templates.
        epochs: passes of pre-training.
        codec: of the sound in shards.
        max_count: samples in a shard.

    Raises:
        UsageError: there is no speech.
    """

    hours: float
    utterance: float = 5.0
    gpus: int = 0
    cores: int = _CORES
    labels: int = 28
    epochs: int = 10
    codec: Codec = "flac"
    max_count: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.hours <= 1e9 or not 0 < self.utterance <= 3600 * self.hours:
            raise UsageError("plan needs --hours of speech, and a --utterance no longer than that")

    @property
    def utterances(self) -> int:
        return math.ceil(self.hours * 3600 / self.utterance)


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage takes. None: not measured, so nobody knows.

    Attributes:
        device: what the hours are of.
        device_hours: of one such device.
        wall_hours: of all devices that there are, side by side; as if twice as many took half as
            long.
        cost: in the currency of the rates.
        bytes, files: of what it writes, parts and the file that they are merged into.
        parts: tasks to cut it into.
        commands: with the places to fill in, in capitals; a part is a task of a Slurm array.
        source: where the rate was measured.
    """

    stage: str
    device: str
    device_hours: float | None
    wall_hours: float | None
    cost: float | None
    bytes: int
    files: int
    parts: int
    commands: list[str]
    source: str | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(amount: Amount, rates: Path | None = None) -> list[Stage]:
    """The stages from speech to a pre-trained network.

    Args:
        rates: a file as docs/formats.md says; None: the one that ships.

    Raises:
        LanserError: the file is not as it should be.
    """
    known = read_json(rates or SHIPPED, "a file of rates", _SHAPE, _SCHEMA)
    return list(_stages(amount, known))


def _stages(amount: Amount, known: dict[str, Any]) -> Iterator[Stage]:
    count = amount.utterances
    labelled = _LABELLED + _SCORE * amount.labels
    sound = amount.hours * 3600 * (_FLAC if amount.codec == "flac" else _OPUS)
    packed = round(sound) + count * (labelled + _MEMBERS)
    largest = Packing().max_mb << 20  # bytes; the commands name no --max-mb
    shards = max(math.ceil(count / amount.max_count), math.ceil(packed / largest))
    shape = f"--codec {amount.codec} --max-count {amount.max_count}"
    epochs = f"--epochs {amount.epochs}"
    work = (  # units that the rate counts a second, bytes and files written, what the command says
        ("transcribe", amount.hours * 3600, count * _HEARD, 0, "SPEECH/ {on}"),
        ("entail-label", count * amount.labels, count * labelled, 0, "words.jsonl {on}"),
        ("shard", count, packed, shards + 1, f"weak.jsonl {shape}"),
        ("pretrain", count * amount.epochs, 0, 0, f"shards/ {{on}} {epochs}"),
    )
    for name, units, size, files, words in work:
        on = "gpu" if amount.gpus and name != "shard" else "cpu"
        count_of_devices = amount.gpus if on == "gpu" else amount.cores / _CORES
        device, rate = known[on], known[on]["rates"].get(name)
        hours = rate and units / rate["rate"] / 3600
        model = shlex.quote((rate and rate.get("model")) or "MODEL")
        parts = 1
        if name in ("transcribe", "entail-label"):
            parts = min(_MOST_PARTS, _parts(hours, math.ceil(count_of_devices), count))
            count_of_devices = min(count_of_devices, parts)  # each has one of them
            outputs = parts + (parts > 1)  # with the one they are merged into
            size, files = size * min(outputs, 2), 2 * outputs  # FILE.meta.json is beside each
        yield Stage(
            stage=name,
            device=device["device"],
            device_hours=hours,
            wall_hours=hours and hours / count_of_devices,
            cost=hours and hours * device["price"],
            bytes=size,
            files=files,
            parts=parts,
            commands=_commands(name, words.format(on=f"--model {model}"), parts, amount.gpus),
            source=rate and rate["source"],
        )


def _parts(hours: float | None, devices: int, count: int) -> int:
    """One for each device, or as many times that as keep each below a day; none is empty."""
    times = 1 if hours is None else math.ceil(hours / devices / _LONGEST)
    return min(count, devices * times)


def _commands(name: str, words: str, parts: int, gpus: int) -> list[str]:
    made = {"transcribe": "words", "entail-label": "weak", "shard": "shards"}.get(name, "run")
    if name in ("shard", "pretrain") or parts == 1:
        out = f"{made}/" if name in ("shard", "pretrain") else f"{made}.jsonl"
        several = name == "pretrain" and gpus > 1
        ranks = f"srun --kill-on-bad-exit --ntasks={gpus} " if several else ""
        return [f"{ranks}lanser {name} {words} --resume -o {out}"]
    one = f"--part slurm/{parts} --resume -o {made}/$SLURM_ARRAY_TASK_ID.jsonl"
    return [
        f"mkdir -p {made}/",
        f"lanser {name} {words} {one}",
        f"lanser parts {made}/ --of {parts} --merge {made}.jsonl",
    ]


def shown(stages: list[Stage], amount: Amount) -> Summary:
    """The plan as a table."""
    rows = [
        [each.stage, each.device, *map(_number, (each.device_hours, each.wall_hours, each.cost))]
        + [_size(each.bytes), each.files, each.parts, "\n".join(each.commands)]
        for each in stages
    ]
    total = _size(sum(each.bytes for each in stages))
    rest = [each.stage for each in stages if each.device_hours is None]
    lacking = f" Not measured: {', '.join(rest)}; see --rates." if rest else ""
    return Summary(
        ["stage", "device", "device h", "wall h", "cost", "written", "files", "parts", "commands"],
        rows,
        f"{amount.utterances:,} utterances, {total} in all.{lacking}",
    )


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _size(count: int) -> str:
    return next(f"{count / 10**n:.3g} {unit}" for n, unit in _UNITS if count >= 10**n or not n)


_UNITS = ((15, "PB"), (12, "TB"), (9, "GB"), (6, "MB"), (3, "kB"), (0, "B"))
