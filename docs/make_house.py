"""Write the tree of docs/house.md from the first lines of the modules' docstrings."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parent / "house.md"
PACKAGE = Path(__file__).parent.parent / "lanser_cli"

ALIKE = {
    "asr/engines": "ENGINE.py",
    "commands": "VERB.py",
    "corpora": "CORPUS.py",
    "entailment/taxonomies": "TAXONOMY.json",
}
"""Folders whose files are alike, and what they are called; one line stands for all of them."""

OTHERS = {
    "asr/engines": ("__init__.py",),
    "commands": (
        "__init__.py",
        "completion.py",
        "groups.py",
        "options.py",
        "training.py",
        "verb.py",
    ),
    "corpora": ("__init__.py", "base.py"),
}
"""Their files that are not, which have lines of their own."""

WORDS = {
    "ENGINE.py": "one engine each: a file and a row in the table",
    "VERB.py": "one verb each: options, then one call into a room",
    "CORPUS.py": "one labelled corpus each: a file is all it takes",
    "TAXONOMY.json": "one taxonomy each",
    "embedded": "the model that ships with the package: weights, settings, card",
    "taxonomies": "the emotion taxonomies that ship",
}


def rooms(page: str) -> list[str]:
    """The rooms, in the order of the page's numbered list."""
    return re.findall(r"^\d+\. `(\w+)`", page, re.MULTILINE)


def title(path: Path) -> str:
    """The first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n", 1)[0].strip()


def line(depth: int, name: str, words: str) -> str:
    return f"{'  ' * depth + name:26}{words}".rstrip()


def folder(path: Path, depth: int) -> Iterator[str]:
    """The lines of a folder: itself, its files, its folders."""
    init = path / "__init__.py"
    yield line(depth, f"{path.name}/", title(init) if init.exists() else WORDS.get(path.name, ""))
    here = str(path.relative_to(PACKAGE))
    for file in sorted(path.glob("*.py")):
        if file.name != "__init__.py" and (here not in ALIKE or file.name in OTHERS[here]):
            yield line(depth + 1, file.name, title(file))
    if here in ALIKE:
        yield line(depth + 1, ALIKE[here], WORDS[ALIKE[here]])
    for inner in sorted(path.iterdir()):
        if inner.is_dir() and inner.name != "__pycache__":
            yield from folder(inner, depth + 1)


def tree(order: list[str]) -> str:
    """The package: commands, rooms from the last to the first, ground floor."""
    top = ("app.py", "__main__.py", "api.py")
    lines = ["lanser_cli/"]
    lines += [line(1, name, title(PACKAGE / name)) for name in top]
    lines += folder(PACKAGE / "commands", 1)
    for room in reversed(order):
        lines += folder(PACKAGE / room, 1)
    ground = sorted(path for path in PACKAGE.glob("*.py") if path.name not in top)
    lines += [line(1, path.name, title(path)) for path in ground]
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The page with its tree as the folders are now."""
    return re.sub(
        r"(?<=^```tree\n).*?(?=^```$)",
        lambda _: tree(rooms(page)),
        page,
        flags=re.MULTILINE | re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(PAGE, file=sys.stderr)
