"""Commands that are killed at random moments: resumed, they make what an undisturbed run makes.

    python tests/kills.py shard entail-label --tries 50 --seed 1

A command is sent KILL, TERM, INT or HUP, or one of its workers is killed. It must end within 5 s,
and so must all processes that it started. Then it is resumed (or run again, where there is nothing
to resume) and every file compared, byte for byte, less what a clock or a command line put into it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import quick  # noqa: E402

SECONDS = 5.0
"""How long a command may take to end, and all that it started with it."""

WINDOW = 8
"""Records that a stage sees at once, so that there are many moments to be killed at."""

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where files are, so that a run is short; None: on the disk."""

SIGNALS = {
    signal.SIGKILL: (-9,),
    signal.SIGTERM: (-15, 143),
    signal.SIGINT: (130, -2),
    signal.SIGHUP: (-1,),
}
"""What is sent, and the exit codes that it may lead to: -2 before there is a command to hear it."""

WORKER = "a worker"


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        words: without where it writes to.
        out: what its `-o` is called.
        resumes: whether it has `--resume`; else it is run again.
        share: how many tries of a hundred are its.
    """

    words: tuple[object, ...]
    out: str
    resumes: bool = True
    share: float = 5.0


@dataclass
class Ends:
    """How the tries of a command ended."""

    tries: int = 0
    amid: int = 0
    by: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_worker: float = 0.0
    faults: list[str] = field(default_factory=list)


def commands(folder: Path) -> dict[str, Command]:
    """Every verb that writes, on small inputs of its own."""
    import soundfile
    from conftest import EKMAN, save_nli, save_run, save_whisper, tone, write_jsonl

    values: list[dict[str, Any]] = []
    (folder / "clips").mkdir()
    for number in range(120):
        path = folder / "clips" / f"c{number:03d}.wav"
        wave = tone(0.3 + 0.01 * (number % 12), 100 + 2 * number)
        soundfile.write(path, wave, 16_000)
        emotion, other = EKMAN[number // 3 % 2], EKMAN[1 - number // 3 % 2]
        about = {"id": path.stem, "audio_filepath": str(path), "speaker": f"s{number % 6}"}
        about |= {"split": ("train", "test")[number % 6 == 0], "text": f"number {number} of these"}
        about |= {"label": emotion, "emotion": emotion, "prediction": EKMAN[number % 2]}
        values.append(about | {"emotion_scores": {emotion: 0.8, other: 0.2}})
    few = write_jsonl(folder / "few.jsonl", values[:24])
    sounds = write_jsonl(folder / "sounds.jsonl", values)
    more = ({**value, "id": f"{value['id']}-{n}"} for n in range(2) for value in values)
    many = write_jsonl(folder / "many.jsonl", list(more))
    broken = [json.dumps(value) for value in values]
    broken[10:10] = ['{"id": "torn', '{"id":"gone","audio_filepath":"/gone.wav","label":"joy"}']
    some = folder / "some.jsonl"
    some.write_text("\n".join(broken) + "\n")
    with (folder / "table.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(values[0])[:6])
        writer.writeheader()
        writer.writerows({key: value[key] for key in writer.fieldnames} for value in values)
    nli = save_nli(folder / "nli", ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"))
    run = save_run(folder / "run")
    whisper = ("--model", f"whisper:{save_whisper(folder / 'tiny.pt')}", "--device", "cpu")
    label = ("entail-label", "--model", nli, "-t", "ekman6", "--device", "cpu")
    slim = ("--model", "resnet18-slim", "--device", "cpu", "--crop", "0.3", "--batch-size", 8)
    slim += ("--checkpoint-every", 1)
    init = ("--init", run, "--device", "cpu", "--folds", 2, "--steps", 1)
    return {
        "manifest": Command(("manifest", "csv", folder / "table.csv"), "out.jsonl", share=8),
        "transcribe": Command(("transcribe", few, *whisper), "out.jsonl", share=6),
        "transcribe, 2 workers": Command(
            ("transcribe", few, *whisper, "--workers", 2), "out.jsonl", share=2
        ),
        "entail-label": Command((*label, many), "out.jsonl", share=14),
        "entail-label, gz": Command((*label, some), "out.jsonl.gz", share=8),
        "agree": Command(("agree", sounds, f"{sounds}:prediction"), "out.jsonl"),
        "pick": Command(("pick", many, "-n", 40), "out.jsonl"),
        "listen": Command(("listen", few), "out.html", False, 2),
        "shard": Command(("shard", some, "--max-count", 10, "--workers", 1), "out", share=14),
        "shard, 2 workers": Command(
            ("shard", some, "--max-count", 10, "--workers", 2), "out", share=8
        ),
        "audit": Command(("audit", sounds, "--workers", 1), "out.json", False, 5),
        "pretrain": Command(("pretrain", few, *slim, "--epochs", 3), "out", share=6),
        "pretrain, 1 loader": Command(
            ("pretrain", few, *slim, "--epochs", 2, "--workers", 1), "out", share=1
        ),
        "finetune": Command(("finetune", few, *slim, "--epochs", 1, "--folds", 2), "out", share=4),
        "efficiency": Command(
            ("efficiency", few, *init, "--fractions", "0.5,1", "--seeds", 1), "out", share=1
        ),
        "baseline": Command(("baseline", few, "--folds", 2, "--workers", 1), "out", False, 2),
        "text-only": Command(("text-only", few, "--folds", 2, "--device", "cpu"), "out", False, 1),
        "predict": Command(("predict", sounds, "--run", run, "--device", "cpu"), "out.jsonl"),
        "doubt": Command(
            ("doubt", sounds, "--scores", f"{sounds}:emotion_scores"), "out.jsonl", share=2
        ),
        "eval": Command(("eval", sounds), "out", False, 8),
        "compare": Command(("compare", sounds, sounds), "out", False, 5),
        "probe-prosody": Command(
            ("probe-prosody", few, "--run", run, "--folds", 2, "--device", "cpu"), "out", False, 1
        ),
    }


# ---------------------------------------------------------------- one command, and its end


class Running:
    """A command that leads a session of its own."""

    def __init__(self, words: Sequence[object], place: Path) -> None:
        self._err = place / "stderr"
        for name in ("stdin", "stdout", "stderr"):
            (place / name).write_bytes(b"")
        streams = [str(place / name) for name in ("stdin", "stdout", "stderr")]
        arguments = [str(word) for word in words]
        self.process = quick.start(
            arguments, streams, str(place), dict(os.environ), WINDOW, session=True
        )
        assert self.process.pid is not None
        self.pid = self.process.pid

    @property
    def said(self) -> str:
        return self._err.read_text(encoding="utf-8", errors="replace")

    def over(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        self.process.join(seconds)
        return self.process.exitcode is not None

    def started(self) -> list[int]:
        """The processes that it started and that are still there."""
        return [pid for pid in _session(self.pid) if pid != self.pid]

    def end(self) -> None:
        """Leave nothing behind, whatever became of it."""
        for pid in (*self.started(), self.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.join()


def _session(leader: int) -> Iterator[int]:
    """The processes of a session, less those that are only an exit code."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                about = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(about[3]) == leader and about[0] not in "ZX":
                yield int(name)


