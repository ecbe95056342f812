"""How fast weak labels are made, and how equal they stay.

    python tests/bench/entail.py [--text FOLDER] [PART ...]

Each figure is a ratio to a peer in the same run, or stands next to the limit it is measured
against. FOLDER holds go_test.tsv (GoEmotions). The parts:

    speed      a roberta-base with random weights, 43 labels: pairs/s of each precision, next to
               transformers' zero-shot-classification pipeline at its best batch size, and to what
               the processor multiplies in that precision
    agreement  the embedded model on the same sentences: labels equal to the pipeline's
    first      --top-k-first: pairs saved, labels equal to scoring all (--large FOLDER: the model
               whose work is saved)
    records    a million records whose scores are all cached: records/s and memory
    server     a language model on a server that takes 50 ms an answer: how busy its slots are
    gpu        roberta-large with random weights in bfloat16 on the first GPU
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from lanser_cli.devices import cpu_count
from lanser_cli.entailment import (
    EMBEDDED,
    CachedScorer,
    Cascade,
    LabelScorer,
    PairScorer,
    Taxonomy,
    Template,
    load_taxonomy,
)
from lanser_cli.entailment.cache import premise_key
from lanser_cli.entailment.cascade import measure_tolerance
from lanser_cli.entailment.labeller import WINDOW
from lanser_cli.entailment.llm_scorer import LlmScorer
from lanser_cli.entailment.server import SLOTS, Server
from lanser_cli.models.onednn import OneDnnLinear

TEMPLATE = "This person feels {}."
LATENCY = 0.05
"""Seconds that the server of the part server takes for an answer."""

EMBEDDED_FOLDER = ROOT / "lanser_cli" / "entailment" / "embedded"


def sentences(folder: Path, count: int) -> list[str]:
    """Every n-th comment of GoEmotions test, so that `count` remain."""
    lines = (folder / "go_test.tsv").read_text("utf-8").splitlines()
    texts = [line.split("\t")[0].replace("[NAME]", "John") for line in lines]
    return texts[:: len(texts) // count][:count]


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def random_model(folder: Path, layers: int, width: int) -> Path:
    """A RoBERTa of this size with random weights, and the embedded model's tokenizer."""
    tokenizer = tokenizer_of_embedded()
    config = transformers.RobertaConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        max_position_embeddings=514,
        type_vocab_size=2,
        vocab_size=50_265,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(("contradiction", "neutral", "entailment"))),
        label2id={"contradiction": 0, "neutral": 1, "entailment": 2},
    )
    torch.manual_seed(0)
    transformers.RobertaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tokenizer_of_embedded() -> transformers.PreTrainedTokenizerBase:
    return transformers.AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)


class Pipeline:
    """transformers' own zero-shot classification, in float32."""

    def __init__(self, folder: Path, taxonomy: Taxonomy, device: str = "cpu") -> None:
        self._pipe = transformers.pipeline(
            "zero-shot-classification", model=str(folder), device=device, dtype=torch.float32
        )
        self._labels = list(taxonomy.nouns)
        self._entailment = self._pipe.entailment_id

    def run(self, texts: Sequence[str], batch: int) -> None:
        self._pipe(list(texts), self._labels, hypothesis_template=TEMPLATE, batch_size=batch)

    def best_batch(self, texts: Sequence[str], sizes: Sequence[int]) -> int:
        took = {size: seconds(lambda size=size: self.run(texts, size)) for size in sizes}  # type: ignore[misc]
        return min(took, key=lambda size: took[size])

    def odds(self, texts: Sequence[str], batch: int) -> np.ndarray:
        """Log-odds of entailment from the pipeline's own logits `[texts, labels]`."""
        self._pipe.postprocess = lambda outputs, **_: np.concatenate(
            [output["logits"].numpy() for output in outputs]
        )
        logits = torch.from_numpy(
            np.stack(
                self._pipe(
                    list(texts), self._labels, hypothesis_template=TEMPLATE, batch_size=batch
                )
            )
        ).double()
        others = [index for index in range(logits.shape[-1]) if index != self._entailment]
        return (logits[..., self._entailment] - logits[..., others].logsumexp(-1)).numpy()


def in_windows(raw: Callable[[Sequence[str]], np.ndarray], texts: Sequence[str]) -> np.ndarray:
    """Scores as the labeller asks for them, a window of records at a time."""
    starts = range(0, len(texts), WINDOW)
    return np.concatenate([raw(texts[start : start + WINDOW]) for start in starts])


