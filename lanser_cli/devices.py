"""The processors and devices of this machine."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

from lanser_cli.errors import UsageError


def cpu_count() -> int:
    """The processors this process may use (a Slurm job or a container may have fewer)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def leads() -> bool:
    """Whether this process is alone, or the first of those that torchrun or srun started."""
    return os.environ.get("RANK", "0") == "0"


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
