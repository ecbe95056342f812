"""A run's answers in the labels of another taxonomy: zero-shot, with nothing trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lanser_cli import console
from lanser_cli.entailment.crosswalk import load_crosswalk
from lanser_cli.entailment.taxonomy import load_taxonomy, nearest
from lanser_cli.errors import UsageError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Translation:
    """Probabilities of a run's labels to those of its `labels`.

    Attributes:
        labels: that are answered.
        columns: for each of the run's labels its place among these; None: it is left out.
        prior: mean probability of each of `labels`, which answers are divided by; empty for none.
    """

    labels: tuple[str, ...]
    columns: tuple[int | None, ...]
    prior: tuple[float, ...] = ()

    @classmethod
    def of(cls, run_labels: Sequence[str], spec: str | None) -> Translation:
        """The way from a run's labels through a crosswalk.

        Args:
            spec: `SOURCE:TARGET`, names of taxonomies or files; TARGET may be a crosswalk file.
                None leaves the labels as they are.

        Raises:
            UsageError: it is not of this form, or the run has a label that is not in SOURCE.
        """
        if spec is None:
            return cls(tuple(run_labels), tuple(range(len(run_labels))))
        name, _, target = spec.partition(":")
        if not (name and target):
            raise UsageError(
                f"--crosswalk '{spec}': write SOURCE:TARGET such as goemotions:ravdess8"
            )
        source = load_taxonomy(name)
        for label in run_labels:
            if label not in source.labels:
                raise UsageError(
                    f"--crosswalk {spec}: the run answers {nearest(label, source.labels)}: name "
                    "the taxonomy that it was trained on"
                )
        crosswalk = load_crosswalk(target, source, partial=True)
        ways = dict(zip(source.labels, crosswalk.index, strict=True))
        reached = sorted({way for label in run_labels if (way := ways[label]) is not None})
        if len(reached) < 2:
            raise UsageError(f"--crosswalk {spec}: fewer than two of the target's labels are left")
        labels = tuple(crosswalk.target.labels[way] for way in reached)
        if target.endswith(".json"):
            console.info(f"predict: answers are {', '.join(labels)}")
        elif lost := [label for label in load_taxonomy(target).labels if label not in labels]:
            console.warn(f"predict: no label of the run leads to {', '.join(lost)}: never answered")
        place = {way: number for number, way in enumerate(reached)}
        columns = (None if (way := ways[label]) is None else place[way] for label in run_labels)
        return cls(labels, tuple(columns))

    @property
    def in_short(self) -> str:
        """Where it leads, and how."""
        return f"{', '.join(self.labels)}, by {self.columns}"

    def __call__(self, probabilities: Array) -> Array:
        """`[n, run's labels]` to `[n, labels]`, each row summing to one."""
        matrix = np.zeros((len(self.columns), len(self.labels)))
        for row, column in enumerate(self.columns):
            if column is not None:
                matrix[row, column] = 1.0
        summed = np.maximum(probabilities @ matrix, 1e-12)
        if self.prior:
            summed = summed / np.array(self.prior)
        return np.asarray(summed / summed.sum(axis=1, keepdims=True))

    def without_mean(self, probabilities: Array) -> Translation:
        """The same, which divides by the mean over answers `[n, run's labels]`."""
        return replace(self, prior=tuple(self(probabilities).mean(axis=0).tolist()))
