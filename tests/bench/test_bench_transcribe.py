"""The benchmark of transcription runs, in small, and says what it should."""

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
    command = [sys.executable, ROOT / "tests/bench/transcribe.py", "--speech", speech, *words]
    environment = {**os.environ, **ENVIRONMENT}
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=1200
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_overhead_and_memory() -> None:
    pytest.importorskip("silero_vad")
    out = bench("overhead", "memory", "--many", "40", "--repeats", "1", "--hours", "0.05")
    assert len(re.findall(r"^\| [12] \| \d+ \| \d+ \| \d+ % \|$", out, re.M)) == 2
    assert re.search(r"^\| 40 clips \| \d+ \| ", out, re.M)
    assert re.search(r"^\| 3 minutes \| \d+ \| \S+ \| \d+ utterances, ", out, re.M)


def test_texts_are_those_of_whisper() -> None:
    """Clip by clip and in batches; a last digit may decide between two tokens."""
    out = bench(
        "gpu",
        "--sizes",
        "tiny",
        "--layers",
        "1",
        "--gpu-clips",
        "8",
        "--peer-clips",
        "8",
        "--decoders",
        "1",
        "--batch",
        "4",
    )
    (equal,) = re.findall(r"^\| tiny \| .* \| (\d) of 8 \|$", out, re.M)
    assert int(equal) >= 7


@pytest.mark.slow
def test_next_to_the_whisper_command_with_the_weights_that_ship() -> None:
    """In full context the texts are Whisper's own; by default most are, in less time."""
    out = bench("whisper", "--clips", "6", "--repeats", "1")
    found = re.findall(r"texts equal (.*): (\d) of 6$", out, re.M)
    assert dict(found)["in full context"] == "6" and int(dict(found)["by default"]) >= 4
    times = dict(re.findall(r"^\| (.*) \| [0-9.]+ \| ([0-9.]+)x \|$", out, re.M))
    assert float(times["whisper, as it comes (5 beams)"]) > 1.0
