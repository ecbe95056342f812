"""Append what fine-tuned runs scored, or what probes found, to a file of results, each once.

    python recipes/store_points.py runs/a/predictions.jsonl ... --to docs/results/NAME.jsonl \\
        --set recipe=real-voices arm=weak p=0.5

A line is one training: what `--set` says, then the share of labels, seed, batch size and steps
from the run's config.json, its scores with the UAR of each unit, the command, and the versions it
ran with. docs/formats.md has an example. Of the probe.json that `lanser probe-prosody -o` writes, a
line has the medians, the verdicts and the scores of each speaker. A line that is there already,
with the same settings, is left alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PROBED = ("median", "verdicts", "fixed_sentence", "by_unit")
RESULTS = ("uar", "wa", "n", "chance", "unit", "command", "versions", *PROBED)
"""What a point found, or how; its other keys say which point it is."""


def point(predictions: Path, about: dict[str, Any], by: str | None) -> dict[str, Any]:
    """The line of a run folder that was tested."""
    from lanser_cli import jsonl
    from lanser_cli.evaluation.seeds import measure_run
    from lanser_cli.records import Record

    config = json.loads((predictions.parent / "config.json").read_text(encoding="utf-8"))
    items = list(jsonl.read_records([str(predictions)], "store_points"))
    result = measure_run([item for item in items if isinstance(item, Record)], by=by)
    recipe = config["recipe"]
    return {
        **about,
        "model": config["architecture"]["name"],
        "fraction": config["protocol"]["fraction"],
        "seed": recipe["seed"],
        "batch_size": recipe["batch_size"],
        "steps": recipe["steps"],
        "uar": result.uar.value,
        "wa": result.wa.value,
        "n": result.n,
        "chance": round(result.chance, 6),
        "unit": result.unit,
        "by_unit": result.by_unit,
        "command": " ".join(config["argv"]),
        "versions": config["versions"],
    }


def probe(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """The line of a probe.json."""
    numbers = json.loads(path.read_text(encoding="utf-8"))
    kept = ("utterances", "speakers", "networks", "folds", "probe", *PROBED)
    return {
        **about,
        **{key: numbers[key] for key in kept if key in numbers},  # older ones: no by_unit
        "command": " ".join(numbers["argv"]),
        "versions": numbers["versions"],
    }


def which(line: dict[str, Any]) -> str:
    """All of a line that says which point it is."""
    return json.dumps({key: line[key] for key in sorted(line) if key not in RESULTS})


def value(word: str) -> Any:
    """A number where it reads as one."""
    try:
        return json.loads(word)
    except ValueError:
        return word


def new_lines(
    found: Sequence[Path], about: dict[str, Any], by: str | None, old: list[str]
) -> Iterator[str]:
    there = {which(json.loads(line)) for line in old}
    for path in found:
        line = probe(path, about) if path.name == "probe.json" else point(path, about, by)
        if (new := which(line)) not in there:
            there.add(new)
            yield json.dumps(line, ensure_ascii=False)


def main(argv: list[str] | None = None) -> int:
    from lanser_cli.errors import LanserError
    from lanser_cli.lock import claimed_file

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "found", type=Path, nargs="+", help="predictions.jsonl of run folders, or probe.json"
    )
    parser.add_argument("--to", type=Path, required=True, help="JSONL to append to")
    parser.add_argument("--by", help="what is taken for independent (default: the speaker)")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="what the runs do not know"
    )
    args = parser.parse_args(argv)
    about = {key: value(word) for key, _, word in (each.partition("=") for each in args.set)}
    args.to.parent.mkdir(parents=True, exist_ok=True)
    try:
        with claimed_file(args.to, force=True):  # else lines of two at once are lost
            old = args.to.read_text(encoding="utf-8").splitlines() if args.to.exists() else []
            new = list(new_lines(args.found, about, args.by, old))
            if new:
                part = args.to.with_name(args.to.name + ".part")
                part.write_text("\n".join([*old, *new]) + "\n", encoding="utf-8")
                part.replace(args.to)
    except LanserError as error:
        print(f"store_points: {error}", file=sys.stderr)
        return 1
    print(f"store_points: {len(new)} new, {len(old)} before, in {args.to}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
