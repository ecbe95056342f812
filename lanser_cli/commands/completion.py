"""What the shell completes: values that options take. Quick, so nothing slow is imported."""

from __future__ import annotations

import glob
from pathlib import Path

import lanser_cli
from lanser_cli import corpora
from lanser_cli.models.architectures import ARCHITECTURES

Proposal = tuple[str, str]
"""A value, and a word on it where the shell shows one."""


def corpus(incomplete: str) -> list[Proposal]:
    return list(corpora.titles().items())


def architecture(incomplete: str) -> list[Proposal]:
    return [(name, shape.note) for name, shape in ARCHITECTURES.items()]


def taxonomy(incomplete: str) -> list[str]:
    # Not by `taxonomy_names`: its room imports NumPy.
    folder = Path(lanser_cli.__file__).parent / "entailment" / "taxonomies"
    return sorted(path.stem for path in folder.glob("*.json"))


def protocol(incomplete: str) -> list[Proposal]:
    from lanser_cli.training.protocols import standards

    return [(name, standard.title) for name, standard in standards().items()]


def device(incomplete: str) -> list[str]:
    return ["auto", "cpu", "cuda"]


def run(incomplete: str) -> list[str]:
    """Run folders whose path begins so, down to the second level below it."""
    begin = glob.escape(incomplete)
    found = [path for below in ("*/", "*/*/") for path in glob.glob(begin + below + "config.json")]
    return sorted(path.removesuffix("/config.json") for path in found)


def run_or_records(incomplete: str) -> list[str]:
    """Run folders, and JSONL."""
    return [*run(incomplete), *sorted(glob.glob(glob.escape(incomplete) + "*.jsonl"))]
