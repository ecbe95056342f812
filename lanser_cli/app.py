"""The command line: the verbs in the order of the pipeline, and exceptions as exit codes."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from lanser_cli import __version__, console, provenance, surroundings
from lanser_cli.commands.verb import Verb, Verbs
from lanser_cli.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    LanserError,
    ReaderGone,
    Stopped,
    UsageError,
)

if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from types import FrameType

app = typer.Typer(
    name="lanser",
    cls=Verbs,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="""Speech emotion recognition without human labels.

    Unlabeled speech is transcribed, the transcripts are labelled with the emotion they entail, a
    ResNet learns these labels from the sound, is fine-tuned on a small labelled corpus, evaluated,
    and probed for what it knows of prosody. Each verb reads and writes JSONL or tar shards;
    `lanser help VERB` explains one.""",
)

VERBS = {
    "manifest": "A labelled corpus, a folder or a CSV becomes records.",
    "transcribe": "Speech becomes text.",
    "entail-label": "Text becomes a weak label: the emotion it entails most.",
    "agree": "Several labels become one, by how right each voter is.",
    "why": "Take one record's weak label apart.",
    "pick": "Pick a sample of labels to hear.",
    "listen": "Hear a sample and mark it; say how good the labels are.",
    "taxonomies": "Show the emotion words to choose from.",
    "shard": "Pack sound and labels into tar shards.",
    "audit": "Find what sets share that they must not share.",
    "pretrain": "Learn weak labels from the sound.",
    "finetune": "Learn human labels, and test on other speakers.",
    "efficiency": "Draw UAR against the share of labels used.",
    "baseline": "What does a linear model reach, without a network?",
    "text-only": "What do the words alone reach?",
    "predict": "Predict the emotion of speech.",
    "doubt": "Mark the labels that are least to be trusted.",
    "export": "Make a trained model one file for other programs.",
    "eval": "Score answers against the truth, with intervals.",
    "compare": "Is one run better than another?",
    "probe-prosody": "How much prosody does a network know?",
    "plan": "What do so many hours of speech take?",
    "parts": "Which parts of a job are whole? Merge them.",
    "doctor": "What works on this machine, and what is missing?",
}
"""In the order of the pipeline; each is a module of `lanser_cli.commands`."""

for _verb, _line in VERBS.items():
    _module = import_module(f"lanser_cli.commands.{_verb.replace('-', '_')}")
    app.command(_verb, cls=Verb, short_help=_line, epilog=_module.EXAMPLES)(_module.command)


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version."),
) -> None:
    if version:
        print(f"lanser {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


program = get_command(app)
"""The command line as it is run, and as the pages of help and the manual are written from it."""


def main(argv: Sequence[str]) -> int:
    """Run one command line, the words after `lanser`, and return its exit code."""
    if argv and argv[0] == "help":
        argv = [*argv[1:2], "--help"]
    provenance.set_command_line(argv)
    try:
        _check_utf8(argv)
        with _every_interrupt_heard():
            result = program(list(argv), prog_name="lanser", standalone_mode=False)
        sys.stdout.flush()
        if result == EXIT_INTERRUPTED:  # Typer may have caught the Ctrl-C, and said nothing
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except TyperException as error:
        return _explain(error, EXIT_USAGE, f"{error.format_message()} (see --help)")
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # of a file; Typer takes it for Ctrl-D
            return _explain(error.__cause__, EXIT_FAILED, f"a file ended early: {error.__cause__}")
        console.warn("interrupted")
        return EXIT_INTERRUPTED
    except (ReaderGone, BrokenPipeError):
        # Python would complain once more at exit; there is no one left to hear it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_BROKEN_PIPE
    except Stopped as stopped:
        if str(stopped):  # of several ranks one speaks
            console.warn(str(stopped))
        return stopped.exit_code
    except LanserError as error:
        return _explain(error, error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _explain(error, EXIT_FAILED, f"{where}{error.strerror or error}")
    except Exception as error:  # a bug of ours, or a library's complaint: still one line
        hint = "run again with --verbose for the traceback"
        return _explain(error, EXIT_FAILED, f"{type(error).__name__}: {error} ({hint})")
    finally:  # Python may go on without a command
        console.configure(quiet_=False, verbose_=False)
        provenance.set_command_line(None)


@contextmanager
def _every_interrupt_heard() -> Iterator[None]:
    """Ctrl-C ends the command wherever it falls, and is told from an error.

    Where nothing can be raised, as in a finaliser or in pydantic, Python would only print it, and
    the run go on to its end: it is raised right after. C code, as of an import or of torch, may
    raise an error of its own in its place: that is Ctrl-C too.
    """
    came, before = False, sys.unraisablehook

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    def again(fault: UnraisableHookArgs) -> None:
        if fault.exc_type is KeyboardInterrupt:
            later = threading.Timer(0.05, _thread.interrupt_main)  # here it would be lost again
            later.daemon = True
            later.start()
        else:
            before(fault)

    # A shell's background ignores Ctrl-C, and so do we; a caller's own handler stays, too.
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, note)
    sys.unraisablehook = again
    try:
        yield
    except Exception:
        if came:
            raise KeyboardInterrupt from None
        raise
    finally:
        sys.unraisablehook = before
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _check_utf8(argv: Sequence[str]) -> None:
    """Records, indices and reports name what they were made from, in UTF-8."""
    for word in argv:
        if (said := console.ascii_safe(word)) != word:
            raise UsageError(f"'{said}' is not UTF-8: rename the file or folder")


def _explain(error: BaseException, code: int, message: str | None = None) -> int:
    if console.verbose:
        traceback.print_exception(error)
    console.warn(f"lanser: error: {message or error}")
    return code


def run() -> None:
    """The console script."""
    surroundings.complete()
    sys.exit(main(sys.argv[1:]))
