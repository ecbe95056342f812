"""The benchmark of training runs, in small."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, read_jsonl

pytestmark = pytest.mark.slow

SMALL = ("--model", "resnet18-slim", "--seconds", "0.3", "--batch", "4", "--rounds", "1")


def test_every_part_says_its_ratio(bench: Callable[..., str]) -> None:
    words = ("step", "wait", "ranks", "gpu", *SMALL, "--steps", "1", "--clips", "24")
    step, wait, ranks, gpu = read_jsonl(bench("train.py", *words))
    assert step["times_as_fast"] == pytest.approx(
        step["plain_float32_s"] / step["lanser_s"], rel=0.2
    )
    assert 0.0 <= wait["waiting"] <= 1.0 and wait["utterances_per_s"] > 0
    assert ranks["of_linear"] == pytest.approx(
        ranks["two_utterances_per_s"] / ranks["one_utterances_per_s"] / 2, abs=0.02
    )
    assert "skipped" in gpu or gpu["of_hand_tuned"] > 0


def test_what_busy_neighbours_cost_is_a_ratio_of_medians(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With rates that are given: to measure them would disturb all other tests."""
    monkeypatch.syspath_prepend(str(ROOT / "tests/bench"))
    train = importlib.import_module("train")
    given = iter(
        [10.0, 5.0, 8.0, 2.0] * 4
    )  # asleep alone, beside two; spinning; one round warms up
    monkeypatch.setattr(train, "rate", lambda *_, **__: next(given))
    monkeypatch.setattr(train, "shards", lambda *_: tmp_path)
    train.bench_shared(argparse.Namespace(model="m", rounds=3), tmp_path)
    [found] = read_jsonl(capsys.readouterr().out)
    assert found["alone_utterances_per_s"] == {"sleep": 10.0, "spin": 8.0}
    assert found["times_as_long_beside_two"] == {"sleep": 2.0, "spin": 4.0}
