"""The verb doctor: what works on this machine, what pays, and what is missing."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.requirements import Requirement

from lanser_cli.devices import cpu_count
from lanser_cli.errors import LanserError, first_line
from lanser_cli.provenance import versions
from lanser_cli.surroundings import CROWDED

if TYPE_CHECKING:
    import torch

Status = Literal["works", "note", "broken"]

LEAST_FREE = 8e9
"""Bytes of disk below which it is said: an environment with PyTorch takes as much."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: of the thing.
        status: `works`; `note`: something a user may want to know; `broken`: mend it.
        found: what was seen, in words.
        advice: what to do; empty where there is nothing to do.
    """

    name: str
    status: Status
    found: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> Iterator[Finding]:
    """Look at everything, one finding after the other; a fault of one thing stops nothing."""
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("versions", _versions),
        ("cores", _cores),
        ("devices", _devices),
        ("transcribe, without a download", _transcribes),
        ("entail-label, without a download", _labels),
        ("extras", _extras),
        ("models of the hub", _hub),
        ("folders", _folders),
    )
    for name, check in checks:
        try:
            yield from check()
        except LanserError as error:
            yield Finding(name, "broken", str(error), "install lanser again")
        except Exception as error:  # as a driver's: it must not hide the others
            found = f"{type(error).__name__}: {error}"
            yield Finding(name, "broken", found, "mend or install again what it names")


def _versions() -> Iterator[Finding]:
    found = ", ".join(f"{package} {number}" for package, number in versions().items())
    yield Finding("versions", "works", found)


def _cores() -> Iterator[Finding]:
    cores, load = cpu_count(), os.getloadavg()[0]
    found = f"{cores} for this process, load {load:.1f}"
    if load <= cores:
        yield Finding("cores", "works", found)
    else:
        yield Finding("cores", "note", found, CROWDED)


def _devices() -> Iterator[Finding]:
    import torch

    from lanser_cli.models.onednn import int8_pays
    from lanser_cli.training.recipe import bfloat16_pays

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for device in (torch.device("cpu"), *(torch.device("cuda", index) for index in range(count))):
        gpu = device.type == "cuda"
        pays = ["float16"] * gpu + ["bfloat16"] * bfloat16_pays(device)
        pays += ["int8"] * (not gpu and int8_pays())
        what = torch.cuda.get_device_name(device) if gpu else f"{torch.get_num_threads()} threads"
        if fault := _fault(device):
            advice = "mend its driver, or install the PyTorch that is built for it"
            yield Finding(f"device {device}", "broken", f"{what}: {fault}", advice)
            continue
        faster = " and ".join(pays) or "no shorter precision"
        yield Finding(f"device {device}", "works", f"{what}; faster than float32: {faster}")
    if not count:
        advice = "ResNet-50 on many hours wants a GPU: --model resnet18-slim is for a CPU"
        yield Finding("device cuda", "note", "no GPU that PyTorch can use", advice)


def _fault(device: torch.device) -> str | None:
    """Why nothing can be computed there; a GPU that PyTorch is not built for has a name too."""
    import torch

    try:
        square = torch.ones(8, 8, device=device)
        (square @ square).tolist()
    except RuntimeError as error:
        return first_line(error)
    return None


def _transcribes() -> Iterator[Finding]:
    import numpy as np

    from lanser_cli.asr.engine import Options
    from lanser_cli.asr.engines import embedded

    embedded.make("embedded", Options("cpu")).transcribe([np.zeros(16_000, np.float32)])
    yield Finding("transcribe, without a download", "works", "Whisper tiny.en, English")


def _labels() -> Iterator[Finding]:
    from lanser_cli.entailment import PairScorer, label, load_taxonomy
    from lanser_cli.records import Record

    said = Record({"id": "a", "text": "i am so happy that you came"})
    [labelled] = label([said], load_taxonomy("ekman6"), PairScorer())
    emotion = labelled.emotion if isinstance(labelled, Record) else None
    name = "entail-label, without a download"
    if emotion == "joy":
        yield Finding(name, "works", "the cross-encoder in the package, English")
    else:
        found = f"'{said.text}' entails {emotion}, not joy"
        yield Finding(name, "broken", found, "install lanser again")


def _is_of(wanted: Requirement, extra: str) -> bool:
    return wanted.marker is not None and wanted.marker.evaluate({"extra": extra})


def _extras() -> Iterator[Finding]:
    for extra in metadata("lanser").get_all("Provides-Extra") or []:
        if extra == "dev":
            continue
        wanted = [Requirement(line) for line in requires("lanser") or []]
        mine = [one for one in wanted if _is_of(one, extra) and not _is_of(one, "")]
        missing = [one.name for one in mine if not _installed(one)]
        if missing:
            found = f"not there: {', '.join(missing)}"
            advice = f"if you need it:  pip install 'lanser[{extra}]'"
            yield Finding(f"extra {extra}", "note", found, advice)
        else:
            yield Finding(f"extra {extra}", "works", ", ".join(one.name for one in mine))


def _installed(wanted: Requirement) -> bool:
    try:
        return version(wanted.name) in wanted.specifier
    except PackageNotFoundError:
        return False


def _hub() -> Iterator[Finding]:
    from huggingface_hub.constants import HF_HUB_CACHE, HF_HUB_OFFLINE

    folder = Path(HF_HUB_CACHE)
    count = len(list(folder.glob("models--*")))
    found = f"{count} in {folder}; " + ("offline is set" if HF_HUB_OFFLINE else "online")
    yield Finding("models of the hub", "works", found)


def _folders() -> Iterator[Finding]:
    temporary = Path(tempfile.gettempdir())
    for name, folder in (("this folder", Path.cwd()), ("temporary files", temporary)):
        free = shutil.disk_usage(folder).free
        found = f"{folder}, {free / 1e9:.0f} GB free"
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except PermissionError:
            yield Finding(name, "broken", f"{found}, not writable", "work in another folder")
        except OSError as error:
            advice = "two runs with one output cannot see each other here"
            yield Finding(name, "note", f"{found}, no locks ({error.strerror})", advice)
        else:
            advice = "little room for shards and checkpoints" if free < LEAST_FREE else ""
            yield Finding(name, "note" if advice else "works", found, advice)
