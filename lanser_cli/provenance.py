"""What made a file: the command line, and the versions of what decides a result."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from pathlib import Path

from lanser_cli import __version__
from lanser_cli.errors import LanserError

_argv: tuple[str, ...] = ()

_PASSWORD = re.compile(r"(://[^/@:\s]*):[^/\s]*@")


def set_command_line(arguments: Sequence[str] | None) -> None:
    """Say what is running: `main` does, with the words after `lanser`; None: nothing does."""
    global _argv
    _argv = () if arguments is None else ("lanser", *arguments)


def command_line() -> list[str]:
    """The command line that is running; empty where lanser is used from Python without one.

    Passwords in addresses are not in it: what was made is handed on.
    """
    return list(map(disclosed, _argv))


def disclosed(text: str) -> str:
    """A text as others may see it: addresses in it without their passwords."""
    return _PASSWORD.sub(r"\1:…@", text)


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"lanser": __version__, "python": platform.python_version()}
    for package in ("torch", "torchaudio", "timm", "transformers", "numpy", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def check_schema(path: Path, found: int, known: int) -> None:
    """Refuse a file whose format is newer than this lanser.

    Raises:
        LanserError: it is.
    """
    if found > known:
        raise LanserError(f"{path}: written by a newer lanser (schema {found}): upgrade lanser")
