"""The table of the probe: what each column, trained or control, knows of each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.choices import Probe
from lanser_cli.prosody import scores, verdict
from lanser_cli.prosody.layers import Features
from lanser_cli.prosody.probes import Split, answer
from lanser_cli.prosody.scores import Scores
from lanser_cli.prosody.verdict import Verdict

Array = NDArray[np.float64]

TRAINED = "trained"
WAYS = ("r2", "within")
"""Over all speakers, and within each."""


@dataclass(frozen=True, slots=True)
class Table:
    """What was found.

    Attributes:
        targets: in the order of the scores.
        speakers: in the order of theirs.
        missing: target → utterances whose sound does not define it.
        columns: `trained` and its controls, by name.
        by_layer: layer of the trained network → R2 `[targets]`.
    """

    targets: tuple[str, ...]
    speakers: tuple[str, ...]
    missing: dict[str, int]
    columns: dict[str, Scores]
    by_layer: dict[str, Array]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """For R2 and for R2 within speakers: the latter decides, since what is known over all
        speakers may be no more than who speaks.
        """
        return {way: _judged(self.columns, place) for place, way in enumerate(WAYS)}

    @property
    def decisive(self) -> Verdict:
        return self.verdicts["within"]

    def by_unit(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """R2 and R2 within: column → speaker → the median over targets."""
        return {
            way: {
                name: named(self.speakers, verdict.of_speakers(one.by_speaker[place]))
                for name, one in self.columns.items()
            }
            for place, way in enumerate(WAYS)
        }

    def by_target(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Target → column → its scores, without a verdict on them."""
        return {
            target: {
                name: {
                    "n": int(one.n[k]),
                    "r2": rounded(one.r2[k]),
                    "within": rounded(one.within[k]),
                    "spearman": rounded(one.spearman[k]),
                }
                for name, one in self.columns.items()
            }
            for k, target in enumerate(self.targets)
        }

    def as_json(self) -> dict[str, Any]:
        """JSON has no NaN: what has no score is null."""
        return {
            "verdict": self.decisive.word,
            "verdicts": {way: one.as_json() for way, one in self.verdicts.items()},
            "missing": self.missing,
            "median": {name: summary(one) for name, one in self.columns.items()},
            "targets": self.by_target(),
            "layers": {
                name: {target: rounded(values[k]) for k, target in enumerate(self.targets)}
                for name, values in self.by_layer.items()
            },
        }


def summary(column: Scores) -> dict[str, Any]:
    """Medians over targets, and over speakers the mean of theirs, with its interval."""
    found: dict[str, Any] = {way: rounded(scores.median(getattr(column, way))) for way in WAYS}
    found["spearman"] = rounded(scores.median(column.spearman))
    for place, way in enumerate(WAYS):
        mean = verdict.estimate(verdict.of_speakers(column.by_speaker[place]))
        found[f"{way}_by_speaker"] = [rounded(x) for x in (mean.value, mean.low, mean.high)]
    return found


def named(speakers: Sequence[str], values: Array) -> dict[str, float | None]:
    """Speaker → value; JSON has no NaN: what has no score is null."""
    return dict(zip(speakers, map(rounded, values), strict=True))


def rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 6)


def table(
    columns: Mapping[str, Sequence[Features]],
    targets: Mapping[str, Array],
    speakers: Sequence[str],
    folds: Sequence[Split],
    *,
    probe: Probe = "ridge",
    seed: int = 0,
) -> Table:
    """Probe every column on the same folds.

    Args:
        columns: `trained` and the controls; each has one representation or, where it depends on a
            seed, several, whose scores are averaged.
        targets: name → `[n]`, NaN where an utterance has none.
        speakers: `[n]`.
    """
    y = np.stack(list(targets.values()), axis=1)
    found: dict[str, Scores] = {}
    by_layer: dict[str, Array] = {}
    for name, variants in columns.items():
        each = []
        for layers in variants:
            answers = answer(layers, y, folds, probe=probe, seed=seed)
            each.append(scores.score(answers, y, speakers))
            if name == TRAINED:
                by_layer = scores.r2_by_layer(answers, y)
        found[name] = scores.average(each)
    return Table(
        tuple(targets),
        tuple(dict.fromkeys(speakers)),
        {name: int((~np.isfinite(values)).sum()) for name, values in targets.items()},
        found,
        by_layer,
    )


def mean(tables: Sequence[Table]) -> Table:
    """The mean over networks of one architecture that were probed on the same records."""
    first = tables[0]
    return replace(
        first,
        columns={
            name: scores.average([one.columns[name] for one in tables]) for name in first.columns
        },
        by_layer={
            name: np.asarray(np.mean([one.by_layer[name] for one in tables], axis=0))
            for name in first.by_layer
        },
    )


def _judged(columns: Mapping[str, Scores], way: int) -> Verdict:
    by_speaker = {name: verdict.of_speakers(one.by_speaker[way]) for name, one in columns.items()}
    trained = by_speaker.pop(TRAINED)
    return verdict.judge(trained, by_speaker)


def varying(targets: Mapping[str, Array]) -> dict[str, Array]:
    """The targets that are not the same for all utterances: others cannot be probed."""
    return {
        name: values
        for name, values in targets.items()
        if np.isfinite(values).sum() > 1 and np.ptp(values[np.isfinite(values)]) > 0
    }
