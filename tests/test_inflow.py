"""Windows of a pipe: a record is not held until more have come."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lanser_cli.inflow import prompt_windows


def test_windows_are_whole_where_items_come_fast() -> None:
    found = [window for window in prompt_windows(range(10), 4) if window]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_an_error_of_the_input_comes_after_what_came_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("torn")

    windows = prompt_windows(broken(), 4)
    assert next(filter(None, windows)) == [1]
    with pytest.raises(ValueError, match="torn"):
        list(windows)
