"""The benchmarks run, in small, and say what they should; their figures are not for a test."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from quick import Quick, script

pytestmark = pytest.mark.slow


def test_entail(shared: Path, bench: Callable[..., str]) -> None:
    embedded = str(ROOT / "lanser_cli/entailment/embedded")
    words = ("--large", embedded, "--labels", "6", "--agreement-sentences", "2")
    words += ("--records", "5000", "--judged", "256", "--text", shared / "text")
    out = bench("entail.py", *words, "agreement", "first", "records", "server", "gpu")
    rows = {line.split(" | ")[0].lstrip("| "): line for line in out.splitlines()}
    assert "100.0% | 100.0% | 0.0%" in rows["float32"]  # labels are the pipeline's own
    assert {"pipeline", "bfloat16", "int8"} <= set(rows)
    assert rows["7"].endswith("| 4.0x | 100.0% |")  # of 28 labels; the large model is the small one
    busy = re.search(r"1536 questions to a server .* (\d+)% of its slots busy", out)
    assert busy and int(busy[1]) > 25  # whatever else the machine does
    assert re.search(r"5000 distinct records, every score cached, 6 labels: \d+ records/s", out)


def test_labels(shared: Path, bench: Callable[..., str]) -> None:
    words = ("--text", shared / "text", "--first", "8", "--only", "XED")
    out = bench("labels.py", *words, "calibration")
    assert len(re.findall(r"^\| XED, 9 \| 8 \| (none|null|batch) \| 0\.\d", out, re.M)) == 3
    assert re.search(r"^\| people \|( 0\.\d+ \|){1,7}$", out, re.M)


@pytest.mark.parametrize("name", ["entail.py", "labels.py"])
def test_without_parts_all_are_meant(
    quick: Callable[..., Quick], name: str, tmp_path: Path
) -> None:
    """As `make bench` calls them: what is missed is the text, and no part is refused."""
    words = (ROOT / "tests/bench" / name, "--text", tmp_path / "nowhere")
    done = quick(*words, main=script).wait()
    assert done.code == 1 and "nowhere: there is no" in done.err
