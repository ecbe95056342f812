"""The benchmark of transcription runs, in small, and says what it should."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, read_jsonl, write_jsonl
from scipy.stats import t as student

from lanser_cli.asr.wer import Errors

pytestmark = pytest.mark.slow


EXAMPLES = ROOT / "examples" / "speech" / "unlabeled"


def six_clips(folder: Path) -> Path:
    """A list of clips with what was said."""
    speech = ROOT / "examples" / "speech"
    written = read_jsonl(speech / "written.jsonl")[:6]
    values = [
        {
            "id": one["id"],
            "audio_filepath": str(speech / "unlabeled" / f"{one['id']}.ogg"),
            "text": one["written"],
        }
        for one in written
    ]
    return write_jsonl(folder / "set.jsonl", values)


def test_overhead_and_memory(bench: Callable[..., str]) -> None:
    pytest.importorskip("silero_vad")
    words = ("--speech", EXAMPLES, "--many", "20", "--repeats", "1", "--hours", "0.05")
    out = bench("transcribe.py", *words, "overhead", "memory")
    assert len(re.findall(r"^\| [12] \| \d+ \| \d+ \| \d+ % \|$", out, re.M)) == 2
    assert re.search(r"^\| 20 clips \| \d+ \| ", out, re.M)
    assert re.search(r"^\| 3 minutes \| \d+ \| \S+ \| \d+ utterances, ", out, re.M)


def test_texts_are_those_of_whisper(bench: Callable[..., str]) -> None:
    """Clip by clip and in batches; a last digit may decide between two tokens."""
    out = bench(
        *("transcribe.py", "gpu", "--speech", EXAMPLES),
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
def test_next_to_the_whisper_command_with_the_weights_that_ship(
    bench: Callable[..., str], tmp_path: Path
) -> None:
    """In full context the texts are Whisper's own; by default as good, in less time."""
    words = ("--speech", six_clips(tmp_path), "--clips", "3", "--repeats", "1")
    out = bench("transcribe.py", "whisper", *words, "--leave-out", "beam_size")
    pattern = r"^\| (.*?) \| [0-9.]+ \| ([0-9.]+)x \| (\d) \| ([0-9.]+) % \|$"
    rows = re.findall(pattern, out, re.M)
    found = {name: (float(times), int(equal), float(wrong)) for name, times, equal, wrong in rows}
    assert found["lanser transcribe --full-context"][1] == 3
    assert found["lanser transcribe"][2] < 15
    assert found["whisper, as it comes (5 beams)"][0] > 1.0


def test_word_error_rates_stand_beside_their_cost(
    bench: Callable[..., str], tmp_path: Path
) -> None:
    listed = six_clips(tmp_path)
    models = ("--model", "embedded", "--model", "embedded --full-context")
    out = bench("words.py", listed, *models)
    rows = re.findall(r"^\| set \| (.*) \| 6 \| 6 ids \| ([0-9.]+) \[.*\] \| (\d) \|", out, re.M)
    assert [(name, again) for name, _, again in rows] == [
        ("embedded", "0"),
        ("embedded --full-context", "6"),
    ]
    assert all(float(rate) < 15 for _, rate, _ in rows)


def test_units_of_one_size_have_the_classical_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests/bench"))
    words = importlib.import_module("words")
    wrong = [1, 4, 0, 2, 3, 2]
    found = words.rate([Errors(substitutions=count, words=20) for count in wrong])
    rates = [count / 20 for count in wrong]
    low, high = student.interval(0.95, 5, np.mean(rates), np.std(rates, ddof=1) / 6**0.5)
    assert found == f"{100 * np.mean(rates):.2f} [{100 * max(low, 0):.2f}, {100 * high:.2f}]"
