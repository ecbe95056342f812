"""A wrong choice is refused at once: the choices are named, and nothing heavy is imported."""

from __future__ import annotations

import enum
import json
import os
import subprocess
import sys
from importlib import import_module
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
from conftest import ENVIRONMENT

from lanser_cli.app import VERBS
from lanser_cli.choices import (
    Calibration,
    Channel,
    Check,
    ClassWeights,
    Codec,
    Control,
    Exporting,
    HearingPrecision,
    LlmMode,
    Normalising,
    Probe,
    Removing,
    Scaling,
    ScoringPrecision,
    Segmenting,
    SplitBy,
    Stratifying,
    Targets,
    Toolkit,
    TrainingPrecision,
)


def choices_of(hint: Any) -> tuple[str, ...]:
    """The words that an annotated option may be; none for what is no choice."""
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return tuple(member.value for member in hint)
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) is Annotated:
        return choices_of(get_args(hint)[0])
    return next(filter(None, map(choices_of, get_args(hint))), ())


OPTIONS = [
    (verb, f"--{name.replace('_', '-')}", words)
    for verb in VERBS
    for name, hint in get_type_hints(
        import_module(f"lanser_cli.commands.{verb.replace('-', '_')}").command, include_extras=True
    ).items()
    if (words := choices_of(hint))
]
"""Verb, option and choices of every option that is a choice."""

PROGRAM = """
import contextlib, io, json, sys
from lanser_cli import app

found = []
for line in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = app.main(line)
    heavy = [name for name in ("torch", "numpy", "transformers", "whisper") if name in sys.modules]
    found.append([code, said.getvalue(), heavy])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def answers() -> dict[tuple[str, str], tuple[int, str, list[str]]]:
    """Exit code, stderr and heavy modules of each verb with a wrong word, all in one process."""
    lines = [[verb, option, "float17"] for verb, option, _ in OPTIONS]
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)],
        capture_output=True,
        check=True,
        timeout=120,
        env={**os.environ, **ENVIRONMENT},
    )
    found = json.loads(result.stdout)
    return {
        (verb, option): tuple(each) for (verb, option, _), each in zip(OPTIONS, found, strict=True)
    }


def test_the_options_that_are_choices() -> None:
    assert {(verb, option): words for verb, option, words in OPTIONS} == {
        ("transcribe", "--segment"): get_args(Segmenting),
        ("entail-label", "--precision"): get_args(ScoringPrecision),
        ("entail-label", "--llm-mode"): get_args(LlmMode),
        ("entail-label", "--calibrate"): get_args(Calibration),
        ("pick", "--by"): get_args(Stratifying),
        ("shard", "--codec"): get_args(Codec),
        ("plan", "--codec"): get_args(Codec),
        ("shard", "--split-by"): get_args(SplitBy),
        ("audit", "--allow"): tuple(check.value for check in Check),
        ("transcribe", "--precision"): get_args(HearingPrecision),
        ("pretrain", "--targets"): get_args(Targets),
        ("pretrain", "--control"): get_args(Control),
        **{
            (verb, option): get_args(choices)
            for verb in ("pretrain", "finetune", "efficiency")
            for option, choices in (
                ("--precision", TrainingPrecision),
                ("--class-weights", ClassWeights),
                ("--normalise", Normalising),
            )
            if (verb, option) != ("efficiency", "--normalise")  # that of --init
        },
        ("baseline", "--normalise"): get_args(Scaling),
        ("text-only", "--calibrate"): get_args(Removing),
        ("predict", "--calibrate"): get_args(Removing),
        ("probe-prosody", "--probe"): get_args(Probe),
        ("transcribe", "--channel"): get_args(Channel),
        ("predict", "--channel"): get_args(Channel),
        ("manifest", "--to"): get_args(Toolkit),
        ("export", "--to"): get_args(Exporting),
    }


@pytest.mark.parametrize(
    ("verb", "option", "words"), OPTIONS, ids=[f"{verb} {option}" for verb, option, _ in OPTIONS]
)
def test_a_wrong_choice(
    verb: str,
    option: str,
    words: tuple[str, ...],
    answers: dict[tuple[str, str], tuple[int, str, list[str]]],
) -> None:
    code, said, heavy = answers[verb, option]
    assert code == 2
    assert said.startswith("lanser: error: ") and said.count("\n") == 1
    for word in (option, "float17", *words):
        assert f"'{word}'" in said
    assert heavy == []
