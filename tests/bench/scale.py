"""Whether the record path is flat in memory and linear in time, and `lanser plan` near the truth.

    python tests/bench/scale.py [--count N] [--clips N] [--speech FOLDER] [BENCH ...]

The benches:

    records  `--count` generated records through the verbs that need no sound, and a tenth of them,
             so that growth shows. The peak is that of the command, and of the largest process that
             it started; bytes a record are what the peak grew by. `entail-label` has all scores in
             a cache, since a model's time is no question of the record path
    plan     transcribe, entail-label, shard and pretrain over `--clips`, those of the folder over
             and over by links, next to what `lanser plan` says of as many hours. A plan leaves out
             what starting takes; a run over a fifth tells what the others took without it
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from shards import row

from lanser_cli.audio.walk import walk
from lanser_cli.devices import cpu_count
from lanser_cli.digests import file_sha256
from lanser_cli.jsonl import read_records
from lanser_cli.machine.plan import Amount, plan
from lanser_cli.records import Record

PARTS = 4

CORES = 2
"""Processors that are one device of the rates."""

EMOTIONS = ("anger", "disgust", "fear", "joy", "sadness", "surprise")

SENTENCES = 100
"""Different texts, so that a cache has them all soon."""

_MEASURES = """
import json, os, re, resource, sys
from lanser_cli import app
code = app.main(sys.argv[2:])
own = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
with open(sys.argv[1], "w") as stream:
    json.dump([sum(os.times()[:4]), own / 1024, others / 1024], stream)
sys.exit(code)
"""


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds by the clock, seconds of processors, MB at most."""

    seconds: float
    cpu: float
    own: float
    others: float


def lanser(*words: object) -> Cost:
    """Run a command as a user does, its start included."""
    with tempfile.NamedTemporaryFile() as told:
        command = [sys.executable, "-c", _MEASURES, told.name, *map(str, words), "--quiet"]
        begun = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
        seconds = time.perf_counter() - begun
        assert done.returncode in (0, 3), words  # 3: a clip was rejected
        return Cost(seconds, *json.load(told))


# ---------------------------------------------------------------- records


def generate(path: Path, count: int) -> None:
    """Write so many records, with all that a verb of the record path asks for."""
    answers = []
    for place, label in enumerate(EMOTIONS):
        for said in (label, EMOTIONS[(place + 1) % len(EMOTIONS)]):
            scores = {one: 0.75 if one == said else 0.05 for one in EMOTIONS}
            about = {"label": label, "prediction": said, "scores": scores}
            answers.append(json.dumps(about)[1:])
    with path.open("w") as stream:
        for n in range(count):
            seconds = 2 + n % 997 / 500
            answer = answers[2 * (n % len(EMOTIONS)) + (n % 7 == 0)]
            stream.write(
                f'{{"id": "u{n:09d}", "audio_filepath": "/none/u{n:09d}.flac", '
                f'"duration": {seconds}, "speaker": "s{n % 1000}", '
                f'"text": "this is what number {n % SENTENCES} says", {answer}\n'
            )


def record_path(folder: Path, count: int) -> Iterator[tuple[str, Cost]]:
    """Each command over as many records, and what it took."""
    records, whole, parts, merged, weak, out = (
        folder / name
        for name in ("in.jsonl", "whole.jsonl", "parts", "merged.jsonl", "weak.jsonl", "out.jsonl")
    )
    generate(records, count)
    yield "manifest", lanser("manifest", "jsonl", records, "-o", whole)
    expected = file_sha256(whole)
    whole.unlink()
    parts.mkdir()
    for number in range(1, PARTS + 1):
        part = ("--part", f"{number}/{PARTS}", "-o", parts / f"{number}.jsonl")
        cost = lanser("manifest", "jsonl", records, *part)
    yield f"manifest --part {PARTS}/{PARTS}", cost
    yield f"parts --of {PARTS} --merge", lanser("parts", parts, "--of", PARTS, "--merge", merged)
    assert file_sha256(merged) == expected
    for path in (*parts.iterdir(), merged):
        path.unlink()
    cache = ("--cache", folder / "cache", "-t", "ekman6", "--device", "cpu")
    yield "entail-label --cache", lanser("entail-label", records, *cache, "-o", weak)
    for name, *words in (
        ("agree, 2 files", "agree", f"{records}:prediction", f"{weak}:label"),
        ("pick", "pick", weak),
        ("doubt", "doubt", records),
    ):
        yield name, lanser(*words, "-o", out)
        out.unlink()


