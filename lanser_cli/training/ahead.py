"""What is made ready before anybody waits for it: batches, and tars that come and go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from lanser_cli.audio.lender import borrowed, is_lent
from lanser_cli.errors import LanserError
from lanser_cli.training.draws import Key

T = TypeVar("T")


def made_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; while one is in use, a thread makes the next.

    The first is made by the caller's thread: processes that it starts die with that one.
    """
    end: Any = object()
    with ThreadPoolExecutor(1) as thread:
        item = next(items, end)
        while item is not end:
            coming = thread.submit(next, items, end)
            yield item
            item = coming.result()


def fetched_ahead(
    steps: Iterable[list[Key]], tar_of: Callable[[int], str], distance: int
) -> Iterator[list[Key]]:
    """The same steps; a thread has borrowed what they need, so many utterances before.

    Args:
        tar_of: where each utterance lies.
    """
    wanted: SimpleQueue[str] = SimpleQueue()
    # From here on no process may be forked: it would share the locks that the thread has.
    Thread(target=_bring, args=(wanted,), daemon=True).start()
    waiting: deque[list[Key]] = deque()
    ahead = 0
    try:
        for keys in steps:
            for tar in dict.fromkeys(tar_of(index) for _, index, _ in keys):
                wanted.put(tar)
            waiting.append(keys)
            ahead += len(keys)
            while ahead > distance:
                ahead -= len(waiting[0])
                yield waiting.popleft()
        yield from waiting
    finally:
        wanted.put("")


def _bring(wanted: SimpleQueue[str]) -> None:
    while tar := wanted.get():
        if is_lent(tar):
            with suppress(LanserError), borrowed(tar):  # whoever reads it says what is wrong
                pass
