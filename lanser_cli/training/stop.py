"""The wish to stop: signals that let a step end before a run does."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; what schedulers send before they kill; what Slurm can be told to send (--signal)."""


class Stop:
    """While open, notes the first of `SIGNALS` instead of dying of it. A second Ctrl-C interrupts.

    What is ignored, as Ctrl-C by a job in the background, stays so.

    Attributes:
        wished: for each of `SIGNALS`, 1.0 if it has come, as ranks sum it up.
    """

    def __init__(self) -> None:
        self.wished = [0.0] * len(SIGNALS)
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            heeded = [one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on(self, agreed: int) -> None:
        """Send on what came too late to end a run by a checkpoint: more may follow, such as a fold.

        Args:
            agreed: the signal that some rank has got, as all know; 0 for none.
        """
        late = (one for one, wish in zip(SIGNALS, self.wished, strict=True) if wish)
        if number := agreed or next(late, 0):
            os.kill(os.getpid(), number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        place = SIGNALS.index(signal.Signals(number))
        if number == signal.SIGINT and self.wished[place]:
            raise KeyboardInterrupt
        self.wished[place] = 1.0


def ignore_in_worker() -> None:
    """In a process that decodes: what is sent to all processes of a job is its parent's to heed."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
