"""The benchmark of prosody runs, in small, and is faster than the plain loop."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, ROOT


@pytest.mark.slow
def test_prosody_is_measured_faster_than_by_a_plain_loop() -> None:
    command = [sys.executable, ROOT / "tests/bench/prosody.py", "--clips", "120", "--part", "15"]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT},
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    [ours, loop] = re.findall(
        r"^\| .* \| \d+\.\d \| (\d+\.\d) \| \d+\.\d\dx \|$", result.stdout, re.M
    )
    assert float(ours) > 1.8 * float(loop)
