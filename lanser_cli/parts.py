"""A slice of the input: `--part I/N`, or the place of a task as its scheduler numbers it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import TypeVar

from lanser_cli import console
from lanser_cli.errors import UsageError

T = TypeVar("T")

MOST_PARTS = 1_000_000
"""More parts than any cluster has tasks."""

_TASK = "SLURM_ARRAY_TASK_ID"
_FIRST = "SLURM_ARRAY_TASK_MIN"
_LAST = "SLURM_ARRAY_TASK_MAX"


def take_part(items: Iterable[T], part: tuple[int, int] | None) -> Iterator[T]:
    """Every N-th item from the I-th on, for `--part I/N` (I counts from 1)."""
    if part is None:
        return iter(items)
    index, count = part
    return islice(iter(items), index - 1, None, count)


def is_in_part(place: int, part: tuple[int, int]) -> bool:
    """Whether `take_part` takes the item of this place, from 0 on."""
    return place % part[1] == part[0] - 1


def size_of_part(total: int | None, part: tuple[int, int] | None) -> int | None:
    """How many of so many items `take_part` takes."""
    if total is None or part is None:
        return total
    return len(range(part[0] - 1, total, part[1]))


def parse_part(text: str | None) -> tuple[int, int] | None:
    """Read `--part`: which slice, of how many. What comes from a scheduler is said on stderr.

    `I/N` says it all. `slurm/N` is the task's number in its array, from 1 on, which it keeps when
    it is submitted once more. `slurm` is its place in an array that is whole, from 0 or 1 on: of a
    rest Slurm does not tell what it is the rest of. `k8s/N` is the index of an Indexed Job, which
    counts from 0, and `env:NAME/N` the number, from 1 on, in a variable.

    Raises:
        UsageError: none of these, no such slice, or the variable is not there or is no number.
    """
    if text is None:
        return None
    if text == "slurm":
        index, count = _place_in_array()
    else:
        where, _, number = text.partition("/")
        count = _whole(number, text)
        if not 1 <= count <= MOST_PARTS:
            raise UsageError(f"--part {text:.40}: N must lie between 1 and {MOST_PARTS:,}")
        if not re.fullmatch(r"slurm|k8s|env:\w+", where):
            index = _whole(where, text)
            if not 1 <= index <= count:
                raise UsageError(f"--part {text:.40}: I must lie between 1 and N")
            return index, count
        index = _numbered(where, count, text)
    console.info(f"--part {text}: this task takes slice {index}/{count}")
    return index, count


def _whole(digits: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", digits):
        raise UsageError(
            f"--part takes I/N, such as 2/8, or slurm, slurm/N, k8s/N, env:NAME/N; not '{text:.40}'"
        )
    return int(digits)


def _numbered(where: str, count: int, text: str) -> int:
    """The slice that a scheduler's number means."""
    if where == "k8s":
        name, index = "JOB_COMPLETION_INDEX", _variable("JOB_COMPLETION_INDEX", text) + 1
        numbers = f"0 to {count - 1}"
    else:
        name = _TASK if where == "slurm" else where.removeprefix("env:")
        index, numbers = _variable(name, text), f"1 to {count}"
    if not 1 <= index <= count:
        raise UsageError(
            f"--part {text}: {name} is {os.environ[name]}, but the numbers of {count} parts are "
            f"{numbers}"
        )
    if where == "slurm":
        ends = (_FIRST, _LAST)
        first, last = (_variable(end, text) if end in os.environ else index for end in ends)
        if first < 1 or last > count:  # so that no task of such an array begins
            raise UsageError(
                f"--part {text}: the numbers of this array are {first} to {last}, but those of "
                f"{count} parts 1 to {count}: submit it with --array=1-{count}"
            )
    return index


def _variable(name: str, text: str) -> int:
    found = os.environ.get(name)
    if found is None or not re.fullmatch("[0-9]{1,9}", found):
        state = "is not set" if found is None else f"is '{found:.40}', which is no number"
        where = {
            _TASK: ": this works inside a Slurm array job (sbatch --array=...); elsewhere say I/N",
            "JOB_COMPLETION_INDEX": ": this works inside a Job with completionMode: Indexed",
        }.get(name, "")
        raise UsageError(f"--part {text}: the variable {name} {state}{where}")
    return int(found)


def _place_in_array() -> tuple[int, int]:
    """The place of this task in an array without gaps that begins at 0 or 1."""
    index, first, last = (_variable(name, "slurm") for name in (_TASK, _FIRST, _LAST))
    count = _variable("SLURM_ARRAY_TASK_COUNT", "slurm")
    if last - first + 1 != count or not first <= index <= last or first > 1 or count == 1:
        raise UsageError(
            f"--part slurm: this array, {count} of the numbers {first} to {last}, may be a rest of "
            "a larger one, whose size Slurm does not tell: submit --array=1-N and say "
            "--part slurm/N with the N of all its tasks"
        )
    return index - first + 1, count


def ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers in the notation of Slurm's `--array`: `3,7,9-12`."""
    runs = groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    found = [[number for _, number in run] for _, run in runs]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in found)


def numbers_in(text: str) -> Iterator[int]:
    """The numbers that `ranges` has written.

    Raises:
        ValueError: these are none, or they do not ascend.
    """
    last = -1
    for run in text.split(",") if text else ():
        begin, _, end = run.partition("-")
        numbers = range(int(begin), int(end or begin) + 1)
        if not numbers or numbers[0] <= last:
            raise ValueError(f"not ascending numbers: '{run}'")
        yield from numbers
        last = numbers[-1]
