"""How right weak labels are, next to people's: calibrations, context, sweeps.

    python tests/bench/labels.py [--text FOLDER] [--precision bfloat16] [PART ...]

FOLDER holds go_test.tsv, go_labels.txt (GoEmotions), meld_test.csv, emory_test.csv, and xed_en.tsv
and xed_neutral.txt (XED, of which a twentieth is tested on). Each table
is made by `lanser entail-label`, and printed as Markdown.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "recipes")]

from lanser_cli import app

EMORY = {
    "name": "emory7",
    "source": "Zahiri and Choi (2018), Emotion Detection on TV Show Transcripts, AAAI workshops",
    "labels": {
        "Joyful": {"noun": "joy", "adjective": "joyful"},
        "Mad": {"noun": "anger", "adjective": "angry"},
        "Neutral": {"noun": "no particular emotion", "adjective": "neutral"},
        "Peaceful": {"noun": "calmness", "adjective": "calm"},
        "Powerful": {"noun": "power", "adjective": "powerful"},
        "Sad": {"noun": "sadness", "adjective": "sad"},
        "Scared": {"noun": "fear", "adjective": "afraid"},
    },
}
TAXONOMIES = ROOT / "lanser_cli" / "entailment" / "taxonomies"
XED = {
    "name": "xed9",
    "source": "Oehman, Pamies, Kajava and Tiedemann (2020), XED, COLING 2020",
    "labels": {
        **json.loads((TAXONOMIES / "plutchik8.json").read_text("utf-8"))["labels"],
        "neutral": {"noun": "no particular emotion", "adjective": "neutral"},
    },
}
DEFAULT = "This person feels {}."


def goemotions(folder: Path) -> Iterator[dict[str, object]]:
    """The first 1,500 comments with a single label; placeholders filled as in a transcript."""
    names = (folder / "go_labels.txt").read_text().split()
    rows = (line.split("\t") for line in (folder / "go_test.tsv").read_text("utf-8").splitlines())
    single = [(text, numbers) for text, numbers, _ in rows if "," not in numbers]
    for n, (text, number) in enumerate(single[:1500]):
        text = text.replace("[NAME]", "John").replace("[RELIGION]", "religion")
        yield {"id": f"go-{n}", "text": text, "label": names[int(number)]}


def subtitles(folder: Path) -> Iterator[dict[str, object]]:
    """The lines of XED that the embedded model's recipe tests on, those with a single label."""
    from embedded_entailment_texts import as_heard, read_xed

    for n, (text, labels) in enumerate(read_xed(folder, "test")):
        if len(labels) == 1:
            yield {"id": f"x-{n}", "text": as_heard(text), "label": labels[0]}


def spoken() -> Iterator[dict[str, object]]:
    """What a language model wrote as speech, for this project, and the recipe tests on."""
    from embedded_entailment_texts import read_spoken

    for n, (text, (label,)) in enumerate(read_spoken(ROOT / "recipes/spoken_test.tsv")):
        yield {"id": f"s-{n}", "text": text, "label": label}


def utterances(path: Path, dialogue: str) -> Iterator[dict[str, object]]:
    """MELD or EmoryNLP, in the order in which they were said."""
    with path.open(encoding="utf-8", newline="") as file:
        for n, row in enumerate(csv.DictReader(file)):
            yield {
                "id": f"u-{n}",
                "text": row["Utterance"].replace("’", "'"),
                "label": row["Emotion"],
                "dialogue": "-".join(row[key] for key in dialogue.split()),
            }


