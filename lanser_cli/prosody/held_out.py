"""Which speakers networks may be probed on: those that they were not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lanser_cli.errors import LanserError
from lanser_cli.records import Record
from lanser_cli.training import heard, runs


@dataclass(frozen=True, slots=True)
class Part:
    """A network, and the records that it is probed on.

    Attributes:
        folder: the run folder of the network.
        rows: places in the records.
        known: whether the run says whom it was trained on, or tested on.
        heard: how many of them it was trained on, or on their speaker or voice.
    """

    folder: Path
    rows: NDArray[np.intp]
    known: bool
    heard: int


def seeds_of(run: Path) -> list[list[Path]]:
    """The networks of a run, by seed: those of one seed tested each speaker once.

    Raises:
        LanserError: there is no finished model.
    """
    found: dict[Path, list[Path]] = {}
    for folder in runs.model_folders(run):
        found.setdefault(run if folder == run else folder.parent, []).append(folder)
    return list(found.values())


def divide(networks: Sequence[Path], records: Sequence[Record]) -> list[Part]:
    """Each of these networks with the records of the speakers that it never heard.

    A run of `finetune` names the speakers that it was tested on; of these are left out whom it was
    trained on all the same, or the model that it started from. A run that names none, as those of
    `pretrain` and `finetune --folds 0`, is probed on all records.

    Raises:
        LanserError: they were tested on none of these speakers, or several of them on one.
    """
    found = []
    for folder in networks:
        tested = runs.read_config(folder).get("test_speakers") or ()
        trained = heard.read(folder)
        marks = np.empty(0, np.uint64) if trained is None else trained
        apart = {name for name in tested if not heard.knows_speaker(marks, name)}
        rows = [i for i, one in enumerate(records) if not tested or one.speaker in apart]
        count = sum(heard.knows(marks, records[row]) for row in rows)
        known = bool(tested) or trained is not None
        found.append(Part(folder, np.array(rows, dtype=np.intp), known, count))
    found = [part for part in found if len(part.rows)]
    run = run_of(networks)
    if not found:
        raise LanserError(
            f"{run}: none of its networks was tested on a speaker of these records whom it had not "
            "heard in training: probe it on the corpus that it was tested on"
        )
    if sum(len(part.rows) for part in found) > len(rows_of(found)):
        raise LanserError(
            f"{run}: a speaker of these records was held out from several of its networks: name "
            "the folder of one fold"
        )
    return found


def run_of(networks: Sequence[Path]) -> Path:
    """The folder that a message names."""
    return networks[0] if len(networks) == 1 else networks[0].parent


def rows_of(parts: Sequence[Part]) -> NDArray[np.intp]:
    """The records that some network is probed on, in their order."""
    return np.unique(np.concatenate([part.rows for part in parts]))
