"""The benchmark of training runs, in small."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, ROOT, read_jsonl

pytestmark = pytest.mark.slow

SMALL = ("--model", "resnet18-slim", "--seconds", "0.3", "--batch", "4", "--rounds", "1")


def test_every_part_says_its_ratio() -> None:
    command = [
        sys.executable,
        ROOT / "tests/bench/train.py",
        "step",
        "wait",
        "ranks",
        "shared",
        "gpu",
        *SMALL,
    ]
    done = subprocess.run(
        [*map(str, command), "--steps", "1", "--clips", "24"],
        capture_output=True,
        env={**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1"},  # no thread to spin for another
        timeout=600,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    step, wait, ranks, shared, gpu = read_jsonl(done.stdout)
    assert step["times_as_fast"] == pytest.approx(
        step["plain_float32_s"] / step["lanser_s"], rel=0.2
    )
    assert 0.0 <= wait["waiting"] <= 1.0 and wait["utterances_per_s"] > 0
    assert ranks["of_linear"] == pytest.approx(
        ranks["two_utterances_per_s"] / ranks["one_utterances_per_s"] / 2, abs=0.02
    )
    for found in (shared["alone_utterances_per_s"], shared["times_as_long_beside_two"]):
        assert found.keys() == {"sleep", "spin"} and all(one > 0 for one in found.values())
    assert "skipped" in gpu or gpu["of_hand_tuned"] > 0
