"""lanser why: one record's weak label taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lanser_cli import console
from lanser_cli.commands import entail_label, options
from lanser_cli.commands.verb import given_beside
from lanser_cli.tally import Ledger

if TYPE_CHECKING:
    from lanser_cli.entailment.why import Reasons
    from lanser_cli.records import Record

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
    record itself; and compared with what is stored. Of a label that agree made it says the votes.
    Prints one JSON line, or a table on a terminal.
    """
    from lanser_cli.entailment import why

    named = inputs or ["-"]
    record = why.find(named, identifier)
    made = given_beside(named, "entail-label", entail_label.command)
    console.configure(quiet_=quiet, verbose_=verbose)  # which reading that command line has set
    if record.is_agreed:
        found: why.Agreed | Reasons = why.Agreed.of(record)
    else:
        found = _reasons(record, named, made, device, allow_remote)
    ledger = Ledger("why", inputs=named)
    ledger.read = ledger.done = 1
    console.info(f"why: {found.verdict}")
    return options.result(ledger, found.as_json(), shown=why.shown(found))


def _reasons(
    record: Record,
    named: Sequence[str],
    made: tuple[list[str], dict[str, Any]] | None,
    device: str,
    allow_remote: bool,
) -> Reasons:
    """Take a label apart, with the settings that it was made with.

    Args:
        made: the command line that made the file and its options, if one is known.
    """
    from lanser_cli.devices import parse_devices
    from lanser_cli.entailment import load_task, made_by, why
    from lanser_cli.entailment.entail_label import LabelSettings
    from lanser_cli.entailment.taxonomy import ENGLISH

    more = {"allow_remote": True} if allow_remote else {}
    given = (made[1] if made else made_by.options_in(record)) | more
    words = made[0] if made else made_by.command_of(given, named)
    labels, crosswalk = given.get("labels"), given.get("crosswalk")
    labels = labels.split(",") if isinstance(labels, str) else labels
    task = load_task(
        *(given.get("taxonomy", ""), labels, crosswalk, given.get("templates") or ()),
        lang=given.get("lang", ENGLISH),
    )
    settings = options.fill(LabelSettings, given)
    read, first = made_by.sources(given, named, record), parse_devices(device)[0]
    record = why.in_its_context(record, named, read)
    return why.reasons(record, read, task, settings, words, device=first, whole=made is not None)
