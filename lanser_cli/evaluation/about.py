"""What a report says of a run besides its scores: what its start had heard, and its validation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lanser_cli import jsonl
from lanser_cli.errors import LanserError
from lanser_cli.evaluation.seeds import measure_run
from lanser_cli.origin import beside, origin_in
from lanser_cli.records import Record
from lanser_cli.training import runs
from lanser_cli.training.heard import TRANSDUCTIVE, Seen


@dataclass(frozen=True, slots=True)
class About:
    """What a run folder, or what stands beside a file of records, says of it.

    Attributes:
        verb: that made it; empty where it does not say.
        seen: what the model that it started from had heard of its test side; None from scratch.
        validation: UAR on the speakers set apart, by fold, the mean over seeds.
        protocol: the name of its standard protocol, if it has one.
        missing: what is not as that protocol's corpus was published, in words.
        transductive: it has used all of the test side's sound or texts, though no label.
    """

    verb: str
    seen: Seen | None
    validation: dict[str, float]
    protocol: str | None = None
    missing: str | None = None
    transductive: bool = False

    @classmethod
    def of(cls, run: Path) -> About:
        """Read it from a run folder."""
        uars: dict[str, list[float]] = {}
        files = [*run.glob("fold-*/validation.jsonl"), *run.glob("seed-*/fold-*/validation.jsonl")]
        for path in sorted(files):
            items = jsonl.read_records([str(path)], "eval")
            result = measure_run(item for item in items if isinstance(item, Record))
            uars.setdefault(path.parent.name.removeprefix("fold-"), []).append(result.uar.value)
        config = runs.read_config(run)
        seen = config.get("seen")
        return cls(
            str(config.get("verb") or ""),
            None if seen is None else Seen(**seen),
            {fold: round(fmean(found), 6) for fold, found in uars.items()},
            (config.get("protocol") or {}).get("protocol"),
            config.get("missing"),
            _is_transductive(config),
        )

    @classmethod
    def of_records(cls, path: Path) -> About | None:
        """Of a run's predictions what the run says, of others whether they are transductive.

        A batch prior that a file keeps may be of other texts.

        Returns:
            None where nothing says anything.
        """
        if path.name == "predictions.jsonl" and (path.parent / "config.json").exists():
            with suppress(LanserError):  # another program's
                return cls.of(path.parent)
        made = origin_in(beside(path)) or {"identity": {}}
        settings = made["identity"]
        own_mean = (
            settings.get("--calibrate") == "batch" and settings.get("--prior", "none") == "none"
        )
        if not own_mean and settings.get("--normalise") != "speaker":
            return None
        return cls(str(made.get("verb") or ""), None, {}, transductive=True)

    @property
    def warning(self) -> str:
        """What a reader must know before the scores; empty where there is nothing."""
        apart = f"transductive: {TRANSDUCTIVE}" if self.transductive else ""
        return "; ".join(part for part in (self.doubt, apart) if part)

    @property
    def doubt(self) -> str:
        """Why the scores are not what they seem; empty where they are."""
        parts = []
        if self.seen is not None and (self.seen.any or not self.seen.checked):
            parts.append(f"{self.seen}: the result may be too good")
        if self.missing:
            parts.append(
                f"not all of {self.protocol}, so it compares with no other: {self.missing}"
            )
        return "; ".join(parts)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _is_transductive(config: Mapping[str, Any]) -> bool:
    front_end = (config.get("architecture") or {}).get("front_end") or {}
    normalise = config.get("normalise") or front_end.get("normalise")
    return normalise == "speaker" or config.get("calibration") == "batch"
