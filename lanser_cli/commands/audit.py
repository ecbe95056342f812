"""lanser audit: what sets share that should share nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.choices import Check
from lanser_cli.commands import options
from lanser_cli.commands.groups import CHECKS, OUTPUT, RUNNING
from lanser_cli.destination import check_apart, check_writable
from lanser_cli.errors import EXIT_FAILED
from lanser_cli.lock import claimed_file
from lanser_cli.output import write_json
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser audit shards/ corpus.jsonl -o audit.json
lanser audit shards/ corpus.jsonl --no-audio --allow sentence --allow text
"""


def command(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SET...",
            help="Two or more sets: shard folders, quoted globs or brace ranges of tars, JSONL "
            "(- reads standard input). One set alone is audited split against split.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        OUTPUT.option("-o", "--output", help="Write the certificate (JSON) to this file."),
    ] = None,
    allow: Annotated[
        list[Check] | None,
        CHECKS.option(help="What the sets may share; counted all the same. Repeatable."),
    ] = None,
    no_audio: Annotated[
        bool,
        CHECKS.option("--no-audio", help="Compare only what the records say; decode no sound."),
    ] = False,
    workers: Annotated[
        int | None,
        RUNNING.option(
            not_with="--no-audio", min=1, help="Decoding processes; default one a processor."
        ),
    ] = None,
    force: options.Force = False,
    rejects: options.Rejects = None,
    fetch: options.Fetch = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Find leaks between sets: shared ids, speakers, sentences, transcripts, and sound.

    Sound is compared as decoded, and by a fingerprint that survives resampling, gain, lossy coding
    and cutting. Prints the counts as one JSON line. Exits with 1 when a leak is found.
    """
    from lanser_cli.devices import cpu_count
    from lanser_cli.evaluation.audit import collect, say
    from lanser_cli.evaluation.certificate import certificate, summary
    from lanser_cli.evaluation.checks import compare
    from lanser_cli.evaluation.findings import of_audit
    from lanser_cli.shards import remote

    if output is not None:
        check_apart({"-o": output, "--rejects": rejects}, inputs or ["-"])
        check_writable(output)
    allowed, decode = [check.value for check in allow or ()], not no_audio
    with claimed_file(output, force=force):
        with Ledger("audit", rejects, inputs=inputs) as ledger:
            sets = remote.fetch(inputs or ["-"], fetch)
            sides = collect(sets, ledger, decode=decode, processes=workers or cpu_count())
        findings = compare(sides, allow=allowed, decoded=decode)
        say(findings)
        made = certificate(sides, findings)
        if output is not None:
            write_json(output, made)
    code = options.result(ledger, summary(made), shown=of_audit(made))
    return code if made["passed"] else EXIT_FAILED
