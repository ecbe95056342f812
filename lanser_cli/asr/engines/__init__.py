"""The ASR engines: one file each, one row each in `ENGINES`, and the way from `--model` to one.

`lanser transcribe --help` reads the table, so nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from lanser_cli.asr.engine import Engine, Options
from lanser_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table.

    Attributes:
        module: file of this folder.
        factory: its class or function `(name: str, options: Options) -> Engine`.
        takes: what may follow the colon in `--model`; nothing for an engine with a single model.
        example: a name that follows the colon.
        note: a word or two for the help.
    """

    module: str
    factory: str
    takes: tuple[str, ...] = ()
    example: str = ""
    note: str = ""


ENGINES: dict[str, Kind] = {
    "embedded": Kind("embedded", "make", note="offline, English"),
    "whisper": Kind("whisper", "make", ("SIZE", "FILE"), "base.en"),
    "hf": Kind("transformers", "make", ("ID", "FOLDER"), "facebook/wav2vec2-base-960h"),
    "faster": Kind("faster", "FasterEngine", ("SIZE", "FOLDER"), "large-v3"),
}
"""By the word before the colon in `--model`, in the order of the help."""


def models_in_words() -> str:
    """What `--model` can be, for its help: `embedded (offline, ...), whisper:SIZE or FILE, ...`."""
    return ", ".join(
        (f"{prefix}:{' or '.join(kind.takes)}" if kind.takes else prefix)
        + (f" ({kind.note})" if kind.note else "")
        for prefix, kind in ENGINES.items()
    )


def find(model: str) -> tuple[Kind, str]:
    """The row of the table that `--model` asks for, and the name after the colon.

    Raises:
        UsageError: there is none; the message says what there is.
    """
    prefix, colon, name = model.partition(":")
    kind = ENGINES.get(prefix)
    if kind is None or bool(kind.takes) != bool(name) or bool(colon) != bool(name):
        choices = [
            " or ".join(f"{known}:{what}" for what in row.takes) + f" ({known}:{row.example})"
            if row.takes
            else known
            for known, row in ENGINES.items()
        ]
        raise UsageError(f"--model '{model}': choose {', '.join(choices)}")
    return kind, name


def make_engine(model: str, options: Options) -> Engine:
    """Load the engine that `--model` names.

    Args:
        model: a key of `ENGINES`, with `:NAME` where it takes one.

    Raises:
        UsageError: no such engine, or it cannot do what it is told.
        LanserError: its weights cannot be had, or an extra is missing.
    """
    kind, name = find(model)
    factory = getattr(import_module(f"{__name__}.{kind.module}"), kind.factory)
    engine: Engine = factory(name, options)
    return engine
