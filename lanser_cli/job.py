"""The parts of a job in a folder: which are whole, which to submit again, and all as one file."""

from __future__ import annotations

import os
import re
import resource
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Literal

from lanser_cli import console, lock
from lanser_cli.destination import check_apart, check_writable, is_stream
from lanser_cli.digests import short_sha256
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.jsonl import open_input
from lanser_cli.origin import (
    beside,
    describe,
    difference,
    of_files,
    origin_in,
    versions_in,
)
from lanser_cli.output import JsonlFile
from lanser_cli.parts import MOST_PARTS, numbers_in, ranges, size_of_part
from lanser_cli.shape import COUNT, check_shape
from lanser_cli.stage import windows

State = Literal["whole", "running", "unfinished", "other", "twice", "missing"]
"""`other`: made with other options, or from another input, than most. `twice`: as two files."""

STATES: tuple[State, ...] = ("whole", "running", "unfinished", "other", "twice", "missing")
AGAIN: tuple[State, ...] = ("unfinished", "other", "missing")
"""What has to be submitted again; nobody needs a second task for one that runs."""

_SPARE_FILES = 16
"""Files that a process opens besides the parts that it merges."""


@dataclass(frozen=True, slots=True)
class Part:
    """An output that one task of a job has made, or not made to its end.

    Attributes:
        path: of the output, whether it is there under this name or still as `NAME.part`.
        number: I of `--part I/N`.
        state: `whole`, `running` or `unfinished`.
        verb: that made it.
        identity: what would have made all parts in one run.
        versions: of what made it, by package.
        slice: how many items it had, and which gave no line, as `FILE.meta.json` has it.
    """

    path: Path
    number: int
    state: State
    verb: str
    identity: Mapping[str, str]
    versions: Mapping[str, str]
    slice: Any

    def slots(self) -> Iterator[str | None]:
        """Of each item of the part its line, or None where it gave no record.

        Raises:
            LanserError: the file is not as it was when it was made.
        """
        again = f"remove it and submit part {self.number} again"
        try:
            left_out = numbers_in(self.slice["left_out"])
            skipped = next(left_out, None)
            with open_input(str(self.path)) as stream:
                for place in range(self.slice["in"]):
                    if place == skipped:
                        skipped = next(left_out, None)
                        yield None
                        continue
                    line = stream.readline()
                    if not line.endswith(b"\n"):
                        raise LanserError(f"{self.path}: its last records are gone: {again}")
                    yield line[:-1].decode()
                if skipped is not None or stream.readline():
                    raise LanserError(f"{self.path}: holds more than it was made with: {again}")
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise LanserError(f"{self.path}: cannot be read: {error}: {again}") from None


@dataclass(frozen=True)
class Job:
    """All parts of one job.

    Attributes:
        folder: that they lie in.
        count: how many there are to be.
        parts: by number, those that are whole and alike.
        states: the numbers of the parts in each state.
    """

    folder: Path
    count: int
    parts: Mapping[int, Part]
    states: Mapping[State, Sequence[int]]

    @property
    def is_whole(self) -> bool:
        return len(self.states["whole"]) == self.count

    @property
    def array(self) -> str:
        """The numbers to submit again, as `sbatch --array=` takes them."""
        return ranges(sorted(chain.from_iterable(self.states[state] for state in AGAIN)))

    def __str__(self) -> str:
        odd = [
            f"{state} {ranges(self.states[state])}" for state in STATES[1:] if self.states[state]
        ]
        whole = f"{len(self.states['whole'])} of {self.count} whole"
        again = f": submit again --array={self.array}" if self.array else ""
        return "; ".join([whole, *odd]) + again

    def as_json(self) -> dict[str, object]:
        """Numbers of parts, from 1 on, in the notation of `array`."""
        states = {str(state): ranges(numbers) for state, numbers in self.states.items()}
        return {"folder": str(self.folder), "of": self.count, **states, "array": self.array}

    def merge(self, output: Path, *, force: bool = False) -> dict[str, object]:
        """Write the records of all parts in the order of the input: the file of one whole run.

        A line of each part is in memory, and a thousand to be written. A file that was merged from
        such parts before is left as it is.

        Returns:
            How many records it has, and how many items of the input gave none; None: not known.

        Raises:
            LanserError: a part is not whole or not as it was made, or the parts read inputs of
                other lengths.
            UsageError: there is another file of this name.
        """
        parts = [self.parts[number] for number in sorted(self.parts)]
        check_apart({"--merge": output}, [part.path for part in parts])
        check_writable(output)
        if not self.is_whole:
            raise LanserError(f"{self.folder}: not merged before all parts are whole: {self}")
        identity = parts[0].identity
        is_there = not is_stream(output) and output.exists() and output.stat().st_size
        if is_there and not force:
            made = origin_in(beside(output)) or {}
            if made.get("identity") != identity or made.get("parts") != _digest(parts):
                raise UsageError(
                    f"{output}: is there already, and no merger of these parts: overwrite it with "
                    "--force, or name another"
                )
            console.info(f"parts: {output} is whole already; nothing to do")
            return {"file": str(output), "records": None, "left_out": None}
        items = _check_lengths(parts)
        if "--embed" in identity:
            console.warn(
                "parts: the rows of --embed stay as they are: row n of a part's file is of line n "
                f"of that part, not of {output}"
            )
        _allow_open_files(self.count)
        origin = {**describe(parts[0].verb, identity), "parts": _digest(parts)}
        merged = JsonlFile(output, resume=False, origin=origin)
        records = 0
        try:
            rows = zip_longest(*(part.slots() for part in parts))
            lines = (line for line in chain.from_iterable(rows) if line is not None)
            for window in windows(lines, 1000):
                merged.write(window)
                records += len(window)
        except BaseException:
            merged.leave()
            raise
        merged.publish()
        return {"file": str(output), "records": records, "left_out": items - records}


