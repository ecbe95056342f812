"""Crosswalks: from the labels that were scored to those of another taxonomy, many to one.

A fine taxonomy tells the model more about what to look for; its scores are then added up. The way
leads by equal names, else through what labels have in common, or it is given in a file:

    {"to": "iemocap4", "map": {"joy": "happy", "grief": "sad", "craving": null, ...}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lanser_cli.entailment.taxonomy import (
    Taxonomy,
    load_taxonomy,
    nearest,
    read_object,
    taxonomy_names,
)
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.shape import load_json

_KEYS = ("to", "map")


@dataclass(frozen=True, slots=True)
class Crosswalk:
    """For each label of `source` the index of a label of `target`, or None: it is left out."""

    source: Taxonomy
    target: Taxonomy
    index: tuple[int | None, ...]

    @property
    def in_short(self) -> str:
        """Where it leads, and how."""
        return f"{self.target.in_short}, by {self.index}"

    def sum(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add up `[..., source labels]` to `[..., target labels]`.

        What is left of the row is normalised to sum to one.
        """
        matrix = np.zeros((len(self.source.labels), len(self.target.labels)))
        for row, column in enumerate(self.index):
            if column is not None:
                matrix[row, column] = 1.0
        summed = probabilities @ matrix
        # A text whose labels are all left out says nothing about the target's: all alike.
        summed += np.where(summed.sum(axis=-1, keepdims=True) > 0, 0.0, 1.0)
        return summed / summed.sum(axis=-1, keepdims=True)

    def leading_to(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of target labels that are chosen, `[..., target labels]`, the source labels."""
        none = np.zeros((*chosen.shape[:-1], 1), np.bool_)
        places = [len(self.target.labels) if place is None else place for place in self.index]
        return np.concatenate([chosen, none], axis=-1)[..., places]


def probabilities(
    odds: NDArray[np.float32], crosswalk: Crosswalk | None = None
) -> NDArray[np.float64]:
    """Softmax of log-odds `[n, labels]` over the taxonomy, then the crosswalk if there is one."""
    weights = np.exp(odds.astype(np.float64) - odds.max(axis=1, keepdims=True))
    chances = weights / weights.sum(axis=1, keepdims=True)
    return crosswalk.sum(chances) if crosswalk else chances


def load_crosswalk(spec: str, source: Taxonomy, *, partial: bool = False) -> Crosswalk:
    """The crosswalk from `source` to a taxonomy (its name or file), or the one in a file.

    Args:
        partial: labels of the target that nothing leads to are left out of it; else an error.

    Raises:
        UsageError: a label leads nowhere, or nothing leads to one; the message names them.
    """
    if spec.endswith(".json") and _holds_map(Path(spec)):
        to, mapping = _read(spec)
        return _checked(source, load_taxonomy(to), mapping, spec, partial)
    target = load_taxonomy(spec)
    by_common: dict[str, list[str]] = {}
    for label, common in zip(target.labels, target.common, strict=True):
        by_common.setdefault(common or "", []).append(label)
    mapping = {}
    for label, common in zip(source.labels, source.common, strict=True):
        ways = by_common.get(common, []) if common else []
        if label in target.labels:
            ways = [label]
        if len(ways) > 1:
            raise UsageError(
                f"--crosswalk {spec}: '{label}' could become {' or '.join(ways)}: {_advice(target)}"
            )
        mapping[label] = ways[0] if ways else None
    return _checked(source, target, mapping, f"--crosswalk {spec}", partial)


def crosswalk_of_labels(spec: str, labels: Sequence[str]) -> Crosswalk:
    """The crosswalk from labels whose taxonomies nobody named, to one or by a file.

    What they have in common is what the taxonomies that ship say of labels of these names. A file
    may say more: it is not the fault of a label that nobody gave it.

    Raises:
        UsageError: none of them leads anywhere; or as `load_crosswalk`, with what cannot be reached
            left out.
    """
    given = tuple(labels)
    if spec.endswith(".json") and _holds_map(Path(spec)):
        labels = list(dict.fromkeys([*labels, *_read(spec)[1]]))
    known = {
        label: common
        for taxonomy in map(load_taxonomy, taxonomy_names())
        for label, common in zip(taxonomy.labels, taxonomy.common, strict=True)
    }
    names = tuple(labels)
    source = Taxonomy("given", "", names, names, names, tuple(map(known.get, names)))
    found = load_crosswalk(spec, source, partial=True)
    if all(place is None for place in found.index[: len(given)]):  # others come behind them
        raise UsageError(
            f"--crosswalk {spec}: none of {', '.join(given)} leads to a label of "
            f"{found.target.name}: say where they lead in a crosswalk file"
        )
    return found


def _read(spec: str) -> tuple[str, dict[str, str | None]]:
    """Where the crosswalk in a file leads, and its map."""
    value = read_object(Path(spec), _KEYS)
    if not isinstance(value["map"], dict):
        raise UsageError(f"{spec}: 'map' must be an object: label -> label or null")
    return str(value["to"]), value["map"]


def _checked(
    source: Taxonomy, target: Taxonomy, mapping: Mapping[str, str | None], where: str, partial: bool
) -> Crosswalk:
    for label, other in mapping.items():
        if label not in source.labels:
            raise UsageError(
                f"{where}: taxonomy {source.name} has no {nearest(label, source.labels)}"
            )
        if other is not None and other not in target.labels:
            raise UsageError(
                f"{where}: taxonomy {target.name} has no {nearest(str(other), target.labels)}"
            )
    if lost := [label for label in source.labels if label not in mapping]:
        raise UsageError(
            f"{where}: nothing is said about {', '.join(lost)}: map each to a label, or to null to "
            "leave it out"
        )
    reached = set(mapping.values())
    gaps = [label for label in target.labels if label not in reached]
    if partial:
        target = target.without(gaps)
    elif gaps:
        raise UsageError(
            f"{where}: no label of {source.name} leads to {', '.join(gaps)}: {_advice(target)}"
        )
    index = {label: position for position, label in enumerate(target.labels)}
    ways = (mapping[label] for label in source.labels)
    return Crosswalk(source, target, tuple(None if way is None else index[way] for way in ways))


def _advice(target: Taxonomy) -> str:
    return (
        f'say it in a crosswalk file, {{"to": "{target.name}", "map": {{"label": "label or null"}}'
        "}, or choose another --taxonomy"
    )


def _holds_map(path: Path) -> bool:
    try:
        value = load_json(path, "a crosswalk")
    except LanserError:
        return False  # whoever reads it as a taxonomy will say what is wrong
    return isinstance(value, dict) and "map" in value
