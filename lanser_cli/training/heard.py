"""What a model has heard, itself or the one it started from: so that no test is of what it knows.

`heard.npy` next to the weights holds 64 bits each of ids, speakers and sound; docs/formats.md
specifies it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli import console
from lanser_cli.audio import sound
from lanser_cli.audio.source import file_of, source_of
from lanser_cli.digests import file_sha256, sound_sha256, string64
from lanser_cli.errors import LanserError, RecordError, UsageError
from lanser_cli.output import commit
from lanser_cli.records import Outcome, Record, Reject, attempt
from lanser_cli.stage import Process

FILE = "heard.npy"
KEYS = ("speaker", "voice", "id")
"""Keys whose values count as heard."""

TRANSDUCTIVE = "it has used all of the test side's sound or texts, though no label"
"""What is said of a result where the levels of its speakers or a mean over it were taken off."""

_EXAMPLES = 2
_BY_SAMPLES = string64("some sound is known by its samples")


@dataclass(frozen=True, slots=True)
class Seen:
    """How much of what is tested a model has heard.

    Attributes:
        run: the run folder of the model.
        checked: whether that is known; runs of older versions do not say what they heard.
        speaker, voice, id, sound: how many different values of each it has heard, of records to
            be tested or to validate on.
        examples: some of them.
    """

    run: str
    checked: bool = True
    speaker: int = 0
    voice: int = 0
    id: int = 0
    sound: int = 0
    examples: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.speaker or self.voice or self.id or self.sound)

    def __str__(self) -> str:
        if not self.checked:
            return f"what {self.run} has heard is not known"
        numbers = {kind: getattr(self, kind) for kind in (*KEYS, "sound")}
        counts = [f"{count} {kind}{'s' * (count > 1)}" for kind, count in numbers.items() if count]
        if not counts:
            return f"{self.run} has heard nothing of what is tested"
        names = ", ".join(self.examples)
        return f"{self.run} has heard {', '.join(counts)} of what is tested ({names})"


def marks(record: Record) -> bytes:
    """What a record leaves without a look at its sound: 8 bytes for each thing heard.

    The first are those of its samples where the record has their `audio_sha256`, as in shards;
    otherwise zero.
    """
    known = record.fields.get("audio_sha256")
    found = [_of_sound(known) if isinstance(known, str) else 0]
    found += [_mark(key, word) for key in KEYS if (word := record.word(key)) is not None]
    return np.array(found, ">u8").tobytes()


def heard(utterances: Iterable[tuple[bytes, str | None]]) -> NDArray[np.uint64]:
    """All that was heard, sorted, each once.

    Args:
        utterances: the `marks` of each, and the path of its sound. Where the marks have no sound,
            the file is read.
    """
    found: set[int] = set()
    for known, path in utterances:
        first, *others = np.frombuffer(known, ">u8").tolist()
        found.update(others)
        found.add(first or _of_file(path or "", *_state(path or "")))
        if first:
            found.add(_BY_SAMPLES)
    return np.array(sorted(found - {0}), np.uint64)


def write(folder: Path, found: NDArray[np.uint64], init: Path | None) -> None:
    """Leave in a run folder what it hears, and what the model it starts from has heard."""
    before = None if init is None else read(init)
    if init is not None and before is None:
        return  # unknown stays unknown
    partial = folder / f"{FILE}.part"
    with partial.open("wb") as stream:
        np.save(stream, found if before is None else np.union1d(found, before), allow_pickle=False)
    commit(partial, folder / FILE)


def read(folder: Path) -> NDArray[np.uint64] | None:
    """What the model in a run folder has heard; None where the folder does not say.

    Raises:
        LanserError: the file is broken.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        found: NDArray[np.uint64] = np.load(path, mmap_mode="r", allow_pickle=False)
        if found.dtype != np.uint64 or found.ndim != 1:
            raise ValueError("not a list of 64-bit numbers")
    except (ValueError, EOFError, OSError) as error:
        raise LanserError(f"{path}: cannot be read: {error}") from None
    return found


