"""Who may import whom. The lists below are the plan of the house; the code has to keep to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lanser_cli

PACKAGE = Path(lanser_cli.__file__).parent

GROUND_FLOOR = ("errors", "console", "records", "streams", "pipe", "workers", "hub")
"""Imports nothing but itself, and nothing heavy when it is imported."""

ROOMS = (
    "cpu",  # what a processor multiplies with
    "manifests",  # other toolkits' lines to records
    "audio",  # any container to a waveform
    "segmenting",  # a recording to utterances
    *("corpora", "asr", "entailment"),  # to records, to text, to weak labels
    *("features", "model"),  # a waveform to log-mel to logits
    "runs",  # a model to a folder and back
    "selecting",  # which records, and to which split
    "relabelling",  # other weak labels for them
    "shards",  # records and sound to tars and back; the index names what made it, as a run does
    "auditing",  # sets to what they share
    "data",  # records to batches
    "training",  # batches to a model
    "metrics",  # answers to numbers
    "sweeping",  # ways to label to the best of them
    "predicting",  # a model to answers
    *("pretraining", "finetuning"),  # whole runs
    "report",  # numbers to pages
    *("evaluating", "prosody"),  # whole reports
)
"""In the order of the data's way: a room may import the rooms to its left, never to its right."""

HEAVY = {"torch", "torchaudio", "transformers", "numpy", "scipy", "sklearn", "timm", "whisper"}


def imports(tree: ast.Module, path: str) -> Iterator[tuple[str, bool]]:
    """Modules that a file imports, as full names, and whether on being imported itself.

    Imports for the type checker alone count as well: they are arrows in the plan.
    """
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_type_checking(outer)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        at_once = id(node) not in lazy
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, at_once
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            for name in node.names:
                yield f"{node.module}.{name.name}", at_once


def _is_type_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def place(name: str) -> str | None:
    """The part of the house a full name lies in; None for what is not ours."""
    parts = name.split(".")
    if parts[0] != "lanser_cli":
        return None
    if len(parts) > 1 and _exists(parts[1]):
        return parts[1]
    return "package"  # lanser_cli itself: the version


def _exists(part: str) -> bool:
    return (PACKAGE / f"{part}.py").exists() or (PACKAGE / part / "__init__.py").exists()


def fault(here: str, there: str) -> str | None:
    """Why `here` may not import `there`; None if it may."""
    if there in (here, "package"):
        return None
    if here in GROUND_FLOOR:
        return None if there in GROUND_FLOOR else "the ground floor imports only itself"
    if here in ROOMS:
        if there in GROUND_FLOOR:
            return None
        if there not in ROOMS:
            return "a room imports neither commands nor app"
        if ROOMS.index(there) > ROOMS.index(here):
            return "a room imports only the rooms to its left"
        return None
    if here == "commands":
        return "commands do not import app" if there in ("app", "__main__") else None
    if here == "app":
        return None if there in ("commands", *GROUND_FLOOR) else "app imports commands, not rooms"
    if here == "__main__":
        return None if there == "app" else "__main__ only starts app"
    return "nothing but the version belongs here"


def files() -> dict[str, tuple[str, ast.Module]]:
    """Every Python file of the package: its part of the house, and its tree."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        here = relative.parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[str(relative)] = ("package" if here == "__init__" else here, tree)
    return found


def test_every_file_has_its_place() -> None:
    places = {here for here, _ in files().values()}
    assert places == {*GROUND_FLOOR, *ROOMS, "commands", "app", "__main__", "package"}


def test_imports_follow_the_plan() -> None:
    arrows = 0
    wrong = []
    for path, (here, tree) in files().items():
        for name, _ in imports(tree, path):
            there = place(name)
            if there is None:
                continue
            arrows += 1
            if why := fault(here, there):
                wrong.append(f"{path} imports {name}: {why}")
    assert arrows > 100
    assert wrong == []


def test_ground_floor_and_commands_import_nothing_heavy_at_once() -> None:
    wrong = [
        f"{path} imports {name} at its top"
        for path, (here, tree) in files().items()
        if here in (*GROUND_FLOOR, "commands", "app")
        for name, at_once in imports(tree, path)
        if at_once and name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_only_shards_knows_webdataset() -> None:
    knowing = {
        here
        for path, (here, tree) in files().items()
        for name, _ in imports(tree, path)
        if name.split(".")[0] == "webdataset"
    }
    assert knowing == {"shards"}


@pytest.mark.parametrize(
    ("here", "there", "allowed"),
    [
        ("records", "errors", True),
        ("records", "audio", False),
        ("audio", "streams", True),
        ("shards", "audio", True),
        ("audio", "shards", False),
        ("model", "commands", False),
        ("model", "app", False),
        ("commands", "finetuning", True),
        ("commands", "app", False),
        ("app", "commands", True),
        ("app", "model", False),
        ("package", "app", False),
    ],
)
def test_the_plan_itself(here: str, there: str, allowed: bool) -> None:
    assert (fault(here, there) is None) is allowed


def test_imports_are_found_wherever_they_are() -> None:
    source = (
        "import os\n"
        "from lanser_cli import streams\n"
        "if TYPE_CHECKING:\n    from lanser_cli.audio import Info\n"
        "def f():\n    import torch.nn\n"
    )
    assert sorted(imports(ast.parse(source), "x")) == [
        ("lanser_cli.audio.Info", False),
        ("lanser_cli.streams", True),
        ("os", True),
        ("torch.nn", False),
    ]
