"""Who may import whom: the rooms are the folders, and the code has to keep to their order."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from conftest import ROOT

import lanser_cli

PACKAGE = Path(lanser_cli.__file__).parent

ORDER = (
    "audio",
    "corpora",
    "models",
    "asr",
    "entailment",
    "shards",
    "training",
    "evaluation",
    "listening",
    "trust",
    "prosody",
    "machine",
)
"""The rooms in the order of the data's way: each may import those before it, never those behind."""

UPSTAIRS = ("app", "__main__", "api")
"""Files at the root that are not ground floor."""

HEAVY = {"torch", "torchaudio", "transformers", "numpy", "scipy", "sklearn", "timm", "whisper"}
MOST_LINES = 400
MOST_LINES_OF_A_COMMAND = 25


def trees() -> dict[str, ast.Module]:
    """Every module of the package by its name: `audio.sound`, or `audio` for its `__init__`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


TREES = trees()
ROOMS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"commands"}
GROUND_FLOOR = {path.stem for path in PACKAGE.glob("*.py")} - {*UPSTAIRS, "__init__"}


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Full names that a module imports, and whether on being imported itself.

    Imports for the type checker alone count as well: they are arrows in the plan.
    """
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(outer)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        at_once = id(node) not in lazy
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, at_once
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, "a relative import"
            for name in node.names:
                yield f"{node.module}.{name.name}", at_once


def _is_type_checking(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def module_of(name: str) -> str | None:
    """The module of ours that a full name lies in; None for what is not ours."""
    parts = name.split(".")
    if parts[0] != "lanser_cli":
        return None
    inside = parts[1:]
    while inside and ".".join(inside) not in TREES:
        inside.pop()
    return ".".join(inside)


def place(module: str) -> str:
    """The part of the house a module lies in."""
    return module.split(".")[0] or "package"


def fault(here: str, there: str) -> str | None:
    """Why a module in `here` may not import from `there`; None if it may."""
    if there in (here, "package"):
        return None
    if here in GROUND_FLOOR:
        return None if there in GROUND_FLOOR else "the ground floor imports only itself"
    if here in ROOMS:
        if there in GROUND_FLOOR:
            return None
        if there not in ROOMS:
            return "a room imports neither commands nor app"
        if ORDER.index(there) > ORDER.index(here):
            return "a room imports only the rooms before it"
        return None
    if here == "api":
        return None if there in (*ROOMS, *GROUND_FLOOR) else "api calls the rooms"
    if here == "commands":
        return "commands do not import app" if there in UPSTAIRS else None
    if here == "app":
        return None if there in ("commands", *GROUND_FLOOR) else "app imports commands, not rooms"
    if here == "__main__":
        return None if there == "app" else "__main__ only starts app"
    return None if there == "api" else "nothing but the version and the names of api belong here"


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other."""
    reach = {module: set(there) for module, there in arrows.items()}
    changed = True
    while changed:
        changed = False
        for found in reach.values():
            more = set().union(*(reach.get(there, set()) for there in found)) - found
            found |= more
            changed |= bool(more)
    in_circle = {module for module in reach if module in reach[module]}
    groups = {
        tuple(sorted(other for other in in_circle if other in reach[m] and m in reach[other]))
        for m in in_circle
    }
    return sorted(map(list, groups))


def test_the_rooms_are_the_folders() -> None:
    assert set(ORDER) == ROOMS


def test_imports_follow_the_plan() -> None:
    count = 0
    wrong = []
    for module, tree in TREES.items():
        for name, _ in imports(tree):
            there = module_of(name)
            if there is None:
                continue
            count += 1
            if why := fault(place(module), place(there)):
                wrong.append(f"{module} imports {name}: {why}")
    assert count > 200
    assert wrong == []


def test_no_circle() -> None:
    arrows = {
        module: {there for name, _ in imports(tree) if (there := module_of(name))} - {module}
        for module, tree in TREES.items()
        if module  # the package gives the names of api on demand, and imports nothing
    }
    assert circles(arrows) == []


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_ground_floor_and_commands_import_nothing_heavy_at_once() -> None:
    wrong = [
        f"{module} imports {name} at its top"
        for module, tree in TREES.items()
        if place(module) in {*GROUND_FLOOR, "commands", "app", "api", "package"}
        for name, at_once in imports(tree)
        if at_once and name.split(".")[0] in HEAVY
    ]
    assert wrong == []


@pytest.mark.parametrize(("library", "room"), [("webdataset", "shards"), ("torchaudio", "models")])
def test_one_room_knows_a_library(library: str, room: str) -> None:
    knowing = {
        place(module)
        for module, tree in TREES.items()
        for name, _ in imports(tree)
        if name.split(".")[0] == library
    }
    assert knowing == {room}


def test_no_file_is_long() -> None:
    lines = {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_commands_are_thin() -> None:
    """Options, then one call: the lines of a body, less its docstring."""
    long = {}
    for module, tree in TREES.items():
        if place(module) != "commands":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                count = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                if count > MOST_LINES_OF_A_COMMAND:
                    long[f"{module}.{node.name}"] = count
    assert long == {}


def test_only_the_entry_point_reads_the_arguments_of_the_process() -> None:
    reading = [
        f"{module}:{node.lineno}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "argv"
        and isinstance(node.value, ast.Name)
        and node.value.id == "sys"
    ]
    assert [place.split(":")[0] for place in reading] == ["app"]


def test_the_tests_have_the_same_rooms() -> None:
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/*.py")}
    assert folders == {*ROOMS, "commands", "bench"}


@pytest.mark.parametrize(
    ("here", "there", "allowed"),
    [
        ("records", "errors", True),
        ("records", "audio", False),
        ("audio", "jsonl", True),
        ("shards", "audio", True),
        ("audio", "shards", False),
        ("models", "commands", False),
        ("models", "app", False),
        ("commands", "training", True),
        ("commands", "app", False),
        ("app", "commands", True),
        ("app", "models", False),
        ("package", "app", False),
        ("package", "api", True),
        ("api", "training", True),
        ("api", "commands", False),
        ("training", "api", False),
    ],
)
def test_the_plan_itself(here: str, there: str, allowed: bool) -> None:
    assert (fault(here, there) is None) is allowed


def test_imports_are_found_wherever_they_are() -> None:
    source = (
        "import os\n"
        "from lanser_cli import jsonl\n"
        "if TYPE_CHECKING:\n    from lanser_cli.audio.sound import Info\n"
        "def f():\n    import torch.nn\n"
    )
    assert sorted(imports(ast.parse(source))) == [
        ("lanser_cli.audio.sound.Info", False),
        ("lanser_cli.jsonl", True),
        ("os", True),
        ("torch.nn", False),
    ]
