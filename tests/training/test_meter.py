"""What a line of metrics.jsonl says: means over all utterances since the line before."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import read_jsonl

from lanser_cli.training.meter import Meter
from lanser_cli.training.runs import RunFolder


def test_lines_are_means_since_the_line_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    run = RunFolder(tmp_path)
    with Meter(run, "x", step=0, total=15, steps_per_epoch=5) as meter:
        for step in range(1, 16):
            now[0] += 0.5
            meter.add(asked=8)
            if step != 3:  # whose gradient was not finite
                meter.learnt(loss=float(step), heard=4, norm=2.0 * step)
            if meter.due(step):
                meter.line(step, lr=0.1, waited=1.0)
    first, last = read_jsonl(tmp_path / "metrics.jsonl")
    assert first == {
        "step": 10,
        "epoch": 2.0,
        "loss": (55 - 3) / 36,
        "lr": 0.1,
        "gradient_norm": 2 * (55 - 3) / 9,
        "utterances_per_s": 16.0,
        "waiting": 0.2,
    }
    assert (last["step"], last["loss"], last["waiting"]) == (15, 65 / 20, 0.4)


def test_a_resumed_line_is_that_of_an_uninterrupted_run(tmp_path: Path) -> None:
    def steps(meter: Meter, numbers: range) -> None:
        for step in numbers:
            meter.learnt(loss=step / 7, heard=3, norm=step / 3)
        if numbers.stop == 11:
            meter.line(10, 0.1, 0.0)

    options = {"total": 20, "steps_per_epoch": 10}
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    for run in (whole, parts):
        run.create(resume=False)
    steps(Meter(whole, "x", step=0, **options), range(1, 11))
    before, behind = (Meter(parts, "x", step=step, **options) for step in (0, 4))
    steps(before, range(1, 5))
    behind.sums = before.sums
    steps(behind, range(5, 11))
    [one], [other] = (read_jsonl(run.path / "metrics.jsonl") for run in (whole, parts))
    assert one["loss"] == other["loss"] and one["gradient_norm"] == other["gradient_norm"]
