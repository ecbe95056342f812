"""lanser doctor: what works on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext

from lanser_cli import console
from lanser_cli.commands import options
from lanser_cli.errors import EXIT_FAILED
from lanser_cli.output import result_line

EXAMPLES = """
lanser doctor
lanser doctor > doctor.jsonl
"""


def command(quiet: options.Quiet = False, verbose: options.Verbose = False) -> int:
    """Say what works on this machine, what pays, and what is missing.

    Tries the two models that ship. On a terminal it prints a list, else one JSON object a line;
    exit code 1 if something is broken.
    """
    from lanser_cli.machine.doctor import examine

    broken = False
    with nullcontext(_show) if sys.stdout.isatty() else result_line() as write:
        for finding in examine():
            broken |= finding.status == "broken"
            write(finding.as_json())
    console.info("doctor: something is broken" if broken else "doctor: nothing is broken")
    return EXIT_FAILED if broken else 0


def _show(finding: Mapping[str, object]) -> None:
    print(f"{finding['status']:8}{finding['name']}: {finding['found']}", flush=True)
    if finding["advice"]:
        print(f"{'':8}{finding['advice']}", flush=True)
