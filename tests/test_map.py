"""docs/house.md is the map of the package: every file is on it, and its words are in use."""

from __future__ import annotations

import re
import sys

from conftest import ROOT
from test_house import ORDER

sys.path.insert(0, str(ROOT / "docs"))
import make_house

PAGE = (ROOT / "docs/house.md").read_text(encoding="utf-8")
FAULTS = ROOT / "tests/FAULTS.md"
WORDS = re.findall(r"^\| ([\w -]+) \| (.*) \|$", PAGE.split("## Words")[1], re.MULTILINE)[1:]


def test_the_tree_is_the_package() -> None:
    assert make_house.written(PAGE) == PAGE, "run: make docs"


def test_every_file_is_on_the_map() -> None:
    """Checked without the generator, so that it cannot leave a file out."""
    tree = PAGE.split("```tree\n")[1].split("```")[0]
    missing = []
    folder: list[str] = []
    shown = set()
    for line in tree.splitlines()[1:]:
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        name = line.split()[0]
        folder[depth:] = [name.strip("/")]
        shown.add("/".join(folder))
    for path in (ROOT / "lanser_cli").rglob("*.py"):
        name = path.relative_to(ROOT / "lanser_cli").as_posix()
        parent = path.parent.relative_to(ROOT / "lanser_cli").as_posix()
        alike = f"{parent}/{make_house.ALIKE.get(parent)}" in shown
        if path.name == "__init__.py":
            name = parent if parent != "." else name
        if name not in shown and not alike:
            missing.append(name)
    assert missing == [], "run: make docs"


def test_every_file_says_what_it_is() -> None:
    """In its docstring's first line: one that ends, and fits a line of the tree."""
    for path in (ROOT / "lanser_cli").rglob("*.py"):
        title = make_house.title(path)
        assert title.endswith(".") and len(title) <= 100, f"{path}: {title!r}"


def test_the_order_of_the_rooms() -> None:
    assert make_house.rooms(PAGE) == list(ORDER)


def test_words_are_explained_in_one_plain_sentence() -> None:
    assert 40 <= len(WORDS) <= 60
    for word, meaning in WORDS:
        assert re.fullmatch(r"[A-Z`].*[.\"]", meaning), word
        assert len(meaning.split()) <= 25, f"{word}: {len(meaning.split())} words"
        assert not re.search(r"\. [A-Z]", meaning), f"{word}: two sentences"


def test_words_are_in_order_and_in_use() -> None:
    names = [word for word, _ in WORDS]
    assert names == sorted(names, key=str.casefold)
    pages = [path for path in ROOT.glob("docs/*.md") if path.name != "house.md"]
    sources = [ROOT / "README.md", *pages, *(ROOT / "lanser_cli").rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources).casefold()
    for word in names:
        assert word.casefold() in text, f"nothing says '{word}'"


def test_every_fault_that_was_mended_is_held_by_a_test_that_is_there() -> None:
    rows = re.findall(
        r"^\| ([A-Z`].*) \| (.*) \|$", FAULTS.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) > 40
    for fault, cell in rows:
        found = re.findall(r"`([\w/]+\.py)::(test_\w+)`", cell)
        assert found, fault
        for file, name in found:
            source = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {name}\(", source, re.MULTILINE), f"{fault}: {file}::{name}"
