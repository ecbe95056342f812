"""Commands in processes of their own that need not import torch first: a tenth of the time.

A server imports what is slow once and forks for each command. The command then has a process id,
file descriptors, a folder, an environment, signals and an exit code like any other. What it
starts itself, such as worker processes, are interpreters of their own.
"""

from __future__ import annotations

import builtins
import itertools
import multiprocessing
import os
import re
import runpy
import secrets
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.forkserver import _forkserver
from pathlib import Path

ROOT = Path(__file__).parent.parent

_UNCLOSED = re.compile(r"Exception ignored in: (?:.+\n)+?ResourceWarning: unclosed file .+\n")
"""Said where a signal came between opening a file and whatever closes it."""

_SLOW = (
    "cleanlab.experimental.label_issues_batched",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "networkx",
    "onnxruntime",
    "pytest",
    "scipy.signal",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "swift_f0",
    "timm",
    "torch",
    "torch._functorch.aot_autograd",
    "transformers",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
    "typer._adapters",
    "webdataset",
    "whisper",
)
"""What commands import when they need it. A name that is gone costs time, no more."""

_OURS = [path.relative_to(ROOT) for path in ROOT.glob("lanser_cli/**/[!_]*.py")]

_READ_ON_IMPORT = ("HF_", "LD_", "OMP_", "PYTHON", "TORCH", "TRANSFORMERS_")
"""Variables that come too late for a command whose imports are done."""

os.getloadavg = lambda: (0.0, 0.0, 0.0)  # commands say what else runs here: not in tests

Main = Callable[[list[str]], "int | None"]

_context = multiprocessing.get_context("forkserver")
_numbers = itertools.count()
_warnings: list[str] = []


@dataclass(frozen=True)
class Done:
    """How a command ended. `code` is negative for a signal, as in subprocess."""

    code: int
    out: bytes
    err: str


class Quick:
    """A command that runs: `Quick(folder, "predict", "-", input=b"...")`.

    Args:
        folder: where its input and output are kept.
        input: its standard input.
        stdout, stderr: a file, FIFO or terminal to write to instead.
        window: records a stage sees at once; default what the verb says.
        cwd: the folder it runs in; default this process's.
        env: variables on top of this process's environment.
        main: what is run with the arguments; default lanser. It is a function of a module.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        input: bytes = b"",
        stdout: Path | None = None,
        stderr: Path | None = None,
        window: int | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        main: Main | None = None,
    ) -> None:
        number = next(_numbers)
        self._stdin, self._stdout, self._stderr = (
            folder / f"{number}.{name}" for name in ("stdin", "stdout", "stderr")
        )
        self._stdin.write_bytes(input)
        self._stdout.touch()
        self._stderr.touch()
        outputs = (stdout or self._stdout, stderr or self._stderr)
        paths = [str(path) for path in (self._stdin, *outputs)]
        environment = {**os.environ, **(env or {})}
        assert not late(environment), f"{late(environment)} need an interpreter of their own"
        words = [str(word) for word in arguments]
        self._signalled = False
        self.process = start(words, paths, str(cwd or Path.cwd()), environment, window, main=main)

    def wait(self, seconds: float = 300.0) -> Done:
        """Wait for its end."""
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            raise AssertionError(f"still running after {seconds} s: {self._stderr.read_text()}")
        said = self._stderr.read_text(encoding="utf-8")
        if self._signalled:
            said = _UNCLOSED.sub("", said)
        assert "Exception ignored in" not in said, said
        return Done(code, self._stdout.read_bytes(), said)

    def send(self, number: signal.Signals, *, once: Callable[[], bool]) -> Done:
        """Send a signal as soon as something is so, and wait for the end."""
        while not once():
            assert self.process.exitcode is None, self._stderr.read_text()
            time.sleep(0.001)
        assert self.process.pid is not None
        self._signalled = True
        os.kill(self.process.pid, number)
        return self.wait()


def free_port() -> int:
    """A port that nobody listens at, below those that Linux gives to whoever asks for any.

    Of these, ranks of another test that runs beside this one could get it before it is used.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


