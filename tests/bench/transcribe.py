"""How fast speech becomes records, and in how much memory.

    python tests/bench/transcribe.py [--speech FOLDER or JSONL] [--weights FOLDER] [PART ...]

Each figure is a ratio to a peer in the same run. FOLDER holds short clips (RAVDESS); without one,
the synthetic speech of examples/ is taken. JSONL has `audio_filepath` and `text`: then the word
error rates are printed too. The parts:

    whisper   64 clips through `lanser transcribe`, next to the `whisper` command line (which here
              decodes by soundfile, so that it needs no ffmpeg), all with the weights that ship; and
              to `whisper.transcribe` clip by clip, greedily, whose text is that of --full-context.
              With --weights, tiny.en for CTranslate2 (`ct2-transformers-converter --model
              openai/whisper-tiny.en --copy_files tokenizer.json`, or as published by Systran), next
              to faster-whisper too, its plain loop and its batches; it must be installed
    overhead  an engine that costs nothing: clips/s from a manifest to a file of records in two
              processes, next to a bare soundfile loop in two processes
    memory    peak memory over 1,000 and 10,000 clips, and over a recording of 10 minutes and of 3
              hours that is cut by voice activity
    gpu       1,000 clips on the first GPU with random weights in the sizes tiny, base and large,
              next to openai-whisper clip by clip
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from lanser_cli import console, workers
from lanser_cli.asr import transcriber
from lanser_cli.asr.engine import Transcript
from lanser_cli.asr.transcribe import TranscribeSettings, decode_ahead, make_transcriber
from lanser_cli.asr.wer import Errors, word_errors
from lanser_cli.audio import segments
from lanser_cli.audio.ingest import ingest
from lanser_cli.audio.sound import read
from lanser_cli.audio.walk import SUFFIXES
from lanser_cli.pipe import Pipe
from lanser_cli.records import (
    Outcome,
    Record,
)
from lanser_cli.stage import WindowFunction, unique, windows

STEPS = 24
"""Tokens that a random model writes for each clip."""
SIZES = {  # width, heads, layers, mel bands; as OpenAI's
    "tiny": (384, 6, 4, 80),
    "base": (512, 8, 6, 80),
    "large": (1280, 20, 32, 128),
}


def clips(speech: Path, count: int) -> list[Path]:
    """`count` files, evenly from all of the folder or list; over and over where it has fewer."""
    if speech.is_dir():
        found = sorted(path for path in speech.rglob("*") if path.suffix.lower() in SUFFIXES)
    else:
        found = list(references(speech))
    if count > len(found):
        return [found[index % len(found)] for index in range(count)]
    return [found[index * len(found) // count] for index in range(count)]


def references(speech: Path) -> dict[Path, str]:
    """What was said in each file; nothing where `speech` is a folder."""
    if speech.is_dir():
        return {}
    lines = map(json.loads, speech.read_text("utf-8").splitlines())
    return {Path(line["audio_filepath"]): line["text"] for line in lines}


def checkpoint(path: Path, size: str, *, layers: int | None = None) -> Path:
    """A Whisper of this size with random weights, English only, that writes `STEPS` tokens."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    width, heads, depth, mels = SIZES[size]
    depth = layers or depth
    dims = ModelDimensions(mels, 1500, width, heads, depth, 51_864, 2 * STEPS, width, heads, depth)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Whisper(dims)
        torch.nn.init.normal_(model.decoder.positional_embedding, std=0.1)
    torch.save({"dims": vars(dims), "model_state_dict": model.state_dict()}, path)
    return path


def clip_by_clip(model: Any, paths: Sequence[Path], *, half: bool = False) -> list[str]:
    """openai-whisper's own loop over a file, greedily and once."""
    once = {"temperature": 0.0, "without_timestamps": True, "condition_on_previous_text": False}
    never = dict.fromkeys(
        ("no_speech_threshold", "logprob_threshold", "compression_ratio_threshold")
    )
    return [
        model.transcribe(read(str(path)), language="en", fp16=half, **once, **never)["text"].strip()
        for path in paths
    ]


