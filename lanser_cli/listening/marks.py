"""The marks of a page, put beside the sample that was heard, with the weight of each."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lanser_cli import console, jsonl
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.listening.pick import highest_margin
from lanser_cli.records import Record, Reject, to_json
from lanser_cli.stage import unique
from lanser_cli.tally import Ledger

STAGE = "listen"

_Stratum: TypeAlias = tuple[str, float]

NONE_OF_THESE = "none of these"
"""The mark of a clip that has an emotion, but none of the labels."""


def read_sample(inputs: Sequence[str], ledger: Ledger) -> list[Record]:
    """The records of a sample, all of them; what is no labelled record is rejected.

    Raises:
        LanserError: there is none.
    """
    jsonl.check_files(inputs)
    sample = []
    for item in unique(jsonl.read_records(inputs, STAGE), STAGE):
        ledger.read += 1
        if isinstance(item, Record) and item.emotion is None:
            item = Reject.of(item, STAGE, "has no 'emotion' to hear: run lanser entail-label")
        if isinstance(item, Record) and not _probability(item):
            item = Reject.of(item, STAGE, "'pick' has no 'probability' above 0, and up to 1")
        if isinstance(item, Reject):
            ledger.reject(item)
        elif isinstance(item, Record):
            sample.append(item)
    if not sample:
        raise LanserError(f"{STAGE}: no labelled record to hear ({ledger})")
    return sample


def digest(sample: Sequence[Record]) -> str:
    """12 hex digits over what a page shows of a sample, and the weight of each clip."""
    asked = ("id", "text", "emotion", "emotion_scores", "pick")
    lines = (to_json({key: one.fields.get(key) for key in asked}) for one in sample)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def labels_of(sample: Sequence[Record]) -> list[str]:
    """The labels that a sample knows, as they come."""
    found = (name for one in sample for name in [*(one.emotion_scores or ()), str(one.emotion)])
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Marks:
    """What was heard, a row a mark.

    Attributes:
        given: the weak label.
        heard: what the listener said.
        margins: of the weak label, log-odds; NaN where a record has none.
        weights: how many records of the population each stands for.
        strata: the number of the stratum that each was drawn from.
        names: of the strata, by number.
        unheard: strata that nothing was heard of.
    """

    given: NDArray[np.str_]
    heard: NDArray[np.str_]
    margins: NDArray[np.float64]
    weights: NDArray[np.float64]
    strata: NDArray[np.int64]
    names: tuple[str, ...]
    unheard: tuple[str, ...] = ()

    def tops(self, label: str | None) -> NDArray[np.float64]:
        """Of each stratum, the margin that no record of a label in it reaches.

        Strata by margin have one. Strata by label hold no record of another label.
        """
        by_label = all(
            self.names[row] == name for row, name in zip(self.strata, self.given, strict=True)
        )
        if by_label and label is not None:
            return np.array([np.inf if name == label else -np.inf for name in self.names])
        return np.array([highest_margin(name) for name in self.names])


def read_marks(path: Path, sample: Sequence[Record], ledger: Ledger) -> Marks:
    """Read what a page exported, and weigh it.

    A page shows clips in an order drawn by chance. So those of a stratum that were heard are taken
    for a random part of it, and share its weight: each stands for N / m of the population. N is the
    sum of one over the inclusion probabilities of the stratum, m its marks.

    Raises:
        UsageError: the marks are of another page.
        LanserError: they cannot be read, or there is none.
    """
    answers = _answers(path, sample)
    sizes: defaultdict[_Stratum, float] = defaultdict(float)
    heard: Counter[_Stratum] = Counter()
    rows: list[Record] = []
    for record in sample:
        stratum = _stratum(record)
        sizes[stratum] += 1 / _probability(record)
        if record.id not in answers:
            ledger.dropped["not heard"] += 1
        elif answers[record.id] is None:
            ledger.dropped["cannot tell"] += 1
        else:
            heard[stratum] += 1
            rows.append(record)
            ledger.done += 1
    if not rows:
        raise LanserError(f"{path}: there is no mark in it: hear some clips first")
    return Marks(
        np.array([one.emotion for one in rows]),
        np.array([answers[one.id] for one in rows]),
        np.array([np.nan if one.margin is None else one.margin for one in rows]),
        np.array([sizes[_stratum(one)] / heard[_stratum(one)] for one in rows]),
        np.array([list(sizes).index(_stratum(one)) for one in rows]),
        tuple(name for name, _ in sizes),
        tuple(sorted({name for name, _ in sizes.keys() - heard.keys()})),
    )


def _answers(path: Path, sample: Sequence[Record]) -> dict[str, str | None]:
    page, known = digest(sample), {record.id for record in sample}
    labels = {*labels_of(sample), NONE_OF_THESE, None}
    jsonl.check_files([str(path)])
    answers: dict[str, str | None] = {}
    for item in unique(jsonl.read_records([str(path)], STAGE), STAGE):
        if isinstance(item, Reject):
            raise LanserError(f"{path}: not the marks of a page: {item.error}")
        assert isinstance(item, Record)
        if item.fields.get("page") != page or item.id not in known:
            said = console.ascii_safe(str(item.fields.get("page")))
            raise UsageError(
                f"{path}: the marks are of another page ({said}) than this sample's ({page}): name "
                "the sample that their page was made of"
            )
        if "label" not in item.fields or item.fields["label"] not in labels:
            raise LanserError(
                f"{path}: the mark of '{item.id}' has no label of the page, nor null: export the "
                "marks of the page anew"
            )
        answers[item.id] = item.label
    return answers


def _pick(record: Record) -> Mapping[str, Any]:
    """What `lanser pick` wrote; a record that was not picked was sure to be there."""
    return record.fields.get("pick") or {"probability": 1, "stratum": ""}


def _probability(record: Record) -> float:
    """The inclusion probability; 0 where it makes no sense."""
    found = _pick(record).get("probability")
    if isinstance(found, bool) or not isinstance(found, int | float):
        return 0.0
    return float(found) if 0 < found <= 1 else 0.0


def _stratum(record: Record) -> _Stratum:
    """Its name and probability: of several samples, strata of one name are drawn unlike."""
    return str(_pick(record).get("stratum")), _probability(record)
