"""Worker processes: order, set-up errors, devices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from conftest import ENVIRONMENT

from lanser_cli import workers
from lanser_cli.devices import cpu_count, parse_devices
from lanser_cli.errors import LanserError, Stopped, UsageError
from lanser_cli.pipe import Pipe
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.stage import WindowFunction, windows


def make_marker(device: str, *, meet: Path | None = None) -> WindowFunction:
    """A stage that says who did it; every other window takes longer, some numbers are rejected.

    Args:
        meet: a folder where two processes wait for each other before their first answer.
    """

    def mark(window: Sequence[Record]) -> list[Outcome]:
        if meet is not None:
            (meet / str(os.getpid())).touch()
            for _ in range(6000):
                if len(list(meet.iterdir())) == 2:
                    break
                time.sleep(0.01)
        first = window[0].fields["number"]
        time.sleep(0.05 if first // len(window) % 2 == 0 else 0.0)
        return [
            record.with_fields(device=device, process=os.getpid())
            if record.fields["number"] % 5
            else Reject.of(record, "mark", "a fifth")
            for record in window
        ]

    return mark


def make_noise(device: str, *, meet: Path) -> WindowFunction:
    print("noise of a library")
    return make_marker(device, meet=meet)


def make_nothing(device: str, *, error: type[Exception] = LanserError) -> WindowFunction:
    raise error(f"no such model on {device}")


def make_mortal(device: str, *, seen: Path) -> WindowFunction:
    """A stage that leaves in a folder who worked; the second GPU dies in the middle, once."""

    def double(window: Sequence[Record]) -> list[Outcome]:
        (seen / f"{device}-{os.getpid()}").touch()
        number = window[0].fields["number"]
        if device == "cuda:1" and number > 2 and not (seen / "died").exists():
            (seen / "died").touch()
            os._exit(9)
        return [record.with_fields(twice=2 * record.fields["number"]) for record in window]

    return double


def make_heavy(device: str) -> WindowFunction:
    """Its answers take a while to hand over."""
    return lambda window: [record.with_fields(load="x" * (1 << 25)) for record in window]


def make_stopping(device: str) -> WindowFunction:
    """It raises an error that cannot be unpickled: it takes two arguments and keeps one."""

    def stop(window: Sequence[Record]) -> list[Outcome]:
        raise Stopped(2, "enough")

    return stop


def numbered(count: int) -> list[Record]:
    return [Record({"id": f"r{number}", "number": number}) for number in range(count)]


def test_in_a_pause_of_the_input_several_processes_hand_on_what_is_ready() -> None:
    process = workers.spread(make_marker, ["cpu", "cpu"])
    answered: list[list[Outcome]] = []

    def pending() -> Iterator[list[Record]]:
        yield numbered(4)
        while not answered:  # for ever, if nothing came before the next window
            yield []
        yield numbered(4)

    for outcomes in filter(None, process(pending())):
        answered.append(outcomes)
    assert [len(outcomes) for outcomes in answered] == [4, 4]


def test_two_processes_keep_the_order(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    process = workers.spread(partial(make_noise, meet=tmp_path), ["cpu", "cpu"])
    done = list(process(windows(numbered(43), 4)))
    assert [len(window) for window in done] == [4] * 10 + [3]
    flat = [outcome for window in done for outcome in window]
    assert [outcome.id for outcome in flat] == [f"r{number}" for number in range(43)]
    assert sum(isinstance(outcome, Reject) for outcome in flat) == 9
    by = {outcome.fields["process"] for outcome in flat if isinstance(outcome, Record)}
    assert len(by) == 2
    assert os.getpid() not in by
    streams = capfd.readouterr()
    assert streams.out == ""  # a worker has nothing to say on stdout
    assert streams.err.count("noise of a library") == 2


def test_one_device_works_here() -> None:
    process = workers.spread(make_marker, ["cpu"])
    [[outcome]] = process([numbered(2)[1:]])
    assert isinstance(outcome, Record)
    assert outcome.fields["process"] == os.getpid()
    assert outcome.fields["device"] == "cpu"


def test_every_device_has_its_process(tmp_path: Path) -> None:
    process = workers.spread(partial(make_marker, meet=tmp_path), ["cpu", "other"])
    flat = [outcome for window in process(windows(numbered(24), 2)) for outcome in window]
    by = {
        (outcome.fields["device"], outcome.fields["process"])
        for outcome in flat
        if isinstance(outcome, Record)
    }
    assert sorted(device for device, _ in by) == ["cpu", "other"]


@pytest.mark.parametrize("error", [LanserError, UsageError])
@pytest.mark.parametrize("devices", [["cpu"], ["cpu", "cpu"]])
def test_a_broken_set_up_ends_it_before_the_first_record(
    error: type[LanserError], devices: list[str]
) -> None:
    def untouched() -> object:
        raise AssertionError("a record was read")
        yield

    with pytest.raises(error, match="no such model on cpu") as caught:
        list(workers.spread(partial(make_nothing, error=error), devices)(untouched()))
    assert type(caught.value) is error


def test_all_gpus_make_the_file_of_one_process_though_a_worker_dies(
    tmp_path: Path, cuda: Callable[[int], None]
) -> None:
    """`--device all` where there are two: each has a process, and --resume makes the rest."""
    cuda(2)
    seen = tmp_path / "seen"
    seen.mkdir()

    def run(output: Path, device: str) -> None:
        process = workers.spread(partial(make_mortal, seen=seen), parse_devices(device))
        Pipe("test", output, resume=True, window=2).run(numbered(23), process, {"--model": "m"})

    all_, one = tmp_path / "all.jsonl", tmp_path / "one.jsonl"
    with pytest.raises(LanserError, match="a worker process died .* then --resume"):
        run(all_, "all")
    assert not all_.exists()
    run(all_, "all")
    processes = [path.name.rpartition("-") for path in seen.glob("cuda*")]
    assert sorted(device for device, _, _ in processes) == ["cuda:0"] * 2 + ["cuda:1"] * 2
    assert len({number for _, _, number in processes}) == 4
    run(one, "cpu")
    assert all_.read_bytes() == one.read_bytes()


def test_memory_is_bounded_by_windows_in_flight() -> None:
    taken = 0

    def pending() -> object:
        nonlocal taken
        for window in windows(numbered(100), 2):
            taken += 1
            yield window

    answers = workers.spread(make_marker, ["cpu", "cpu"])(pending())
    next(answers)
    assert taken <= 4
    answers.close()


def test_an_end_amid_an_answer_takes_no_time() -> None:
    """A worker is killed while it hands over what it made."""
    threads = threading.active_count()
    for seconds in (0.0, 0.02):
        answers = workers.spread(make_heavy, ["cpu", "cpu"])(windows(numbered(100), 1))
        next(answers)
        time.sleep(seconds)
        begun = time.monotonic()
        answers.close()
        assert time.monotonic() - begun < 5
        assert threading.active_count() == threads


def test_an_error_that_cannot_be_handed_over_is_still_told() -> None:
    with pytest.raises(LanserError, match="Stopped: enough") as caught:
        list(workers.spread(make_stopping, ["cpu", "cpu"])(windows(numbered(4), 1)))
    assert "test_workers.py" in str(caught.value.__cause__)  # the traceback over there


PARENT = """
import os, pathlib, signal, sys
from lanser_cli import workers
from lanser_cli.records import Record

