"""The benchmark of shards runs, in small, and three ranks count every utterance once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def shards(bench: Callable[..., str]) -> Callable[..., str]:
    return partial(bench, "shards.py", "--speech", ROOT / "examples/speech/unlabeled")


def test_writing(shards: Callable[..., str]) -> None:
    out = shards("write", "codec", "--clips", "40", "--rounds", "1")
    assert len(re.findall(r"^\| .* \| \d+ \| \d+ \| \d\.\d\dx \|$", out, re.M)) == 3
    sizes = [float(kb) for kb in re.findall(r"^\| (?:flac|opus) \| (\S+) \|", out, re.M)]
    assert sizes[1] < sizes[0]
    assert re.search(r"off by \d+\.\d % of its variance", out)


def test_reading(shards: Callable[..., str]) -> None:
    out = shards("read", "--clips", "160", "--rounds", "1")
    assert re.search(r"^\| lanser \| \d+ \| \d+ \| 1.00x \|$", out, re.M)
    assert len(re.findall(r"^\| (?:webdataset|map).* \| \d+ \| \d+ \| \S+x \|$", out, re.M)) == 2


def test_order_and_memory(shards: Callable[..., str]) -> None:
    out = shards("order", "memory", "--samples", "1100")
    assert len(re.findall(r"\| [+-]0\.\d+ \| \S+ of 32 \|$", out, re.M)) == 3
    held = re.findall(r"^\| (?:records|compact) \| (\d+) ", out, re.M)
    assert int(held[1]) < int(held[0])


def test_ranks(shards: Callable[..., str]) -> None:
    """SAMPLES=20000 in the environment makes it as large as a night's corpus."""
    samples = os.environ.get("SAMPLES", "601")
    out = shards("ranks", "--samples", samples)
    assert "each tone counted exactly once in each epoch" in out
    rows = re.findall(r"^\| \d \| (\d+) \| (\d+) \| (\d+) \|$", out, re.M)
    assert len(rows) == 3 and len({steps for steps, _, _ in rows}) == 1
    assert sum(int(counted) for _, counted, _ in rows) == int(samples)
