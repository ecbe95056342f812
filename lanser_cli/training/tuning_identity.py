"""What makes two fine-tunings over the same records the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from lanser_cli.devices import Ranks
from lanser_cli.models.classifier import Architecture
from lanser_cli.records import Record
from lanser_cli.training.folds import Protocol
from lanser_cli.training.identity import identity
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.speakers import by_speaker


def identity_of(
    records: Sequence[Record],
    protocol: Protocol,
    recipe: Recipe,
    architecture: Architecture,
) -> dict[str, str]:
    """What a run from scratch must have in common with one that it resumes.

    A start that is trained adds its own `identity`, and the sides of folds are not in it.

    Args:
        recipe: with its precision resolved.
        architecture: with the labels of the records.
    """
    return identity(
        *(architecture, recipe, _keyed(records, protocol, architecture)),
        Ranks.from_environment().count,
        **asdict(protocol),
    )


def _keyed(
    records: Iterable[Record], protocol: Protocol, architecture: Architecture
) -> Iterator[tuple[Record, object]]:
    """The records, each with what says how it is trained and tested, for `identity`."""
    keys = [protocol.group, "fold", *(["speaker"] if by_speaker(architecture) else [])]
    return ((one, (one.label, *(one.word(key) for key in keys))) for one in records)
