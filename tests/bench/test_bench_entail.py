"""The benchmarks run, in small, and say what they should; their figures are not for a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT

pytestmark = pytest.mark.slow


def bench(name: str, shared: Path, *words: str) -> str:
    command = [sys.executable, ROOT / "tests/bench" / name, "--text", shared / "text", *words]
    environment = {**os.environ, **ENVIRONMENT}
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=1200
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_entail(shared: Path) -> None:
    embedded = str(ROOT / "lanser_cli/entailment/embedded")
    words = ("--large", embedded, "--agreement-sentences", "2", "--records", "5000")
    words += ("--judged", "256")
    out = bench("entail.py", shared, *words, "agreement", "first", "records", "server", "gpu")
    rows = {line.split(" | ")[0].lstrip("| "): line for line in out.splitlines()}
    assert "100.0% | 100.0% | 0.0%" in rows["float32"]  # labels are the pipeline's own
    assert {"pipeline", "bfloat16", "int8"} <= set(rows)
    assert rows["7"].endswith("| 4.0x | 100.0% |")  # of 28 labels; the large model is the small one
    busy = re.search(r"1536 questions to a server .* (\d+)% of its slots busy", out)
    assert busy and int(busy[1]) > 25  # whatever else the machine does
    assert re.search(r"5000 distinct records, every score cached, 6 labels: \d+ records/s", out)


def test_labels(shared: Path) -> None:
    out = bench("labels.py", shared, "--first", "8", "--only", "XED", "calibration")
    assert len(re.findall(r"^\| XED, 9 \| 8 \| (none|null|batch) \| 0\.\d", out, re.M)) == 3
    assert re.search(r"^\| people \|( 0\.\d+ \|){1,7}$", out, re.M)
