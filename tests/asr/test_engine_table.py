"""The table of engines: what it says is so, and the help and the errors are made from it."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from lanser_cli.asr import engines
from lanser_cli.asr.engine import Options
from lanser_cli.asr.engines import ENGINES, find, make_engine, models_in_words
from lanser_cli.errors import UsageError

FOLDER = Path(engines.__file__).parent
NAMED = [prefix for prefix, kind in ENGINES.items() if kind.takes]
BARE = [prefix for prefix, kind in ENGINES.items() if not kind.takes]


@pytest.mark.parametrize("prefix", ENGINES)
def test_every_engine_is_made_alike(prefix: str) -> None:
    kind = ENGINES[prefix]
    factory = getattr(import_module(f"lanser_cli.asr.engines.{kind.module}"), kind.factory)
    assert list(inspect.signature(factory).parameters) == ["name", "options"]
    assert bool(kind.takes) == bool(kind.example)


def test_every_file_is_in_the_table() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert {kind.module for kind in ENGINES.values()} == files


def test_every_engine_is_in_the_help() -> None:
    words = models_in_words()
    for prefix in NAMED:
        assert f"{prefix}:{ENGINES[prefix].takes[0]} or " in words
    for prefix in BARE:
        assert prefix in words


@pytest.mark.parametrize(
    "model",
    [
        *("", ":", "kaldi:x", "base"),
        *NAMED,
        *(f"{prefix}:" for prefix in NAMED + BARE),
        *(f"{prefix}:x" for prefix in BARE),
    ],
)
def test_unknown_engines(model: str) -> None:
    with pytest.raises(UsageError, match=f"^--model '{model}': choose ") as caught:
        make_engine(model, Options())
    for prefix, kind in ENGINES.items():
        examples = [f"{prefix}:{what}" for what in kind.takes] or [prefix]
        assert all(example in str(caught.value) for example in examples)
        assert f"({prefix}:{kind.example})" in str(caught.value) or not kind.example


def test_a_name_may_hold_colons() -> None:
    kind, name = find("whisper:C:/models/base.pt")
    assert (kind, name) == (ENGINES["whisper"], "C:/models/base.pt")
