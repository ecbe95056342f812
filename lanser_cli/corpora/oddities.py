"""What is odd about a corpus although no record by itself is: said when all have been seen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lanser_cli import console
from lanser_cli.audio.walk import walk
from lanser_cli.corpora.base import STAGE, Clip
from lanser_cli.records import Outcome, Record
from lanser_cli.texts import alike

_MOST_LENGTHS = 10_000
_FEWEST_CLIPS = 20


@dataclass
class Oddities:
    """Labels and speakers that look alike, lengths that cannot be, a folder inside itself.

    Nothing is changed or left out for it. Memory grows with the number of speakers, not of records.

    Attributes:
        root: the folder of the corpus; None for a table.
        labels, speakers: how many records have each.
        lengths: how many of the first clips have each length, s.
        clips: how many are counted in `lengths`.
        off: how many clips are far "longer" or "shorter" than their table says.
        firsts: the first of them.
    """

    root: Path | None = None
    labels: Counter[str] = field(default_factory=Counter)
    speakers: Counter[str] = field(default_factory=Counter)
    lengths: Counter[float] = field(default_factory=Counter)
    clips: int = 0
    off: Counter[str] = field(default_factory=Counter)
    firsts: dict[str, Clip] = field(default_factory=dict)

    def watching(self, items: Iterable[Outcome]) -> Iterator[Outcome]:
        """The same items; what is odd about them is said behind the last."""
        for item in items:
            if isinstance(item, Record):
                self._see(item)
            yield item
        for warning in self.found():
            console.warn(f"{STAGE}: {warning}")

    def _see(self, record: Record) -> None:
        if record.label:
            self.labels[record.label] += 1
        if record.speaker:
            self.speakers[record.speaker] += 1
        if record.duration and not record.offset and self.clips < _MOST_LENGTHS:
            self.lengths[record.duration] += 1
            self.clips += 1
        if isinstance(record, Clip) and (how := _off(record)):
            self.off[how] += 1
            self.firsts.setdefault(how, record)

    def found(self) -> Iterator[str]:
        """A sentence for each thing that is odd."""
        yield from alike("labels", self.labels)
        yield from alike("speakers", self.speakers)
        for how, count in self.off.items():
            first = self.firsts[how]
            yield (
                f"clips far {how} than their table says: {count}, such as '{first.id}' "
                f"({first.found:.2f} s where it says {first.stated:.2f}): look into them"
            )
        yield from self._of_one_length()
        if self.root is not None:
            for inner, outer in copies_of_itself(str(self.root)):
                yield (
                    f"{inner}: this folder is a copy of {outer}, which it lies in, so that clips "
                    "are there twice: remove one"
                )

    def _of_one_length(self) -> Iterator[str]:
        clips = self.clips
        for seconds, count in self.lengths.most_common(1):
            if clips >= _FEWEST_CLIPS and 2 * count > clips:
                yield (
                    f"{count} of {clips} clips are exactly {seconds:g} s long: were they cut or "
                    "padded? What was cut off, or filled in, is learned as if it were speech"
                )


def _off(clip: Clip) -> str:
    """In which way a clip is far from as long as its table says, or ""."""
    if clip.stated is None:
        return ""
    if clip.found > 2 * clip.stated + 3:
        return "longer"
    return "shorter" if clip.found < 0.9 * clip.stated - 0.1 else ""


def copies_of_itself(
    folder: str, above: Sequence[tuple[str, frozenset[str]]] = ()
) -> Iterator[tuple[str, str]]:
    """Folders below one that hold all that a folder above them holds, and that folder.

    That is what an archive leaves behind that was unpacked twice, or holds itself.

    Args:
        above: the folders that it lies in, and what each holds.
    """
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
    except OSError:  # it may not be read, which its reject says
        return
    names = frozenset(entry.name for entry in entries)
    for outer, others in above:
        inside = os.path.relpath(folder, outer)
        if (
            1 < len(others) <= len(names) + 1
            and others - {inside.split(os.sep)[0]} <= names
            and _same_sound(outer, inside)
        ):
            yield folder, outer
            return
    for entry in sorted(entries, key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from copies_of_itself(entry.path, [*above, (folder, names)])


def _same_sound(outer: str, inside: str) -> bool:
    """Whether the first clip of `outer` that is not in its folder `inside` is in that as well."""
    inner = os.path.join(outer, inside)
    for path in walk(outer):
        if not path.startswith(os.path.join(inner, "")):
            copy = os.path.join(inner, os.path.relpath(path, outer))
            return os.path.exists(copy) and os.path.getsize(copy) == os.path.getsize(path)
    return False
