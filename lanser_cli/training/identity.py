"""What makes two training runs the same run, so that `--resume` goes on with no other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanser_cli.audio.lender import version
from lanser_cli.audio.source import file_of
from lanser_cli.digests import file_sha256
from lanser_cli.origin import option
from lanser_cli.records import Record

if TYPE_CHECKING:
    from lanser_cli.models.classifier import Architecture
    from lanser_cli.training.folds import Fold
    from lanser_cli.training.recipe import Recipe

HARMLESS = ("workers", "checkpoint_every", "checkpoint_minutes", "tensorboard")
"""Fields of a recipe that change nothing of what is learned."""

INIT = "--init (its weights)"
"""The field with the digest of the weights to start from."""

SIDES = "folds (who is on which side)"
"""The field with the `digest_of_folds`; runs that began before there was one lack it."""


def identity(
    architecture: Architecture,
    recipe: Recipe,
    data: Iterable[tuple[Record, object]],
    ranks: int,
    **more: object,
) -> dict[str, str]:
    """What two runs from scratch must have in common, in a user's words, each field as short text.

    Args:
        data: the records, each with what it is trained or tested for.
        ranks: processes that train together.
        more: further fields, such as the targets or those of a protocol.
    """
    trained = recipe_fields(recipe)
    # The recipe and the protocol of folds each have a seed.
    others = {option(name): str(value) for name, value in more.items()}
    return {
        **architecture_fields(architecture),
        **trained,
        **{f"{name} of folds" if name in trained else name: others[name] for name in others},
        INIT: "none",  # a start that is trained says its own
        "number of ranks": str(ranks),
        "data (ids, sound, labels)": digest_of_data(data),
    }


def architecture_fields(architecture: Architecture) -> dict[str, str]:
    """What is built, field by field."""
    fields = asdict(architecture)
    front_end = fields.pop("front_end")
    fields |= {f"front_end.{name}": value for name, value in front_end.items()}
    return {f"architecture.{name}": str(value) for name, value in fields.items()}


def recipe_fields(recipe: Recipe) -> dict[str, str]:
    """How it is trained, field by field, less what changes nothing."""
    fields = asdict(recipe)
    return {option(name): str(fields[name]) for name in fields if name not in HARMLESS}


def digest_of_data(data: Iterable[tuple[Record, object]]) -> str:
    """12 hex digits over ids, spans and targets, and the size and time of change of each file.

    Of a tar that comes and goes it is the size and the digest.
    """
    found = hashlib.sha256()
    for record, target in data:
        path = file_of(record.audio_filepath or "")
        channel = () if record.channel is None else (record.channel,)
        span = record.offset, record.duration, *channel
        line = (record.id, *span, *_size_and_change(path), target)
        found.update(repr(line).encode("utf-8", "surrogatepass"))
    return found.hexdigest()[:12]


def digest_of_folds(folds: Iterable[Fold]) -> str:
    """12 hex digits over the ids on each side of each fold, whatever key has put them there."""
    found = hashlib.sha256()
    for fold in folds:
        sides = (fold.training, fold.test, fold.validation)
        line = (fold.name, *([record.id for record in side] for side in sides))
        found.update(repr(line).encode("utf-8", "surrogatepass"))
    return found.hexdigest()[:12]


def digest_of_weights(folder: Path) -> str:
    """12 hex digits of the SHA-256 of the weights in a run folder."""
    return file_sha256(folder / "model.safetensors")[:12]


@lru_cache(maxsize=64)  # the records of a shard follow one another
def _size_and_change(path: str) -> tuple[Any, ...]:
    if (lent := version(path)) is not None:
        return lent
    try:
        about = os.stat(path)
    except OSError:
        return ("gone",)
    return about.st_size, about.st_mtime_ns
