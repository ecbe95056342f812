"""On a terminal results are a table and a sentence."""

from __future__ import annotations

import os
import pty
import re
from collections.abc import Callable
from pathlib import Path

from conftest import write_jsonl
from quick import Done, Quick

from lanser_cli.evaluation.findings import of_curves
from lanser_cli.summary import Summary


def on_terminal(
    quick: Callable[..., Quick], *words: object, cwd: Path | None = None
) -> tuple[Done, str]:
    """Run a command whose standard output is a terminal; the words that it shows."""
    master, slave = pty.openpty()
    done = quick(*words, stdout=Path(os.ttyname(slave)), cwd=cwd).wait()
    os.set_blocking(master, False)
    shown = os.read(master, 1 << 16).decode()
    os.close(slave)
    os.close(master)
    return done, re.sub(r"\s+", " ", re.sub(r"\x1b\[[\d;]*m", "", shown))


def answers(path: Path, right: int) -> Path:
    values = [
        {
            "id": f"{speaker}-{clip}",
            "speaker": f"s{speaker}",
            "label": "ab"[clip % 2],
            "prediction": "ab"[clip % 2 if clip < right - (speaker == 5) else 1 - clip % 2],
            "test_fold": str(speaker % 2),
        }
        for speaker in range(6)
        for clip in range(10)
    ]
    return write_jsonl(path, values)


def test_a_terminal_shows_a_table_and_a_sentence_and_a_pipe_gets_json(
    quick: Callable[..., Quick], tmp_path: Path
) -> None:
    answers(tmp_path / "[red]a.jsonl", 8)
    done, shown = on_terminal(quick, "eval", "[red]a.jsonl", cwd=tmp_path)
    assert done.code == 0 and "{" not in shown
    row = r"\[red\]a\.jsonl 60 0\.783 \[0.\d+, 0.\d+\] 0\.500 0\.783 \[0.\d+, 0.\d+\]"
    assert re.search(row, shown), "no name is taken for markup, and no interval is wrapped"
    assert shown.rstrip().endswith(
        "Chance is a UAR of 0.500; 95 % intervals over 6 speakers; 2 folds, no record tested twice."
    )
    assert quick("eval", tmp_path / "[red]a.jsonl").wait().out.startswith(b'{"input":')


def test_a_comparison_and_an_audit_say_their_verdict_on_a_terminal(
    quick: Callable[..., Quick], tmp_path: Path
) -> None:
    one, two = (answers(tmp_path / f"{right}.jsonl", right) for right in (4, 8))
    _, shown = on_terminal(quick, "compare", one, two)
    assert "8.jsonl is better than" in shown and "p 0.0312 over 6 speakers." in shown
    done, shown = on_terminal(quick, "audit", one, two, "--no-audio")
    assert done.code == 1
    assert "Leaks: the sets share id, speaker; not checked everywhere: sentence, text" in shown


def test_of_curves_is_said_how_many_labels_are_saved_and_of_a_part_nothing() -> None:
    made = {"fractions": [0.5, 1.0], "scratch": [0.3, 0.4], "init": [0.42, 0.5]}
    made |= {"area": {"value": 0.11, "low": 0.05, "high": 0.17}, "scratch_best": 1, "reaches": 0.5}
    shown = of_curves(made)
    assert isinstance(shown, Summary)
    assert shown.rows[0] == ["0.5", "0.300", "0.420", "+0.120"]
    assert "+0.110 [+0.050, +0.170]" in shown.sentence
    assert (
        "Scratch is best with 1 of the labels; --init has that UAR with at most 0.5."
        in shown.sentence
    )
    assert "short of --steps" not in shown.sentence
    short = of_curves(made | {"scratch_best": 0.5})
    assert short is not None and "More labels bring scratch nothing" in short.sentence
    assert of_curves({"run": "curve", "points": 4}) is None