def matrix_rates(rows: int = 2048, width: int = 768, out: int = 3072) -> dict[str, float]:
    """What this processor multiplies in each precision, measured, in 10^9 operations/s."""
    linear, x = torch.nn.Linear(width, out), torch.randn(rows, width)
    onednn = OneDnnLinear(linear)
    short, y = torch.nn.Linear(width, out).bfloat16(), x.bfloat16()
    weight, z = (
        torch.randint(-127, 127, shape, dtype=torch.int8) for shape in ((width, out), (rows, width))
    )
    products: dict[str, Callable[[], object]] = {
        "pipeline": lambda: linear(x),
        "float32": lambda: onednn(x),
        "bfloat16": lambda: short(y),
        "int8": lambda: torch._int_mm(z, weight),
    }
    with torch.inference_mode():
        took = {name: [seconds(one) for _ in range(25)][5:] for name, one in products.items()}
    work = 2 * rows * width * out / 1e9
    return {name: work / statistics.median(times) for name, times in took.items()}


def speed(options: argparse.Namespace, work: Path) -> None:
    taxonomy = many_labels(options.labels)
    texts = sentences(options.text, options.sentences)
    folder = random_model(work / "roberta-base", 12, 768)
    pipeline = Pipeline(folder, taxonomy)
    batch = pipeline.best_batch(texts[:: max(1, len(texts) // 8)], (8, 16, 32, 43, 64))
    hypotheses = Template(TEMPLATE).hypotheses(taxonomy)
    scorers = {
        name: PairScorer(str(folder), precision=name) for name in ("float32", "bfloat16", "int8")
    }
    took: dict[str, list[float]] = {name: [] for name in ("pipeline", *scorers)}
    for _ in range(options.rounds):
        took["pipeline"].append(seconds(lambda: pipeline.run(texts, batch)))
        for name, scorer in scorers.items():
            run = lambda scorer=scorer: in_windows(lambda t: scorer.score(t, hypotheses), texts)  # noqa: E731
            took[name].append(seconds(run))
    rates = matrix_rates()
    pairs = len(texts) * len(hypotheses)
    tokens = mean_tokens(texts, hypotheses)
    work_a_pair = 2 * 12 * 12 * 768**2 * tokens / 1e9
    print(
        f"\nroberta-base, {len(texts)} sentences x {len(hypotheses)} labels, {tokens:.1f} tokens a "
        f"pair, medians of {options.rounds}; pipeline at its best batch size, {batch}.\n"
        "matrices: what of the processor's measured matrix rate the pairs' products come to\n"
    )
    print("| | pairs/s | ratio | matrices | of the processor's |\n|---|---|---|---|---|")
    base = statistics.median(took["pipeline"])
    for name, times in took.items():
        rate = pairs / statistics.median(times)
        print(
            f"| {name} | {rate:.1f} | {base / statistics.median(times):.2f} | "
            f"{rate * work_a_pair:.0f} of {rates[name]:.0f} GFLOP/s | "
            f"{rate * work_a_pair / rates[name]:.0%} |",
            flush=True,
        )


def many_labels(count: int) -> Taxonomy:
    """So many labels of Hume's 48."""
    return Taxonomy.of_labels(load_taxonomy("hume48").nouns[:count])


def mean_tokens(texts: Sequence[str], hypotheses: Sequence[str]) -> float:
    tokenizer = tokenizer_of_embedded()
    both = [tokenizer(list(t), add_special_tokens=False)["input_ids"] for t in (texts, hypotheses)]
    return 3 + sum(float(np.mean([len(ids) for ids in one])) for one in both)


def agreement(options: argparse.Namespace, work: Path) -> None:
    taxonomy = many_labels(options.labels)
    texts = sentences(options.text, options.agreement_sentences)
    pipeline = Pipeline(EMBEDDED_FOLDER, taxonomy)
    expected: np.ndarray | None = None

    def by_pipeline() -> None:
        nonlocal expected
        expected = pipeline.odds(texts, 32)

    took = seconds(by_pipeline)
    assert expected is not None
    pairs = expected.size
    print(f"\nembedded model, {len(texts)} sentences x {len(taxonomy.labels)} labels\n")
    print("| | pairs/s | ratio | equal labels | by scores alone | pairs scored twice |")
    print("|---|---|---|---|---|---|")
    print(f"| pipeline | {pairs / took:.0f} | 1.00 | | | |", flush=True)
    exact = LabelScorer(PairScorer(), taxonomy, (Template(TEMPLATE),))
    for name in ("float32", "bfloat16", "int8"):
        label_scorer = LabelScorer(PairScorer(precision=name), taxonomy, (Template(TEMPLATE),))
        cascade = Cascade(label_scorer)
        if name != "float32":
            cascade = Cascade(
                label_scorer, exact=exact, tolerance=measure_tolerance(label_scorer, exact)
            )
        raw = in_windows(label_scorer.raw, texts)
        found: np.ndarray | None = None

        def label(cascade: Cascade = cascade) -> None:
            nonlocal found
            found = in_windows(cascade.raw, texts)

        mine = seconds(label)
        assert found is not None
        equal = (found.argmax(axis=1) == expected.argmax(axis=1)).mean()
        alone = (raw.argmax(axis=1) == expected.argmax(axis=1)).mean()
        twice = float((found != raw).mean())
        print(
            f"| {name} | {pairs / mine:.0f} | {took / mine:.2f} | {equal:.1%} | {alone:.1%} | "
            f"{twice:.1%} |",
            flush=True,
        )


def first(options: argparse.Namespace, work: Path) -> None:
    if options.large is None:
        print("\n--top-k-first: name a model with --large FOLDER to measure it")
        return
    taxonomy = load_taxonomy("goemotions")
    texts = sentences(options.text, options.agreement_sentences)
    large, small = (  # each pair is scored once, whatever K
        LabelScorer(CachedScorer(PairScorer(name), work), taxonomy, (Template(TEMPLATE),))
        for name in (str(options.large), EMBEDDED)
    )
    everything = in_windows(large.raw, texts)
    print(f"\n--top-k-first, {len(texts)} sentences x {len(taxonomy.labels)} labels\n")
    print("| K | fewer pairs of the large model | equal labels |\n|---|---|---|")
    for candidates in (3, 5, 7, 10, 14):
        found = in_windows(Cascade(large, small, candidates).raw, texts)
        equal = (found.argmax(axis=1) == everything.argmax(axis=1)).mean()
        scored = np.isfinite(found).sum()
        print(f"| {candidates} | {found.size / scored:.1f}x | {equal:.1%} |", flush=True)


def records(options: argparse.Namespace, work: Path) -> None:
    """`lanser entail-label` as a user runs it, with a cache that knows every score."""
    taxonomy = load_taxonomy("ekman6")
    scorer = CachedScorer(PairScorer(), work / "cache")
    hypotheses = Template(TEMPLATE).hypotheses(taxonomy)
    count = options.records
    random = np.random.default_rng(0)
    path = work / "records.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, count, 10_000):
            texts = [
                f"it is the {n}th time today" for n in range(start, min(start + 10_000, count))
            ]
            for n, text in enumerate(texts, start):
                record = {"id": f"u{n:07d}", "audio_filepath": f"clips/u{n:07d}.flac"}
                file.write(json.dumps({**record, "duration": 3.21, "text": text}) + "\n")
            odds = random.normal(0, 2, (len(texts), len(hypotheses))).tolist()
            scorer.add(
                [
                    (premise_key(text), hypothesis, odd)
                    for text, row in zip(texts, odds, strict=True)
                    for hypothesis, odd in zip(hypotheses, row, strict=True)
                ]
            )
    command = [sys.executable, "-m", "lanser_cli", "entail-label", str(path), "-t", "ekman6"]
    command += ["--cache", str(work / "cache"), "--force", "-o", str(work / "labelled.jsonl")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    memory = list(resident(process, work / "labelled.jsonl.part", count))
    assert process.stderr is not None
    closing = process.stderr.read().splitlines()[-1]
    assert process.wait() == 0, closing
    rate = re.search(r"([\d.]+)/s\)", closing)
    assert rate and f"{count} in, {count} out" in closing, closing
    print(
        f"\n{count} distinct records, every score cached, {len(taxonomy.labels)} labels: "
        f"{float(rate[1]):.0f} records/s\n"
        f"resident memory {memory[0]:.0f} MB after the first tenth, {max(memory):.0f} MB at most: "
        f"grown by {max(memory) - memory[0]:.0f} MB",
        flush=True,
    )


def resident(process: subprocess.Popen[str], output: Path, count: int) -> Iterator[float]:
    """Resident memory in MB, now and then, from when a tenth of the records is written."""
    size = None
    while process.poll() is None:
        time.sleep(0.02)
        try:
            written = output.stat().st_size
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            continue
        if size is None and written:
            with output.open("rb") as file:
                size = len(file.readline())
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        if found and size and written > count * size / 10:
            yield int(found[1]) / 1000


def server(options: argparse.Namespace, work: Path) -> None:
    """The LLM scorer against the tests' scripted server, which is a process of its own."""
    latency, labels = LATENCY, 6
    port = multiprocessing.Value("i", 0)
    process = multiprocessing.Process(target=serve, args=(latency, port), daemon=True)
    process.start()
    while not port.value:
        time.sleep(0.05)
    scorer = LlmScorer(Server(f"llm:tiny@http://127.0.0.1:{port.value}"))
    hypotheses = Template(TEMPLATE).hypotheses(load_taxonomy("ekman6"))
    scorer.score(["a first one"], hypotheses[:1])
    premises = [f"it is the {n}th time today" for n in range(options.judged)]

    def judge() -> None:
        for start in range(0, len(premises), WINDOW):
            scorer.score(premises[start : start + WINDOW], hypotheses)

    before = time.process_time()
    took = seconds(judge)
    work_ms = 1000 * (time.process_time() - before) / (len(premises) * labels)
    process.terminate()
    asked = len(premises) * labels
    print(
        f"\n{asked} questions to a server that takes {1000 * latency:.0f} ms for each, {SLOTS} at "
        f"once: {asked / took:.0f}/s, {asked * latency / (took * SLOTS):.0%} of its slots busy, "
        f"{work_ms:.2f} ms of our processor each"
    )


def serve(latency: float, port: Any) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from llm_server import served

    with served(latency=latency) as scripted:
        port.value = scripted.server_address[1]
        time.sleep(3600)


def gpu(options: argparse.Namespace, work: Path) -> None:
    if not torch.cuda.is_available():
        print("\ngpu: there is none here")
        return
    size = 8192
    a, b = (torch.randn(size, size, dtype=torch.bfloat16, device="cuda") for _ in range(2))

    def multiply() -> None:
        for _ in range(10):
            a @ b
        torch.cuda.synchronize()

    multiply()
    peak = 10 * 2 * size**3 / min(seconds(multiply) for _ in range(5))
    taxonomy = many_labels(options.labels)
    texts = sentences(options.text, 2000)
    folder = random_model(work / "roberta-large", 24, 1024)
    hypotheses = Template(TEMPLATE).hypotheses(taxonomy)
    scorer = PairScorer(str(folder), device="cuda:0")
    scorer.score(texts[:200], hypotheses)
    times = [
        seconds(lambda: in_windows(lambda t: scorer.score(t, hypotheses), texts))
        for _ in range(options.rounds)
    ]
    pipeline = Pipeline(folder, taxonomy, "cuda:0")
    few = texts[::100]
    pipeline.run(few[:2], 1)
    base = len(few) / statistics.median(seconds(lambda: pipeline.run(few, 1)) for _ in range(3))
    mine = len(texts) / statistics.median(times)
    work_a_pair = 2 * 24 * 12 * 1024**2 * mean_tokens(texts, hypotheses)
    rate = mine * len(hypotheses) * work_a_pair
    print(
        f"\n{torch.cuda.get_device_name()}, roberta-large, bfloat16, {len(hypotheses)} labels: "
        f"{mine * len(hypotheses):.0f} pairs/s, {mine / base:.1f} times the pipeline's default\n"
        f"{rate / 1e12:.0f} of {peak / 1e12:.0f} TFLOP/s in matrices: {rate / peak:.0%}"
    )


PARTS = {
    "speed": speed,
    "agreement": agreement,
    "first": first,
    "records": records,
    "server": server,
    "gpu": gpu,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", type=Path, default=ROOT.parent / "shared/data/text")
    parser.add_argument("--large", type=Path, help="a model folder, for the part first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=50, help="of the part speed")
    parser.add_argument("--labels", type=int, default=43, help="of the parts speed, agreement, gpu")
    parser.add_argument("--agreement-sentences", type=int, default=500)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--judged", type=int, default=1024, help="texts of the part server")
    # A default that is no choice would be refused, as a list is.
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all but gpu")
    options = parser.parse_args()
    if not (options.text / "go_test.tsv").is_file():
        sys.exit(f"{options.text}: there is no go_test.tsv in it: name its folder with --text")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(cpu_count())
    print(f"{torch.get_num_threads()} threads, {processor()}, PyTorch {torch.__version__}")
    with tempfile.TemporaryDirectory() as temporary:
        for part in options.parts or [name for name in PARTS if name != "gpu"]:
            work = Path(temporary) / part
            work.mkdir()
            PARTS[part](options, work)


def processor() -> str:
    """The processor's name and the instructions that matter here."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*:\s*(.*)", text)
    wanted = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx_vnni")
    has = [flag for flag in wanted if re.search(rf"\b{flag}\b", text)]
    return f"{name[1] if name else 'unknown processor'} ({', '.join(has) or 'none of AMX, VNNI'})"


if __name__ == "__main__":
    main()
