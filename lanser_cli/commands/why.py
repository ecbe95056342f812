"""lanser why: one record's weak label taken apart."""

from __future__ import annotations

from typing import Annotated

import typer

from lanser_cli import console
from lanser_cli.commands import entail_label, options
from lanser_cli.commands.verb import given_beside
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser why utt-0001 weak.jsonl
lanser entail-label heard.jsonl -t ekman6 | lanser why utt-0001
"""


def command(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="The id of the record.", show_default=False)
    ],
    inputs: options.Records = None,
    allow_remote: options.AllowRemote = False,
    device: options.OneDevice = "auto",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Say why a record has its weak label: sound, transcript, and each hypothesis with its score.

    The label is computed again as the file's neighbour FILE.meta.json says or, without it, the
    record itself; and compared with what is stored. Prints one JSON line, or a table on a terminal.
    """
    from lanser_cli.devices import parse_devices
    from lanser_cli.entailment import load_task, why
    from lanser_cli.entailment.entail_label import LabelSettings
    from lanser_cli.entailment.taxonomy import ENGLISH

    named = inputs or ["-"]
    more = {"allow_remote": True} if allow_remote else {}
    record = why.find(named, identifier)
    made = given_beside(named, "entail-label", entail_label.command)
    given = (made[1] if made else why.options_in(record)) | more
    words = made[0] if made else why.command_of(given, named)
    console.configure(quiet_=quiet, verbose_=verbose)
    labels, crosswalk = given.get("labels"), given.get("crosswalk")
    labels = labels.split(",") if isinstance(labels, str) else labels
    task = load_task(
        *(given.get("taxonomy", ""), labels, crosswalk, given.get("templates") or ()),
        lang=given.get("lang", ENGLISH),
    )
    settings = options.fill(LabelSettings, given)
    ledger, read = Ledger("why", inputs=named), why.sources(given, named)
    found = why.reasons(record, read, task, settings, words, device=parse_devices(device)[0])
    ledger.read = ledger.done = 1
    console.info(f"why: {found.verdict}")
    return options.result(ledger, found.as_json(), shown=why.shown(found))
