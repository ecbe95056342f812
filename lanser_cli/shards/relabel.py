"""Relabelling: a set of shards gets new weak labels without a byte of its tars being touched."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lanser_cli import __version__
from lanser_cli.errors import LanserError
from lanser_cli.output import commit, write_json
from lanser_cli.provenance import command_line
from lanser_cli.records import Record, Reject, to_json
from lanser_cli.shards import reader
from lanser_cli.shards.index import INDEX, Contents, read_index, side_file_name
from lanser_cli.shards.side_file import Labels, SideFile, overlay, weak_label


def relabel_shards(folder: Path, source: str) -> dict[str, Any]:
    """Write a side file with new weak labels for a set of shards, and a new index.

    A sample that the new labels say nothing of keeps the weak label it has.

    Args:
        folder: the set.
        source: JSONL with the new labels, by id; or `-`.

    Returns:
        The new index.

    Raises:
        LanserError: none of the labels is for this set, or a shard is broken; the set is then as it
            was before.
    """
    index, labels = read_index(folder), Labels(source, "--relabel")
    before = SideFile.of(folder, index)
    partial = folder / "labels.jsonl.part"
    digest = hashlib.sha256()
    contents = Contents()
    starts: list[int] = []
    size = found = 0
    try:
        with partial.open("wb") as stream:
            for shard in index["shards"]:
                starts.append(size)
                for item in reader.records_of([str(folder / shard["file"])], "shard"):
                    if not isinstance(item, Record):
                        why = item.error if isinstance(item, Reject) else item.reason
                        raise LanserError(f"{why}: see lanser shard --verify {folder}")
                    new = labels.get(item.id)
                    found += new is not None
                    label = weak_label(item) if new is None else new
                    line = (to_json({"id": item.id, **label}) + "\n").encode()
                    stream.write(line)
                    digest.update(line)
                    size += len(line)
                    contents.add(overlay(item, label))
        if not found:
            raise LanserError(f"none of the {len(labels)} new labels is for a sample in {folder}")
        final = folder / side_file_name(digest.hexdigest())
        commit(partial, final)
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
    except OSError as error:
        raise LanserError(f"{folder}: cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
    if before is not None and before.path != final:
        before.path.unlink()
    return index