def find_job(folder: Path, count: int) -> Job:
    """Look at what made each output in a folder, and sort those that are one of N parts.

    What most parts were made with is the job's; others are said on stderr. So are other versions of
    packages, which may or may not have changed anything.

    Raises:
        LanserError: there is no such folder.
        UsageError: it holds parts of several verbs, or there are too many parts.
    """
    if not 1 <= count <= MOST_PARTS:
        raise UsageError(f"--of {count}: a job has from 1 to {MOST_PARTS:,} parts")
    found = sorted(_parts_in(folder, count), key=lambda part: (part.number, part.path))
    verbs = sorted({part.verb for part in found})
    if len(verbs) > 1:
        raise UsageError(
            f"{folder}: holds parts of {' and '.join(verbs)}: give each stage a folder of its own"
        )
    usual = _usual(part.identity for part in found)
    _warn_of_versions(folder, found)
    mine, others = defaultdict[int, list[Part]](list), set[int]()
    for part in found:
        if differs := difference(part.identity, usual):
            others.add(part.number)
            console.warn(
                f"{part.path}: made with {differs} as most parts: remove it before part "
                f"{part.number} is made again"
            )
        else:
            mine[part.number].append(part)
    states: dict[State, list[int]] = {state: [] for state in STATES}
    for number in range(1, count + 1):
        state = _state(mine[number]) if number in mine else None
        states[state or ("other" if number in others else "missing")].append(number)
    whole = {
        number: part for number in states["whole"] for part in mine[number] if part.state == "whole"
    }
    return Job(folder, count, whole, states)


def _usual(mappings: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The one that is there most often; empty if there is none."""
    found = Counter(tuple(mapping.items()) for mapping in mappings).most_common(1)
    return dict(found[0][0]) if found else {}


def _warn_of_versions(folder: Path, found: Sequence[Part]) -> None:
    """Say which parts other versions of packages have made than most, as on a node set up anew."""
    usual = _usual(part.versions for part in found)
    odd = [part for part in found if difference(part.versions, usual)]
    if odd:
        numbers = ranges(sorted({part.number for part in odd}))
        differs = difference(odd[0].versions, usual)
        console.warn(f"{folder}: parts {numbers} were made with {differs} as most")


def _state(files: Sequence[Part]) -> State:
    """That of a part which these files are of."""
    whole = [part for part in files if part.state == "whole"]
    if len(whole) > 1:
        names = " and ".join(str(part.path) for part in whole)
        console.warn(f"part {whole[0].number} is there twice, as {names}: remove one of them")
        return "twice"
    if whole:
        return "whole"
    return "running" if any(part.state == "running" for part in files) else "unfinished"


def _parts_in(folder: Path, count: int) -> Iterator[Part]:
    try:
        names = {
            name.removesuffix(".meta.json").removesuffix(".part")
            for name in os.listdir(folder)
            if name.endswith(".meta.json")
        }
    except OSError as error:
        raise LanserError(f"{folder}: cannot be read as a folder: {error.strerror}") from None
    splits = Counter[int]()
    for name in names:
        path = folder / name
        partial = path.with_name(f"{name}.part")
        if not (path.exists() or partial.exists()):
            continue
        origin = origin_in(beside(partial), beside(path))
        part = origin and re.fullmatch(
            "([0-9]{1,9})/([0-9]{1,9})", origin["identity"].get("--part", "")
        )
        if origin is None or not part:
            continue
        number, of = map(int, part.groups())
        if of != count or not 1 <= number <= count:
            splits[of] += 1
            continue
        state: State = "whole"
        if partial.exists():
            state = "running" if lock.is_held(path) else "unfinished"
        identity = {**origin["identity"], "--part": "all"}
        verb, versions = str(origin.get("verb")), versions_in(origin)
        yield Part(path, number, state, verb, identity, versions, origin.get("slice"))
    for of, several in sorted(splits.items()):
        console.warn(f"{folder}: {several} outputs are of {of} parts, not of {count}: passed over")


def _digest(parts: Sequence[Part]) -> str:
    """12 hex digits over what each part has, less what its records say."""
    found = [(part.number, part.slice, part.path.stat().st_size) for part in parts]
    return short_sha256(repr(found))


def _check_lengths(parts: Sequence[Part]) -> int:
    """How many items the input of all parts had: each must have had its share of as many.

    Raises:
        LanserError: one had not, or nothing says what it had.
    """
    for part in parts:
        try:
            check_shape(part.slice, {"in": COUNT, "left_out": str}, "slice")
        except ValueError as error:
            raise LanserError(
                f"{beside(part.path)}: says not where its records stood ({error}): make part "
                f"{part.number} again"
            ) from None
    items = sum(part.slice["in"] for part in parts)
    for part in parts:
        share = size_of_part(items, (part.number, len(parts)))
        if part.slice["in"] != share:
            raise LanserError(
                f"{part.path}: part {part.number} read {part.slice['in']} items, but its share of "
                f"the {items} of all parts is {share}: they read other inputs: make them again"
            )
    if parts[0].identity.get("input") == of_files(["-"]):
        console.warn("parts: they read standard input; only its length is known to be one")
    return items


def _allow_open_files(count: int) -> None:
    """Let this process have all parts open at once.

    Raises:
        LanserError: the system does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + len(os.listdir("/dev/fd")) + _SPARE_FILES
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise LanserError(
            f"to merge {count} parts takes as many open files, and the system allows {hard}: raise "
            "it with  ulimit -n"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
