"""How many words engines get wrong, and what a clip costs them.

    python tests/bench/words.py SET.jsonl ... --model embedded --model "whisper:base.pt --lang de"

SET.jsonl has `audio_filepath`, `text` (what was said) and perhaps `speaker`. A --model is what
follows `lanser transcribe --model`, options included. Printed is a row for each set and model: the
word error rate in per cent with its 95 % interval (Student's t on the jackknife over speakers, or
over utterances where not all have one), the clips that were heard a second time in 30 s, the
CPU-seconds of a clip, start-up included, and how many texts are those of the first model.

With --window MARGIN,TAIL (seconds, repeatable) each model is run with each window: so the one that
Whisper hears a short clip in was chosen.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from scipy.stats import t as student

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from lanser_cli.asr.wer import Errors, word_errors

LANSER = """
import sys
from lanser_cli import app
from lanser_cli.asr import whisper_context
margin, tail, *words = sys.argv[1:]
if margin:
    whisper_context.MARGIN, whisper_context.TAIL = float(margin), float(tail)
sys.exit(app.main(words))
"""
"""The command, with another window."""


def transcribed(
    listed: Path, words: Sequence[str], out: Path, window: str
) -> tuple[list[Any], float]:
    """The records that `lanser transcribe` writes, and the CPU-seconds it takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    margin, _, tail = window.partition(",")
    command = [
        sys.executable,
        "-c",
        LANSER,
        margin,
        tail,
        "transcribe",
        str(listed),
        "-o",
        str(out),
    ]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [*command, "--force", "-o", str(out), "--device", "cpu", "-q", "--model", *words],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()], seconds


def rate(units: Sequence[Errors]) -> str:
    """The word error rate over units such as speakers, with its interval."""
    total = sum(units, Errors())
    found, count = total.count / total.words, len(units)
    if count < 5:
        return f"{100 * found:.2f}"
    # A unit that said nothing counts in neither sum.
    without = [(total.count - one.count) / (total.words - one.words) for one in units]
    pseudo = [count * found - (count - 1) * value for value in without]
    mean = sum(pseudo) / count
    spread = math.sqrt(sum((one - mean) ** 2 for one in pseudo) / (count - 1) / count)
    reach = float(student.ppf(0.975, count - 1)) * spread
    return f"{100 * found:.2f} [{100 * max(found - reach, 0):.2f}, {100 * (found + reach):.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET.jsonl")
    parser.add_argument("--model", action="append", required=True, help="engine, and its options")
    parser.add_argument("--window", action="append", help="MARGIN,TAIL in seconds")
    parser.add_argument("--every", type=int, default=1, help="take every N-th utterance")
    arguments = parser.parse_args()
    columns = ("set", "model", "n", "units", "word error rate, %", "again", "CPU s", "as the first")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for path in arguments.sets:
        lines = path.read_text("utf-8").splitlines()[:: arguments.every]
        said = {found["id"]: found for found in map(json.loads, lines)}
        key = "speaker" if all(found.get("speaker") for found in said.values()) else "id"
        first: list[str] = []
        with tempfile.TemporaryDirectory() as folder:
            listed = Path(folder, "set.jsonl")
            listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
            for model, window in product(arguments.model, arguments.window or [""]):
                out = Path(folder, f"{model} {window}.jsonl".replace("/", " "))
                records, seconds = transcribed(listed, model.split(), out, window)
                units: dict[str, Errors] = {}
                again = 0
                for record in records:
                    about = said[record["id"]]
                    found = word_errors(about["text"], record["text"], about.get("lang"))
                    units[about[key]] = units.get(about[key], Errors()) + found
                    again += record["asr"].get("context_seconds") == 30.0
                texts = [record["text"] for record in records]
                first = first or texts
                equal = sum(one == other for one, other in zip(texts, first, strict=True))
                cells = [
                    path.stem,
                    f"{model} {window}".strip(),
                    len(records),
                    f"{len(units)} {key}s",
                ]
                cells += [rate(list(units.values())), again, f"{seconds / len(records):.2f}", equal]
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
