"""What people read: nothing that a terminal would act on, and no kind of line without end."""

from __future__ import annotations

import json
import os
import pty
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Lanser
from hypothesis import given
from hypothesis import strategies as st
from quick import Quick

from lanser_cli import console
from lanser_cli.output import warn_of
from lanser_cli.records import Reject


@given(st.text())
def test_a_message_is_one_printable_line_that_can_be_read_back(text: str) -> None:
    shown = console.printable(text)
    assert not any(unicodedata.category(letter)[0] in "CZ" for letter in shown.replace(" ", ""))
    assert len(shown.splitlines()) <= 1
    if text.isprintable():
        assert shown == text
    elif text.isascii() and "\\" not in text:
        assert shown.encode().decode("unicode_escape") == text


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    shown = console.printable("begin " + "x" * 1_000_000 + " end")
    assert shown.startswith("begin x") and shown.endswith("x end") and len(shown) < 2100


def test_no_raw_control_character_reaches_a_terminal(lanser: Lanser, tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\u202e\x9b31m\r\n\x7f"
    path = tmp_path / "in.jsonl"
    lines = [
        json.dumps({"id": f"a{evil}", "text": "x"}),
        f"{evil.replace(chr(10), '')} no JSON",
        json.dumps({"id": "b", "text": None, "audio_filepath": f"{evil}.wav"}),
        json.dumps({"id": "good", "text": "hello", "mine": evil}, ensure_ascii=False),
    ]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="")
    done = lanser("entail-label", path, "--labels", f"joy,anger{evil}", check=None)
    again = lanser("entail-label", path, "--labels", "joy,anger", check=3)
    for output in (done.stderr, again.stderr, again.stdout):
        for line in output.decode().split("\n"):
            raw = [letter for letter in line if unicodedata.category(letter) == "Cc"]
            assert raw == [], line
    assert json.loads(again.stdout)["mine"] == evil


def test_kinds_of_rejects_are_told_apart_by_what_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folded = console.Folded()
    for number in range(1000):
        path = f"clips {number}/a b.wav"
        record = {"id": f"r{number}", "audio_filepath": path}
        warn_of(Reject(f"r{number}", "x", f"{path}: there is no such file", record), folded)
        why = f"in.jsonl:{number}: 'label' must be a string, not an array"
        warn_of(Reject(None, "x", why, record), folded)
    folded.close("hint")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 22
    assert [line for line in said if line.startswith("and ")] == [
        "and 990 more like 'rejected: r0: clips 0/a b.wav: there is no such file' (hint)",
        "and 990 more like 'rejected: in.jsonl:0: 'label' must be a string, not an array' (hint)",
    ]


def test_even_errors_of_endless_kinds_end(capsys: pytest.CaptureFixture[str]) -> None:
    folded = console.Folded()
    words = [
        "".join(chr(97 + (number >> shift) % 16) for shift in (0, 4, 8)) for number in range(999)
    ]
    for word in words:
        folded.warn(word, word)
    folded.close("hint")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 111 and said[-1] == "and 889 more of other kinds (hint)"


@pytest.mark.parametrize(
    ("seconds", "said"), [(7.4, "7 s"), (59.4, "59 s"), (200, "3 min"), (12_000, "3 h 20 min")]
)
def test_what_is_left_is_said_in_words(seconds: float, said: str) -> None:
    assert console.duration(seconds) == said


def test_a_log_says_done_of_total_the_rate_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with console.progress("transcribe", 1000) as meter, console.progress("shard") as other:
        for _ in range(4):
            now[0] += 20.0
            meter.advance(50)
            other.advance(50)
    assert capsys.readouterr().err.splitlines() == [
        "transcribe: 100 of 1000, 2.5/s, 6 min left",
        "shard: 100, 2.5/s",
        "transcribe: 200 of 1000, 2.5/s, 5 min left",
        "shard: 200, 2.5/s",
    ]


def test_a_terminal_shows_done_of_total_and_the_rate(
    quick: Callable[..., Quick], labelled: Path, tmp_path: Path
) -> None:
    master, slave = pty.openpty()
    terminal = Path(os.ttyname(slave))
    done = quick("shard", labelled, "-o", tmp_path / "set", stderr=terminal).wait()
    shown = os.read(master, 1 << 16).decode()
    os.close(slave)
    os.close(master)
    assert done.code == 0 and "12/12" in shown and "/s" in shown
