"""Labelled corpora → records. One file a corpus; each says what it reads and under which licence.

A reader checks its folder at once and then yields, in a fixed order, records, rejects (a file that
does not fit or cannot be read) and what is left out on purpose, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from lanser_cli.corpora import crema_d, csv_file, emodb, folder, iemocap, meld, ravdess, savee, tess
from lanser_cli.errors import UsageError
from lanser_cli.records import Outcome

READERS: dict[str, Callable[[Path], Iterator[Outcome]]] = {
    "crema-d": crema_d.read,
    "emodb": emodb.read,
    "iemocap": iemocap.read,
    "meld": meld.read,
    "ravdess": ravdess.read,
    "savee": savee.read,
    "tess": tess.read,
    "folder": folder.read,
    "csv": csv_file.read,
}


def read(kind: str, root: Path) -> Iterator[Outcome]:
    """The records of a corpus; `root` is its folder, for csv the table.

    Raises:
        UsageError: no such kind.
        LanserError: nothing of this corpus is there.
    """
    if kind not in READERS:
        raise UsageError(f"there is no corpus '{kind}'; there are: {', '.join(READERS)}")
    return READERS[kind](root)
