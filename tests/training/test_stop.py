"""Stopping is safe: signals end a run after a checkpoint, and two processes share no folder."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import read_jsonl
from quick import Quick, as_ranks

from lanser_cli.errors import LanserError
from lanser_cli.lock import FolderLock
from lanser_cli.training.runs import RunFolder
from lanser_cli.training.stop import Stop

SLIM = ("--model", "resnet18-slim", "--device", "cpu", "--crop", "0.3", "--batch-size", "4")


def has_logged(run: Path) -> Callable[[], bool]:
    return lambda: (run / "metrics.jsonl").exists() and bool((run / "metrics.jsonl").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_signal_saves_and_the_resumed_weights_are_the_same(
    labelled: Path,
    tmp_path: Path,
    quick: Callable[..., Quick],
    number: signal.Signals,
    workers: int,
) -> None:
    if workers and number != signal.SIGTERM:
        pytest.skip("one signal is enough to see that workers do not mind")
    line = ["pretrain", labelled, *SLIM, "--epochs", "12", "--workers", str(workers)]
    whole, made = tmp_path / "whole", tmp_path / "made"
    assert quick(*line, "-o", whole).wait().code == 0
    stopped = quick(*line, "-o", made).send(number, once=has_logged(made))
    assert (stopped.code, stopped.out) == (128 + number, b""), stopped.err
    last = stopped.err.splitlines()[-1]
    assert last.startswith("pretrain: stopped at step ")
    assert last.endswith(" of 36; go on with --resume")
    assert "Traceback" not in stopped.err and len(list(made.rglob("step-*.pt"))) == 1
    resumed = quick(*line, "-o", made, "--resume").wait()
    assert resumed.code == 0, resumed.err
    weights = [(run / "model.safetensors").read_bytes() for run in (whole, made)]
    assert weights[0] == weights[1]
    steps = [[line["step"] for line in read_jsonl(run / "metrics.jsonl")] for run in (whole, made)]
    assert steps[0] == steps[1] == [10, 20, 30, 36]
    assert not list(made.rglob("step-*.pt"))


@pytest.mark.slow
def test_ranks_stop_together_though_one_alone_is_asked(
    labelled: Path, tmp_path: Path, quick: Callable[..., Quick]
) -> None:
    def start(run: Path, *words: str) -> list[Quick]:
        line = ["pretrain", labelled, *SLIM, "--epochs", "15", "-o", run, *words]
        return [quick(*line, env=variables) for variables in as_ranks(2)]

    whole, made = tmp_path / "whole", tmp_path / "made"
    assert [rank.wait().code for rank in start(whole)] == [0, 0]
    first, second = start(made)
    ended = second.send(signal.SIGTERM, once=has_logged(made))  # and not the one that writes
    stopped = [first.wait(), ended]
    assert [rank.code for rank in stopped] == [143, 143], stopped
    assert "stopped at step" in stopped[0].err and "stopped" not in stopped[1].err
    assert [rank.wait().code for rank in start(made, "--resume")] == [0, 0]
    weights = [(run / "model.safetensors").read_bytes() for run in (whole, made)]
    assert weights[0] == weights[1]


def test_two_processes_on_one_folder(
    labelled: Path, tmp_path: Path, quick: Callable[..., Quick]
) -> None:
    run = tmp_path / "run"
    lock = FolderLock(_made(run))
    line = ("pretrain", labelled, *SLIM, "--epochs", "1", "-o", run)
    refused = quick(*line).wait()
    assert refused.code == 1
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    assert f"{run}: {holder} is training into it: wait for its end, or name" in refused.err
    lock.release()
    assert quick(*line).wait().code == 0


def test_what_a_job_in_the_background_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGUSR1)
            assert stop.wished == [0.0, 0.0, 1.0]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_folder_that_cannot_be_made_is_known_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LanserError, match=f"cannot be made: {tmp_path}/file is no folder"):
        RunFolder(tmp_path / "file" / "run").check_new()
    RunFolder(tmp_path / "new" / "run").check_new()
    assert not (tmp_path / "new").exists()


def test_a_folder_is_free_when_its_run_is_over(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(resume=False)
    run.create(resume=False)  # it is this run's own
    with pytest.raises(LanserError, match="is training into it"):
        RunFolder(run.path).create(resume=True)
    del run
    RunFolder(tmp_path / "run").create(resume=True)


def test_a_file_system_without_locks_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    for _ in range(2):
        FolderLock(_made(tmp_path / "run"))
    assert capsys.readouterr().err.count("has no locks: start no second process on it") == 1


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
