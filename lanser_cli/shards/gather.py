"""All records of shards or JSONL at once, for verbs that need them so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from lanser_cli import console
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.records import Record, Reject


def read_all(
    inputs: Sequence[str] | None,
    stage: str,
    fetch: Path | None = None,
    *,
    slim: Callable[[Record], Record] | None = None,
    split: str | None = None,
) -> tuple[list[Record], list[Reject]]:
    """All records of shards or JSONL, for verbs that need them at once (training, probing).

    The header of every sound file is read, so that what is missing or broken is a reject now and
    not in the middle of a run. Sound in shards was checked when it was packed.

    Args:
        slim: makes what is held of a record.
        split: leave out what is not in it.

    Raises:
        LanserError: an input is not there, or there is no record in any, or none of the split.
    """
    from lanser_cli import output, pipe
    from lanser_cli.audio import sound
    from lanser_cli.shards import reader, remote

    inputs = remote.fetch(inputs or ["-"], fetch)
    reader.check_inputs(inputs)
    records: list[Record] = []
    rejected: list[Reject] = []
    others: Counter[str] = Counter()
    for item in pipe.unique(reader.records_of(inputs, stage), stage):
        if isinstance(item, Record):
            if split is not None and item.fields.get("split") != split:
                others[item.fields.get("split") or "none"] += 1
                continue
            try:
                sound.check(item)
                records.append(slim(item) if slim else item)
            except RecordError as error:
                rejected.append(Reject.of(item, stage, error))
        elif isinstance(item, Reject):
            rejected.append(item)
    if not records:
        output.file_rejects(rejected, None)
        if others:
            there = ", ".join(sorted(others))
            raise LanserError(f"--split {split}: no record of it; there is {there}")
        raise LanserError(f"{stage}: no record in {', '.join(inputs)}: nothing to learn from")
    if others:
        console.info(f"{stage}: {others.total()} records of other splits left out")
    return records, rejected