def make(device):
    def hold(window):
        (pathlib.Path(sys.argv[1]) / str(os.getpid())).touch()
        sum(range(10**15))  # never lets go of the interpreter's lock
    return hold

if __name__ == "__main__":
    signal.alarm(120)  # the test may be killed as well
    list(workers.spread(make, ["cpu", "cpu"])([[Record({"id": "a"})], [Record({"id": "b"})]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they end when they next look")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent_whatever_ends_it(
    number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    there = tmp_path / "workers"
    there.mkdir()
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py", there],
        env={**os.environ, **ENVIRONMENT},
        stderr=subprocess.DEVNULL,
        preexec_fn=_hear_interrupts,
    )
    try:
        until(lambda: len(os.listdir(there)) == 2, seconds=60)
        parent.send_signal(number)
        assert parent.wait(20) != 0
    finally:
        parent.kill()
    until(lambda: not any(map(runs, os.listdir(there))), seconds=5)


def test_a_script_without_a_guard_is_told_to_have_one(tmp_path: Path) -> None:
    """Workers import it, and would start workers of their own."""
    script = tmp_path / "script.py"
    script.write_text(PARENT.replace('if __name__ == "__main__":', "if True:"))
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        timeout=60,
    )
    assert b"below  if __name__ == '__main__':" in done.stderr.splitlines()[-1]
    assert b"out of memory" not in done.stderr


def _hear_interrupts() -> None:
    """Also where these tests were started in a shell's background, which ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until(so: Callable[[], bool], *, seconds: float) -> None:
    """Wait until something is so; it is not well if it takes longer."""
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end
        time.sleep(0.01)


def runs(process: str) -> bool:
    """Whether there is such a process, and not only its exit code for whoever asks."""
    try:
        about = Path("/proc", process, "stat").read_text()
    except OSError:
        return False
    return about.rpartition(")")[2].split()[0] not in "ZX"


# ---------------------------------------------------------------- devices


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> object:
    """Pretend to have so many CUDA devices."""
    import torch

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


@pytest.mark.parametrize(
    ("text", "count", "devices"),
    [
        ("auto", 0, ["cpu"]),
        ("auto", 2, ["cuda:0"]),
        ("all", 0, ["cpu"]),
        ("all", 2, ["cuda:0", "cuda:1"]),
        ("cpu", 2, ["cpu"]),
        ("cuda", 1, ["cuda:0"]),
        ("cuda:1,cuda:0", 2, ["cuda:1", "cuda:0"]),
    ],
)
def test_devices(text: str, count: int, devices: list[str], cuda: object) -> None:
    cuda(count)
    assert parse_devices(text) == devices


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gpu", "choose from"),
        ("", "choose from"),
        ("cuda:x", "with a number"),
        ("cuda:", "with a number"),
        ("cuda:-1", "with a number"),
        ("cudax", "choose from"),
        ("cpu:0", "choose from"),
        ("cuda:²", "with a number"),
        ("cuda:2", "has 2 CUDA devices"),
        ("cuda:0,cuda:7", "has 2 CUDA devices"),
        ("cuda:0,,cuda:1", "choose from"),
    ],
)
def test_devices_that_are_not_there(text: str, why: str, cuda: object) -> None:
    cuda(2)
    with pytest.raises(UsageError, match=why):
        parse_devices(text)


def test_no_cuda_is_said(cuda: object) -> None:
    cuda(0)
    with pytest.raises(UsageError, match="has 0 CUDA devices"):
        parse_devices("cuda")


def test_processors_are_those_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc").exists():
        pytest.skip("Linux only")
    assert 1 <= cpu_count() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5})
    assert cpu_count() == 3


# ---------------------------------------------------------------- preparing ahead


def stamp(window: list[Record]) -> list[Record]:
    """Says who prepared a record; every other window takes longer."""
    time.sleep(0.05 if window[0].fields["number"] // len(window) % 2 == 0 else 0.0)
    return [record.with_fields(prepared=os.getpid()) for record in window]


def die_preparing(window: list[Record]) -> list[Record]:
    os._exit(9)


@pytest.mark.parametrize("devices", [["cpu"], ["cpu", "cpu"]])
def test_helpers_prepare_windows_and_keep_their_order(devices: list[str]) -> None:
    process = workers.spread(make_marker, devices, prepare=stamp, helpers=2)
    flat = [outcome for window in process(windows(numbered(23), 4)) for outcome in window]
    assert [outcome.id for outcome in flat] == [f"r{number}" for number in range(23)]
    done = [outcome for outcome in flat if isinstance(outcome, Record)]
    helpers = {outcome.fields["prepared"] for outcome in done}
    assert os.getpid() not in helpers
    assert not helpers & {outcome.fields["process"] for outcome in done}


def test_helpers_are_bounded() -> None:
    taken = 0

    def pending() -> object:
        nonlocal taken
        for window in windows(numbered(100), 2):
            taken += 1
            yield window

    answers = workers.spread(make_marker, ["cpu"], prepare=stamp, helpers=2)(pending())
    next(answers)
    assert taken <= 3
    answers.close()


def test_without_helpers_nothing_is_prepared() -> None:
    process = workers.spread(make_marker, ["cpu"], prepare=die_preparing)
    assert len(next(iter(process([numbered(2)])))) == 2


def test_a_helper_that_dies_is_said() -> None:
    process = workers.spread(make_marker, ["cpu"], prepare=die_preparing, helpers=1)
    with pytest.raises(LanserError, match="worker process died"):
        list(process(windows(numbered(8), 2)))