def decode_one_by_one(model: Any, paths: Sequence[Path], *, half: bool) -> list[str]:
    """`whisper.decode` clip by clip, for random weights, whose timestamps confuse `transcribe`."""
    import torch
    import whisper

    from lanser_cli.asr.engines.whisper import spectrogram

    options = whisper.DecodingOptions(
        language="en", temperature=0.0, without_timestamps=True, fp16=half
    )
    texts = []
    for path in paths:
        mel = spectrogram(torch.from_numpy(read(str(path))), model.dims.n_mels, 3000)
        mel = mel.to(model.device, torch.float16 if half else torch.float32)
        texts.append(whisper.decode(model, mel, options).text.strip())
    return texts


COMMAND_LINE = """
import importlib, sys, soundfile
room = importlib.import_module("whisper.transcribe")
mels = room.log_mel_spectrogram
room.log_mel_spectrogram = lambda path, *words, **options: (
    mels(soundfile.read(path, dtype="float32")[0], *words, **options)
)
sys.argv[0] = "whisper"
room.cli()
"""
"""The `whisper` command without ffmpeg, which would cost it time and not every machine has."""


FASTER = """
import json, sys
import numpy, soundfile
from faster_whisper import BatchedInferencePipeline, WhisperModel
weights, kind, beams, batch, out, *paths = sys.argv[1:]
model = WhisperModel(weights, device="cpu", compute_type=kind)
options = {"language": "en", "beam_size": int(beams), "without_timestamps": True}
sounds = [soundfile.read(path, dtype="float32")[0] for path in paths]
if batch == "0":
    texts = [
        "".join(one.text for one in model.transcribe(sound, **options)[0]) for sound in sounds
    ]
else:  # one recording with a stamp for each clip, which it takes for itself
    ends = numpy.cumsum([len(sound) / 16000 for sound in sounds])
    starts = [0.0, *ends[:-1]]
    stamps = [{"start": start, "end": end} for start, end in zip(starts, ends)]
    texts = [""] * len(sounds)
    found, _ = BatchedInferencePipeline(model).transcribe(
        numpy.concatenate(sounds), clip_timestamps=stamps, batch_size=int(batch), **options
    )
    for one in found:
        texts[int(numpy.searchsorted(starts, one.start + 0.01)) - 1] += one.text
json.dump(texts, open(out, "w"))
"""
"""faster-whisper on many short clips: its loop, or its batches of one recording's parts."""


def command(words: Sequence[object], folder: Path) -> float:
    """Seconds that a command takes, from its start to its end."""
    begun = time.perf_counter()
    result = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "CUDA_VISIBLE_DEVICES": "",
        },
    )
    seconds = time.perf_counter() - begun
    # The whisper command ends well even where it skipped every file.
    if result.returncode or "Skipping" in result.stderr + result.stdout:
        sys.exit(f"{words[:3]}: {result.stdout[-2000:]}{result.stderr[-2000:]}")
    return seconds


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


# ---------------------------------------------------------------- whisper


def shipped(path: Path) -> Path:
    """The weights of `--model embedded` as a checkpoint of openai-whisper, float32."""
    import torch

    from lanser_cli.asr.engines import embedded

    model = embedded.load("cpu")
    torch.save({"dims": vars(model.dims), "model_state_dict": model.state_dict()}, path)
    return path


def word_error_rate(paths: Sequence[Path], texts: Sequence[str], said: dict[Path, str]) -> str:
    if not said:
        return ""
    pairs = zip(paths, texts, strict=True)
    found = sum((word_errors(said[path], text) for path, text in pairs), Errors())
    return f"{100 * found.count / found.words:.1f} %"


