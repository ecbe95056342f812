"""A slice of the input: `--part I/N`, or the place of a task in its Slurm array."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from lanser_cli import console
from lanser_cli.errors import UsageError

T = TypeVar("T")

MOST_PARTS = 1_000_000
"""More parts than any cluster has tasks."""


def take_part(items: Iterable[T], part: tuple[int, int] | None) -> Iterator[T]:
    """Every N-th item from the I-th on, for `--part I/N` (I counts from 1)."""
    if part is None:
        return iter(items)
    index, count = part
    return islice(iter(items), index - 1, None, count)


def size_of_part(total: int | None, part: tuple[int, int] | None) -> int | None:
    """How many of so many items `take_part` takes."""
    if total is None or part is None:
        return total
    return len(range(part[0] - 1, total, part[1]))


def parse_part(text: str | None) -> tuple[int, int] | None:
    """Read `I/N`, or `slurm`: this task's place in its Slurm array, which is said.

    Slurm tells a task where its array begins and ends, but not of which array it is a rest that
    was submitted once more. So an array must begin at 0 or 1 and have several tasks.

    Raises:
        UsageError: neither, or I is not within 1..N; or the place in the array cannot be known.
    """
    if text is None:
        return None
    if text == "slurm":
        index, count = _place_in_array()
        console.info(f"--part slurm: this task takes slice {index}/{count}")
        return index, count
    try:
        index, count = (int(number) for number in text.split("/"))
    except ValueError:
        raise UsageError(f"--part takes I/N, such as 2/8, or slurm; not '{text}'") from None
    if not 1 <= index <= count <= MOST_PARTS:
        raise UsageError(
            f"--part {text:.40}: I must lie between 1 and N, and N be at most {MOST_PARTS:,}"
        )
    return index, count


def _place_in_array() -> tuple[int, int]:
    try:
        index = int(os.environ["SLURM_ARRAY_TASK_ID"])
        first = int(os.environ["SLURM_ARRAY_TASK_MIN"])
        count = int(os.environ["SLURM_ARRAY_TASK_COUNT"])
        last = int(os.environ.get("SLURM_ARRAY_TASK_MAX", first + count - 1))
    except (KeyError, ValueError):
        raise UsageError(
            "--part slurm works inside a Slurm array job (sbatch --array=...); "
            "elsewhere say --part I/N"
        ) from None
    if last - first + 1 != count or not first <= index <= last:
        raise UsageError(
            "--part slurm needs an array without gaps, such as --array=1-8; for some tasks of an "
            "array say --part I/N with the N of all"
        )
    if first not in (0, 1) or count == 1:
        raise UsageError(
            f"--part slurm: this array, {first}-{last}, may be a rest of a larger one, whose size "
            "Slurm does not tell: say --part I/N with the N of all its tasks (counted from 1)"
        )
    return index - first + 1, count
