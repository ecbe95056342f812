"""What a process finds: closed streams, no user, no home, busy cores; and what to do about it."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile

from lanser_cli import console
from lanser_cli.devices import cpu_count

SPINS = "10000"
"""Looks of GNU's OpenMP, which PyTorch's wheels bring, before a waiting thread sleeps."""

CROWDED = "others work here too, so all takes longer; fewer --threads or --workers may help"
"""What to know where more wants to run than there are cores."""


def complete() -> None:
    """Put something in the place of what is missing, before a library stumbles over it."""
    _open_closed_descriptors()
    _name_the_user()
    _let_threads_sleep()


def use_threads(count: int) -> None:
    """Let PyTorch, and what it brings, compute in so many threads, here and in workers."""
    os.environ["OMP_NUM_THREADS"] = str(count)  # read on import
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def mention_load() -> None:
    """Say that the cores do not do for all that wants to run, where that is so."""
    load, cores = os.getloadavg()[0], cpu_count()
    if load > cores:
        console.info(f"load {load:.1f} on {cores} {'cores' if cores > 1 else 'core'}: {CROWDED}")


def _open_closed_descriptors() -> None:
    """Let no file that is opened later become standard input, output or error.

    What is read from or written to the first two still fails; what is said is lost.
    """
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest that is free: this one
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _name_the_user() -> None:
    """PyTorch asks for the user's name when it is imported; `docker run --user 1042` has none."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("USER", f"uid-{os.getuid()}")
        os.environ.setdefault("HOME", tempfile.gettempdir())


def _let_threads_sleep() -> None:
    """Have the threads of PyTorch sleep soon while they wait for each other.

    By default they spin for long, and so take the cores from the thread they wait for where other
    processes work too. To sleep at once costs an eighth where there are none. What the user has set
    stays.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS
