"""The benchmark of agreeing runs, in small; its figures are not for a test."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest


@pytest.mark.slow
def test_speed_says_its_rate_and_its_memory(bench: Callable[..., str]) -> None:
    out = bench("voters.py", "speed", "--count", "2000")
    assert re.search(r"^\| 6,000 \| \d+ \| [\d,]+ \| [\d,]+ \| \d+ \|$", out, re.M)
