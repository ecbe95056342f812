"""The processes that train together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among those that torchrun or srun started."""

    rank: int
    count: int
    local: int

    @classmethod
    def from_environment(cls) -> Ranks:
        """From torchrun's variables; alone without them."""
        rank, count, local = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
        )
        return cls(rank, count, local)

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0


@contextmanager
def process_group(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun started, if it did; open it around `train`."""
    ranks = Ranks.from_environment()
    if ranks.count == 1:
        yield ranks
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ranks
        dist.barrier()
    finally:
        dist.destroy_process_group()
