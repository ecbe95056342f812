"""The command line: the verbs in the order of the pipeline, and exceptions as exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import typer
from typer.exceptions import TyperException

from lanser_cli import __version__, console, provenance, surroundings
from lanser_cli.errors import (
    EXIT_BROKEN_PIPE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    LanserError,
    ReaderGone,
    Stopped,
)

app = typer.Typer(
    name="lanser",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Speech emotion recognition without human labels.

    Unlabeled speech is transcribed, the transcripts are labelled with the emotion they entail, a
    ResNet learns these labels from the sound, is fine-tuned on a small labelled corpus, evaluated,
    and probed for what it knows of prosody. Each verb reads and writes JSONL or tar shards.""",
)

VERBS = (
    "manifest",
    "transcribe",
    "entail-label",
    "taxonomies",
    "shard",
    "audit",
    "pretrain",
    "finetune",
    "efficiency",
    "baseline",
    "text-only",
    "predict",
    "eval",
    "compare",
    "probe-prosody",
)
"""In the order of the pipeline; each is a module of `lanser_cli.commands` that has a `command`."""

for _verb in VERBS:
    _module = import_module(f"lanser_cli.commands.{_verb.replace('-', '_')}")
    app.command(_verb)(_module.command)


@app.callback(invoke_without_command=True)
def _top(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        print(f"lanser {__version__}")
        raise typer.Exit()


def main(argv: Sequence[str]) -> int:
    """Run one command line, the words after `lanser`, and return its exit code."""
    console.configure(quiet_=False, verbose_=False)
    provenance.set_command_line(argv)
    try:
        result = app(list(argv), prog_name="lanser", standalone_mode=False)
        sys.stdout.flush()
        if result == EXIT_INTERRUPTED:  # Typer may have caught the Ctrl-C, and said nothing
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except TyperException as error:
        message = error.format_message().replace("Value error, ", "")
        return _explain(error, EXIT_USAGE, f"{message} (see --help)")
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


def _explain(error: BaseException, code: int, message: str | None = None) -> int:
    if console.verbose:
        traceback.print_exception(error)
    console.warn(f"lanser: error: {message or error}")
    return code


def run() -> None:
    """The console script."""
    surroundings.complete()
    sys.exit(main(sys.argv[1:]))
