"""lanser shard: labelled records and their sound to tar shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.commands import options


def command(
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
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Leave out weak labels less probable.")
    ] = 0.0,
    min_margin: Annotated[
        float,
        typer.Option(min=0.0, help="Leave out weak labels this close to the second, in log-odds."),
    ] = 0.0,
    drop_flags: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Leave out transcripts with these asr.flags, or all."),
    ] = None,
    max_per_class: Annotated[
        int | None, typer.Option(min=1, help="Most records of a class.")
    ] = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="Cut every class to the size of the smallest.")
    ] = False,
    dedupe: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Leave out what repeats an earlier audio, text, or both."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="A=X,B=Y", help="Set `split`, at random: train=0.8,dev=0.1,test=0.1."),
    ] = None,
    split_by: Annotated[
        str, typer.Option(help="What is never in two splits: speaker, recording or record.")
    ] = "speaker",
    seed: options.Seed = 0,
    verify: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Check a folder of shards against its index instead."),
    ] = None,
    relabel: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Give the set INPUT the weak labels of this JSONL, or -, instead."
        ),
    ] = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    part: options.Part = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Pack records with a label, and their sound, into WebDataset tar shards.

    Sound becomes 16 kHz mono FLAC, or Opus. The same input gives the same bytes, whatever the
    number of workers. Records without any label are counted and left out, and so is what is not
    selected. What is kept of a class, and who is in which split, hangs on ids and speakers, not on
    their order. Prints the counts of the finished set as one JSON line.
    """
    from lanser_cli import console, parts, pipe
    from lanser_cli.errors import EXIT_FAILED, EXIT_REJECTED, UsageError
    from lanser_cli.output import result_line
    from lanser_cli.shards import encoder, reader, remote
    from lanser_cli.shards.index import INDEX
    from lanser_cli.shards.selection import Selection, parse_set, parse_splits, select
    from lanser_cli.shards.verify import verify_shards
    from lanser_cli.shards.writer import ShardWriter, pack

    if verify is not None:
        faults = verify_shards(verify, processes=workers)
        for fault in faults:
            console.warn(fault)
        with result_line() as write:
            write({"shards": str(verify), "whole": not faults, "faults": faults})
        return EXIT_FAILED if faults else 0
    if relabel is not None:
        return _relabel(inputs or [], relabel)
    if output is None:
        raise UsageError("shard needs -o DIR for the shards (or --verify DIR, --relabel FILE DIR)")
    options.one_of("--codec", codec, encoder.CODECS)
    selection = Selection(
        min_score,
        min_margin,
        parse_set(drop_flags),
        max_per_class,
        balance,
        parse_set(dedupe),
        parse_splits(split),
        split_by,
        seed,
    )
    inputs = remote.fetch(inputs or ["-"], fetch)
    chosen = parts.parse_part(part)
    reader.check_inputs(inputs)
    if resume and (output / INDEX).exists():
        console.info(f"shard: {output} is whole already; nothing to do")
        return 0
    writer = ShardWriter(
        output, name=name, max_count=max_count, max_bytes=max_mb << 20, resume=resume
    )
    items = select(pipe.unique(reader.records_of(inputs, "shard"), "shard"), selection)
    index, tally = pack(
        parts.take_part(items, chosen),
        writer,
        codec=codec,
        dedupe_audio="audio" in selection.dedupe,
        processes=workers,
        rejects=rejects,
    )
    console.info(f"shard: {tally} -> {len(index['shards'])} shards in {output}")
    with result_line() as write:
        keys = ("samples", "seconds", "labels")
        write({"shards": str(output)} | {key: index[key] for key in keys})
    return EXIT_REJECTED if tally.rejected else 0


def _relabel(inputs: list[str], source: str) -> int:
    """Write a side file with new weak labels for one set."""
    from lanser_cli import console
    from lanser_cli.errors import UsageError
    from lanser_cli.output import result_line
    from lanser_cli.shards import reader
    from lanser_cli.shards.index import INDEX, read_index
    from lanser_cli.shards.relabel import Labels, relabel_shards

    if len(inputs) != 1:
        raise UsageError("--relabel FILE needs one folder of shards after it")
    folder = Path(inputs[0])
    index = relabel_shards(
        folder / INDEX,
        read_index(folder),
        lambda tar: reader.records_of([tar], "shard"),
        Labels(source, "--relabel"),
    )
    found = index["relabelled"]["samples"]
    console.info(f"shard: {found} of {index['samples']} samples in {folder} relabelled")
    with result_line() as write:
        write({"shards": str(folder), "relabelled": found, "labels": index["labels"]})
    return 0