def entail_label(*words: object) -> list[dict]:
    """What the command writes."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.jsonl"
        line = ["entail-label", "--quiet", *map(str, words), "-o", str(made)]
        assert app.main(line) == 0, line
        return [json.loads(line) for line in made.read_text("utf-8").splitlines()]


def sweep(gold: Path, *words: str) -> list[dict]:
    return entail_label("--sweep", gold, *words)


def cells(found: dict) -> str:
    """UAR with its interval, WA and weighted F1 as cells of a table."""
    uar = "{value:.3f} [{low:.3f}, {high:.3f}]".format(**found["uar"])
    return f"{uar} | {found['wa']['value']:.3f} | {found['weighted_f1']['value']:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", type=Path, default=ROOT.parent / "shared/data/text")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--first", type=int, default=0, help="of each set, for a quick look")
    parser.add_argument("--only", default="", metavar="WORD", help="sets to calibrate, by name")
    parts = ("calibration", "context", "sweep")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="default: all")
    options = parser.parse_args()
    options.parts = options.parts or parts
    if not options.text.is_dir():
        sys.exit(f"{options.text}: there is no such folder: name that of the texts with --text")

    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        emory, xed = work / "emory7.json", work / "xed9.json"
        emory.write_text(json.dumps(EMORY))
        xed.write_text(json.dumps(XED))
        sets = {
            "GoEmotions test, 28": ("goemotions", goemotions(options.text)),
            "MELD test, 7": (
                "meld7",
                utterances(options.text / "meld_test.csv", "Dialogue_ID"),
            ),
            "EmoryNLP test, 7": (
                str(emory),
                utterances(options.text / "emory_test.csv", "Season Episode Scene_ID"),
            ),
            "XED, 9": (str(xed), subtitles(options.text)),
            "Spoken style, 7": ("meld7", spoken()),
        }
        gold = {}
        for number, (name, (taxonomy, items)) in enumerate(sets.items()):
            path = work / f"set-{number}.jsonl"
            lines = [json.dumps(item) + "\n" for item in items][: options.first or None]
            path.write_text("".join(lines), encoding="utf-8")
            gold[name] = (path, "--taxonomy", taxonomy, "--precision", options.precision)

        if "calibration" in options.parts:
            print("\n| set | n | calibration | UAR | WA | weighted F1 |\n|---|---|---|---|---|---|")
            for name, words in ((each, gold[each]) for each in gold if options.only in each):
                found = sweep(*words, "--template", DEFAULT)
                for method in ("none", "null", "batch"):
                    (item,) = (item for item in found if item["calibration"] == method)
                    print(f"| {name} | {item['n']} | {method} | {cells(item)} |", flush=True)
            histograms(gold["MELD test, 7"])

        if "context" in options.parts:
            print("\n| MELD test, context | calibration | UAR | WA | weighted F1 |")
            print("|---|---|---|---|---|")
            for count in ("0", "1", "3"):
                words = (*gold["MELD test, 7"], "--template", DEFAULT, "--context", count)
                for item in sorted(sweep(*words), key=lambda item: item["calibration"]):
                    if item["calibration"] != "null":
                        print(f"| {count} | {item['calibration']} | {cells(item)} |", flush=True)

        if "sweep" in options.parts:
            print("\n| rank | template | calibration | UAR | WA | weighted F1 |")
            print("|---|---|---|---|---|---|")
            for item in sweep(*gold["MELD test, 7"]):
                one = len(item["templates"]) == 1
                template = item["templates"][0] if one else f"all {len(item['templates'])}"
                print(f"| {item['rank']} | {template} | {item['calibration']} | {cells(item)} |")


def histograms(words: tuple) -> None:
    """How often each label is given to MELD, by people and after each calibration."""
    path, *options = words
    gold = Counter(json.loads(line)["label"] for line in path.read_text("utf-8").splitlines())
    rows = {"people": gold}
    for method in ("none", "null", "batch"):
        found = entail_label(path, *options, "--calibrate", method)
        rows[method] = Counter(one["emotion"] for one in found if one["emotion"])
    print(f"\n| MELD test, share of | {' | '.join(gold)} |\n|---{'|---' * len(gold)}|")
    for name, counts in rows.items():
        shares = " | ".join(f"{counts[label] / counts.total():.3f}" for label in gold)
        print(f"| {name} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
