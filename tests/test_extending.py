"""docs/extending.md is true: its files are put into a copy of the package and its commands run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT, read_jsonl

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
FILES = {
    "An engine": 4,
    "A corpus": 4,
    "A taxonomy": 1,
    "An architecture": 3,
    "A verb": 6,
}
"""How many files a new one touches, tests and documentation included."""


def blocks(section: str, kind: str) -> list[tuple[str, str]]:
    """The blocks of a kind, each with the last name of a file before it."""
    text = SECTIONS[section]
    found = []
    for match in re.finditer(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        names = re.findall(r"^`([\w./]+)`$", text[: match.start()], re.MULTILINE)
        found.append((names[-1] if names else "", match[1]))
    return found


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with everything on the page added to it."""
    folder = tmp_path_factory.mktemp("extended")
    (folder / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(
        ROOT / "lanser_cli",
        folder / "lanser_cli",
        copy_function=os.symlink,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for section in SECTIONS:
        for name, text in blocks(section, r"(?:python|json) file"):
            assert not (ROOT / name).exists(), name
            (folder / name).write_text(text, encoding="utf-8")
        for table in ("ENGINES", "ARCHITECTURES"):
            for name, row in blocks(section, f"python row {table}"):
                source = (ROOT / name).read_text(encoding="utf-8")
                head, begin, tail = source.partition(f"\n{table}: ")
                assert begin, f"{name} has no {table}"
                first, rest = tail.split("\n", 1)
                (folder / name).unlink()
                (folder / name).write_text(f"{head}{begin}{first}\n{row}{rest}", encoding="utf-8")
    return folder


def run(script: str, folder: Path) -> str:
    """Run a script as a reader would; returns what it printed."""
    lanser = f'lanser() {{ {sys.executable} -m lanser_cli "$@"; }}\n'
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lanser + script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def commands(section: str) -> str:
    [(_, script)] = blocks(section, "sh")
    return script


def test_an_engine(extended: Path) -> None:
    run(commands("An engine"), extended)
    found = read_jsonl(extended / "lengths.jsonl")
    assert len(found) == 6
    for record in found:
        assert re.fullmatch(r"\d\.\d seconds", record["text"])
        assert (record["asr"]["model"], record["lang"]) == ("length", "en")
    assert "length (how long a clip is)" in run("lanser transcribe --help", extended)


def test_a_corpus(extended: Path) -> None:
    run(commands("A corpus"), extended)
    found = read_jsonl(extended / "duo.jsonl")
    assert [(record["id"], record["speaker"], record["label"]) for record in found] == [
        ("ann_joy", "ann", "joy"),
        ("bob_anger", "bob", "anger"),
    ]
    assert "duo       DUO: 2 speakers, 2 emotions" in run("lanser manifest --help", extended)


@pytest.mark.slow
def test_a_taxonomy(extended: Path) -> None:
    run(commands("A taxonomy"), extended)
    [shown] = read_jsonl(extended / "call3.json")
    [record] = read_jsonl(extended / "call.jsonl")
    assert list(shown["labels"]) == list(record["emotion_scores"])
    assert record["entailment"]["taxonomy"] == "call3"


@pytest.mark.slow
def test_an_architecture(extended: Path) -> None:
    run(commands("An architecture"), extended)
    configs = sorted((extended / "runs/tiny").rglob("config.json"))
    assert {json.loads(path.read_text())["architecture"]["name"] for path in configs} == {
        "resnet10-tiny"
    }
    assert "resnet10-tiny (to try things)" in run("lanser pretrain --help", extended)


@pytest.mark.slow
def test_what_was_added_passes_the_checks_of_its_kind(extended: Path) -> None:
    """So that no other file has to know of it."""
    checks = ("asr/test_engine_table", "corpora/test_kinds", "entailment/test_taxonomies")
    tests = [str(ROOT / "tests" / f"{name}.py") for name in checks]
    words = [sys.executable, "-m", "pytest", "-vv", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(extended)}
    result = subprocess.run(
        words, cwd=extended, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout[-3000:]
    for added in ("length", "duo", "call3"):
        assert f"[{added}]" in result.stdout


@pytest.mark.parametrize("section", FILES)
def test_files_to_touch(section: str, extended: Path) -> None:
    """The list has as many files as promised; each exists, or the page adds it, or is a test."""
    listed = re.findall(r"^\d\. `([\w./]+)`: ", SECTIONS[section], re.MULTILINE)
    assert len(listed) == len(set(listed)) == FILES[section]
    for name in listed:
        new = name.startswith("tests/") or "NAME" in name
        assert new or (ROOT / name).exists() or (extended / name).exists(), name
    added = {name for kind in ("file", "row") for name, _ in blocks(section, rf"\w+ {kind}.*?")}
    assert added <= set(listed)


def test_every_section_is_counted() -> None:
    assert list(SECTIONS) == list(FILES)


def test_examples_are_short() -> None:
    for section in SECTIONS:
        for name, text in blocks(section, r"\w+ (?:file|row \w+)"):
            assert len(text.splitlines()) <= 32, name
