"""One worker process a device: windows out, their outcomes back in the order of the input."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from lanser_cli import console
from lanser_cli.devices import keep_memory
from lanser_cli.errors import LanserError
from lanser_cli.pipe import Process, WindowFunction, one_process
from lanser_cli.records import Outcome, Record

T = TypeVar("T")


_function: WindowFunction | None = None


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
        context = multiprocessing.get_context("spawn")
        names: Any = context.Queue()
        for device in devices:
            names.put(device)
        starting = (make, names, console.quiet, console.verbose)
        with _pool(len(devices), _start, starting) as pool:
            for future in [pool.submit(_ready) for _ in devices]:
                future.result()
            yield from _in_order(pool, _work, pending, 2 * len(devices))

    return process


def _ahead(
    prepare: Callable[[list[Record]], list[Record]], helpers: int, pending: Iterable[list[Record]]
) -> Generator[list[Record], None, None]:
    with _pool(helpers, _start_worker, (console.quiet, console.verbose)) as pool:
        yield from _in_order(pool, prepare, pending, helpers + 1)


def _in_order(
    pool: ProcessPoolExecutor,
    function: Callable[[list[Record]], T],
    pending: Iterable[list[Record]],
    most: int,
) -> Iterator[T]:
    """The answers of a pool to windows, in their order; at most `most` windows are in flight."""
    flight: deque[Future[T]] = deque()
    for window in pending:
        flight.append(pool.submit(function, window))
        if len(flight) >= most:
            yield flight.popleft().result()
    while flight:
        yield flight.popleft().result()


@contextmanager
def _pool(
    count: int, start: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), start, arguments)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise LanserError(
            "a worker process died (out of memory?): use fewer workers, then --resume"
        ) from error
    except BaseException:
        # Their answers are not wanted any more: end them, so that nobody waits for them.
        for child in multiprocessing.active_children():
            child.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    # A worker that is still starting reads its arguments from this process: wait for it.
    pool.shutdown()


def _start(make: Callable[[str], WindowFunction], names: Any, quiet: bool, verbose: bool) -> None:
    global _make, _device
    _start_worker(quiet, verbose)
    _make, _device = make, names.get()


def _start_worker(quiet: bool, verbose: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_memory()
    os.dup2(2, 1)  # standard output is for records, which the parent writes
    console.configure(quiet_=quiet, verbose_=verbose)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for it for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _ready() -> None:
    """Build the worker's function; here, not in `_start`, so that its error reaches the user."""
    global _function
    if _function is None:
        _function = _make(_device)


def _work(window: list[Record]) -> list[Outcome]:
    _ready()
    assert _function is not None
    return _function(window)


_make: Callable[[str], WindowFunction]


_device: str
