"""What can go wrong, by whom it concerns: the user, one record, or a missing extra.

Every message is one sentence that says what happened, where, and what to do about it.
`lanser_cli.app.main` is the one place where these become exit codes.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from lanser_cli import console

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REJECTED = 3
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class LanserError(Exception):
    """The run cannot go on (exit 1)."""

    exit_code = EXIT_FAILED


class UsageError(LanserError):
    """The command line asks for something that does not exist or does not fit (exit 2)."""

    exit_code = EXIT_USAGE


class RecordError(LanserError):
    """This one record cannot be processed; it becomes a reject and the run goes on."""


class Stopped(LanserError):
    """The run was asked to stop, has kept what it had, and can go on (exit 128 + the signal).

    Args:
        number: of the signal; Ctrl-C is 2, so its code is 130 as everywhere.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class ReaderGone(Exception):
    """Whoever read our standard output has gone away, as `head` does; nothing to complain about."""


_PACKAGE = Path(__file__).parent


@contextmanager
def of_one_record() -> Iterator[None]:
    """The one boundary between a record and the run: what goes wrong inside is the record's fault.

    Strangers' data makes libraries, and lanser, trip in ways that nobody foresaw: OverflowError,
    TypeError, MemoryError. The RecordError says which, and where, so that a fault of lanser's own
    can be told and reported; `--verbose` shows its traceback. What no data can cause passes.

    Raises:
        RecordError: for any error of the record.
        LanserError: as raised inside, since it concerns the run.
    """
    try:
        yield
    except (LanserError, ReaderGone, AssertionError, ImportError, NameError):
        raise
    except Exception as error:
        if console.verbose:
            traceback.print_exception(error)
        raise RecordError(f"{type(error).__name__} in {_where(error)}: {error}") from error


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _where(error: Exception) -> str:
    """The innermost line of lanser that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in Path(frame.filename).parents]
    last = (ours or frames)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, which the optional dependency `extra` brings.

    Raises:
        LanserError: it is not installed; the message names the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing_extra(module, extra) from error


def already_there(path: object) -> UsageError:
    """Of an output that may not be overwritten."""
    return UsageError(f"{path}: is there already: overwrite it with --force, or name another")


def missing_extra(module: str, extra: str) -> LanserError:
    """The error of a package that is not installed, which the optional dependency `extra` brings.

    For packages that are looked for without being imported; others are imported with `require`.
    """
    return LanserError(
        f"this needs the Python package '{module}': run  pip install 'lanser[{extra}]'"
    )
