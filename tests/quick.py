"""Commands in processes of their own that need not import torch first: a tenth of the time.

A server imports what is slow once and forks for each command, which then has a process id, file
descriptors, signals and an exit code like any other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SLOW = (
    "pytest",
    "torch",
    "transformers",
    "whisper",
    "timm",
    "sklearn.linear_model",
    "webdataset",
    "scipy",
)
_ROOMS = (
    *("asr.transcriber", "asr.engines.whisper", "entailment", "evaluation.audit"),
    *("evaluation.evaluate", "prosody.probe_run", "shards.verify", "shards.writer"),
    *("training.finetune", "training.pretrain", "workers"),
)

_context = multiprocessing.get_context("forkserver")


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
        stdout: a file or FIFO to write to instead.
        window: records a stage sees at once; default what the verb says.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        input: bytes = b"",
        stdout: Path | None = None,
        window: int | None = None,
    ) -> None:
        number = len(list(folder.glob("*.stderr")))
        self._stdin, self._stdout, self._stderr = (
            folder / f"{number}.{name}" for name in ("stdin", "stdout", "stderr")
        )
        self._stdin.write_bytes(input)
        self._stdout.touch()
        self._stderr.touch()
        paths = [str(path) for path in (self._stdin, stdout or self._stdout, self._stderr)]
        self.process = _context.Process(
            target=_command, args=([str(word) for word in arguments], paths, window)
        )
        self.process.start()

    def wait(self, seconds: float = 120.0) -> Done:
        """Wait for its end."""
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            raise AssertionError(f"still running after {seconds} s: {self._stderr.read_text()}")
        return Done(code, self._stdout.read_bytes(), self._stderr.read_text(encoding="utf-8"))

    def send(self, number: signal.Signals, *, once: Callable[[], bool]) -> Done:
        """Send a signal as soon as something is so, and wait for the end."""
        while not once():
            assert self.process.exitcode is None, self._stderr.read_text()
            time.sleep(0.001)
        assert self.process.pid is not None
        os.kill(self.process.pid, number)
        return self.wait()


def start_server(environment: dict[str, str]) -> None:
    """Let the server import now; a fixture calls this once."""
    os.environ.update(environment, TOKENIZERS_PARALLELISM="false")
    rooms = [f"lanser_cli.{room}" for room in _ROOMS]
    _context.set_forkserver_preload([*_SLOW, "lanser_cli.app", *rooms, __name__])


def _command(arguments: list[str], paths: list[str], window: int | None) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, (path, flags) in enumerate(
        zip(paths, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)
    ):
        os.dup2(os.open(path, flags), number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, mode in enumerate(("r", "w", "w"))
    )
    if window is not None:
        _see_at_once(window)
    import torch

    from lanser_cli import app

    torch.set_num_threads(1)
    sys.argv[1:] = arguments
    sys.exit(app.main(arguments))


def _see_at_once(window: int) -> None:
    from lanser_cli.asr import transcriber
    from lanser_cli.entailment import labeller
    from lanser_cli.pipe import Pipe
    from lanser_cli.training import predict

    transcriber.WINDOW = labeller.WINDOW = predict.WINDOW = window
    Pipe.__init__.__kwdefaults__["window"] = window
