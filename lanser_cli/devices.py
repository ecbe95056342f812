"""The processors and devices of this machine."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from lanser_cli.errors import UsageError


def cpu_count() -> int:
    """The processors this process may use (a Slurm job or a container may have fewer)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among those that train together.

    torchrun says it by RANK, WORLD_SIZE and LOCAL_RANK; srun by SLURM_PROCID, SLURM_NTASKS and
    SLURM_LOCALID, if MASTER_ADDR and MASTER_PORT say where rank 0 listens.

    Attributes:
        rank, count, local: its number, of how many, and its number on this machine.
        launched: whether a launcher waits for it, which takes any exit code but 0 for a failure.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    launched: bool = False

    @classmethod
    def from_environment(cls) -> Ranks:
        """From the variables of torchrun, or those of srun; alone without either.

        Raises:
            UsageError: variables that belong to them are missing, or make no sense.
        """
        names = _TORCHRUN if {"RANK", "WORLD_SIZE"} & os.environ.keys() else _SRUN
        given = {name: os.environ[name] for name in names if name in os.environ}
        if names is _SRUN and given.get("SLURM_NTASKS", "1") == "1":
            return ALONE
        try:
            rank, count, local = (int(given.get(name, "0")) for name in names)
        except ValueError:
            raise UsageError(f"{_in_words(given)}: these must be whole numbers") from None
        missing = [name for name in names[:2] if name not in given]
        if count > 1:
            missing += [name for name in _MEETING if not os.environ.get(name)]
        if missing:
            raise UsageError(
                f"{_in_words(given)}, but {' and '.join(missing)} missing: start several processes "
                "with torchrun, or with srun after MASTER_ADDR=HOST (where rank 0 runs) and "
                "MASTER_PORT=N (a free port there); for one alone, unset what is set"
            )
        if not 0 <= rank < count:
            raise UsageError(f"{_in_words(given)}: the rank must be less than the number of ranks")
        return cls(rank, count, local, launched=True)

    @property
    def leads(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0


ALONE = Ranks()

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_SRUN = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
_MEETING = ("MASTER_ADDR", "MASTER_PORT")


def _in_words(given: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in given.items())


def keep_memory() -> None:
    """Have glibc keep large blocks that are freed.

    By default it gives them back to the system, which clears them again for every layer of a
    network, a third of int8's time, and for every clip, a fifth of decoding's. Elsewhere than in
    glibc there is no such call.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # malloc.h
    with suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 25)
        libc.mallopt(trim_threshold, (1 << 31) - 1)
        libc.mallopt(top_pad, 1 << 28)


def parse_devices(text: str) -> list[str]:
    """`auto`, `cpu`, `cuda`, `cuda:0,cuda:1` or `all` -> names of torch devices.

    Raises:
        UsageError: no such device here.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == "auto":
        return ["cuda:0" if count else "cpu"]
    if text == "all":
        return [f"cuda:{index}" for index in range(count)] or ["cpu"]
    devices = []
    for name in text.split(","):
        kind, colon, index = name.partition(":")
        if kind not in ("cpu", "cuda") or (kind == "cpu" and colon):
            raise UsageError(f"--device '{name}': choose from auto, cpu, cuda, cuda:N, all")
        if colon and not (index.isascii() and index.isdigit()):
            raise UsageError(f"--device '{name}': write cuda:N with a number")
        if kind == "cuda" and int(index or 0) >= count:
            raise UsageError(f"--device '{name}': this machine has {count} CUDA devices")
        devices.append(f"cuda:{int(index or 0)}" if kind == "cuda" else name)
    return devices