def _until(so: Callable[[], bool], seconds: float) -> float:
    """How long it took until something was so."""
    begun = time.monotonic()
    while not so() and time.monotonic() - begun < seconds:
        time.sleep(0.005)
    return time.monotonic() - begun


# ---------------------------------------------------------------- what was made


_CLOCK = re.compile(rb', "(utterances_per_s|waiting)": [0-9.e-]+')
_ARGV = re.compile(rb'"argv": ?\[[^\]]*\],?')


def made(place: Path, out: str) -> dict[str, bytes]:
    """All files of an output by name, less what a clock or a command line put into them."""
    found = {}
    for path in sorted(place.rglob(f"{out}*")) + sorted((place / out).rglob("*")):
        if path.is_file() and path.name != ".lock" and "checkpoints" not in path.parts:
            data = path.read_bytes()
            if path.name == "metrics.jsonl":
                data = _CLOCK.sub(b"", data)
            if path.suffix in (".json", ".html"):
                data = _ARGV.sub(b"", data).replace(b" --resume", b"")
            found[str(path.relative_to(place))] = data
    return found


# ---------------------------------------------------------------- tries


@dataclass(frozen=True)
class Whole:
    """An undisturbed run: its exit code, how long it took, and what it made."""

    code: int
    seconds: float
    files: dict[str, bytes]


def undisturbed(command: Command, place: Path) -> Whole:
    """Run a command in the folder of the tries to come, since reports name it."""
    begun = time.monotonic()
    running = Running((*command.words, "-o", place / command.out), place)
    assert running.over(600), command
    seconds, code = time.monotonic() - begun, running.process.exitcode
    assert code in (0, 3) or (command.words[0] == "audit" and code == 1), running.said
    return Whole(code, seconds, made(place, command.out))


