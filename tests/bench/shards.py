"""How fast shards are written, and read for training, and whether ranks share them out evenly.

    python tests/bench/shards.py [--speech FOLDER] [--speech FOLDER] [PART ...]

The parts:

    write   clips/s from files to shards by two workers, workers started and all, next to a plain
            loop over `webdataset.ShardWriter` with the same FLAC settings, and to two workers that
            encode and hand nothing on
    codec   what Opus saves, and what it costs in log-mel
    read    clips/s of 3 s crops in batches of 32 with two workers, from shards of the speech in
            the folders (RAVDESS and EmoDB in FLAC; without one, the synthetic speech of examples/),
            next to a webdataset pipeline that batches in its workers, and to a map-style DataLoader
            over loose files; taking turns, after a warm-up each
    order   how well an epoch's order is mixed, at once and in blocks
    memory  bytes an utterance that workers share, and what a worker adds to it in an epoch; and
            peaks over few clips, many, and many in one shard, of the process and its largest worker
    ranks   tones packed, verified, audited (train and test must share nothing), and read by three
            ranks under torchrun with two workers each: each must be counted once an epoch
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from lanser_cli import console, stage, workers
from lanser_cli.audio import sound
from lanser_cli.audio.sound import SAMPLE_RATE, load
from lanser_cli.audio.walk import SUFFIXES
from lanser_cli.choices import Codec
from lanser_cli.records import Record
from lanser_cli.shards import encoder, reader
from lanser_cli.shards.pack import pack as pack_shards
from lanser_cli.shards.verify import verify_shards
from lanser_cli.shards.writer import ShardWriter

if TYPE_CHECKING:  # it brings torch, and every worker imports this module before it begins
    from lanser_cli.training.examples import Example

BATCH, WORKERS, CROP = 32, 2, 3 * SAMPLE_RATE


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def pack(records: Iterable[Record], folder: Path, max_count: int) -> list[Example]:
    from lanser_cli.training.examples import Example

    console.configure(quiet_=True)
    pack_shards(iter(records), ShardWriter(folder, max_count=max_count))
    found = [item for item in reader.records_of([str(folder)], "bench") if isinstance(item, Record)]
    return [Example(record, (1.0, 0.0)) for record in found]


def clips(arguments: argparse.Namespace) -> list[Path]:
    return [
        path
        for place in arguments.speech
        for path in sorted(place.rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]


# ---------------------------------------------------------------- write


def to_pack(arguments: argparse.Namespace) -> Iterator[Record]:
    """As many records as `--clips` says, the clips over and over under new ids."""
    found = clips(arguments)
    for n in range(arguments.clips):
        path = str(found[n % len(found)])
        yield Record({"id": f"u{n:06d}", "audio_filepath": path, "label": "joy"})


def in_a_plain_loop(records: list[Record], folder: Path) -> None:
    import soundfile
    import webdataset

    folder.mkdir()
    with webdataset.ShardWriter(f"{folder}/speech-%06d.tar", maxcount=1000, verbose=0) as sink:
        for record in records:
            sound, rate = soundfile.read(record.audio_filepath, dtype="int16")
            buffer = BytesIO()
            soundfile.write(buffer, sound, rate, format="FLAC", subtype="PCM_16")
            fields = dict(record.fields)
            sink.write({"__key__": record.id, "flac": buffer.getvalue(), "json": fields})


class EncodesForNothing:
    def __call__(self, window: Sequence[Record]) -> list[Any]:
        for record in window:
            encoder.Encoder().encode(record)
        return list(window)


def for_nothing(device: str) -> EncodesForNothing:
    return EncodesForNothing()


def bench_write(arguments: argparse.Namespace, folder: Path) -> None:
    records = list(to_pack(arguments))

    def lanser(target: Path) -> None:
        pack_shards(records, ShardWriter(target), processes=WORKERS)

    def encoding(target: Path) -> None:
        target.mkdir()
        process = workers.spread(for_nothing, ["cpu"] * WORKERS)
        assert sum(map(len, process(stage.windows(records, 16)))) == len(records)

    def loop(target: Path) -> None:
        in_a_plain_loop(records, target)

    ways = {"lanser": lanser, "ShardWriter, plain loop": loop, "encoding alone": encoding}
    took: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(arguments.rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way(folder / f"{turn}-{name}")
            took[name].append(len(records) / (time.perf_counter() - begun))
            shutil.rmtree(folder / f"{turn}-{name}")
    own = statistics.median(took["lanser"])
    row("way", "clips/s, median", "lowest", "lanser is")
    row("---", "---", "---", "---")
    for name, found in took.items():
        median = statistics.median(found)
        row(name, round(median), round(min(found)), f"{own / median:.2f}x")


def bench_codec(arguments: argparse.Namespace, folder: Path) -> None:
    import torch

    from lanser_cli.models.front_end import FrontEnd, LogMel

    records = list(islice(to_pack(arguments), 1000))
    sizes, heard = {}, {}
    for codec in get_args(Codec):
        begun = time.perf_counter()
        writer = ShardWriter(folder / codec)
        index = pack_shards(records, writer, codec=codec, processes=WORKERS)
        rate = len(records) / (time.perf_counter() - begun)
        total = sum(shard["bytes"] for shard in index["shards"])
        sizes[codec] = (total, rate, index["seconds"])
        heard[codec] = [
            load(item)
            for item in reader.records_of([str(folder / codec)], "bench")
            if isinstance(item, Record)
        ]
    front = LogMel(FrontEnd()).eval()
    differences = []
    for exact, lossy in zip(heard["flac"], heard["opus"], strict=True):
        one, other = (front(torch.from_numpy(sound)[None]) for sound in (exact, lossy))
        differences.append(((one - other).square().mean() / one.var()).item())
    row("codec", "kB a second of speech", "packed, clips/s")
    row("---", "---", "---")
    for codec, (total, rate, seconds) in sizes.items():
        row(codec, f"{total / seconds / 1000:.1f}", round(rate))
    share = statistics.median(differences)
    print(f"\nlog-mel of opus: off by {100 * share:.1f} % of its variance (median of the clips)")


# ---------------------------------------------------------------- read


def cropped(sound: np.ndarray) -> np.ndarray:
    start = random.randint(0, max(0, len(sound) - CROP))
    crop = sound[start : start + CROP]
    return np.pad(crop, (0, CROP - len(crop)))


class Loose:
    """A map-style data set over files, as a tutorial has it."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        import soundfile

        sound, _ = soundfile.read(self.paths[index], dtype="float32")
        return cropped(sound), 0


