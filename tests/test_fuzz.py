"""The fuzzer: what it must see it sees, and of some mutants of each kind it sees nothing."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import fuzz
import pytest
from conftest import ENVIRONMENT, ROOT

ALL_WELL = "eval: 3 in, 2 used, 1 rejected\n"


def raises(words: list[str]) -> int:
    raise RuntimeError("out of it")


def hangs(words: list[str]) -> int:
    while True:
        time.sleep(0.1)


def dies(words: list[str]) -> int:
    os.kill(os.getpid(), signal.SIGSEGV)
    return 0


def swells(words: list[str]) -> int:
    bytearray(600 << 20)
    print(ALL_WELL, file=sys.stderr)
    return 3


def says(text: str, code: int) -> Callable[[list[str]], int]:
    def main(words: list[str]) -> int:
        print(text, file=sys.stderr)
        return code

    return main


@pytest.mark.parametrize(
    ("main", "seen"),
    [
        (raises, "RuntimeError escaped: out of it"),
        (hangs, "ended by SIGALRM"),
        (dies, "ended by SIGSEGV"),
        (swells, " MB"),
        (says("lanser: error: KeyError: 'x' (run again with --verbose ...)", 1), "with --verbose"),
        (says(ALL_WELL, 137), "exit 137"),
        (says(ALL_WELL, 0), "exit 0: eval: 3 in"),
        (says("eval: 3 in, 1 used, 1 rejected", 3), "does not add up"),
        (says("eval: 2 in, 1 used, 1 rejected", 3), "of 3 records"),
        (says("", 3), "no closing line"),
        (says("", 1), ""),
        (says(ALL_WELL, 3), ""),
        (says("eval: 4 in, 1 used, 1 rejected, 2 dropped (no label)", 3), ""),
    ],
)
def test_the_fuzzer_sees(
    main: Callable[[list[str]], int], seen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gc.collect()  # what earlier tests left would make room for what a command takes
    monkeypatch.setattr(fuzz.app, "main", main)
    monkeypatch.setattr(fuzz, "SECONDS", 1 if main is hangs else 60)  # a busy machine is slow
    monkeypatch.setattr(fuzz, "MEGABYTES", 60)
    monkeypatch.setitem(fuzz.KINDS, "test", lambda *_: [fuzz.Trial(["eval"], 3)])
    things = SimpleNamespace(folder=tmp_path)
    found = list(fuzz.outcomes("test", 0, [1, 2], things))  # type: ignore[arg-type]
    assert [number for number, _ in found] == [1, 2]
    for _, outcome in found:
        if seen:
            [fault] = outcome.faults
            assert seen in fault
        else:
            assert outcome.faults == []


@pytest.mark.slow
def test_no_mutant_ends_in_more_than_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "tests/fuzz.py", "--inputs", "40"],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT, "PYTHONDEVMODE": ""},  # libraries' warnings are theirs
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for kind in fuzz.KINDS:
        [row] = re.findall(rf"^\| {kind} \| 40 \| (.*) \|$", done.stdout, re.M)
        codes = list(map(int, row.split(" | ")[:4]))
        assert sum(codes) >= 40 and sum(map(bool, codes)) > 1, row
