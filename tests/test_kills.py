"""The commands that write, killed at some random moments; `tests/kills.py` does so at many."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, ROOT


@pytest.mark.slow
def test_whatever_ends_a_command_it_ends_soon_and_is_resumed_to_the_same_bytes() -> None:
    done = subprocess.run(
        [sys.executable, "tests/kills.py", "--tries", "22"],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| ([a-z0-9, -]+) \| (\d+) \| (\d+) \|", done.stdout, re.M)
    assert len(rows) == 22
    assert sum(int(amid) for _, _, amid in rows) > 9
