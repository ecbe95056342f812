"""Relabelling: a set of shards gets new weak labels without a byte of its tars being touched."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from lanser_cli import __version__
from lanser_cli.errors import LanserError
from lanser_cli.output import commit, write_json
from lanser_cli.provenance import command_line
from lanser_cli.records import Reject, to_json
from lanser_cli.shards import reader
from lanser_cli.shards.index import INDEX, read_index
from lanser_cli.shards.side_file import Labels, SideFile, weak_label


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
    histogram: Counter[str] = Counter()
    taxonomies: dict[str, None] = {}
    starts: list[int] = []
    size = found = 0
    try:
        with partial.open("wb") as stream:
            for shard in index["shards"]:
                starts.append(size)
                for item in reader.records_of([str(folder / shard["file"])], "shard"):
                    if isinstance(item, Reject):
                        raise LanserError(f"{item.error}: see lanser shard --verify {folder}")
                    new = labels.get(item.id)
                    found += new is not None
                    label = weak_label(item) if new is None else new
                    line = (to_json({"id": item.id, **label}) + "\n").encode()
                    stream.write(line)
                    digest.update(line)
                    size += len(line)
                    if emotion := label.get("emotion"):
                        histogram[emotion] += 1
                    about = label.get("entailment") or {}
                    if taxonomy := about.get("crosswalk") or about.get("taxonomy"):
                        taxonomies[taxonomy] = None
        if not found:
            raise LanserError(f"none of the {len(labels)} new labels is for a sample in {folder}")
        final = folder / f"labels-{digest.hexdigest()[:12]}.jsonl"
        commit(partial, final)
        index = {
            **index,
            "taxonomy": list(taxonomies),
            "labels": {**index["labels"], "emotion": dict(sorted(histogram.items()))},
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
