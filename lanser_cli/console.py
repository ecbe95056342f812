"""What people read, all of it on stderr: messages, progress, the closing line."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

T = TypeVar("T")

quiet = False
verbose = False
_LOG_EVERY_S = 30.0
_MOST_LETTERS = 2000
_MOST_OF_A_KIND = 10
_MOST_KINDS = 100


def configure(*, quiet_: bool | None = None, verbose_: bool | None = None) -> None:
    """Set the two switches every verb has."""
    global quiet, verbose
    quiet = quiet if quiet_ is None else quiet_
    verbose = verbose if verbose_ is None else verbose_


def info(message: str) -> None:
    """A line for people, unless `--quiet`."""
    if not quiet:
        warn(message)


def warn(message: str) -> None:
    """A line that `--quiet` does not silence: something was lost or is not as expected.

    If stderr is full, or its reader is gone, nothing more is said: that fails no run.
    """
    try:
        print(printable(message), file=sys.stderr, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)  # for what is still in the buffer, and what libraries say
        os.close(nowhere)


class Folded:
    """Warnings of which there may be many: ten of a kind are said, the others counted."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._firsts: dict[str, str] = {}

    def warn(self, kind: str, message: str) -> None:
        """Say the message unless there were ten of its kind; beyond 100 kinds there is one."""
        if kind not in self._firsts and len(self._firsts) >= _MOST_KINDS:
            kind = ""
        self._counts[kind] += 1
        self._firsts.setdefault(kind, message)
        if self._counts[kind] <= _MOST_OF_A_KIND:
            warn(message)

    def close(self, hint: str) -> None:
        """Say how many there were besides; `hint` tells where they can be found."""
        for kind, count in self._counts.items():
            if count > _MOST_OF_A_KIND:
                like = "of other kinds" if not kind else f"like '{self._firsts[kind]}'"
                warn(f"and {count - _MOST_OF_A_KIND} more {like} ({hint})")
        self._counts.clear()
        self._firsts.clear()


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Progress]:
    """Count up to `total`: a bar on a terminal, otherwise a log line now and then."""
    meter = Progress(what, total)
    try:
        yield meter
    finally:
        meter.close()


class Progress:
    """How far something has come, how fast, and how long it takes. Silent with `--quiet`."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what, self._total = what, total
        self._count = self._count_logged = 0
        self._logged = time.monotonic()
        self._bar = _bar(total) if sys.stderr.isatty() and not quiet else None
        if self._bar is not None:
            self._task = self._bar.add_task(what, total=total)
            self._bar.start()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Take `steps` forward; `note` (such as a loss) is shown next to the count."""
        self.reach(self._count + steps, note)

    def reach(self, count: int, note: str = "") -> None:
        """As `advance`, up to a count."""
        self._count = count
        if self._bar is not None:
            description = f"{self._what} {note}".strip()
            self._bar.update(self._task, completed=count, description=description)
            return
        now = time.monotonic()
        if now - self._logged >= _LOG_EVERY_S:
            rate = (count - self._count_logged) / (now - self._logged)
            of = left = ""
            if self._total is not None:
                of = f" of {self._total}"
                left = f", {duration((self._total - count) / rate)} left" if rate else ""
            info(f"{self._what}: {count}{of}, {rate:.1f}/s{left} {note}".rstrip())
            self._logged, self._count_logged = now, count

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Pass items through, counting them."""
        for item in items:
            yield item
            self.advance()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(total: int | None) -> Bar:
    """A bar on stderr; of an unknown total what is done, and how fast."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:.1f}/s")

    words, rate = TextColumn("{task.description}", markup=False), Rate()
    if total is None:
        columns = [SpinnerColumn(), words, TextColumn("{task.completed}"), rate]
        return Bar(*columns, TimeElapsedColumn(), console=Console(stderr=True))
    known = [words, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()]
    return Bar(*known, console=Console(stderr=True))


def duration(seconds: float) -> str:
    """`42 s`, `17 min` or `3 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def printable(text: str) -> str:
    """The text as one line that a terminal shows and does not act on.

    Escaped is what cannot be printed: control characters, line ends, blanks that are none, marks
    that turn the direction of writing, bytes that are no Unicode. Of a very long text the middle is
    left out.
    """
    if len(text) > _MOST_LETTERS:
        half = _MOST_LETTERS // 2
        text = f"{text[:half]} [...] {text[-half:]}"
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def ascii_safe(text: str) -> str:
    """The text, with bytes that are no Unicode (from odd file names) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
