"""What made a file: the command line, and the versions of what decides a result."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from lanser_cli import __version__


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    found = {"lanser": __version__, "python": platform.python_version()}
    for package in ("torch", "torchaudio", "timm", "transformers", "numpy", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def command_line() -> list[str]:
    return ["lanser", *sys.argv[1:]]
