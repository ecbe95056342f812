"""Relabelling: a set of shards gets new weak labels without a byte of its tars being touched."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lanser_cli import __version__
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.lock import FileLock
from lanser_cli.output import commit, write_json
from lanser_cli.provenance import command_line
from lanser_cli.records import Record, Reject, to_json
from lanser_cli.shards import reader
from lanser_cli.shards.index import INDEX, Contents, read_index, side_file_name, taxonomy_of
from lanser_cli.shards.side_file import Labels, SideFile

_HELD = "{holder} is writing this set: wait for its end"


def relabel_shards(folder: Path, source: str, *, mix_taxonomies: bool = False) -> dict[str, Any]:
    """Write a side file with new weak labels for a set of shards, and a new index.

    A sample that the new labels say nothing of keeps the weak label it has.

    Args:
        folder: the set.
        source: JSONL with the new labels, by id; or `-`.
        mix_taxonomies: whether old and new labels may be of several taxonomies.

    Returns:
        The new index.

    Raises:
        LanserError: none of the labels is for this set, or a shard is broken; the set is then as it
            was before. Or another process writes it.
        UsageError: the set would have labels of several taxonomies.
    """
    read_index(folder)
    labels = Labels(source, "--relabel")
    try:
        lock = FileLock(folder, path=folder / ".lock", refusal=_HELD)
        try:
            return _relabel(folder, labels, mix_taxonomies)
        finally:
            lock.release()
    except OSError as error:
        raise LanserError(f"{folder}: cannot be written: {error.strerror}") from None


def _relabel(folder: Path, labels: Labels, mix_taxonomies: bool) -> dict[str, Any]:
    index = read_index(folder)
    before = SideFile.of(folder, index)
    partial = folder / "labels.jsonl.part"
    digest = hashlib.sha256()
    contents, taxonomies = Contents(), dict[str, None]()
    starts: list[int] = []
    size = found = 0
    partial.unlink(missing_ok=True)  # of a killed run, or a link that someone has put there
    try:
        with partial.open("xb") as stream:
            for shard in index["shards"]:
                starts.append(size)
                for item in reader.records_of([str(folder / shard["file"])], "shard"):
                    if not isinstance(item, Record):
                        why = item.error if isinstance(item, Reject) else item.reason
                        raise LanserError(f"{why}: see lanser shard --verify {folder}")
                    new = labels.get(item.id)
                    found += new is not None
                    label = item.weak_label if new is None else new
                    line = (to_json({"id": item.id, **label}) + "\n").encode()
                    stream.write(line)
                    digest.update(line)
                    size += len(line)
                    labelled = item.relabelled(label)
                    contents.add(labelled)
                    if labelled.emotion is not None and (taxonomy := taxonomy_of(labelled)):
                        taxonomies[taxonomy] = None
        if not found:
            raise LanserError(f"none of the {len(labels)} new labels is for a sample in {folder}")
        if len(taxonomies) > 1 and not mix_taxonomies:
            raise UsageError(
                f"{folder}: with these {found} of {index['samples']} labels the set would have "
                f"some of {' and some of '.join(taxonomies)}: label it all with one taxonomy, or "
                "say --mix-taxonomies"
            )
        final = folder / side_file_name(digest.hexdigest())
        commit(partial, final)
    finally:
        partial.unlink(missing_ok=True)
    index = {
        **index,
        **contents.as_json(),
        "relabelled": {
            "file": final.name,
            "sha256": digest.hexdigest(),
            "samples": found,
            "starts": starts,
            "argv": command_line(),
            "versions": {"lanser": __version__},
        },
    }
    write_json(folder / INDEX, index)
    if before is not None and before.path != final:
        before.path.unlink()
    return index
