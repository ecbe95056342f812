"""How right `agree` finds its voters to be, and how fast it is.

    python tests/bench/voters.py [--text FOLDER] [--count N] [PART ...]

The parts:

    estimates   voters on GoEmotions' test comments (single label, brought to Ekman's six and
                neutral; the first 1,000): the embedded model with two templates, each plain and
                with `--calibrate batch`, and logistic regression on the words of the training
                comments. Each voter's true and estimated accuracy, and that of the agreed label;
                then the same with votes drawn by the voters' true confusions, each by
                itself, for as many comments and for twenty times as many
    speed       three files of N records each (default a million): records/s over all three, and
                the peak of memory
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from lanser_cli import app
from lanser_cli.entailment.taxonomy import load_taxonomy

TEXT = ROOT.parent / "shared" / "data" / "text"
COMMENTS = 1000
TEMPLATES = {"a": "This person feels {}.", "b": "The speaker of this is {adjective}."}
SETS = [("a", "ab", "words"), ("a", "bb", "words"), ("a", "b", "words"), ("a", "b", "ab")]


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


# ---------------------------------------------------------------- estimates


def comments(text: Path, part: str) -> Iterator[dict[str, str]]:
    """The single-label comments of a part, with labels of meld7."""
    taxonomy = load_taxonomy("goemotions")
    common = dict(zip(taxonomy.labels, taxonomy.common, strict=True))
    names = (text / "go_labels.txt").read_text().split()
    for line in (text / f"go_{part}.tsv").read_text(encoding="utf-8").splitlines():
        said, labels, identifier = line.split("\t")
        label = None if "," in labels else common[names[int(labels)]]
        if label and said.strip():
            yield {"id": identifier, "text": said, "label": label}


def write(path: Path, records: Sequence[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def label(text: Path, work: Path) -> dict[str, list[str | None]]:
    """What each voter says of each test comment; `gold` is the truth."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    test, train = list(comments(text, "test"))[:COMMENTS], list(comments(text, "train"))
    path = write(work / "test.jsonl", test)
    votes: dict[str, list[str | None]] = {"gold": [record["label"] for record in test]}
    for name, template in TEMPLATES.items():
        for suffix, calibrate in (("", "none"), ("b", "batch")):
            out = work / f"{name}{suffix}.jsonl"
            line = ["entail-label", path, "-t", "meld7", "--template", template, "--quiet"]
            line += ["--calibrate", calibrate, "--cache", work / "cache", "--device", "cpu"]
            assert app.main([str(word) for word in [*line, "-o", out]]) == 0
            votes[name + suffix] = [record["emotion"] for record in read(out)]
    words = TfidfVectorizer(min_df=3, sublinear_tf=True, ngram_range=(1, 2))
    vectors = words.fit_transform([record["text"] for record in train])
    model = LogisticRegression(max_iter=1000, C=3).fit(vectors, [r["label"] for r in train])
    votes["words"] = model.predict(words.transform([record["text"] for record in test])).tolist()
    return votes


def agreed(votes: dict[str, Sequence[str | None]], work: Path) -> tuple[list[float], list[str]]:
    """Estimated accuracy of each voter, and the labels that they agree on."""
    files = []
    for name, said in votes.items():
        records = [{"id": f"u{index}", "emotion": label} for index, label in enumerate(said)]
        files.append(str(write(work / f"{name}.votes.jsonl", records)))
    summary, out = work / "summary.json", work / "agreed.jsonl"
    line = ["agree", *files, "--summary", str(summary), "-o", str(out), "--force", "--quiet"]
    assert app.main(line) == 0
    voters = json.loads(summary.read_text())["voters"]
    return [voter["accuracy"] for voter in voters], [record["emotion"] for record in read(out)]


def drawn(said: Sequence[str | None], gold: Sequence[str], seed: int) -> list[str | None]:
    """Votes with the same confusion, drawn for each comment by itself; gold may be repeated."""
    draw = np.random.default_rng(seed)
    pools: dict[str, list[str | None]] = {}
    for label, true in zip(said, gold[: len(said)], strict=True):
        pools.setdefault(true, []).append(label)
    return [pools[true][draw.integers(len(pools[true]))] for true in gold]


def majority(votes: Sequence[Sequence[str | None]]) -> list[str | None]:
    """The label that most voters gave; of several the first voter's."""
    given = ([label for label in said if label] for said in zip(*votes, strict=True))
    return [Counter(said).most_common(1)[0][0] if said else None for said in given]


def accuracy(said: Sequence[str | None], gold: Sequence[str]) -> float:
    given = [label == true for label, true in zip(said, gold, strict=True) if label]
    return float(np.mean(given))


def estimates(arguments: argparse.Namespace, work: Path) -> None:
    votes = label(arguments.text, work)
    gold = [str(true) for true in votes.pop("gold")]
    row("voters", "errors", "true", "estimated", "agreed", "majority", "best voter")
    row(*["---"] * 7)
    for names in SETS:
        for errors, times in (("as they are", 1), ("drawn apart", 1), ("drawn apart, x 20", 20)):
            truth, chosen = gold * times, {name: votes[name] for name in names}
            if errors != "as they are":
                chosen = {
                    name: drawn(said, truth, seed)
                    for seed, (name, said) in enumerate(chosen.items())
                }
            true = [accuracy(said, truth) for said in chosen.values()]
            found, labels = agreed(chosen, work)
            most = majority(list(chosen.values()))
            row(
                ", ".join(names),
                errors,
                *(" ".join(f"{100 * value:.1f}" for value in values) for values in (true, found)),
                *(f"{100 * accuracy(said, truth):.1f}" for said in (labels, most)),
                f"{100 * max(true):.1f}",
            )


# ---------------------------------------------------------------- speed


def speed(arguments: argparse.Namespace, work: Path) -> None:
    draw = np.random.default_rng(0)
    labels = load_taxonomy("ekman6").labels
    truth = draw.integers(len(labels), size=arguments.count)
    files = []
    for place, right in enumerate((0.8, 0.7, 0.6)):
        said = np.where(
            draw.random(arguments.count) < right, truth, draw.integers(6, size=arguments.count)
        )
        path = work / f"{place}.jsonl"
        with path.open("w") as stream:
            for index, code in enumerate(said.tolist()):
                name, text = f"{index:07d}", "what was said in this one"
                record = {"id": f"utterance-{name}", "audio_filepath": f"speech/{name}.flac"}
                record |= {"duration": 3.5, "text": text, "emotion": labels[code]}
                stream.write(json.dumps(record) + "\n")
        files.append(str(path))
    command = [sys.executable, "-m", "lanser_cli", "agree", *files, "-o", str(work / "out.jsonl")]
    started = time.monotonic()
    subprocess.run(command, check=True, cwd=ROOT)
    seconds = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy, records = used.ru_utime + used.ru_stime, 3 * arguments.count
    row("records", "s", "records/s", "records/s of processor time", "peak, MB")
    row(*["---"] * 5)
    row(
        f"{records:,}",
        f"{seconds:.0f}",
        f"{records / seconds:,.0f}",
        f"{records / busy:,.0f}",
        f"{used.ru_maxrss / 1000:.0f}",
    )


PARTS = {"estimates": estimates, "speed": speed}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--count", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if arguments.parts != ["speed"] and not (arguments.text / "go_test.tsv").is_file():
        sys.exit(f"{arguments.text}: there is no go_test.tsv in it: name its folder with --text")
    for part in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory() as work:
            PARTS[part](arguments, Path(work))


if __name__ == "__main__":
    main()
