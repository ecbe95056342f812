"""What agreeing found: how right each voter is, what it confuses, and kappa of each two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.provenance import command_line, versions
from lanser_cli.texts import alike
from lanser_cli.trust.dawid_skene import Array, DawidSkene
from lanser_cli.trust.votes import ABSTAINED, FIRST, Votes

SCHEMA = 1

_ALIKE = 0.9
"""Cohen's kappa of two voters above which hardly anything is learnt from the second."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The votes, and the model that was fitted to them."""

    votes: Votes
    model: DawidSkene

    @classmethod
    def of(cls, votes: Votes) -> Agreement:
        """Fit the model."""
        return cls(votes, DawidSkene.fit(_said(votes), votes.counts, len(votes.labels)))

    def accuracy(self, voter: int) -> float | None:
        """The estimated share of right labels among those that a voter gave, if it gave any."""
        said = _said(self.votes)[:, voter]
        given = np.flatnonzero(said >= 0)
        if not len(given):
            return None
        right = self.model.posterior[given, said[given]]
        return float(np.average(right, weights=self.votes.counts[given]))

    def kappas(self) -> Iterator[tuple[int, int, int, float | None]]:
        """Cohen's kappa of each two voters: who, on how many utterances, and kappa."""
        said, labels = _said(self.votes), len(self.votes.labels)
        for one, other in combinations(range(len(self.votes.voters)), 2):
            both = (said[:, one] >= 0) & (said[:, other] >= 0)
            cells = said[both, one] * labels + said[both, other]
            table = np.bincount(cells, self.votes.counts[both], minlength=labels**2)
            counts = table.astype(np.int64).reshape(labels, labels)
            yield one, other, int(counts.sum()), cohen_kappa(counts)

    @property
    def unanimous(self) -> float:
        """The share of utterances with a label on which all who gave one agree."""
        said = _said(self.votes)
        highest = said.max(axis=1)
        same = ((said == highest[:, None]) | (said < 0)).all(axis=1)
        labelled = highest >= 0
        return float(np.average(same[labelled], weights=self.votes.counts[labelled]))

    def as_json(self) -> dict[str, Any]:
        """What `--summary` writes."""
        votes, model = self.votes, self.model
        names = [voter.name for voter in votes.voters]
        return {
            "schema": SCHEMA,
            "argv": command_line(),
            "versions": versions(),
            "utterances": int(votes.counts.sum()),
            "unanimous": round(self.unanimous, 4),
            "alone": dict(votes.alone),
            "iterations": model.iterations,
            "converged": model.converged,
            "shares": _named(votes, model.shares),
            "voters": [self._voter(place) for place in range(len(names))],
            "kappa": [
                {
                    "voters": [names[one], names[other]],
                    "n": count,
                    "value": None if kappa is None else round(kappa, 4),
                }
                for one, other, count, kappa in self.kappas()
            ],
        }

    def _voter(self, place: int) -> dict[str, Any]:
        votes, voter = self.votes, self.votes.voters[place]
        return {
            "name": voter.name,
            "field": voter.field,
            "said": votes.said(place),
            "abstained": int(votes.counts[votes.patterns[:, place] == ABSTAINED].sum()),
            "accuracy": None if (right := self.accuracy(place)) is None else round(right, 4),
            "confusion": {
                label: _named(votes, row)
                for label, row in zip(votes.labels, self.model.confusions[place], strict=True)
            },
        }

    def lines(self) -> Iterator[str]:
        """For people: a line a voter, and one of kappa."""
        for place, voter in enumerate(self.votes.voters):
            right, given = self.accuracy(place), sum(self.votes.said(place).values())
            if right is None:
                yield f"{voter.name}: has no vote"
                continue
            yield (
                f"{voter.name}: estimated to be right in {right:.1%} of its votes, {given} on "
                f"{self.votes.counts.sum()} utterances{self._worst(place)}"
            )
        names = [voter.name for voter in self.votes.voters]
        found = [
            f"{names[one]} and {names[other]} {'-' if kappa is None else f'{kappa:.2f}'}"
            for one, other, _, kappa in self.kappas()
        ]
        yield f"Cohen's kappa: {'; '.join(found)}; all agree on {self.unanimous:.1%}"
        if not self.model.converged:
            yield f"the model has not settled after {self.model.iterations} iterations"

    def _worst(self, place: int) -> str:
        """The confusion that costs a voter most."""
        lost = self.model.confusions[place] * self.model.shares[:, None]
        np.fill_diagonal(lost, 0.0)
        true, said = np.unravel_index(int(lost.argmax()), lost.shape)
        if lost[true, said] < 0.001:
            return ""
        share, labels = self.model.confusions[place][true, said], self.votes.labels
        return f"; says {labels[said]} of {share:.0%} of {labels[true]}"

    def warnings(self) -> Iterator[str]:
        """What makes the estimates worth less."""
        names = [voter.name for voter in self.votes.voters]
        counts = Counter[str]()
        for place in range(len(names)):
            counts.update(self.votes.said(place))
        yield from alike("labels", counts)
        if len(names) == 2:
            yield "where two voters differ nothing tells who is right: name a third"
        for place, name in enumerate(names):
            if len(said := self.votes.said(place)) == 1:
                yield f"{name} always says {next(iter(said))}: it tells nothing"
        for one, other, _, kappa in self.kappas():
            if kappa is not None and kappa > _ALIKE:
                yield (
                    f"{names[one]} and {names[other]} hardly differ (kappa {kappa:.2f}): where "
                    "voters share their errors, accuracies are overestimated"
                )


def cohen_kappa(table: NDArray[np.int64]) -> float | None:
    """Agreement beyond chance of two voters (Cohen, 1960).

    Args:
        table: how often the one gave the row's label and the other the column's.

    Returns:
        1 where they always agree, 0 where as often as by chance; None where chance alone makes them
        agree, or they met nowhere.
    """
    total = int(table.sum())
    if not total:
        return None
    by_chance = float(table.sum(axis=0) @ table.sum(axis=1)) / total**2
    agreed = float(np.trace(table)) / total
    return None if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)


def _said(votes: Votes) -> NDArray[np.int64]:
    """The label of each voter in each pattern, as its place; -1 for none."""
    said = votes.patterns.astype(np.int64) - FIRST
    return np.maximum(said, -1)


def _named(votes: Votes, shares: Array) -> dict[str, float]:
    return dict(zip(votes.labels, np.round(shares, 4).tolist(), strict=True))
