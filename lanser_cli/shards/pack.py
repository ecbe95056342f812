"""The verb shard: records and their sound into tar shards, encoded by all processors, in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

from lanser_cli import console, parts, workers
from lanser_cli.choices import Codec
from lanser_cli.devices import cpu_count
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.jsonl import is_stream
from lanser_cli.origin import check_same, identity_in, of_files, options
from lanser_cli.records import Dropped, Outcome, Record, Reject
from lanser_cli.redaction import Redaction
from lanser_cli.shards import reader, remote
from lanser_cli.shards.encoder import Encoder, Sample
from lanser_cli.shards.index import INDEX, taxonomy_of
from lanser_cli.shards.selection import Selection, select
from lanser_cli.shards.writer import ShardWriter
from lanser_cli.stage import WindowFunction, unique, windows
from lanser_cli.tally import Ledger, Tally

_WINDOW = 16
"""Records that a worker encodes at a time: few enough to share evenly, some megabytes at most."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How shards are written.

    Attributes:
        name: shards are called `NAME-000000.tar` and so on.
        max_count: records in a shard.
        max_mb: a shard is closed when it has grown beyond so many mebibytes.
        codec: of the sound.
        workers: processes that encode; None for as many as there are processors.
        mix_taxonomies: whether weak labels of several taxonomies may be in one set.

    Raises:
        UsageError: the name leads out of the folder.
    """

    name: str = "speech"
    max_count: int = 1000
    max_mb: int = 1024
    codec: Codec = "flac"
    workers: int | None = None
    mix_taxonomies: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^/\0.][^/\0]*", self.name):
            raise UsageError(
                f"--name {self.name!a}: shards are called NAME-000000.tar and lie in the folder of "
                "-o: give a name without '/' that begins with no dot"
            )


def shard(
    inputs: Sequence[str],
    folder: Path,
    selection: Selection,
    packing: Packing,
    ledger: Ledger,
    *,
    redaction: Redaction | None = None,
    fetch: Path | None = None,
    part: str | None = None,
    resume: bool = False,
) -> dict[str, Any] | None:
    """Select records and pack them into `folder`; return its index.

    Args:
        redaction: what may be kept of a record; None: all of it.

    Returns:
        None where the set was whole already and is to be resumed: there is nothing to do.

    Raises:
        LanserError: an input is not there, or there is nothing to pack.
        UsageError: the folder holds a set already, or, to be resumed, that of another run; or a
            part is to find sound that repeats that of other parts.
    """
    chosen = parts.parse_part(part)
    if chosen is not None and chosen[1] > 1 and "audio" in selection.repeats:
        raise UsageError(
            "--dedupe audio: a part knows the sound of its own slice alone, and repeats in others "
            "would stay: leave out --part, or audio"
        )
    named, inputs = inputs, remote.fetch(inputs, fetch)
    reader.check_inputs(inputs)
    identity = {
        **options(packing, but=("workers", "mix_taxonomies")),
        **options(selection),
        "--part": "all" if chosen is None else "{}/{}".format(*chosen),
        "input": of_files(named, hold_words=redaction is not None),
        **(redaction.identity() if redaction else {}),
    }
    if resume and (folder / INDEX).exists():
        check_same(identity_in(folder / INDEX) or identity, identity, str(folder))
        console.info(f"shard: {folder} is whole already; nothing to do")
        return None
    writer = ShardWriter(
        folder,
        name=packing.name,
        max_count=packing.max_count,
        max_bytes=packing.max_mb << 20,
        identity=identity,
        resume=resume,
    )
    items = select(unique(reader.records_of(inputs, "shard"), "shard"), selection, redaction)
    if not packing.mix_taxonomies:
        items = _of_one_taxonomy(items)
    return pack(
        parts.take_part(items, chosen),
        writer,
        of_stream=any(map(is_stream, inputs)),
        codec=packing.codec,
        dedupe_audio="audio" in selection.repeats,
        processes=packing.workers,
        ledger=ledger,
        total=None if console.quiet else parts.size_of_part(reader.count(inputs), chosen),
    )


def pack(
    items: Iterable[Outcome],
    writer: ShardWriter,
    *,
    codec: Codec = "flac",
    of_stream: bool = False,
    dedupe_audio: bool = False,
    processes: int | None = None,
    ledger: Ledger | None = None,
    total: int | None = None,
) -> dict[str, Any]:
    """Write all records that have a label, weak or human, and return the index.

    Args:
        ledger: takes the counts and the rejects.
        codec: of the sound.
        of_stream: nobody knows the items beforehand: to be resumed with, they must give all that is
            packed before the first that is not.
        dedupe_audio: leave out a record whose sound, sample for sample, came before.
        processes: that encode; as many as there are processors if None. A few records are encoded
            in this one.
        total: how many items there are, if that is known.

    Raises:
        LanserError: there was none, as when the command before in a pipe failed.
        UsageError: the stream is another than that which is resumed.
    """
    ledger = ledger or Ledger("shard", word="out")
    packed = len(writer.done) if of_stream else 0
    waiting = _worth_encoding(items, writer, ledger)
    try:
        head = list(islice(waiting, 2 * _WINDOW))
        few = len(head) < 2 * _WINDOW
        devices = ["cpu"] * (1 if few else processes or cpu_count())
        process = workers.spread(partial(_encoder, codec=codec), devices)
        with (
            # An encoder passes on what is no record, so that rejects keep their place.
            closing(process(cast(Any, windows(chain(head, waiting), _WINDOW)))) as answers,
            console.progress("shard", total) as meter,
        ):
            for outcomes in answers:
                for outcome in outcomes:
                    if isinstance(outcome, Reject):
                        ledger.reject(outcome)
                    elif isinstance(outcome, Dropped):
                        ledger.dropped[outcome.reason] += 1
                    elif dedupe_audio and str(outcome.fields["audio_sha256"]) in writer.sounds:
                        ledger.dropped["same sound as an earlier record"] += 1
                    else:
                        _check_begun(packed, ledger, writer)
                        writer.add(cast(Sample, outcome))
                        ledger.done += 1
                meter.reach(ledger.met)
        if not writer.any:
            raise LanserError(
                f"nothing to pack ({ledger}): shards need records with sound and a label"
            )
        _check_begun(packed, ledger, writer)
        return writer.finish(ledger)
    except BaseException:
        writer.abandon()
        raise


def _check_begun(packed: int, tally: Tally, writer: ShardWriter) -> None:
    """Whether all that was packed before has been met: order is kept, so nothing new precedes it.

    Raises:
        UsageError: not all.
    """
    missing = packed - tally.already_done
    if missing > 0:
        raise UsageError(
            f"--resume: {writer.folder} holds {missing} samples that this input does not give at "
            "its beginning: it was made with another input: repeat the command as it was, or name "
            "another output"
        )


def _of_one_taxonomy(items: Iterable[Outcome]) -> Iterator[Outcome]:
    """The same items, as long as all weak labels are of one taxonomy.

    Raises:
        UsageError: they are not.
    """
    first = None
    for item in items:
        if isinstance(item, Record) and item.emotion is not None:
            taxonomy = taxonomy_of(item)
            first = first or taxonomy
            if taxonomy and taxonomy != first:
                raise UsageError(
                    f"the label of '{item.id}' is of the taxonomy {taxonomy}, and those before are "
                    f"of {first}: label all with one taxonomy, or say --mix-taxonomies"
                )
        yield item


def _encoder(_device: str, *, codec: Codec) -> WindowFunction:
    return Encoder(codec)


def _worth_encoding(
    items: Iterable[Outcome], writer: ShardWriter, tally: Tally
) -> Iterator[Outcome]:
    """The items, counted; what is done is left out, and what has no label is dropped."""
    for item in items:
        tally.read += 1
        if not isinstance(item, Record):
            yield item
        elif item.id in writer.done:
            tally.already_done += 1
        elif item.emotion is None and item.label is None:
            about = item.fields.get("entailment") or {}
            yield Dropped(item.id, f"no label: {about.get('abstained', 'not labelled')}")
        else:
            yield item
