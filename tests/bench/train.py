"""How fast training is: each figure next to a peer in the same run, as JSON lines.

    python tests/bench/train.py [PART ...]

The parts:

    step    a training step as lanser makes it, next to a plain float32 loop of the same network
    wait    the share of time in which training from shards waits for data
    ranks   utterances/s of two gloo ranks of one thread each, next to those of one, and of two
            trainings side by side that know nothing of each other, which is the limit
    shared  how much longer training takes beside two busy processes than alone, with threads that
            soon sleep while they wait, as lanser has them, and that spin, as PyTorch has them
    gpu     training from shards, next to steps on synthetic tensors that are on the GPU already,
            and next to a hand-tuned step (bfloat16, channels_last, compiled)

Medians of --rounds turns, taken in alternation. A first turn warms up and is left out, but of
ranks: they are new processes in each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from lanser_cli import console
from lanser_cli.audio.sound import SAMPLE_RATE
from lanser_cli.devices import Ranks, cpu_count, keep_memory
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.records import Record
from lanser_cli.shards import reader
from lanser_cli.shards.pack import pack
from lanser_cli.shards.writer import ShardWriter
from lanser_cli.surroundings import SPINS
from lanser_cli.training.ahead import made_ahead
from lanser_cli.training.draws import Draws
from lanser_cli.training.examples import Example, one_hot
from lanser_cli.training.learner import Learner
from lanser_cli.training.loop import train
from lanser_cli.training.ranks import process_group
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.runs import RunFolder

LABELS = ("anger", "disgust", "fear", "joy", "sadness", "surprise")
CPU = torch.device("cpu")


def say(**found: object) -> None:
    print(json.dumps(found), flush=True)


def network(arguments: argparse.Namespace) -> SpeechClassifier:
    torch.manual_seed(0)
    return SpeechClassifier(Architecture(arguments.model, LABELS, arguments.seconds))


def medians(
    turns: dict[str, Callable[[], float]], rounds: int, *, warm_up: bool = True
) -> dict[str, float]:
    """The median of each function's answers, which take turns."""
    found: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds + warm_up):
        for name, turn in turns.items():
            answer = turn()
            if number >= warm_up:
                found[name].append(answer)
    return {name: statistics.median(answers) for name, answers in found.items()}


def clocked(step: Callable[[], object], steps: int, device: torch.device) -> float:
    """Seconds a step."""
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) / steps


# ---------------------------------------------------------------- steps


