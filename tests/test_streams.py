"""Standard streams as they may be: closed, full, or with nobody at the other end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, write_jsonl

Shell = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Run `lanser WORDS` with a shell's redirections; `answers.jsonl` is there, with a bad line."""
    values = [
        {"id": f"a{number}", "label": "ab"[number % 2], "prediction": "a"} for number in range(8)
    ]
    write_jsonl(tmp_path / "answers.jsonl", [*values, {"id": "a.b"}])
    write_jsonl(tmp_path / "weak.jsonl", [{"id": "a", "emotion": "joy"}])

    def run(words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", f"exec {sys.executable} -m lanser_cli {words}"],
            cwd=tmp_path,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )

    return run


def test_a_stderr_that_takes_nothing_changes_neither_records_nor_code(shell: Shell) -> None:
    good = shell("eval answers.jsonl")
    assert (good.returncode, good.stdout.count(b"\n")) == (3, 1)
    assert b"rejected" in good.stderr
    for redirection in ("2>&-", "2>/dev/full", "2> >(exec 0<&-)"):
        done = shell(f"eval answers.jsonl {redirection}")
        assert (done.returncode, done.stdout, done.stderr) == (3, good.stdout, b""), redirection


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_is_named(shell: Shell) -> None:
    done = shell("pick weak.jsonl -q -o /dev/full")
    assert done.returncode == 1
    assert b"error: /dev/full: cannot be written: No space left on device" in done.stderr


def test_rejects_never_overwrite_what_standard_input_reads(shell: Shell, tmp_path: Path) -> None:
    whole = (tmp_path / "weak.jsonl").read_bytes()
    done = shell("shard -o out --rejects weak.jsonl < weak.jsonl")
    assert done.returncode == 2 and b"would overwrite the input" in done.stderr
    assert (tmp_path / "weak.jsonl").read_bytes() == whole


def test_an_error_never_goes_to_stdout(shell: Shell) -> None:
    done = shell("eval missing.jsonl 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


@pytest.mark.parametrize(
    ("redirection", "stream"), [(">&-", b"standard output"), ("<&-", b"standard input")]
)
def test_a_closed_stream_that_is_needed_is_one_sentence(
    redirection: str, stream: bytes, shell: Shell
) -> None:
    name = "-" if "<" in redirection else "answers.jsonl"
    done = shell(f"eval {name} -q --rejects rejects.jsonl {redirection}")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"lanser: error: ") and stream in done.stderr
    assert done.stderr.count(b"\n") == 1