def decoded(sample: dict[str, Any]) -> tuple[np.ndarray, int]:
    import soundfile

    sound, _ = soundfile.read(BytesIO(sample["flac"]), dtype="float32")
    return cropped(sound), 0


def ours(examples: list[Example], epoch: int) -> Iterator[Any]:
    from lanser_cli.training import batches
    from lanser_cli.training.batches import Crops, StepSampler

    crops = Crops(examples, CROP, seed=epoch)
    sampler = StepSampler(len(examples), BATCH, 1, seed=epoch, shards=crops.shards)
    for waveform, _, _ in batches.batches(crops, sampler, WORKERS):
        yield waveform


def theirs(tars: list[str], epoch: int) -> Iterator[Any]:
    import webdataset

    pipeline = webdataset.WebDataset(tars, shardshuffle=len(tars), seed=epoch, empty_check=False)
    pipeline = pipeline.shuffle(1000).map(decoded).batched(BATCH)
    yield from (batch for batch, _ in webdataset.WebLoader(pipeline, None, num_workers=WORKERS))


def mapped(paths: list[Path], epoch: int) -> Iterator[Any]:
    from torch.utils.data import DataLoader

    batches = DataLoader(Loose(paths), BATCH, shuffle=True, num_workers=WORKERS)
    yield from (batch for batch, _ in batches)


def rate(batches: Iterable[Any], expected: int) -> float:
    """Clips a second, from the first batch on: workers take the same time to start for all."""
    begun = 0.0
    count = 0
    for batch in batches:
        if not begun:
            begun, first = time.perf_counter(), len(batch)
        count += len(batch)
    assert count == expected, f"{count} clips and not {expected}"
    return (count - first) / (time.perf_counter() - begun)