def bench_whisper(arguments: argparse.Namespace, folder: Path) -> None:
    paths = clips(arguments.speech, arguments.clips)
    path = shipped(folder / "tiny.en.pt")
    listed = write_manifest(folder / "clips.jsonl", paths)
    out, full = folder / "ours.jsonl", folder / "full.jsonl"
    ours = (
        sys.executable,
        "-m",
        "lanser_cli",
        "transcribe",
        listed,
        "--device",
        "cpu",
        "--force",
        "-o",
    )
    whispers = [
        *(sys.executable, "-c", COMMAND_LINE, *paths, "--model", path, "--device", "cpu"),
        *("--fp16", "False", "--language", "en", "--output_dir", folder, "--verbose", "False"),
    ]
    commands = {
        "lanser transcribe": [*ours, out],
        "lanser transcribe --full-context": [*ours, full, "--full-context"],
        "whisper, as it comes (5 beams)": whispers,
        "whisper --beam_size None": [*whispers, "--beam_size", "None"],
    }
    answers: dict[str, Path] = {}
    for kind, beams, batch in product(("int8", "float32"), (1, 5), (0, 16)):
        if arguments.weights is not None:
            name = f"faster-whisper {kind}, {beams} beams, " + ("batches" if batch else "its loop")
            answers[name] = folder / f"{kind}-{beams}-{batch}.json"
            words = (sys.executable, "-c", FASTER, arguments.weights, kind, beams, batch)
            commands[name] = [*words, answers[name], *paths]
    greedy = "whisper.transcribe, greedy, clip by clip"
    kept = [
        name
        for name in (*commands, greedy)
        if not any(words in name for words in arguments.leave_out)
    ]
    commands = {name: commands[name] for name in commands if name in kept}
    took: dict[str, list[float]] = {name: [] for name in commands}
    heard: dict[str, list[str]] = {}
    for _ in range(arguments.repeats):  # alternating, since the machine is not ours alone
        out.unlink(missing_ok=True)
        full.unlink(missing_ok=True)
        for name, words in commands.items():
            took[name].append(command(words, folder))
            if name.startswith("whisper"):  # both write the same files
                written = [(folder / path.stem).with_suffix(".txt") for path in paths]
                heard[name] = [" ".join(file.read_text("utf-8").split()) for file in written]
    if greedy in kept:
        from lanser_cli.asr.engines import embedded

        begun = time.perf_counter()
        heard[greedy] = clip_by_clip(embedded.load("cpu"), paths)
        took[greedy] = [time.perf_counter() - begun]
    for name, file in (("lanser transcribe", out), ("lanser transcribe --full-context", full)):
        if name in commands:
            lines = file.read_text("utf-8").splitlines()
            heard[name] = [json.loads(line)["text"] for line in lines]
    heard |= {name: json.loads(answers[name].read_text()) for name in answers if name in commands}
    said = references(arguments.speech)
    print(f"{len(paths)} clips, load before {os.getloadavg()[0]:.1f}; seconds are medians\n")
    row("", "s", "times lanser's", f"texts as whisper.transcribe's, of {len(paths)}", "word errors")
    row(*["---"] * 5)
    for name, seconds in took.items():
        times = (each / own for each, own in zip(seconds, took["lanser transcribe"], strict=False))
        mine = [text.strip() for text in heard.get(name, [])]
        texts = heard.get(greedy, []) if mine else []
        equal = sum(one == other for one, other in zip(mine, texts, strict=True)) if texts else ""
        wrong = word_error_rate(paths, mine, said) if mine else ""
        row(name, f"{median(seconds):.1f}", f"{median(times):.2f}x", equal, wrong)


# ---------------------------------------------------------------- overhead


class Free:
    """An engine that costs nothing."""

    name, max_seconds = "free", None

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
        return [Transcript("nothing at all", -0.1, 0.1)] * len(clips)


def make_free(device: str) -> WindowFunction:
    return transcriber.Transcriber(Free(), 16)