def as_ranks(count: int) -> list[dict[str, str]]:
    """The variables of so many processes that meet, as srun gives them, to start commands with."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    meeting = where | {"SLURM_NTASKS": str(count)}
    return [
        meeting | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(count)
    ]


def script(arguments: list[str]) -> None:
    """A `Main` that runs a script of Python with its arguments, as the interpreter would."""
    warnings.resetwarnings()  # what it does with them is its own affair
    sys.argv[:] = arguments
    sys.path.insert(0, str(Path(arguments[0]).parent))
    runpy.run_path(arguments[0], run_name="__main__")


def start(
    arguments: list[str],
    streams: Sequence[object],
    folder: str,
    environment: Mapping[str, str],
    window: int | None = None,
    *,
    session: bool = False,
    main: Main | None = None,
) -> multiprocessing.process.BaseProcess:
    """Start a command.

    Args:
        streams: its standard streams, each a path or something that arrives as a descriptor.
        window, main: as `Quick` has them.
        session: whether it leads a session of its own, by which all that it starts can be found.
    """
    place = (folder, dict(environment))
    process = _context.Process(
        target=_command, args=(arguments, list(streams), place, _warnings, window, session, main)
    )
    process.start()
    return process


def late(environment: Mapping[str, str]) -> list[str]:
    """The variables that differ from the server's, but are read when modules are imported."""
    names = {*environment, *os.environ}
    mine = [name for name in names if name.startswith(_READ_ON_IMPORT)]
    return [name for name in mine if environment.get(name) != os.environ.get(name)]


def prepare_server(filters: Sequence[str], address: str | None = None) -> None:
    """Say what the server imports; it starts with the first command.

    Args:
        filters: what becomes of warnings in a command, as in pytest's `filterwarnings`.
        address: where a server listens already, that another process has started.
    """
    _warnings[:] = filters
    ours = [".".join(path.with_suffix("").parts) for path in _OURS]
    _context.set_forkserver_preload([*_SLOW, *ours, "tests.served"])
    if address is not None:
        _forkserver._forkserver_address = address
        _forkserver._forkserver_alive_fd = os.open(os.devnull, os.O_WRONLY)  # it is handed on
        _forkserver.ensure_running = lambda: None


def start_server() -> str | None:
    """Start the server now; its address, for other processes.

    None from Python 3.14 on, where a server asks for a key: each process then has its own.
    """
    if sys.version_info >= (3, 14):
        return None
    _forkserver.ensure_running()
    return _forkserver._forkserver_address


def _command(
    arguments: list[str],
    streams: list[str | int],
    place: tuple[str, dict[str, str]],
    filters: list[str],
    window: int | None,
    session: bool,
    main: Main | None,
) -> None:
    if session:
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is a command that can say so
    for number, (stream, flags) in enumerate(
        zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)
    ):
        opened = os.open(stream, flags) if isinstance(stream, str) else stream
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, buffering, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, mode, buffering in ((0, "r", -1), (1, "w", -1), (2, "w", 1))
    )
    sys.stderr.reconfigure(errors="backslashreplace")
    folder, environment = place
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if window is not None:
        _see_at_once(window)
    from lanser_cli import app

    _filter(filters)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit((main or app.main)(arguments))


def _filter(filters: list[str]) -> None:
    """Do with warnings what pytest does."""
    for line in filters:
        action, message, category, module = (*line.split(":"), "", "", "")[:4]
        kind = getattr(builtins, category or "Warning")
        warnings.filterwarnings(action, message, kind, module)  # type: ignore[arg-type]


def _see_at_once(window: int) -> None:
    from lanser_cli.asr import transcriber
    from lanser_cli.entailment import labeller
    from lanser_cli.pipe import Pipe
    from lanser_cli.training import predict

    transcriber.WINDOW = labeller.WINDOW = predict.WINDOW = window
    Pipe.__init__.__kwdefaults__["window"] = window