def bench_read(arguments: argparse.Namespace, folder: Path) -> None:
    import soundfile

    found = clips(arguments)
    loose, records = [], []
    (folder / "loose").mkdir()
    for number in range(arguments.clips):
        path = folder / "loose" / f"u{number:06d}.flac"
        source = found[number % len(found)]
        if number < len(found):
            soundfile.write(path, sound.read(str(source)), SAMPLE_RATE)
        else:
            path.write_bytes(loose[number - len(found)].read_bytes())
        loose.append(path)
        records.append(Record({"id": path.stem, "audio_filepath": str(path), "label": "joy"}))
    examples = pack(records, folder / "shards", -(-len(records) // 8))
    tars = sorted(str(path) for path in (folder / "shards").glob("*.tar"))
    readers: dict[str, Callable[[int], Iterator[Any]]] = {
        "lanser": lambda epoch: ours(examples, epoch),
        "webdataset, batched in the worker": lambda epoch: theirs(tars, epoch),
        "map-style, loose files": lambda epoch: mapped(loose, epoch),
    }
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(arguments.rounds + 1):
        for name, read in readers.items():
            found_rate = rate(read(turn), len(records))
            if turn:  # the first turn warms up
                rates[name].append(found_rate)
    mine = statistics.median(rates["lanser"])
    print(
        f"{len(records)} clips in {len(tars)} shards, {arguments.rounds} rounds, {WORKERS} workers"
    )
    row("", "clips/s, median", "each", "lanser's is")
    row("---", "---", "---", "---")
    for name, each in rates.items():
        middle = statistics.median(each)
        row(name, f"{middle:.0f}", " ".join(f"{r:.0f}" for r in each), f"{mine / middle:.2f}x")


# ---------------------------------------------------------------- order and memory


def bench_order(arguments: argparse.Namespace, folder: Path) -> None:
    from lanser_cli.training.batches import StepSampler

    count = arguments.samples
    places = np.arange(count) // 1000
    row("--shuffle-buffer", "correlation with the order written", "of a batch from one shard, most")
    row("---", "---", "---")
    for buffer in (0, 1000, 5000):
        order = StepSampler(count, BATCH, 1, seed=0, buffer=buffer, shards=places).order(0)
        correlation = np.corrcoef(order, np.arange(count))[0, 1]
        batches = [places[order[at : at + BATCH]] for at in range(0, count - BATCH + 1, BATCH)]
        most = np.mean([np.bincount(batch).max() for batch in batches])
        row(buffer or "0 (all at once)", f"{correlation:+.3f}", f"{most:.1f} of {BATCH}")


def private(process: int) -> float:
    """MB that no other process shares."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


def bench_memory(arguments: argparse.Namespace, folder: Path) -> None:
    from multiprocessing import get_context

    from lanser_cli.training.batches import Crops, _freeze
    from lanser_cli.training.examples import Example

    count = arguments.samples
    scores = dict.fromkeys(("anger", "disgust", "fear", "joy", "sadness", "surprise"), 1 / 6)
    examples = [
        Example(
            Record(
                json.loads(
                    json.dumps(
                        {
                            "id": f"u{number:07d}",
                            "audio_filepath": f"/none/speech.tar#u{number:07d}.flac",
                            "duration": 3.0,
                            "text": f"this is sentence number {number} of all that were spoken",
                            "emotion": "joy",
                            "emotion_scores": scores,
                        }
                    )
                )
            ),
            tuple(scores.values()),
        )
        for number in range(count)
    ]
    crops = Crops(examples, CROP, seed=0)

    def epoch(compact: bool, answers: Any) -> None:
        _freeze(0)
        before = private(os.getpid())
        for index in np.random.default_rng(0).permutation(count).tolist():
            if compact:
                crops._span(index), crops.targets[[index]], crops._places[index].tolist()
            else:
                example = examples[index]
                str(example.record.audio_filepath), example.record.duration, example.target
        answers.put(private(os.getpid()) - before)

    row("", "bytes an utterance", "MB that a worker adds in an epoch")
    row("---", "---", "---")
    for name, held, compact in (("records", examples, False), ("compact", crops, True)):
        context = get_context("fork")
        answers = context.Queue()
        process = context.Process(target=epoch, args=(compact, answers))
        process.start()
        added = answers.get()
        process.join()
        row(name, f"{len(pickle.dumps(held)) / count:.0f} (pickled)", f"{added:.0f}")

    print()
    row("clips", "in a shard", "writing, MB", "its workers", "reading, MB", "its workers")
    row("---", "---", "---", "---", "---", "---")
    for number, per_shard in ((count // 20, 1000), (count // 2, 1000), (count // 2, count)):
        target = folder / f"{number}-{per_shard}"
        figures: list[float] = []
        for action in (write_so_many, read_so_many):
            context = get_context("spawn")
            answers = context.Queue()
            words = (answers, arguments.speech, number, per_shard, target)
            process = context.Process(target=action, args=words)
            process.start()
            figures += answers.get()
            process.join()
        row(number, per_shard, *(f"{figure:.0f}" for figure in figures))


def peaks() -> list[float]:
    """MB that this process has held at most, and the largest of those that it started."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    assert found is not None
    return [int(found[1]) / 1024, children / 1024]


def write_so_many(
    answers: Any, speech: Sequence[Path], count: int, per_shard: int, target: Path
) -> None:
    console.configure(quiet_=True)
    records = to_pack(argparse.Namespace(speech=speech, clips=count))
    writer = ShardWriter(target, max_count=per_shard)
    pack_shards(records, writer, processes=WORKERS)
    answers.put(peaks())


def read_so_many(
    answers: Any, speech: Sequence[Path], count: int, per_shard: int, target: Path
) -> None:
    from lanser_cli.training.examples import Example, WeakUtterance

    found = reader.records_of([str(target)], "bench")
    records = [WeakUtterance.of(item, "hard") for item in found if isinstance(item, Record)]
    examples = [Example(record, (1.0, 0.0)) for record in records]
    assert sum(map(len, ours(examples, 0))) == count
    answers.put(peaks())


# ---------------------------------------------------------------- ranks


def tones(folder: Path, count: int) -> Iterator[Record]:
    import soundfile

    clock = np.arange(SAMPLE_RATE // 5) / SAMPLE_RATE
    for number in range(count):
        path = folder / f"t{number:06d}.wav"
        wave = 0.1 * np.sin(2 * np.pi * (100 + number / 10) * clock)  # no two alike
        soundfile.write(path, wave, SAMPLE_RATE)
        about = {"id": path.stem, "audio_filepath": str(path), "label": "joy"}
        split = "train" if number % 10 else "test"
        yield Record({**about, "speaker": f"s{number % 50}", "split": split})


def be_a_rank(folder: Path) -> None:
    """One of the processes that torchrun starts: it tells what it was given, step by step."""
    import torch

    from lanser_cli.training import batches
    from lanser_cli.training.batches import Crops, StepSampler
    from lanser_cli.training.examples import Example
    from lanser_cli.training.ranks import process_group

    found = [item for item in reader.records_of([str(folder / "shards")], "x")]
    examples = [Example(item, (1.0, 0.0)) for item in found if isinstance(item, Record)]
    with process_group(torch.device("cpu")) as ranks:
        crops = Crops(examples, 1600, seed=0)
        sampler = StepSampler(
            len(crops), BATCH, 2, seed=0, rank=ranks.rank, ranks=ranks.count, shards=crops.shards
        )
        plan = list(sampler)
        seen: list[Counter[int]] = [Counter(), Counter()]
        steps = 0
        for keys, (waveform, _, weight) in zip(
            plan, batches.batches(crops, sampler, WORKERS), strict=True
        ):
            loud = waveform.ne(0).any(dim=1)
            # All ranks meet at every step, as in training: one step too few would hang.
            torch.distributed.all_reduce(weight.sum())
            for (epoch, index, _), heard, counted in zip(
                keys, loud.tolist(), weight.tolist(), strict=True
            ):
                seen[epoch][index] += int(heard and counted)
            steps += 1
        answer = {"steps": steps, "seen": [dict(epoch) for epoch in seen]}
        (folder / f"rank-{ranks.rank}.json").write_text(json.dumps(answer))


def bench_ranks(arguments: argparse.Namespace, folder: Path) -> None:
    (folder / "tones").mkdir()
    begun = time.perf_counter()
    pack(tones(folder / "tones", arguments.samples), folder / "shards", 1000)
    packed = time.perf_counter() - begun
    faults = verify_shards(folder / "shards")
    assert not faults, faults
    begun = time.perf_counter()
    audit = [sys.executable, "-m", "lanser_cli", "audit", folder / "shards"]
    subprocess.run(audit, check=True, capture_output=True, timeout=1500, cwd=ROOT)
    audited = time.perf_counter() - begun
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=3", __file__, "--rank-in", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    begun = time.perf_counter()
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=1500)
    took = time.perf_counter() - begun
    answers = [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(3)]
    print(
        f"{arguments.samples} tones packed in {packed:.0f} s and whole; train and test audited in "
        f"{audited:.0f} s and nothing shared; read in {took:.0f} s"
    )
    row("rank", "steps", *(f"counted in epoch {epoch}" for epoch in (1, 2)))
    row("---", "---", "---", "---")
    for rank, answer in enumerate(answers):
        row(rank, answer["steps"], *(sum(seen.values()) for seen in answer["seen"]))
    for epoch in range(2):
        total: Counter[str] = Counter()
        for answer in answers:
            total.update(answer["seen"][epoch])
        assert len(total) == arguments.samples and set(total.values()) == {1}
    assert len({answer["steps"] for answer in answers}) == 1
    print("the same steps on every rank; each tone counted exactly once in each epoch")


PARTS = {
    "write": bench_write,
    "codec": bench_codec,
    "read": bench_read,
    "order": bench_order,
    "memory": bench_memory,
    "ranks": bench_ranks,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [ROOT.parent / "shared" / "data" / name for name in ("ravdess", "emodb")]
    default = [path for path in known if path.is_dir()]
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--speech", type=Path, action="append", help="of short clips; repeatable")
    parser.add_argument("--clips", type=int, default=6000, help="clips to write, and to read")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=20_000, help="of the other parts")
    parser.add_argument("--rank-in", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.speech = arguments.speech or default or [ROOT / "examples" / "speech" / "unlabeled"]
    console.configure(quiet_=True)
    if arguments.rank_in:
        be_a_rank(arguments.rank_in)
        return
    for name in arguments.parts or PARTS:
        print(f"\n## {name}\n", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](arguments, Path(folder))


if __name__ == "__main__":
    main()
