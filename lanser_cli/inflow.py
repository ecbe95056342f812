"""Windows of what comes along a pipe: whole where it comes fast, short where it must be waited for.

So the first record of a slow writer is not held until a whole window has come.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")

LONGEST_S = 1.0
"""How long the first item of a window waits for the others."""

PAUSE_S = 0.25
"""How long nothing comes until what has come is handed on."""


def prompt_windows(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, or of fewer where no more have come; an empty one in each pause.

    Items are drawn in a thread, since nobody can ask an iterator whether it will have to wait. Who
    stops early leaves that thread to itself: it may wait for input that never comes.
    """
    inflow: Queue[T | _End] = Queue(size)
    over = Event()
    Thread(target=_draw, args=(items, inflow, over), daemon=True).start()
    window: list[T] = []
    first = 0.0
    try:
        while True:
            try:
                item = inflow.get(timeout=PAUSE_S)
            except Empty:
                yield window
                window = []
                continue
            if isinstance(item, _End):
                if window:
                    yield window
                if item.error is not None:
                    raise item.error
                return
            first = first if window else time.monotonic()
            window.append(item)
            if len(window) == size or time.monotonic() - first >= LONGEST_S:
                yield window
                window = []
    finally:
        over.set()


class _End:
    """The end of the items, and what it came by if it was no good one."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _draw(items: Iterable[T], inflow: Queue[T | _End], over: Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _put(item, inflow, over):
                return
    except BaseException as raised:
        error = raised
    _put(_End(error), inflow, over)


def _put(item: T | _End, inflow: Queue[T | _End], over: Event) -> bool:
    """Whether it was taken before all was over."""
    while not over.is_set():
        try:
            inflow.put(item, timeout=PAUSE_S)
            return True
        except Full:
            continue
    return False
