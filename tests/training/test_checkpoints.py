"""Checkpoints: two are kept, a damaged one is noticed, a full disk loses nothing."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
import torch

from lanser_cli.errors import LanserError
from lanser_cli.training.checkpoints import Checkpoints, Timetable

CPU = torch.device("cpu")


def state(step: int) -> dict[str, object]:
    return {"step": step, "model": {"weight": torch.full((1000,), float(step))}}


@pytest.fixture
def three(tmp_path: Path) -> Checkpoints:
    """Three were saved."""
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    found = Checkpoints(folder)
    for step in (5, 10, 900):
        found.save(state(step))
    return found


def files(folder: Path) -> list[Path]:
    return sorted((folder / "run" / "checkpoints").iterdir())


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_the_last_two_are_kept(three: Checkpoints, tmp_path: Path) -> None:
    names = [path.name for path in files(tmp_path)]
    assert [name[:13] for name in names] == ["step-00000010", "step-00000900"]
    found = three.load(CPU)
    assert found is not None and found["step"] == 900
    three.drop()
    assert files(tmp_path) == [] and three.load(CPU) is None


@pytest.mark.parametrize("damage", [flip, lambda path: path.write_bytes(path.read_bytes()[:99])])
def test_a_damaged_one_gives_way_to_the_one_before(
    three: Checkpoints, tmp_path: Path, damage: object, capsys: pytest.CaptureFixture[str]
) -> None:
    before, last = files(tmp_path)
    damage(last)  # type: ignore[operator]
    found = three.load(CPU)
    assert found is not None and found["step"] == 10
    said = f"{last}: the checkpoint of step 900 is damaged (its bytes are not those that its name"
    error = capsys.readouterr().err
    assert said in error and "going on from that of step 10" in error
    damage(before)  # type: ignore[operator]
    with pytest.raises(LanserError, match=f"{last.parent}: no checkpoint is whole: remove"):
        three.load(CPU)


def test_one_of_a_later_step_gives_way_to_those_that_are_made(
    three: Checkpoints, tmp_path: Path
) -> None:
    """It was damaged, and the run went on from the one before."""
    flip(files(tmp_path)[-1])
    for step in (20, 30):
        three.save(state(step))
    assert [path.name[:13] for path in files(tmp_path)] == ["step-00000020", "step-00000030"]
    found = three.load(CPU)
    assert found is not None and found["step"] == 30


def test_a_full_disk_is_one_sentence_and_the_one_before_stays(
    three: Checkpoints, tmp_path: Path
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(
            LanserError,
            match=r"step 901 cannot be written \(.*\); the one of .*900"
            " is whole: make room, then go on with --resume",
        ):
            three.save(state(901))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert len(files(tmp_path)) == 2
    found = three.load(CPU)
    assert found is not None and found["step"] == 900


def test_an_error_that_says_nothing_is_named(
    three: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("torch.save", fail)
    with pytest.raises(LanserError, match=r"cannot be written \(RuntimeError\); the one of"):
        three.save(state(901))


def test_checkpoints_are_due_by_steps_and_by_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    timetable = Timetable(steps=100, minutes=10)
    due = []
    for step in range(1, 251):
        now[0] += 7.0  # 600 s are over at step 86, and again 86 steps after one
        if timetable.due(step):
            due.append(step)
    assert due == [86, 100, 186, 200]
