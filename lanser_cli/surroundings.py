"""What a process may find missing, in a container or under cron: open streams, a user, a home."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile


def complete() -> None:
    """Put something in the place of what is missing, before a library stumbles over it."""
    _open_closed_descriptors()
    _name_the_user()


def _open_closed_descriptors() -> None:
    """Let no file that is opened later become standard input, output or error.

    What is read from or written to the first two still fails; what is said is lost.
    """
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest that is free: this one
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _name_the_user() -> None:
    """PyTorch asks for the user's name when it is imported; `docker run --user 1042` has none."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("USER", f"uid-{os.getuid()}")
        os.environ.setdefault("HOME", tempfile.gettempdir())