def bench_records(arguments: argparse.Namespace, folder: Path) -> None:
    few, many = arguments.count // 10, arguments.count
    costs: dict[str, list[Cost]] = {}
    for count in (few, many):
        place = folder / str(count)
        place.mkdir()
        for name, cost in record_path(place, count):
            costs.setdefault(name, []).append(cost)
            print(f"{name}, {count:,} records: {cost}", file=sys.stderr, flush=True)
        for path in place.glob("*.jsonl"):
            path.unlink()
    row("command", "records", "s", "records/s", "us of a CPU each", "MB", "its processes", "B each")
    row(*["---"] * 8)
    for name, (less, more) in costs.items():
        grown = (more.own - less.own) * 2**20 / (many - few)
        for count, cost in ((few, less), (many, more)):
            each, rate = cost.cpu / count * 1e6, count / cost.seconds
            row(
                *(name, f"{count:,}", f"{cost.seconds:.1f}", f"{rate:,.0f}", f"{each:.0f}"),
                *(f"{cost.own:.0f}", f"{cost.others:.0f}", f"{grown:.0f}" if cost is more else ""),
            )


# ---------------------------------------------------------------- plan


@dataclass(frozen=True)
class Stages:
    """The four stages over a folder of speech.

    Attributes:
        costs: what each took.
        bytes: of what each wrote; of pretrain none is planned.
    """

    costs: dict[str, Cost]
    bytes: dict[str, int]

    @classmethod
    def run(cls, speech: Path, out: Path, epochs: int) -> Stages:
        out.mkdir()
        words, weak, shards = out / "words.jsonl", out / "weak.jsonl", out / "shards"
        costs = {
            "transcribe": lanser("transcribe", speech, "-o", words),
            "entail-label": lanser("entail-label", words, "-t", "goemotions", "-o", weak),
            "shard": lanser("shard", weak, "-o", shards),
            "pretrain": lanser(
                *("pretrain", shards, "-o", out / "run", "--model", "resnet18-slim"),
                *("--crop", 2, "--epochs", epochs),
            ),
        }
        packed = sum(path.stat().st_size for path in shards.iterdir())
        sizes = {"transcribe": words.stat().st_size, "entail-label": weak.stat().st_size}
        return cls(costs, {**sizes, "shard": packed, "pretrain": 0})


def linked(speech: Path, folder: Path, count: int) -> Path:
    """A folder of so many clips: those of another, over and over."""
    folder.mkdir()
    for number, path in enumerate(islice(cycle(sorted(walk(str(speech)))), count)):
        suffix = Path(path).suffix
        (folder / f"u{number:06d}{suffix}").symlink_to(Path(path).absolute())
    return folder


def bench_plan(arguments: argparse.Namespace, folder: Path) -> None:
    count, few, epochs = arguments.clips, arguments.clips // 5, arguments.epochs
    start = Stages.run(linked(arguments.speech, folder / "few", few), folder / "start", epochs)
    made = Stages.run(linked(arguments.speech, folder / "all", count), folder / "made", epochs)
    records = [
        item
        for item in read_records([str(folder / "made/weak.jsonl")], "bench")
        if isinstance(item, Record)
    ]
    seconds = sum(record.duration or 0.0 for record in records)
    texts = len({record.text for record in records})
    amount = Amount(
        hours=seconds / 3600,
        utterance=seconds / len(records),
        cores=cpu_count(),
        epochs=epochs,
    )
    print(
        f"{count} clips, {seconds:.0f} s, {texts} different transcripts, {epochs} epochs, "
        f"{amount.cores} processors\n"
    )
    row(
        *("stage", "s", f"of {few} clips", "planned", "s / planned", "without start"),
        *("CPU / planned, without start", "MB", "planned", "MB / planned"),
    )
    row(*["---"] * 10)
    for stage in plan(amount):
        assert stage.wall_hours is not None and stage.device_hours is not None
        cost, begin = made.costs[stage.stage], start.costs[stage.stage]
        planned, size = 3600 * stage.wall_hours, made.bytes[stage.stage]
        more = count / (count - few)  # from the clips that only one of the runs had to all
        rest = (cost.seconds - begin.seconds) * more / planned
        cpu = (cost.cpu - begin.cpu) * more / (3600 * stage.device_hours * CORES)
        row(
            *(stage.stage, f"{cost.seconds:.1f}", f"{begin.seconds:.1f}", f"{planned:.1f}"),
            *(f"{cost.seconds / planned:.2f}", f"{rest:.2f}", f"{cpu:.2f}"),
            *(f"{size / 1e6:.2f}", f"{stage.bytes / 1e6:.2f}"),
            f"{size / stage.bytes:.2f}" if stage.bytes else "",
        )


BENCHES = {"records": bench_records, "plan": bench_plan}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benches", nargs="*", choices=[*BENCHES, []], help="default: all")
    parser.add_argument("--count", type=int, default=100_000, help="records")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--speech", type=Path, default=ROOT / "examples/speech/unlabeled")
    arguments = parser.parse_args()
    for name in arguments.benches or BENCHES:
        print(f"\n## {name}\n", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            BENCHES[name](arguments, Path(folder))


if __name__ == "__main__":
    main()
