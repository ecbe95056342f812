"""What a report says of a run besides its scores: what its start had heard, and its validation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lanser_cli import jsonl
from lanser_cli.evaluation.seeds import measure_run
from lanser_cli.records import Record
from lanser_cli.training import runs
from lanser_cli.training.heard import Seen


@dataclass(frozen=True, slots=True)
class About:
    """What a run folder says of itself.

    Attributes:
        seen: what the model that it started from had heard of its test side; None from scratch.
        validation: UAR on the speakers set apart, by fold, the mean over seeds.
    """

    seen: Seen | None
    validation: dict[str, float]

    @classmethod
    def of(cls, run: Path) -> About:
        """Read it from a run folder."""
        uars: dict[str, list[float]] = {}
        files = [*run.glob("fold-*/validation.jsonl"), *run.glob("seed-*/fold-*/validation.jsonl")]
        for path in sorted(files):
            items = jsonl.read_records([str(path)], "eval")
            result = measure_run(item for item in items if isinstance(item, Record))
            uars.setdefault(path.parent.name.removeprefix("fold-"), []).append(result.uar.value)
        seen = runs.read_config(run).get("seen")
        return cls(
            None if seen is None else Seen(**seen),
            {fold: round(fmean(found), 6) for fold, found in uars.items()},
        )

    @property
    def warning(self) -> str:
        """What a reader must know before the scores; empty where there is nothing."""
        if self.seen is None or (self.seen.checked and not self.seen.any):
            return ""
        return str(self.seen)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
