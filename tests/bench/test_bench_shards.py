"""The benchmark of shards runs, in small, and three ranks count every utterance once."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, ROOT

pytestmark = pytest.mark.slow


def bench(*words: str) -> str:
    speech = ROOT / "examples/speech/unlabeled"
    command = [sys.executable, ROOT / "tests/bench/shards.py", "--speech", speech, *words]
    environment = {**os.environ, **ENVIRONMENT}
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=1200
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_writing() -> None:
    out = bench("write", "codec", "--clips", "40", "--rounds", "1")
    assert len(re.findall(r"^\| .* \| \d+ \| \d+ \| \d\.\d\dx \|$", out, re.M)) == 3
    sizes = [float(kb) for kb in re.findall(r"^\| (?:flac|opus) \| (\S+) \|", out, re.M)]
    assert sizes[1] < sizes[0]
    assert re.search(r"off by \d+\.\d % of its variance", out)


def test_reading() -> None:
    out = bench("read", "--clips", "160", "--rounds", "1")
    assert re.search(r"^\| lanser \| \d+ \| \d+ \| 1.00x \|$", out, re.M)
    assert len(re.findall(r"^\| (?:webdataset|map).* \| \d+ \| \d+ \| \S+x \|$", out, re.M)) == 2


def test_order_and_memory() -> None:
    out = bench("order", "memory", "--samples", "2000")
    assert len(re.findall(r"\| [+-]0\.\d+ \| \S+ of 32 \|$", out, re.M)) == 3
    held = re.findall(r"^\| (?:records|compact) \| (\d+) ", out, re.M)
    assert int(held[1]) < int(held[0])


def test_ranks() -> None:
    """SAMPLES=20000 in the environment makes it as large as a night's corpus."""
    samples = os.environ.get("SAMPLES", "601")
    out = bench("ranks", "--samples", samples)
    assert "each tone counted exactly once in each epoch" in out
    rows = re.findall(r"^\| \d \| (\d+) \| (\d+) \| (\d+) \|$", out, re.M)
    assert len(rows) == 3 and len({steps for steps, _, _ in rows}) == 1
    assert sum(int(counted) for _, counted, _ in rows) == int(samples)
