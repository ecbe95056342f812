"""The benchmark of prosody runs, in small, and is faster than the plain loop."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest


@pytest.mark.slow
def test_prosody_is_measured_faster_than_by_a_plain_loop(bench: Callable[..., str]) -> None:
    out = bench("prosody.py", "--clips", "60", "--part", "30")
    [ours, loop] = re.findall(r"^\| .* \| \d+\.\d \| (\d+\.\d) \| \d+\.\d\dx \|$", out, re.M)
    assert float(ours) > 1.8 * float(loop)
