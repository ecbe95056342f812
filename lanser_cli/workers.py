"""One worker process a device: windows out, their outcomes back in the order of the input.

Each worker has a connection of its own, and a thread here that hands it work and waits for the
answer. No queue is shared. So a worker may be killed at any time, amid an answer too: its
connection breaks, and nobody waits for it.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TypeVar, cast

from lanser_cli import console
from lanser_cli.devices import keep_memory
from lanser_cli.errors import LanserError
from lanser_cli.records import Outcome, Record
from lanser_cli.stage import Process, WindowFunction, one_process

T = TypeVar("T")
Q = TypeVar("Q")

_PATIENCE_S = 5.0
"""A worker that has nothing left to do is killed if it takes longer to end."""


def spread(
    make: Callable[[str], WindowFunction],
    devices: list[str],
    *,
    prepare: Callable[[list[Record]], list[Record]] | None = None,
    helpers: int = 0,
) -> Process:
    """Call `make(device)` once in a process for each device, and share the windows among them.

    With a single device all happens in this process. `make` is called before the first record is
    read, so a set-up that is broken ends the run at once.

    Args:
        prepare: work on a window that needs no device, such as decoding.
        helpers: processes that prepare windows ahead; with 0 none are prepared.
    """
    keep_memory()
    process = one_process(make(devices[0])) if len(devices) == 1 else _on_devices(make, devices)
    if prepare is None or not helpers:
        return process

    def prepared(pending: Iterable[list[Record]]) -> Generator[list[Outcome], None, None]:
        with closing(_ahead(prepare, helpers, pending)) as windows:
            yield from process(windows)

    return prepared


def _on_devices(make: Callable[[str], WindowFunction], devices: list[str]) -> Process:
    def process(pending: Iterable[list[Record]]) -> Generator[list[Outcome], None, None]:
        with _crew(len(devices)) as crew:
            crew.set_up(_build, [(make, device) for device in devices])
            yield from crew.in_order(_work, pending, 2 * len(devices))

    return process


def _ahead(
    prepare: Callable[[list[Record]], list[Record]], helpers: int, pending: Iterable[list[Record]]
) -> Generator[list[Record], None, None]:
    with _crew(helpers) as crew:
        yield from crew.in_order(prepare, pending, helpers + 1)


# ---------------------------------------------------------------- in the parent


@contextmanager
def _crew(count: int) -> Iterator[_Crew]:
    """Worker processes, of which none is left, whatever happens inside."""
    crew = _Crew(count)
    try:
        crew.start(count)
        yield crew
    except BaseException:
        crew.end(wait=False)
        raise
    crew.end(wait=True)


class _Crew:
    """Worker processes, and as many threads that wait for their answers."""

    def __init__(self, count: int) -> None:
        self._workers: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(count)

    def start(self, count: int) -> None:
        for _ in range(count):
            self._workers.append(_Worker())
            self._idle.put(self._workers[-1])

    def set_up(self, function: Callable[[Q], None], arguments: Sequence[Q]) -> None:
        """Call a function once in each worker, with an argument for each."""
        calls = [
            self._threads.submit(worker.call, function, argument)
            for worker, argument in zip(self._workers, arguments, strict=True)
        ]
        for call in calls:
            call.result()

    def in_order(
        self, function: Callable[[list[Q]], list[T]], questions: Iterable[list[Q]], most: int
    ) -> Iterator[list[T]]:
        """The answers to questions, in their order; at most `most` are in flight.

        Instead of an empty question, a pause, there are the answers that are ready, and then it.
        """
        flight: deque[Future[list[T]]] = deque()
        for question in questions:
            if question:
                flight.append(self._threads.submit(self._ask, function, question))
            while flight and (len(flight) >= most or (not question and flight[0].done())):
                yield flight.popleft().result()
            if not question:
                yield []
        while flight:
            yield flight.popleft().result()

    def _ask(self, function: Callable[[Q], T], question: Q) -> T:
        worker = self._idle.get()  # there is one: as many threads as workers
        try:
            return worker.call(function, question)
        finally:
            self._idle.put(worker)

    def end(self, *, wait: bool) -> None:
        """End all workers: by themselves once they have nothing to do, or by killing them."""
        if not wait:
            for worker in self._workers:
                worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.end()


class _Worker:
    """A process that calls functions, seen from its parent.

    Nobody but the process holds the other end of the connection: its death is seen at once.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(other, console.quiet, console.verbose), daemon=True
        )
        with other, _deaf_to_interrupts():
            self._process.start()

    def call(self, function: Callable[[Q], T], argument: Q) -> T:
        """What the function makes of the argument over there.

        Raises:
            LanserError: the process died.
            Exception: what the function raised.
        """
        try:
            self._connection.send((function, argument))
            answer, error, trace = self._connection.recv()
        except (EOFError, OSError) as broken:
            raise LanserError(self._fate()) from broken
        if error is not None:
            raise error from _Remote(trace)
        return cast(T, answer)

    def _fate(self) -> str:
        """What to say of a process that is gone."""
        self._process.join(_PATIENCE_S)
        if self._process.exitcode == 1:  # Python's, of an error in the script, which it imports
            return (
                "a worker process could not begin, its error stands above: let a script do its "
                "work below  if __name__ == '__main__':  since workers import it"
            )
        return "a worker process died (out of memory?): use fewer workers, then --resume"

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        """Say that there is nothing more to do, and wait."""
        self._connection.close()
        self._process.join(_PATIENCE_S)
        self._process.kill()
        self._process.join(_PATIENCE_S)


class _Remote(Exception):
    """The traceback of an error in a worker, for `--verbose`."""


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started here never hears Ctrl-C, not even before its first line: its parent does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---------------------------------------------------------------- in a worker

_function: WindowFunction | None = None


def _serve(connection: Connection, quiet: bool, verbose: bool) -> None:
    """Call what comes along the connection, until the parent closes it."""
    die_with_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_memory()
    os.dup2(2, 1)  # standard output is for records, which the parent writes
    console.configure(quiet_=quiet, verbose_=verbose)
    with suppress(EOFError, ConnectionError):
        while True:
            connection.send_bytes(_answer(connection.recv_bytes()))


def _answer(question: bytes) -> bytes:
    """What a function makes of its argument, or the error that it raised and its traceback."""
    try:
        function, argument = pickle.loads(question)
        return pickle.dumps((function(argument), None, ""))
    except Exception as error:
        return pickle.dumps((None, _portable(error), traceback.format_exc()))


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # an error of a library may hold anything
        return LanserError(f"{type(error).__name__}: {error}")


def die_with_parent() -> None:
    """Let the system kill this process when its parent is gone, even by kill -9, in any state.

    Linux alone does so (prctl(2), PR_SET_PDEATHSIG).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _end_with_parent() -> None:
    """Where the system does not do it, or the parent was gone already: as soon as we may run."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _build(what: tuple[Callable[[str], WindowFunction], str]) -> None:
    global _function
    make, device = what
    _function = make(device)


def _work(window: list[Record]) -> list[Outcome]:
    assert _function is not None
    return _function(window)
