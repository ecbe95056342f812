"""The group of processes that train together: how it is joined, and what it agrees on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from lanser_cli.devices import Ranks
from lanser_cli.errors import Stopped, UsageError

PATIENCE = timedelta(hours=1)
"""How long ranks wait for one that works alone, such as the first as it tests a fold, or for what
another machine still fetches. By default NCCL ends them after ten minutes. One that dies is told
from one that works by its launcher, or by its broken connections."""


@contextmanager
def process_group(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun or srun started, if one did; open it around `train`."""
    ranks = Ranks.from_environment()
    if ranks.count == 1:
        yield ranks
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=ranks.rank, world_size=ranks.count, timeout=PATIENCE)
    try:
        yield ranks
        dist.barrier()
    except Stopped:  # in all of them
        dist.barrier()  # once one has ended, srun or torchrun ends the rest, and one still saves
        dist.destroy_process_group()
        raise
    except BaseException:  # perhaps in this one alone
        if backend == "gloo":  # NCCL would wait for the others, which wait for this one
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def summed(numbers: Sequence[float], ranks: Ranks, device: torch.device) -> list[float]:
    """Each number's sum over all ranks, which all of them receive."""
    if ranks.count == 1:
        return list(numbers)
    total = torch.tensor(numbers, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    found: list[float] = total.tolist()
    return found


def check_same_ranks(ours: Mapping[str, str], ranks: Ranks) -> None:
    """Refuse what would hang: ranks that would make other steps than the first.

    Raises:
        UsageError: a field differs; the message has both values.
    """
    if ranks.count == 1:
        return
    gathered: list[Mapping[str, str]] = [{}] * ranks.count
    dist.all_gather_object(gathered, ours)
    for rank, theirs in enumerate(gathered):
        for what, value in theirs.items():
            if value != gathered[0][what]:
                raise UsageError(
                    f"rank {rank} has another {what} than rank 0, {value} and not "
                    f"{gathered[0][what]}: start every rank with the same options and data"
                )
