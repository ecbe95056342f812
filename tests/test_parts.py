"""`--part`: which slice a task takes, however its scheduler numbers it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanser_cli.errors import UsageError
from lanser_cli.parts import numbers_in, parse_part, ranges, take_part

SLURM = ("ID", "MIN", "MAX", "COUNT")
"""Of a task's variables SLURM_ARRAY_TASK_..., in the order in which the tests give them."""


@given(st.lists(st.integers(), max_size=50), st.integers(1, 7))
def test_parts_hold_everything_once(items: list[int], count: int) -> None:
    parts = [list(take_part(items, (index, count))) for index in range(1, count + 1)]
    assert sorted(chain(*parts)) == sorted(items)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for index, part in enumerate(parts):
        assert part == items[index::count]


def test_no_part_is_everything() -> None:
    assert list(take_part([1, 2, 3], None)) == [1, 2, 3]
    assert parse_part(None) is None


@pytest.mark.parametrize(("text", "part"), [("1/1", (1, 1)), ("2/8", (2, 8)), ("08/8", (8, 8))])
def test_part(text: str, part: tuple[int, int]) -> None:
    assert parse_part(text) == part


@pytest.mark.parametrize(
    "text",
    [
        *(f"1/{10**23}", "1/1000001", "", "1", "0/2", "3/2", "-1/2", "1/0", "a/b", "1/2/3"),
        *("1.5/2", "/", "slurm/", "slurm/0", "slurm/x", "k8s", "env:/3", "env:A", "env:A-B/3"),
    ],
)
def test_bad_part(text: str) -> None:
    with pytest.raises(UsageError, match="--part"):
        parse_part(text)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the variables of a task of an array."""
    for name in SLURM:
        monkeypatch.delenv(f"SLURM_ARRAY_TASK_{name}", raising=False)

    def set_(*values: object) -> None:
        for name, value in zip(SLURM, values, strict=False):
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))

    return set_


@pytest.mark.parametrize(
    ("text", "values", "part"),
    [
        ("slurm", (0, 0, 7, 8), (1, 8)),
        ("slurm", (7, 0, 7, 8), (8, 8)),
        ("slurm", (1, 1, 8, 8), (1, 8)),
        ("slurm/8", (3, 1, 8, 8), (3, 8)),
        ("slurm/8", (7, 3, 7, 2), (7, 8)),  # --array=3,7 submitted once more
        ("slurm/8", (5, 1, 7, 4), (5, 8)),  # --array=1-7:2
        ("slurm/1", (1, 1, 1, 1), (1, 1)),
    ],
)
def test_the_task_of_a_slurm_array_takes_its_slice_and_says_so(
    text: str,
    values: tuple[int, ...],
    part: tuple[int, int],
    slurm: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    slurm(*values)
    assert parse_part(text) == part
    said = capsys.readouterr().err
    assert said == f"--part {text}: this task takes slice {part[0]}/{part[1]}\n"


@pytest.mark.parametrize(
    ("text", "values", "why"),
    [
        ("slurm", (), "SLURM_ARRAY_TASK_ID is not set.* inside a Slurm array"),
        ("slurm", (1, 1), "SLURM_ARRAY_TASK_MAX is not set"),
        ("slurm", ("x", 1, 2, 2), "SLURM_ARRAY_TASK_ID is 'x', which is no number"),
        ("slurm", (9, 1, 4, 4), "slurm/N with the N of all"),
        ("slurm", (4, 0, 4, 3), "slurm/N with the N of all"),  # --array=0,2,4
        ("slurm", (3, 1, 7, 4), "4 of the numbers 1 to 7"),  # --array=1-7:2
        ("slurm", (3, 3, 3, 1), "slurm/N with the N of all"),  # --array=3 of what was 1-4
        ("slurm", (1, 1, 1, 1), "slurm/N with the N of all"),
        ("slurm", (3, 3, 4, 2), "slurm/N with the N of all"),
        ("slurm/8", (), "SLURM_ARRAY_TASK_ID is not set"),
        ("slurm/8", (0, 0, 7, 8), "is 0, but the numbers of 8 parts are 1 to 8"),
        ("slurm/8", (3, 0, 7, 8), "0 to 7, but .* 1 to 8: submit it with --array=1-8"),
        ("slurm/4", (3, 1, 7, 4), "1 to 7, but those of 4 parts 1 to 4"),  # --array=1-7:2
        ("slurm/8", (9, 9, 9, 1), "is 9, but the numbers of 8 parts are 1 to 8"),
    ],
)
def test_an_array_whose_slices_are_not_certain_is_refused_with_the_reason(
    text: str, values: tuple[object, ...], why: str, slurm: Callable[..., None]
) -> None:
    slurm(*values)
    with pytest.raises(UsageError, match=why):
        parse_part(text)


@pytest.mark.parametrize(
    ("text", "name", "value", "part"),
    [
        ("k8s/8", "JOB_COMPLETION_INDEX", "0", (1, 8)),
        ("k8s/8", "JOB_COMPLETION_INDEX", "7", (8, 8)),
        ("env:PBS_ARRAY_INDEX/8", "PBS_ARRAY_INDEX", "8", (8, 8)),
    ],
)
def test_other_schedulers_number_parts_too(
    text: str, name: str, value: str, part: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert parse_part(text) == part


@pytest.mark.parametrize(
    ("text", "name", "value", "why"),
    [
        ("k8s/8", "JOB_COMPLETION_INDEX", "8", "is 8, but .* 0 to 7"),
        ("k8s/8", "JOB_COMPLETION_INDEX", None, "JOB_COMPLETION_INDEX is not set.* Indexed"),
        ("env:SGE_TASK_ID/8", "SGE_TASK_ID", "undefined", "SGE_TASK_ID is 'undefined', which"),
        ("env:MINE/8", "MINE", "0", "MINE is 0, but the numbers of 8 parts are 1 to 8"),
        ("env:MINE/8", "MINE", None, "the variable MINE is not set"),
    ],
)
def test_a_wrong_or_missing_variable_is_named(
    text: str, name: str, value: str | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value or "")
    if value is None:
        monkeypatch.delenv(name)
    with pytest.raises(UsageError, match=why):
        parse_part(text)


@given(st.sets(st.integers(0, 60)))
def test_numbers_are_written_as_an_array_has_them(numbers: set[int]) -> None:
    written = ranges(sorted(numbers))
    assert list(numbers_in(written)) == sorted(numbers)
    assert ranges([3, 7, 9, 10, 12]) == "3,7,9-10,12" and ranges([]) == ""


@pytest.mark.parametrize("text", ["x", "3,,4", "4,3", "5-3", "1-2,2"])
def test_what_are_no_ascending_numbers_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        list(numbers_in(text))