def attempt(command: Command, whole: Whole, place: Path, draw: random.Random, ends: Ends) -> None:
    """Start a command, disturb it once or twice, let it end, and compare what it made."""
    words: tuple[object, ...] = (*command.words, "-o", place / command.out)
    again = (*words, "--resume") if command.resumes else words
    hows: list[str] = []
    ends.tries += 1
    for turn in range(draw.choice((1, 1, 2))):
        running = Running(again if turn else words, place)
        try:
            time.sleep(draw.uniform(0.0, 1.02) * whole.seconds / (turn + 1))
            hows.append(_disturb(running, whole.code, draw, ends))
        finally:
            running.end()
    ends.amid += any(hows)
    running = Running(again, place)
    if (
        running.over(300)
        and running.process.exitcode == 2
        and re.search(" is not empty: remove it|: is there already: ", running.said)
    ):  # what cannot be resumed is not overwritten unasked
        out = place / command.out
        shutil.rmtree(out) if out.is_dir() else out.unlink()
        running = Running(again, place)
    try:
        if not running.over(300):
            ends.faults.append(f"{hows}: run again, it did not end: {running.said}")
        elif running.process.exitcode not in (whole.code, 0):
            ends.faults.append(f"{hows}: exit {running.process.exitcode}: {running.said}")
    finally:
        running.end()
    now = made(place, command.out)
    for name in sorted({*now, *whole.files}):
        if now.get(name) != whole.files.get(name):
            ends.faults.append(f"{hows}: {name} differs")


def _disturb(running: Running, code: int, draw: random.Random, ends: Ends) -> str:
    """Send a signal or kill a worker, and see that all ends; how, or nothing if it was over."""
    if running.process.exitcode is not None:
        return ""
    workers = running.started()
    if workers and draw.random() < 0.3:
        how, victim, number = WORKER, draw.choice(workers), signal.SIGKILL
    else:
        number = draw.choice(list(SIGNALS))
        how, victim = number.name, running.pid
    ends.by[how] += 1
    try:
        os.kill(victim, number)
    except ProcessLookupError:
        return ""
    begun = time.monotonic()
    if not running.over(SECONDS if how != WORKER else 300):
        ends.faults.append(f"{how}: not at its end after {SECONDS} s: {running.said}")
    took = time.monotonic() - begun
    if how != WORKER or running.process.exitcode == 1:  # else it had no more to do for it
        ends.slowest = max(ends.slowest, took)
        if how == WORKER and took > SECONDS:
            ends.faults.append(f"{how}: its command ended after {took:.1f} s: {running.said}")
    left = _until(lambda: not running.started(), SECONDS)
    ends.slowest_worker = max(ends.slowest_worker, left)
    if left >= SECONDS:
        names = [Path("/proc", str(pid), "cmdline").read_bytes() for pid in running.started()]
        ends.faults.append(f"{how}: still there after {SECONDS} s: {names}")
    expected = (1,) if how == WORKER else SIGNALS[number]
    if number is signal.SIGINT and not running.said:
        expected += (1,)  # the server's fork had not become the command yet
    if running.process.exitcode not in (*expected, code, 0) or "Traceback" in running.said:
        ends.faults.append(f"{how}: exit {running.process.exitcode}: {running.said}")
    return how


def kill(names: Sequence[str], tries: int, seed: int) -> tuple[str, list[str]]:
    """So many tries over these commands: a table, and a line for each fault."""
    table = [
        "| command | tries | amid | KILL | TERM | INT | HUP | a worker | ended after, s | "
        "its workers, s | faults |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kills-", dir=MEMORY) as folder:
        known = commands(Path(folder))
        chosen = {name: known[name] for name in names or known}
        assert Running(["--version"], Path(folder)).over(600)  # the server has imported everything
        shares = sum(command.share for command in chosen.values())
        for number, (name, command) in enumerate(chosen.items()):
            at = Path(folder, f"try-{number}")
            at.mkdir()
            whole, ends = undisturbed(command, at), Ends()
            shutil.rmtree(at)
            for turn in range(max(1, round(tries * command.share / shares))):
                at.mkdir()
                before = len(ends.faults)
                attempt(command, whole, at, random.Random(f"{name} {seed} {turn}"), ends)
                for fault in ends.faults[before:]:
                    faults.append(f"{name} --seed {seed}, try {turn}: {fault}")
                    print(faults[-1], file=sys.stderr, flush=True)
                shutil.rmtree(at)
            each = " | ".join(str(ends.by[how]) for how in (*(s.name for s in SIGNALS), WORKER))
            table.append(
                f"| {name} | {ends.tries} | {ends.amid} | {each} | {ends.slowest:.2f} | "
                f"{ends.slowest_worker:.2f} | {len(ends.faults)} |"
            )
            print(table[-1], file=sys.stderr, flush=True)
    return "\n".join(table), faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help="such as shard; default all")
    parser.add_argument("--tries", type=int, default=100, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    quick.prepare_server(["ignore"])
    table, faults = kill(arguments.commands, arguments.tries, arguments.seed)
    print(table)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