def synthetic(arguments: argparse.Namespace, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    sound = 0.1 * torch.randn(arguments.batch, round(arguments.seconds * SAMPLE_RATE))
    target = torch.eye(len(LABELS))[torch.arange(arguments.batch) % len(LABELS)]
    return sound.to(device), target.to(device), torch.ones(arguments.batch, device=device)


def our_step(
    arguments: argparse.Namespace, device: torch.device, **more: bool
) -> Callable[[], object]:
    """A step of `Learner` with its draws, which on a GPU a thread makes ahead, as in training."""
    recipe = Recipe(1, batch_size=arguments.batch, **more)  # type: ignore[arg-type]
    learner = Learner(network(arguments), recipe, device, Ranks(), "bench")
    batch, even = synthetic(arguments, device), torch.ones(arguments.batch, device=device)
    keys, ids = [(0, place, True) for place in range(arguments.batch)], [""] * arguments.batch

    prepared = (Draws.of(0, keys, 0.2).to(device) for _ in itertools.count())
    draws = made_ahead(prepared) if device.type == "cuda" else prepared

    def step() -> object:
        return learner.step(1, batch, even, next(draws), 1e-4, ids)

    return step


def plain_step(arguments: argparse.Namespace) -> Callable[[], object]:
    """A step of the loop that everybody writes: float32, memory as PyTorch lays it out."""
    model = network(arguments).train()
    model.backbone.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    sound, target, _ = synthetic(arguments, CPU)

    def step() -> object:
        image = model.front_end(sound).contiguous()
        loss = nn.functional.cross_entropy(model.backbone(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def tuned_step(arguments: argparse.Namespace, device: torch.device) -> Callable[[], object]:
    """The least that a step takes: bfloat16, channels_last, compiled, nothing checked."""
    model = network(arguments).to(device).train()
    model.backbone.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    sound, target, _ = synthetic(arguments, device)

    def step() -> object:
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(sound)
        loss = nn.functional.cross_entropy(logits.float(), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    return step


def bench_step(arguments: argparse.Namespace, folder: Path) -> None:
    ours, plain = our_step(arguments, CPU), plain_step(arguments)
    found = medians(
        {
            "lanser": lambda: clocked(ours, arguments.steps, CPU),
            "plain": lambda: clocked(plain, arguments.steps, CPU),
        },
        arguments.rounds,
    )
    say(
        part="step",
        model=arguments.model,
        batch=arguments.batch,
        seconds=arguments.seconds,
        threads=torch.get_num_threads(),
        precision=Recipe(1).on(CPU).precision,
        lanser_s=round(found["lanser"], 3),
        plain_float32_s=round(found["plain"], 3),
        times_as_fast=round(found["plain"] / found["lanser"], 2),
    )


# ---------------------------------------------------------------- training from shards


def shards(arguments: argparse.Namespace, folder: Path) -> Path:
    """Noise, packed, as long as speech; a decoder works no less on it than on speech."""
    (folder / "loose").mkdir()

    def clip(number: int) -> Record:
        draw, path = np.random.default_rng(number), folder / "loose" / f"c{number:05d}.flac"
        length = round(arguments.seconds * SAMPLE_RATE * draw.uniform(0.8, 1.5))
        soundfile.write(path, 0.1 * draw.standard_normal(length), SAMPLE_RATE)
        fields = {"id": path.stem, "audio_filepath": str(path), "label": LABELS[number % 6]}
        return Record(fields)

    with ThreadPoolExecutor(cpu_count()) as threads:
        records = threads.map(clip, range(arguments.clips))
        pack(records, ShardWriter(folder / "shards", max_count=max(8, arguments.clips // 4)))
    return folder / "shards"


def trained(
    arguments: argparse.Namespace,
    made: Path,
    run: Path,
    device: torch.device,
    epochs: int = 2,
    **more: bool,
) -> list[dict[str, float]]:
    """Train for so many epochs; the lines of its metrics."""
    found = [item for item in reader.records_of([str(made)], "bench") if isinstance(item, Record)]
    examples = [Example(record, one_hot(str(record.label), LABELS)) for record in found]
    recipe = Recipe(epochs, batch_size=arguments.batch, workers=arguments.workers, **more)  # type: ignore[arg-type]
    with process_group(device):
        folder = RunFolder(run)
        folder.create(resume=True)
        train(network(arguments), examples, recipe, folder, device)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def steady(lines: Sequence[dict[str, float]], key: str) -> float:
    """A number's median, less the first line, in which workers start."""
    return statistics.median(line[key] for line in (lines[1:] or lines))


def bench_wait(arguments: argparse.Namespace, folder: Path) -> None:
    lines = trained(arguments, shards(arguments, folder), folder / "run", CPU)
    say(
        part="wait",
        model=arguments.model,
        clips=arguments.clips,
        workers=arguments.workers,
        waiting=round(steady(lines, "waiting"), 4),
        utterances_per_s=round(steady(lines, "utterances_per_s"), 2),
    )


def rate(arguments: argparse.Namespace, made: Path, launcher: Sequence[str], **set_: str) -> float:
    """Utterances/s of training in a process of its own, with these variables set."""
    run = Path(tempfile.mkdtemp(dir=made.parent))
    words = ["--model", arguments.model, "--batch", arguments.batch, "--workers", 0]
    words += ["--seconds", arguments.seconds, "--shards", made, "--rank-in", run]
    command = [sys.executable, *launcher, __file__, *map(str, words)]
    environment = {**os.environ, **set_}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return steady([json.loads(line) for line in lines], "utterances_per_s")


def bench_ranks(arguments: argparse.Namespace, folder: Path) -> None:
    made = shards(arguments, folder)

    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

    def one() -> float:
        return rate(arguments, made, (), OMP_NUM_THREADS="1")

    def apart() -> float:
        with ThreadPoolExecutor(2) as both:
            return sum(both.map(lambda _: one(), range(2)))

    turns = {
        "one": one,
        "two": lambda: rate(arguments, made, launcher, OMP_NUM_THREADS="1"),
        "apart": apart,
    }
    found = medians(turns, arguments.rounds, warm_up=False)  # each is a process of its own
    say(
        part="ranks",
        model=arguments.model,
        one_utterances_per_s=round(found["one"], 2),
        two_utterances_per_s=round(found["two"], 2),
        of_linear=round(found["two"] / found["one"] / 2, 3),
        of_two_apart=round(found["two"] / found["apart"], 3),
    )


def bench_shared(arguments: argparse.Namespace, folder: Path) -> None:
    made = shards(arguments, folder)

    def of(spins: str, busy: int) -> float:
        loop = [sys.executable, "-c", "while True: pass"]
        others = [subprocess.Popen(loop) for _ in range(busy)]
        try:
            return rate(arguments, made, (), GOMP_SPINCOUNT=spins)
        finally:
            for one in others:
                one.kill()
                one.wait()

    found = medians(
        {
            f"{words}_{busy}": partial(of, spins, busy)
            for words, spins in (("sleep", SPINS), ("spin", "300000"))
            for busy in (0, 2)
        },
        arguments.rounds,
    )
    say(
        part="shared",
        model=arguments.model,
        alone_utterances_per_s={k: round(found[f"{k}_0"], 2) for k in ("sleep", "spin")},
        times_as_long_beside_two={
            k: round(found[f"{k}_0"] / found[f"{k}_2"], 2) for k in ("sleep", "spin")
        },
    )


def bench_gpu(arguments: argparse.Namespace, folder: Path) -> None:
    if not torch.cuda.is_available():
        say(part="gpu", skipped="there is no GPU here")
        return
    gpu = torch.device("cuda:0")
    ours, tuned = our_step(arguments, gpu, compile=True), tuned_step(arguments, gpu)
    found = medians(
        {
            "lanser": lambda: clocked(ours, arguments.steps, gpu),
            "tuned": lambda: clocked(tuned, arguments.steps, gpu),
        },
        arguments.rounds,
    )
    rate = arguments.batch / found["lanser"]
    say(
        part="gpu, steps",
        gpu=torch.cuda.get_device_name(gpu),
        model=arguments.model,
        batch=arguments.batch,
        seconds=arguments.seconds,
        lanser_s=round(found["lanser"], 4),
        hand_tuned_s=round(found["tuned"], 4),
        of_hand_tuned=round(found["tuned"] / found["lanser"], 3),
        synthetic_utterances_per_s=round(rate, 1),
    )
    made = shards(arguments, folder)
    lines = trained(arguments, made, folder / "run", gpu, epochs=8, compile=True)
    say(
        part="gpu, from shards",
        from_shards_utterances_per_s=round(steady(lines, "utterances_per_s"), 1),
        of_synthetic=round(steady(lines, "utterances_per_s") / rate, 3),
        waiting=round(steady(lines, "waiting"), 4),
    )


PARTS = {
    "step": bench_step,
    "wait": bench_wait,
    "ranks": bench_ranks,
    "shared": bench_shared,
    "gpu": bench_gpu,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all but gpu")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=5, help="in a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=160, help="to train on")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shards", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rank-in", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    console.configure(quiet_=True)
    keep_memory()
    if arguments.rank_in:
        trained(arguments, arguments.shards, arguments.rank_in, CPU)
        return
    for name in arguments.parts or ("step", "wait", "ranks", "shared"):
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](arguments, Path(folder))


if __name__ == "__main__":
    main()
