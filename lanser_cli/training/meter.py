"""The meter: how training goes, as lines of metrics.jsonl, a bar, and TensorBoard's events."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from lanser_cli import console
from lanser_cli.training.runs import RunFolder

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

LOG_EVERY = 10
"""Steps from one line to the next."""


class Meter:
    """Counts what steps report, all ranks together, and says it every tenth step.

    A context manager. Only the rank that leads has a `run` to write to.

    Attributes:
        sums: since the last line: the losses, the utterances they are of, the gradients' norms, and
            the steps they are of. A resumed run goes on with them.
    """

    def __init__(
        self,
        run: RunFolder | None,
        what: str,
        *,
        step: int,
        total: int,
        steps_per_epoch: int,
        tensorboard: bool = False,
    ) -> None:
        self._run, self._total, self._per_epoch = run, total, steps_per_epoch
        self.sums = {"loss": 0.0, "heard": 0.0, "norm": 0.0, "steps": 0.0}
        self._loss: float | None = None
        self._shown = step
        self._what, self._tensorboard = what, tensorboard
        self._bar: console.Progress | None = None
        self._events: Any = None
        self.waited = 0.0
        """Seconds in which this rank waited for data since the last line."""
        self._asked = 0.0
        self._begun = time.monotonic()
        self._first_step = step

    def __enter__(self) -> Self:
        if self._run is not None:
            self._bar = console.Progress(self._what, self._total - self._first_step)
        if self._run is not None and self._tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            folder = str(self._run.path / "tensorboard")
            self._events = SummaryWriter(folder, purge_step=self._first_step + 1)
        self._begun = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._events is not None:
            self._events.close()

    def waiting(self, items: Iterable[T]) -> Iterator[T]:
        """Pass batches through, counting the time until each is there."""
        source = iter(items)
        while True:
            begun = time.monotonic()
            try:
                item = next(source)
            except StopIteration:
                return
            self.waited += time.monotonic() - begun
            yield item

    def due(self, step: int) -> bool:
        """Whether a line follows this step."""
        return step % LOG_EVERY == 0 or step == self._total

    def add(self, asked: float) -> None:
        """Count the utterances of a step of all ranks."""
        self._asked += asked

    def learnt(self, loss: float, heard: float, norm: float) -> None:
        """Count a step that changed the weights: its loss and utterances over all ranks."""
        for name, number in (("loss", loss), ("heard", heard), ("norm", norm), ("steps", 1.0)):
            self.sums[name] += number

    def line(self, step: int, lr: float, waited: float, skipped: int = 0) -> None:
        """Write a line, and begin to count anew.

        Args:
            waited: seconds that a rank waited for data since the last line, in the mean.
            skipped: steps that were undone, since the run began.
        """
        now = time.monotonic()
        seconds = max(now - self._begun, 1e-9)
        if self.sums["heard"]:
            self._loss = self.sums["loss"] / self.sums["heard"]
        if self._run is not None and self._loss is not None:
            numbers = {
                "step": step,
                "epoch": round(step / self._per_epoch, 4),
                "loss": self._loss,
                "lr": lr,
                "gradient_norm": self.sums["norm"] / max(self.sums["steps"], 1.0),
                "utterances_per_s": round(self._asked / seconds, 2),
                "waiting": round(min(1.0, waited / seconds), 4),
            }
            if skipped:
                numbers["skipped"] = skipped
            self._run.log(numbers)
            if self._bar is not None:
                self._show(self._bar, step, numbers)
        self.sums = dict.fromkeys(self.sums, 0.0)
        self.waited, self._asked, self._begun = 0.0, 0.0, now

    def _show(self, bar: console.Progress, step: int, numbers: dict[str, float]) -> None:
        bar.advance(
            step - self._shown,
            f"epoch {numbers['epoch']:.1f}, loss {numbers['loss']:.3f}, "
            f"{numbers['utterances_per_s']:.0f} utterances/s",
        )
        self._shown = step
        if self._events is not None:
            for name in ("epoch", "loss", "lr", "gradient_norm", "utterances_per_s", "waiting"):
                self._events.add_scalar(name, numbers[name], step)
