"""Speakers' levels: mean and deviation of their log-mel, which `--normalise speaker` takes off.

They are taken over all of a speaker's sound at hand, of a test speaker's too, though over no
label: what is answered so is transductive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lanser_cli import console
from lanser_cli.audio import sound
from lanser_cli.audio.measured import Load, Measure, Measured, measure_each
from lanser_cli.audio.silence import sounding
from lanser_cli.devices import Ranks, cpu_count
from lanser_cli.errors import RecordError, UsageError
from lanser_cli.models.classifier import Architecture
from lanser_cli.models.front_end import LogMel
from lanser_cli.records import Record, Reject
from lanser_cli.tally import Ledger
from lanser_cli.training.unread import Unread

R = TypeVar("R", bound=Record)

_FEW = 2000  # records that are measured before other processes would have started


def by_speaker(architecture: Architecture) -> bool:
    """Whether a network must be told the levels of who speaks."""
    return architecture.front_end.normalise == "speaker"


@dataclass(frozen=True, slots=True)
class Speakers:
    """Levels by speaker: `[2, mels]` float32, mean and deviation of each band of log-mel."""

    levels: Mapping[str, NDArray[np.float32]]

    @classmethod
    def measured(
        cls,
        records: Iterable[Record],
        architecture: Architecture,
        stage: str,
        refuse: Callable[[Reject], object],
        *,
        load: Load = sound.load,
        processes: int = 1,
    ) -> Speakers:
        """Over all frames of all of a speaker's records that are sound.

        Args:
            refuse: is given what has no speaker, or cannot be read.
            load: gives the sound of a record.
        """
        sums: dict[str, NDArray[np.float64]] = {}
        make = partial(_measurer, architecture)
        named = _named(records, stage, refuse)
        for outcome in measure_each(named, stage, make, load=load, processes=processes):
            if isinstance(outcome, Measured):
                name = str(outcome.speaker)
                sums[name] = sums[name] + outcome.found if name in sums else outcome.found
            elif isinstance(outcome, Reject):
                refuse(outcome)
        return cls({name: _levels(found) for name, found in sums.items()})

    def of(self, record: Record) -> Tensor:
        """Those of a record's speaker, `[2, mels]`.

        Raises:
            RecordError: it names none, or none of this speaker's sound was measured.
        """
        if not record.speaker:
            raise _no_speaker()
        if record.speaker not in self.levels:
            raise RecordError(f"nothing is known of the speaker '{record.speaker}'")
        return torch.from_numpy(self.levels[record.speaker])

    def table(self, records: Sequence[Record], device: torch.device) -> Table:
        """Those of the speakers of many records."""
        names = {name: row for row, name in enumerate(self.levels)}
        owners = [names[str(record.speaker)] for record in records]
        levels = torch.from_numpy(np.stack(list(self.levels.values())))
        return Table(levels.to(device), torch.tensor(owners, device=device))


@dataclass(frozen=True, slots=True)
class Table:
    """The levels of many utterances: `[speakers, 2, mels]`, and the speaker of each."""

    levels: Tensor
    owners: Tensor

    def __getitem__(self, indices: Sequence[int]) -> Tensor:
        """Of these utterances, `[n, 2, mels]`."""
        return self.levels[self.owners[indices]]


def known_speakers(
    records: Sequence[R], architecture: Architecture, ledger: Ledger
) -> tuple[list[R], Speakers | None]:
    """The records that can be normalised, and their speakers' levels; the ledger has the others.

    Returns:
        All records and None, if the architecture does not normalise by speaker.

    Raises:
        UsageError: no record names its speaker.
        LanserError: too much sound cannot be read.
    """
    if not by_speaker(architecture):
        return list(records), None
    named = sum(bool(record.speaker) for record in records)
    if not named:
        raise UsageError(
            "--normalise speaker: no record has a 'speaker': name who speaks, or take another"
        )
    refused: list[Reject] = []
    count = 1 if len(records) <= _FEW else max(1, cpu_count() // Ranks.from_environment().count)
    with console.progress(f"{ledger.stage}: speakers", len(records)) as meter:
        speakers = Speakers.measured(
            meter.over(records), architecture, ledger.stage, refused.append, processes=count
        )
    for reject in refused:
        ledger.reject(reject)
    unreadable = len(refused) - (len(records) - named)
    Unread(ledger.stage, named).add(named, unreadable)
    lost = {reject.id for reject in refused}
    return [record for record in records if record.id not in lost], speakers


def _named(
    records: Iterable[Record], stage: str, refuse: Callable[[Reject], object]
) -> Iterable[Record]:
    for record in records:
        if not record.speaker:
            refuse(Reject.of(record, stage, _no_speaker()))
        else:
            yield record


def _no_speaker() -> RecordError:
    return RecordError("has no 'speaker', which --normalise speaker needs: say who speaks")


def _measurer(architecture: Architecture) -> Measure:
    return partial(_sums, LogMel(architecture.front_end), architecture.trim)


@torch.inference_mode()
def _sums(log_mel: LogMel, trim: bool, waveform: sound.Waveform) -> NDArray[np.float64]:
    """Frames that are sound, the sum of their log-mel and of its squares: `[3, mels]`."""
    clip = torch.from_numpy(waveform[sounding(waveform)] if trim else waveform)
    clip = nn.functional.pad(clip, (0, max(0, log_mel.mel.n_fft - len(clip))))
    logmel, heard = log_mel.bands(clip[None])
    bands = logmel[0][:, heard[0, 0]].double().numpy()
    counts = np.full(len(bands), bands.shape[1], np.float64)
    return np.stack([counts, bands.sum(1), np.square(bands).sum(1)])


def _levels(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    counts, total, squares = sums
    counts = np.maximum(counts, 1)
    mean = total / counts
    deviation = np.sqrt(np.maximum(squares / counts - np.square(mean), 0))
    return np.stack([mean, deviation]).astype(np.float32)
