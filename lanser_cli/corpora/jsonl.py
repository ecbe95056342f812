"""Records that are there: JSONL of lanser, NeMo, lhotse or Hugging Face.

For `lanser manifest jsonl RECORDS --to lhotse`: what any verb wrote becomes another toolkit's
manifest. Licence and labels: those of the corpus that the records are of.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lanser_cli.audio.ingest import ingest
from lanser_cli.corpora.base import STAGE
from lanser_cli.jsonl import check_kind, is_stream, open_input
from lanser_cli.records import Outcome


def read(path: Path) -> Iterator[Outcome]:
    """The records of a file, or of standard input (`-`), as they are.

    Raises:
        LanserError: there is no such file, or it is a folder or no JSONL at all.
    """
    name = str(path)
    if not is_stream(name):
        with open_input(name) as stream:
            check_kind(stream, name, name, listed=False)
    return ingest([name], STAGE)
