"""Tars that come and go, brought here before anybody waits for the sound in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread

from lanser_cli.audio.lender import borrowed, is_lent
from lanser_cli.errors import LanserError
from lanser_cli.training.draws import Key


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
