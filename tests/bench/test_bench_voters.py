"""The benchmark of agreeing runs, in small; its figures are not for a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, ROOT


@pytest.mark.slow
def test_speed_says_its_rate_and_its_memory() -> None:
    command = [sys.executable, ROOT / "tests/bench/voters.py", "speed", "--count", "2000"]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^\| 6,000 \| \d+ \| [\d,]+ \| [\d,]+ \| \d+ \|$", done.stdout, re.M)
