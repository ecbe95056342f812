"""The files of the folder are the list of corpora."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from lanser_cli import corpora

FOLDER = Path(corpora.__file__).parent


@pytest.mark.parametrize("kind", corpora.KINDS)
def test_every_file_reads_a_corpus(kind: str) -> None:
    module = import_module(f"lanser_cli.corpora.{kind.replace('-', '_')}")
    first, *rest = inspect.signature(module.read).parameters.values()
    assert first.name in ("root", "path")
    assert all(one.kind is one.KEYWORD_ONLY for one in rest)
    title, _, about = module.__doc__.partition("\n")
    assert title == corpora.titles()[kind]
    assert len(title) < 78 and title.endswith("."), "it is a line of the help"
    assert "Licence" in about or kind == "csv"


def test_the_kinds_are_the_files() -> None:
    files = {path.stem.replace("_", "-") for path in FOLDER.glob("[a-z]*.py")}
    assert set(corpora.KINDS) == files - {"base", "table", "oddities"}
    assert list(corpora.titles()) == list(corpora.KINDS)
