"""lanser shard: labelled records and their sound to tar shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lanser_cli import console
from lanser_cli.choices import Codec, SplitBy
from lanser_cli.commands import options
from lanser_cli.commands.groups import INSTEAD, OUTPUT, RUNNING, SELECTION
from lanser_cli.errors import EXIT_FAILED, UsageError
from lanser_cli.output import result_line
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser shard weak.jsonl -o shards/
lanser shard weak.jsonl -o sure/ --min-score 0.3 --split train=0.9,dev=0.1 --split-by recording
lanser shard --verify shards/
"""


def command(
    inputs: options.Records = None,
    output: Annotated[
        Path | None,
        OUTPUT.option("-o", "--output", help="Folder for the shards and their index.json."),
    ] = None,
    name: Annotated[str, OUTPUT.option(help="Shards are called NAME-000000.tar.")] = "speech",
    max_count: Annotated[int, OUTPUT.option(min=1, help="Records in a shard.")] = 1000,
    max_mb: Annotated[int, OUTPUT.option(min=1, help="Megabytes after which a shard ends.")] = 1024,
    codec: Annotated[
        Codec, OUTPUT.option(help="flac keeps every sample; opus is lossy, a quarter of the size.")
    ] = "flac",
    workers: Annotated[
        int | None, RUNNING.option(min=1, help="Processes that encode; default one a processor.")
    ] = None,
    fetch: options.Fetch = None,
    min_seconds: options.MinSeconds = 0.0,
    max_seconds: options.MaxSeconds = None,
    min_score: Annotated[
        float, SELECTION.option(min=0.0, max=1.0, help="Leave out less probable weak labels.")
    ] = 0.0,
    min_margin: Annotated[
        float,
        SELECTION.option(min=0.0, help="Leave out weak labels with a smaller lead, in log-odds."),
    ] = 0.0,
    drop_flags: Annotated[
        str | None,
        SELECTION.option(metavar="A,B", help="Leave out transcripts with these asr.flags, or all."),
    ] = None,
    max_per_class: Annotated[
        int | None, SELECTION.option(min=1, help="Largest number of records of a class.")
    ] = None,
    balance: Annotated[
        bool, SELECTION.option("--balance", help="Cut every class to the size of the smallest.")
    ] = False,
    dedupe: Annotated[
        str | None,
        SELECTION.option(
            metavar="A,B", help="Leave out records that repeat audio, text, or either."
        ),
    ] = None,
    split: Annotated[
        str | None,
        SELECTION.option(
            metavar="A=X,B=Y", help="Set `split`, at random: train=0.8,dev=0.1,test=0.1."
        ),
    ] = None,
    split_by: Annotated[
        SplitBy, SELECTION.option(only_with=("--split",), help="What is never in two splits.")
    ] = "speaker",
    seed: options.Seed = 0,
    mix_taxonomies: Annotated[
        bool, SELECTION.option("--mix-taxonomies", help="Take weak labels of several taxonomies.")
    ] = False,
    verify: Annotated[
        Path | None,
        INSTEAD.mode(
            metavar="DIR",
            reads=("workers",),
            help="Check a folder of shards against its index instead.",
        ),
    ] = None,
    relabel: Annotated[
        str | None,
        INSTEAD.mode(
            metavar="FILE",
            reads=("inputs", "mix_taxonomies"),
            help="Instead, give packed INPUT the weak labels of this JSONL, or -.",
        ),
    ] = None,
    no_text: options.NoText = False,
    text_key: options.TextKey = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    part: options.Part = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Pack records with a label, and their sound, into WebDataset tar shards.

    Sound becomes 16 kHz mono FLAC, or Opus. The same input gives the same bytes, whatever the
    number of workers. Records without any label, or not selected, are counted and left out. What
    is kept of a class, and who is in which split, depends on ids and speakers, not on their order.
    Prints the counts of the finished set as one JSON line.
    """
    from lanser_cli.redaction import Redaction
    from lanser_cli.shards.pack import Packing, shard
    from lanser_cli.shards.selection import Selection

    selection, packing = options.fill(Selection, locals()), options.fill(Packing, locals())
    if verify is not None:
        return _verify(verify, workers)
    if relabel is not None:
        return _relabel(inputs or [], relabel, mix_taxonomies)
    if output is None:
        raise UsageError("shard needs -o DIR for the shards (or --verify DIR, --relabel FILE DIR)")
    with Ledger("shard", rejects, "out", inputs=inputs) as ledger:
        index = shard(
            *(inputs or ["-"], output, selection, packing, ledger),
            redaction=Redaction.asked(no_text, text_key),
            fetch=fetch,
            part=part,
            resume=resume,
        )
    if index is None:
        return 0
    made = {"shards": str(output)} | {key: index[key] for key in ("samples", "seconds", "labels")}
    return options.result(ledger, made, note=f" -> {len(index['shards'])} shards in {output}")


def _verify(folder: Path, workers: int | None) -> int:
    """Check a set against its index."""
    from lanser_cli.shards.verify import verify_shards

    faults = verify_shards(folder, processes=workers)
    for fault in faults:
        console.warn(fault)
    with result_line() as write:
        write({"shards": str(folder), "whole": not faults, "faults": faults})
    return EXIT_FAILED if faults else 0


def _relabel(inputs: list[str], source: str, mix_taxonomies: bool) -> int:
    """Write a side file with new weak labels for one set."""
    from lanser_cli.shards.relabel import relabel_shards

    if len(inputs) != 1:
        raise UsageError("--relabel FILE needs one folder of shards after it")
    index = relabel_shards(Path(inputs[0]), source, mix_taxonomies=mix_taxonomies)
    found, of = index["relabelled"]["samples"], index["samples"]
    console.info(f"shard: {found} of {of} samples in {inputs[0]} relabelled")
    with result_line() as write:
        write({"shards": inputs[0], "relabelled": found, "labels": index["labels"]})
    return 0
