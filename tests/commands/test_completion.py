"""Completion, by the protocol that the shells' scripts speak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT

from lanser_cli import app
from lanser_cli.corpora import titles
from lanser_cli.entailment import taxonomy_names
from lanser_cli.training.protocols import standards


def asked(shell: str, line: str) -> dict[str, str]:
    """What a shell's script puts into the environment when Tab is pressed behind the line."""
    if shell == "bash":
        words = line.split(" ")
        asks = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    else:
        asks = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return {"_LANSER_COMPLETE": f"complete_{shell}", **asks}


@pytest.fixture
def tab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Press Tab behind a line, and see what is proposed."""

    def press(line: str, shell: str = "bash") -> list[str]:
        with monkeypatch.context() as patch:
            for name, value in asked(shell, line).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                app.main([])
        assert end.value.code == 0
        return capsys.readouterr().out.split("\n")[:-1]

    return press


@pytest.mark.parametrize(
    ("line", "proposed"),
    [
        ("lanser p", ["pick", "pretrain", "predict", "probe-prosody", "plan", "parts"]),
        ("lanser help te", ["text-only"]),
        ("lanser shard --min", ["--min-seconds", "--min-score", "--min-margin"]),
        ("lanser entail-label --calibrate ", ["none", "null", "batch"]),
        ("lanser shard x.jsonl --codec o", ["opus"]),
        ("lanser audit --allow s", ["speaker", "sentence"]),
        ("lanser manifest ", list(titles())),
        ("lanser entail-label -t ", taxonomy_names()),
        ("lanser taxonomies ekman6 g", ["goemotions"]),
        ("lanser finetune --protocol ", list(standards())),
        ("lanser pretrain --model resnet18", ["resnet18", "resnet18-slim"]),
        ("lanser transcribe --device c", ["cpu", "cuda"]),
    ],
)
def test_values_are_completed(line: str, proposed: list[str], tab) -> None:
    assert tab(line) == proposed


def test_run_folders_are_completed(tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run in ("runs/tuned/fold-1", "runs/tuned", "runs/scratch", "other"):
        Path(run).mkdir(parents=True, exist_ok=True)
        Path(run, "config.json").touch()
    Path("rest").mkdir()
    Path("records.jsonl").touch()
    assert tab("lanser predict -r ") == ["other", "runs/scratch", "runs/tuned"]
    assert tab("lanser finetune --init runs/t") == ["runs/tuned", "runs/tuned/fold-1"]
    assert tab("lanser eval r") == ["runs/scratch", "runs/tuned", "records.jsonl"]


def test_each_shell_is_answered_in_its_own_way(tab) -> None:
    assert tab("lanser audit --allow s", "fish") == ["speaker", "sentence"]
    assert tab("lanser manifest sav", "fish") == [f"savee\t{titles()['savee']}"]
    assert tab("lanser audit --allow s", "zsh") == [
        '_arguments \'*: :(("speaker"',
        '"sentence"))\'',
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_the_shell(
    shell: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its script asks `lanser` as these tests do."""
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for option in ("--show-completion", "--install-completion"):
        with pytest.raises(SystemExit) as end:
            app.main([option])
        assert end.value.code == 0
    script, _, _ = capsys.readouterr().out.partition(f"{shell} completion installed in ")
    assert f"_LANSER_COMPLETE=complete_{shell}" in script
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(script.strip() in text for text in files)


def test_the_shell_waits_for_no_slow_import() -> None:
    """Nor for pydantic, which takes longer than all the rest."""
    program = """
import atexit, json, sys
slow = ("numpy", "pydantic", "torch", "transformers")
atexit.register(lambda: print(json.dumps([name for name in slow if name in sys.modules])))
from lanser_cli import app
app.main([])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **ENVIRONMENT, **asked("bash", "lanser entail-label -t ek")},
        capture_output=True,
        timeout=60,
    )
    proposed, slow = done.stdout.splitlines()
    assert proposed == b"ekman6" and json.loads(slow) == []
