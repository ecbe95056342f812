"""What keeps NaN and infinity out of a model and out of every file of its run folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from lanser_cli import console
from lanser_cli.errors import LanserError

MOST_SKIPPED = 3
"""Steps without a finite gradient after which a run ends."""

ADVICE = "lower --lr, or try --precision float32"


class FiniteGuard:
    """Undoes a step whose gradient is not finite, and ends the run after the third.

    Such a step changes no weight, but its forward pass has already changed the running statistics
    of the norms: they are put back.

    Attributes:
        skipped: how many steps were undone so far.
    """

    def __init__(self, model: nn.Module, what: str) -> None:
        self._statistics = [one for one in model.buffers() if one.is_floating_point()]
        self._before = [one.clone() for one in self._statistics]
        self._what, self.skipped = what, 0

    def before_step(self) -> None:
        """Remember the running statistics."""
        torch._foreach_copy_(self._before, self._statistics)

    def put_back(self) -> None:
        """Give the running statistics their values of before the step."""
        torch._foreach_copy_(self._statistics, self._before)

    def undo_step(self, step: int, ids: Sequence[str]) -> None:
        """Put the running statistics back, and say whose sound the step had.

        Raises:
            LanserError: it is the third such step.
        """
        self.put_back()
        self.skipped += 1
        said = f"{self._what}: no finite gradient at step {step}, which is skipped"
        if self.skipped < MOST_SKIPPED:
            console.warn(said)
            return
        raise LanserError(
            f"{said}, as {self.skipped - 1} before it: {ADVICE}; or look at the sound of "
            f"{', '.join(ids[:8])}{' and others' if len(ids) > 8 else ''}"
        )


def check_finite(state: Mapping[str, object], what: str) -> None:
    """Refuse to write NaN or infinity.

    Raises:
        LanserError: a tensor in `state`, at whatever depth, has some.
    """
    for name, tensor in _tensors(state, ""):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise LanserError(f"{what}: {name} is not finite, so nothing is written: {ADVICE}")


def _tensors(value: object, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _tensors(inner, f"{name}.{key}" if name else str(key))
