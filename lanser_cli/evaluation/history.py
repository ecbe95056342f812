"""How a run came about, for a report to show: what made it, and its losses while it trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lanser_cli import jsonl
from lanser_cli.training import runs

Losses = dict[str, list[tuple[float, float]]]
"""Epoch and loss, line by line of the metrics, of each network of a run."""

_PARTS = ("architecture", "protocol", "recipe", "place", "versions")


def made(run: Path) -> list[tuple[str, str]]:
    """What made a run, as names and values: its command, its protocol, its recipe, versions.

    The date is that of its `predictions.jsonl`, in UTC. What is not set is left out.
    """
    config = runs.read_config(run)
    tested = run / "predictions.jsonl"
    date = datetime.fromtimestamp(tested.stat().st_mtime, timezone.utc)
    found = {"command": " ".join(config.get("argv") or ()), "tested on": f"{date:%Y-%m-%d}"}
    found["started from"] = config.get("init") or "scratch"
    for part in _PARTS:
        words = ", ".join(f"{name} {_said(value)}" for name, value in _set(config.get(part) or {}))
        found[part] = words
    return [(name, words) for name, words in found.items() if words]


def losses(run: Path) -> Losses:
    """The losses of each network of a run; none where it keeps no metrics.

    Lines that cannot be read, as of a run that was killed, are left out.
    """
    paths = [
        path
        for folder in ("", "fold-*/", "seed-*/fold-*/")
        for path in sorted(run.glob(f"{folder}metrics.jsonl"))
    ]
    found = {str(path.parent.relative_to(run)): list(_points(path)) for path in paths}
    return {name: points for name, points in found.items() if points}


def _points(path: Path) -> Iterator[tuple[float, float]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            numbers = jsonl.loads(line)
            yield float(numbers["epoch"]), float(numbers["loss"])
        except (ValueError, TypeError, KeyError, OverflowError):
            continue


def _set(part: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from _set(value)
        elif value is not None and value is not False and name != "labels":
            yield name.replace("_", " "), value


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
