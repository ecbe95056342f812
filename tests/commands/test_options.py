"""Options fill the settings of the rooms: each has its option, of the same type and default."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest

from lanser_cli.asr.transcribe import TranscribeSettings
from lanser_cli.audio.lengths import Lengths
from lanser_cli.commands import options
from lanser_cli.entailment.entail_label import LabelSettings
from lanser_cli.machine.plan import Amount
from lanser_cli.shards.pack import Packing
from lanser_cli.shards.selection import Selection
from lanser_cli.training.folds import Protocol
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.start import Start

FILLED = [
    ("transcribe", TranscribeSettings),
    ("entail_label", LabelSettings),
    ("shard", Selection),
    ("shard", Packing),
    ("pretrain", Lengths),
    ("pretrain", Recipe),
    ("finetune", Protocol),
    ("finetune", Recipe),
    ("finetune", Start),
    ("efficiency", Protocol),
    ("efficiency", Recipe),
    ("efficiency", Start),
    ("baseline", Protocol),
    ("text_only", Protocol),
    ("plan", Amount),
]
"""Every `options.fill(kind, locals())` there is."""


def hints(thing: Any) -> dict[str, Any]:
    """Annotated types, `Annotated` stripped."""
    found = get_type_hints(thing)
    return {
        name: get_args(hint)[0] if get_origin(hint) is Annotated else hint
        for name, hint in found.items()
    }


def default_of(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def faults(kind: type[Any], command: Callable[..., int]) -> list[str]:
    """What is wrong between a dataclass and the options that fill it."""
    fields, given = hints(kind), hints(command)
    parameters = inspect.signature(command).parameters
    found = []
    for field in dataclasses.fields(kind):
        default = default_of(field)
        if field.name not in given:
            if default is dataclasses.MISSING:
                found.append(f"{field.name}: no option of this name, and no default")
            continue
        if fields[field.name] != given[field.name]:
            found.append(f"{field.name}: {fields[field.name]}, the option {given[field.name]}")
        if default not in (dataclasses.MISSING, parameters[field.name].default):
            found.append(
                f"{field.name}: {default!r}, the option {parameters[field.name].default!r}"
            )
    return found


@pytest.mark.parametrize(
    ("verb", "kind"), FILLED, ids=[f"{verb}-{kind.__name__}" for verb, kind in FILLED]
)
def test_every_field_has_its_option(verb: str, kind: type[Any]) -> None:
    found = faults(kind, import_module(f"lanser_cli.commands.{verb}").command)
    if kind is Recipe:
        # `efficiency` always counts steps, and small corpora are learnt from in small batches.
        others = {"efficiency": ("epochs", "steps"), "finetune": ("batch_size",)}.get(verb, ())
        found = [one for one in found if one.partition(":")[0] not in others]
    assert found == []


def test_no_use_of_fill_is_missing_here() -> None:
    found = [
        (path.stem, ast.unparse(call.args[0]).rpartition(".")[2])
        for path in sorted(Path(options.__file__).parent.glob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "options.fill"
        if "locals()" in ast.unparse(call.args[1])  # else what made a file gave them
    ]
    assert sorted(found) == sorted((verb, kind.__name__) for verb, kind in FILLED)


def test_a_fault_is_found() -> None:
    @dataclasses.dataclass
    class Settings:
        needed: int
        renamed: int
        other: str = "a"
        unset: float = 1.0

    def command(needed: Annotated[int | None, "help"] = None, other: str = "b") -> int:
        return 0

    found = faults(Settings, command)
    assert [fault.partition(":")[0] for fault in found] == ["needed", "renamed", "other"]
