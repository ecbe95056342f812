"""The commands that write, killed at some random moments; `tests/kills.py` does so at many."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, ROOT

SOME = ("manifest", "entail-label, gz", "shard, 2 workers", "pretrain, 1 loader", "finetune")
SOME += ("predict", "eval", "agree", "listen")
"""One of each kind of writer; without names the script takes all."""


@pytest.mark.slow
def test_whatever_ends_a_command_it_ends_soon_and_is_resumed_to_the_same_bytes() -> None:
    done = subprocess.run(
        [sys.executable, "tests/kills.py", *SOME, "--tries", str(len(SOME))],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| ([a-z0-9, -]+) \| (\d+) \| (\d+) \|", done.stdout, re.M)
    assert len(rows) == len(SOME)
    assert sum(int(amid) for _, _, amid in rows) > len(SOME) / 2
