"""The checkpoints of a run: the last two states from which it goes on exactly."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lanser_cli import console
from lanser_cli.digests import file_sha256
from lanser_cli.errors import LanserError, first_line
from lanser_cli.output import commit
from lanser_cli.training.finite import check_finite

KEPT = 2
_NAME = re.compile(r"step-(\d+)-([0-9a-f]{16})\.pt")


class Checkpoints:
    """A folder of `step-STEP-DIGEST.pt`, each named by 16 hex digits of its SHA-256.

    Nothing but tensors and plain values is unpickled.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state, whole or not at all, and keep the one before.

        Those of later steps are of a run that could not go on from them, and are removed.

        Raises:
            LanserError: it is not finite, or the disk is full; those before stay.
        """
        check_finite(state, str(self._folder.parent))
        partial = self._folder / "step.part"
        try:
            torch.save(dict(state), partial)
            name = f"step-{state['step']:08d}-{file_sha256(partial)[:16]}.pt"
            commit(partial, self._folder / name)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or first_line(error)
            found = [one for one in self._found() if one[0] <= state["step"]]
            kept = f"the one of step {found[0][0]} is whole" if found else "there is none before"
            raise LanserError(
                f"{self._folder}: the checkpoint of step {state['step']} cannot be written "
                f"({reason}); {kept}: make room, then go on with --resume"
            ) from error
        found = self._found()
        later = [one for one in found if one[0] > state["step"]]
        for _, path in [*later, *found[len(later) + KEPT :]]:
            path.unlink(missing_ok=True)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The last state that is whole, or None if there is none at all.

        Raises:
            LanserError: there are some, and all are damaged.
        """
        found = self._found()
        for number, (step, path) in enumerate(found, start=1):
            if (damage := _damage(path)) is None:
                state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
                return state
            instead = (
                f": going on from that of step {found[number][0]}" if number < len(found) else ""
            )
            console.warn(f"{path}: the checkpoint of step {step} is damaged ({damage}){instead}")
        if found:
            raise LanserError(
                f"{self._folder}: no checkpoint is whole: remove this folder to train from the "
                "start, or restore one of its files"
            )
        return None

    def drop(self) -> None:
        """The model is written: there is nothing left to resume."""
        for _, path in self._found():
            path.unlink(missing_ok=True)

    def _found(self) -> list[tuple[int, Path]]:
        """Steps and files, the last first."""
        names = [(_NAME.fullmatch(path.name), path) for path in self._folder.glob("*.pt")]
        return sorted(((int(name[1]), path) for name, path in names if name), reverse=True)


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    name = _NAME.fullmatch(path.name)
    try:
        whole = name is not None and file_sha256(path)[:16] == name[2]
    except OSError as error:
        return str(error.strerror)
    return None if whole else "its bytes are not those that its name has the digest of"


class Timetable:
    """When a checkpoint is due: every so many steps, and every so many minutes."""

    def __init__(self, steps: int, minutes: float) -> None:
        self._steps, self._seconds = steps, 60 * minutes
        self._last = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether one is due after this step; the clock then starts anew."""
        due = step % self._steps == 0 or time.monotonic() - self._last >= self._seconds
        if due:
            self._last = time.monotonic()
        return due
