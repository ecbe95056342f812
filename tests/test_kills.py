"""The commands that write, killed at some random moments; `tests/kills.py` does so at many."""

from __future__ import annotations

import re

import kills
import pytest
import quick

SOME = ("manifest", "entail-label, gz", "shard, 2 workers", "pretrain, 1 loader", "finetune")
SOME += ("predict", "eval", "agree", "listen")
"""One of each kind of writer; without names the script takes all."""


@pytest.mark.slow
def test_whatever_ends_a_command_it_ends_soon_and_is_resumed_to_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quick, "_warnings", ["ignore"])  # as the script has it
    table, faults = kills.kill(SOME, len(SOME), seed=0)
    assert faults == []
    rows = re.findall(r"^\| ([a-z0-9, -]+) \| (\d+) \| (\d+) \|", table, re.M)
    assert len(rows) == len(SOME)
    assert sum(int(amid) for _, _, amid in rows) > len(SOME) / 2