def write_manifest(path: Path, paths: Sequence[Path]) -> Path:
    lines = [
        json.dumps({"id": f"u{number}", "audio_filepath": str(file)})
        for number, file in enumerate(paths)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def bare_loop(paths: Sequence[str], ready: Any, answers: Any) -> None:
    import soundfile

    soundfile.read(paths[0], dtype="float32")
    ready.wait()
    begun = time.perf_counter()
    for path in paths:
        soundfile.read(path, dtype="float32")
    answers.put(time.perf_counter() - begun)


def bare_rate(paths: Sequence[Path], processes: int) -> float:
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(processes), context.Queue()
    names = [str(path) for path in paths]
    crowd = [
        context.Process(target=bare_loop, args=(names[number::processes], ready, answers))
        for number in range(processes)
    ]
    for process in crowd:
        process.start()
    slowest = max(answers.get() for _ in crowd)
    for process in crowd:
        process.join()
    return len(paths) / slowest


def our_rate(paths: Sequence[Path], processes: int, folder: Path) -> float:
    listed = write_manifest(folder / "many.jsonl", paths)
    (folder / "out.jsonl").unlink(missing_ok=True)
    pipe = Pipe("transcribe", folder / "out.jsonl", window=transcriber.WINDOW)
    process = workers.spread(make_free, ["cpu"] * processes)
    times: list[float] = []

    def watched(pending: Iterator[list[Record]]) -> Iterator[list[Outcome]]:
        def passing() -> Iterator[list[Record]]:
            times.append(time.perf_counter())  # from here on the workers are ready
            yield from pending

        yield from process(passing())

    pipe.run(unique(ingest([str(listed)], "transcribe"), "transcribe"), watched)
    seconds = time.perf_counter() - times[0]
    assert pipe.tally.done == len(paths)
    return len(paths) / seconds


def bench_overhead(arguments: argparse.Namespace, folder: Path) -> None:
    paths = clips(arguments.speech, arguments.many)
    for path in set(paths):
        path.read_bytes()  # so that both find the files in memory
    row("processes", "bare soundfile, clips/s (median)", "lanser, clips/s (median)", "share")
    row("---", "---", "---", "---")
    for processes in (1, 2):
        bare, ours = [], []
        for _ in range(arguments.repeats):  # alternating, since the machine is not ours alone
            bare.append(bare_rate(paths, processes))
            ours.append(our_rate(paths, processes, folder))
        share = median(own / other for own, other in zip(ours, bare, strict=True))
        row(processes, f"{median(bare):.0f}", f"{median(ours):.0f}", f"{100 * share:.0f} %")


# ---------------------------------------------------------------- memory


def peak() -> float:
    """MB that this process has held at most."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def in_a_process(action: Callable[..., None], *words: object) -> list[float]:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=action, args=(answers, *words))
    process.start()
    found: list[float] = answers.get()
    process.join()
    return found


def many_clips(answers: Any, listed: Path, out: Path) -> None:
    console.configure(quiet_=True)
    begun = time.perf_counter()
    items = unique(ingest([str(listed)], "x"), "x")
    pipe = Pipe("transcribe", out, window=transcriber.WINDOW)
    pipe.run(items, workers.spread(make_free, ["cpu"]))
    answers.put([peak(), time.perf_counter() - begun])


def long_recording(answers: Any, path: Path, out: Path) -> None:
    console.configure(quiet_=True)
    import torch

    torch.set_num_threads(1)
    begun = time.perf_counter()
    pipe = Pipe("transcribe", out, window=transcriber.WINDOW)
    items = segments.segment(ingest([str(path)], "x"), segments.Segmentation("vad"), "x")
    pipe.run(items, workers.spread(make_free, ["cpu"]))
    answers.put([peak(), time.perf_counter() - begun, pipe.tally.done])


def recording(path: Path, paths: Sequence[Path], seconds: float) -> Path:
    """Real speech over and over, 44.1 kHz FLAC, written piece by piece."""
    import soundfile
    from scipy.signal import resample_poly

    speech = np.concatenate([read(str(file)) for file in paths])
    speech = resample_poly(speech, 441, 160).astype(np.float32)
    wanted = round(seconds * 44_100)
    with soundfile.SoundFile(path, "w", 44_100, 1, "PCM_16", format="FLAC") as file:
        while wanted > 0:
            file.write(speech[:wanted])
            wanted -= len(speech)
    return path


def bench_memory(arguments: argparse.Namespace, folder: Path) -> None:
    row("input", "peak MB", "s", "")
    row("---", "---", "---", "---")
    for count in (arguments.many // 10, arguments.many):
        listed = write_manifest(folder / f"{count}.jsonl", clips(arguments.speech, count))
        most, seconds = in_a_process(many_clips, listed, folder / f"{count}.out")
        row(f"{count} clips", f"{most:.0f}", f"{seconds:.1f}", f"{count / seconds:.0f} clips/s")
    for hours in (arguments.hours / 18, arguments.hours):
        path = recording(folder / "long.flac", clips(arguments.speech, 64), 3600 * hours)
        out = folder / f"{hours}.out"
        most, seconds, count = in_a_process(long_recording, path, out)
        speed = f"{count:.0f} utterances, {3600 * hours / seconds:.0f}x real time, one thread"
        row(f"{60 * hours:.0f} minutes", f"{most:.0f}", f"{seconds:.1f}", speed)


# ---------------------------------------------------------------- gpu


def bench_gpu(arguments: argparse.Namespace, folder: Path) -> None:
    import torch
    import whisper

    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        print("no GPU here: the same on the CPU, in small", file=sys.stderr)
    paths = clips(arguments.speech, arguments.gpu_clips)
    some = paths[: arguments.peer_clips]
    listed = [Record({"id": f"u{n}", "audio_filepath": str(p)}) for n, p in enumerate(paths)]
    settings = partial(
        TranscribeSettings,
        compression_ratio_threshold=1e9,
        logprob_threshold=-1e9,
        batch_size=arguments.batch,
        full_context=True,
        lang="en",
    )
    helpers = arguments.decoders
    row("size", "clip by clip, clips/s", "lanser, clips/s", "ratio", "texts equal")
    row("---", "---", "---", "---", "---")
    for size in arguments.sizes.split(","):
        path = checkpoint(folder / f"{size}.pt", size, layers=arguments.layers)
        model = whisper.load_model(str(path), device=device)
        decode_one_by_one(model, some[:2], half=device != "cpu")
        begun = time.perf_counter()
        texts = decode_one_by_one(model, some, half=device != "cpu")
        theirs = len(some) / (time.perf_counter() - begun)
        del model
        make = partial(make_transcriber, settings=settings(model=f"whisper:{path}"))
        process = workers.spread(make, [device], prepare=decode_ahead, helpers=helpers)
        list(process(windows(listed[: arguments.batch], 64)))  # warm
        waiting = list(windows(listed, 64))
        answers = process(waiting)
        first = islice(answers, min(helpers + 1, len(waiting) - 1))  # its decoders start
        found = [item for window in first for item in window]
        early, begun = len(found), time.perf_counter()
        found += [item for window in answers for item in window]
        ours = (len(found) - early) / (time.perf_counter() - begun)
        equal = sum(
            isinstance(item, Record) and item.fields["asr"].get("raw", item.text) == text
            for item, text in zip(found, texts, strict=False)
        )
        cells = (f"{theirs:.1f}", f"{ours:.1f}", f"{ours / theirs:.1f}x")
        row(size, *cells, f"{equal} of {len(texts)}")
        path.unlink()


PARTS = {
    "whisper": bench_whisper,
    "overhead": bench_overhead,
    "memory": bench_memory,
    "gpu": bench_gpu,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ravdess = ROOT.parent / "shared" / "data" / "ravdess"
    default = ravdess if ravdess.is_dir() else ROOT / "examples" / "speech" / "unlabeled"
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: the first three")
    parser.add_argument("--speech", type=Path, default=default, help="folder or JSONL of clips")
    parser.add_argument("--weights", type=Path, help="folder of tiny.en for CTranslate2")
    parser.add_argument(
        "--leave-out",
        nargs="*",
        default=[],
        help="leave out commands with one of these in the name",
    )
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--gpu-clips", type=int, default=1000)
    parser.add_argument("--peer-clips", type=int, default=100)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--decoders", type=int, default=4)
    parser.add_argument("--sizes", default="tiny,base,large")
    parser.add_argument("--layers", type=int, help="fewer layers than the size has, for a trial")
    arguments = parser.parse_args()
    console.configure(quiet_=True)
    for name in arguments.parts or ["whisper", "overhead", "memory"]:
        print(f"\n## {name}\n", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](arguments, Path(folder))


if __name__ == "__main__":
    main()
