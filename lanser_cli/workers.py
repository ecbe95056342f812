"""One worker process a device: windows go round, outcomes come back in the order of the input."""

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
    """Make `make(device)` once in a process of its own for each device, and share the windows out.

    With a single device all happens in this process. `make` is called before the first record is
    read, so a set-up that is broken ends the run at once.

    Args:
        prepare: what can be done to a window before a device has its turn, such as decoding.
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
    with _pool(helpers, _settle, (console.quiet, console.verbose)) as pool:
        yield from _in_order(pool, prepare, pending, helpers + 1)


def _in_order(
    pool: ProcessPoolExecutor,
    function: Callable[[list[Record]], T],
    pending: Iterable[list[Record]],
    most: int,
) -> Iterator[T]:
    """What a pool makes of windows, in their order, with at most so many of them in its hands."""
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
        # Nobody wants what they are at: a reader that has gone should not wait for them.
        for child in multiprocessing.active_children():
            child.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    # One that is still starting reads what it was given from this process: do not go before it.
    pool.shutdown()


def _start(make: Callable[[str], WindowFunction], names: Any, quiet: bool, verbose: bool) -> None:
    global _make, _device
    _settle(quiet, verbose)
    _make, _device = make, names.get()


def _settle(quiet: bool, verbose: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_memory()
    os.dup2(2, 1)  # a worker has nothing to say on stdout
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