def compare(records: Sequence[Record], init: Path) -> Seen:
    """How much of records the model in a run folder has heard."""
    known = read(init)
    if known is None:
        console.warn(f"--init {init} does not say what it has heard: it may know what is tested")
        return Seen(str(init), checked=False)
    counts: dict[str, Any] = {}
    examples: list[str] = []
    for key in KEYS:
        words = sorted({word for record in records if (word := record.word(key)) is not None})
        there = _among([_mark(key, word) for word in words], known)
        names = [word for word, one in zip(words, there, strict=True) if one]
        counts[key] = len(names)
        examples += [f"{key} {name}" for name in names[:_EXAMPLES]]
    decode = bool(_among([_BY_SAMPLES], known)[0])
    sounds = [_sounds(record, decode) for record in records]
    same = [bool(_among(one, known).any()) for one in sounds]
    names = [record.id for record, one in zip(records, same, strict=True) if one]
    examples += [f"the sound of {name}" for name in names[:_EXAMPLES]]
    return Seen(str(init), **counts, sound=len(names), examples=tuple(examples))


def knows(found: NDArray[np.uint64], record: Record) -> bool:
    """Whether a record's id, speaker, voice or `audio_sha256` was heard; no sound is read."""
    own = [mark for mark in np.frombuffer(marks(record), ">u8").tolist() if mark]
    return bool(_among(own, found).any())


def knows_speaker(found: NDArray[np.uint64], name: str) -> bool:
    """Whether a speaker was heard."""
    return bool(_among([_mark("speaker", name)], found)[0])


def marking(process: Process, folders: Sequence[Path], stage: str) -> Process:
    """The same process; records that a model in these folders was trained on get `heard`: true.

    They are told by id, speaker, voice and `audio_sha256`; no sound is read. How many there are is
    said at the end.
    """
    known = [found for folder in folders if (found := read(folder)) is not None]
    counts = {"heard": 0, "all": 0}

    def marked(outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Record):
            return outcome
        counts["all"] += 1
        if not any(knows(found, outcome) for found in known):
            return outcome
        counts["heard"] += 1
        return outcome.with_fields(heard=True)

    def process_and_mark(
        pending: Iterable[list[Record]],
    ) -> Generator[list[Outcome], None, None]:
        with closing(process(pending)) as answers:
            for outcomes in answers:
                yield [marked(outcome) for outcome in outcomes]
        if counts["heard"]:
            console.warn(
                f"{stage}: the model was trained on {counts['heard']} of {counts['all']} records, "
                "or on their speakers: they are marked as heard, and scores over them are too good"
            )

    return process_and_mark if known else process


def refuse(seen: Seen, *, allowed: bool) -> None:
    """Refuse to test on what was heard.

    Raises:
        UsageError: something was, and that is not `allowed`.
    """
    if not seen.any:
        return
    if not allowed:
        raise UsageError(
            f"--init: {seen}, so the result would be too good: test on others, start from "
            "another run, or go on with --allow-seen, and every report says so"
        )
    console.warn(f"--allow-seen: {seen}: the result is too good")


def _mark(kind: str, word: str) -> int:
    return string64(f"{kind}\0{word}")


def _of_sound(sha256: str) -> int:
    return _mark("sound", sha256)


@lru_cache(maxsize=1 << 16)
def _of_file(path: str, size: int, change: int) -> int:
    """The mark of a file's bytes; `size` and `change` tell a new file of that name from an old."""
    try:
        data = source_of(path).data
        found = file_sha256(Path(path)) if data is None else hashlib.sha256(data).hexdigest()
    except (RecordError, OSError):
        return 0
    return _mark("file", found)


def _state(path: str) -> tuple[int, int]:
    try:
        about = os.stat(file_of(path))
    except (OSError, ValueError):
        return 0, 0
    return about.st_size, about.st_mtime_ns


def _sounds(record: Record, decode: bool) -> list[int]:
    """The marks that the sound of a record may have left elsewhere."""
    known = record.fields.get("audio_sha256")
    path = record.audio_filepath or ""
    found = [_of_file(path, *_state(path))]
    if isinstance(known, str):
        found.append(_of_sound(known))
    elif decode:
        samples = attempt(sound.load_int16, record, "heard")
        if not isinstance(samples, Reject):  # predicting will reject it, and say so
            found.append(_of_sound(sound_sha256(samples)))
    return [mark for mark in found if mark]


def _among(marks: Sequence[int], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which marks are in a sorted list."""
    wanted = np.array(marks, np.uint64)
    if not len(known):
        return np.zeros(len(wanted), np.bool_)
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found: NDArray[np.bool_] = known[places] == wanted
    return found
