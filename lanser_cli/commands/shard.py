"""lanser shard: labelled records and their sound to tar shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.commands import options


def shard(
    inputs: options.Records = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the shards and their index.json."),
    ] = None,
    name: Annotated[str, typer.Option(help="Shards are called NAME-000000.tar.")] = "speech",
    max_count: Annotated[int, typer.Option(min=1, help="Records in a shard.")] = 1000,
    max_mb: Annotated[int, typer.Option(min=1, help="Megabytes after which a shard ends.")] = 1024,
    codec: Annotated[
        str, typer.Option(help="flac keeps every sample; opus is about a quarter of it, lossy.")
    ] = "flac",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that encode; default one a processor.")
    ] = None,
    fetch: options.Fetch = None,
    verify: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Check a folder of shards against its index instead."),
    ] = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    part: options.Part = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Pack records with a label, and their sound, into WebDataset tar shards.

    Sound becomes 16 kHz mono FLAC. The same input gives the same bytes, whatever the number of
    workers. Records without any label are counted and left out. Prints the counts of the finished
    set as one JSON line.
    """
    from lanser_cli import console, shards, streams
    from lanser_cli.errors import EXIT_FAILED, EXIT_REJECTED, UsageError

    if verify is not None:
        faults = shards.verify(verify, processes=workers)
        for fault in faults:
            console.warn(fault)
        with streams.result_line() as write:
            write({"shards": str(verify), "whole": not faults, "faults": faults})
        return EXIT_FAILED if faults else 0
    if output is None:
        raise UsageError("shard needs -o DIR for the shards (or --verify DIR)")
    options.one_of("--codec", codec, shards.CODECS)
    inputs = shards.fetch(inputs or ["-"], fetch)
    chosen = streams.parse_part(part)
    shards.check_inputs(inputs)
    if resume and (output / shards.INDEX).exists():
        console.info(f"shard: {output} is whole already; nothing to do")
        return 0
    writer = shards.ShardWriter(
        output, name=name, max_count=max_count, max_bytes=max_mb << 20, resume=resume
    )
    items = streams.take_part(streams.unique(shards.read(inputs, "shard"), "shard"), chosen)
    index, tally = shards.write(items, writer, codec=codec, processes=workers, rejects=rejects)
    console.info(f"shard: {tally} -> {len(index['shards'])} shards in {output}")
    with streams.result_line() as write:
        keys = ("samples", "seconds", "labels")
        write({"shards": str(output)} | {key: index[key] for key in keys})
    return EXIT_REJECTED if tally.rejected else 0
