"""Labelled corpora → records. One file a corpus; each says what it reads and under which licence.

The files of this folder are the list of corpora: `crema_d.py` is `lanser manifest crema-d`. A file
defines `read`, which checks its folder at once and then yields, in a fixed order, records, rejects
(a file that does not fit or cannot be read) and what is left out on purpose, with the reason.

`lanser manifest --help` reads the names and first lines, so nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

from lanser_cli.choices import Toolkit
from lanser_cli.errors import UsageError
from lanser_cli.records import Outcome, Record, attempt
from lanser_cli.texts import near

_FILES = {
    path.stem.replace("_", "-"): path
    for path in sorted(Path(__file__).parent.glob("*.py"))
    if path.stem not in ("__init__", "base", "table", "oddities")
}
KINDS = tuple(_FILES)
"""What can be read, by the names of the files."""


def titles() -> dict[str, str]:
    """Each kind and the first line of its file's docstring; the file is not imported."""
    found = {}
    for kind, path in _FILES.items():
        with path.open(encoding="utf-8") as stream:
            found[kind] = stream.readline().strip().strip('"')
    return found


def read(kind: str, root: Path, **settings: object) -> Iterator[Outcome]:
    """The records of a corpus; `root` is its folder, for csv the table.

    Args:
        settings: what the reader of this kind takes besides: columns for csv, `labels` for folder.

    Raises:
        UsageError: no such kind.
        LanserError: nothing of this corpus is there.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no corpus '{kind}'; {near(kind, KINDS)}")
    module = import_module(f"{__name__}.{_FILES[kind].stem}")
    outcomes: Iterator[Outcome] = module.read(root, **settings)
    return outcomes


def watched(outcomes: Iterator[Outcome], root: Path) -> Iterator[Outcome]:
    """The same; what is odd about them as a whole is said behind the last, see `oddities`."""
    from lanser_cli.corpora.oddities import Oddities

    return Oddities(root if root.is_dir() else None).watching(outcomes)


def lines(to: Toolkit | None, output: Path | None) -> Callable[[Sequence[Record]], list[Outcome]]:
    """A window function: records as lines of another toolkit's manifest, or as they are.

    Raises:
        UsageError: as `manifests.line_maker`.
    """
    if to is None:
        return list
    from lanser_cli.audio.manifests import line_maker

    make = line_maker(to, output)
    return lambda window: [attempt(make, record, "manifest") for record in window]
