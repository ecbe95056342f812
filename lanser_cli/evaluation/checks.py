"""What two sets share: ids, speakers, sentences, texts, sound, and sound that was recoded."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.choices import Check
from lanser_cli.evaluation.fingerprint import Prints
from lanser_cli.records import Record
from lanser_cli.redaction import is_hash
from lanser_cli.texts import spoken_form

CHECKS = tuple(check.value for check in Check)
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Heard(Record):
    """A record and what is kept of its sound.

    Attributes:
        sha256: of 16 kHz mono 16-bit samples; empty where nothing was decoded.
        words: its fingerprint, uint32 `[words]` as bytes.
    """

    sha256: bytes = b""
    words: bytes = b""


@dataclass
class Side:
    """What is remembered of one set."""

    name: str
    ids: list[str] = field(default_factory=list)
    sounds: list[bytes] = field(default_factory=list)
    prints: list[NDArray[np.uint32]] = field(default_factory=list)
    keys: dict[str, dict[str, tuple[str, int]]] = field(
        default_factory=lambda: {name: {} for name in CHECKS if name != "fingerprint"}
    )
    """Of each check but `fingerprint`: value -> the first id that has it, and how many have."""
    counted: Counter[str] = field(default_factory=Counter)
    """How many records have what each check looks at."""
    hashed: Counter[str] = field(default_factory=Counter)
    """Of text and sentence: how many records have a hash in their place, by `--text-key`."""
    rejected: int = 0
    unheard: set[str] = field(default_factory=set)
    """Ids whose sound cannot be read: the other checks look at their records all the same."""

    def add(self, record: Heard) -> None:
        """Remember a record."""
        self.ids.append(record.id)
        self.sounds.append(record.sha256)
        self.prints.append(np.frombuffer(record.words, np.uint32))
        values = {
            "id": record.id,
            "speaker": record.speaker,
            "sentence": record.word("sentence"),
            "text": spoken_form(record.text or "") or record.word("text_hash"),
            "audio": self.sounds[-1].hex(),
        }
        self.hashed.update(check for check in ("sentence", "text") if is_hash(values[check]))
        self.counted["fingerprint"] += len(self.prints[-1]) > 0
        for check, value in values.items():
            if value:
                self.counted[check] += 1
                first, count = self.keys[check].get(value, (record.id, 0))
                self.keys[check][value] = first, count + 1

    def strange(self, check: str, other: Side) -> int:
        """How many records have a hash where some of the other side have words, or words there."""
        written = self.counted[check] - self.hashed[check]
        others = other.counted[check] - other.hashed[check]
        return (self.hashed[check] if others else 0) + (written if other.hashed[check] else 0)

    def vouched(self) -> list[str]:
        """The ids that a certificate may be cited for."""
        return [identifier for identifier in self.ids if identifier not in self.unheard]

    def digest(self) -> str:
        """SHA-256 over lines `ID AUDIO`, sorted by id; AUDIO is the SHA-256 of the sound."""
        digest = hashlib.sha256()
        for identifier, sound in sorted(zip(self.ids, self.sounds, strict=True)):
            digest.update(f"{identifier} {sound.hex()}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one pair of sides.

    Attributes:
        shared: values that both sides have; for `fingerprint`, records of the side with more sound
            that sound like one of the other.
        records: how many records of each side have one of these; for `fingerprint`, those found.
        missing: how many records of each side the check could not look at.
        not_checked: why nothing could be compared; None if it could.
        examples: `ids` (of either side), and what they share.
    """

    check: str
    sides: tuple[str, str]
    shared: int
    allowed: bool
    records: tuple[int, int]
    missing: tuple[int, int]
    not_checked: str | None
    examples: list[dict[str, Any]]

    @property
    def leaks(self) -> bool:
        return self.shared > 0 and not self.allowed

    @property
    def complete(self) -> bool:
        """Whether every record of either side was looked at."""
        return self.not_checked is None and not any(self.missing)

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        first, second = self.sides
        what = f"{self.check}: {first} and {second}"
        if self.not_checked:
            return f"{what}: not checked: {self.not_checked}"
        if any(self.missing):
            what += f": not checked in {self.missing[0]} and {self.missing[1]} records"
        if not self.shared:
            return f"{what}: nothing shared"
        pairs = ", ".join(
            " = ".join(example["ids"])
            + (f" ({example['value']})" if self.check in ("speaker", "sentence", "text") else "")
            for example in self.examples[:3]
        )
        n, m = self.records
        more = " and more" if self.shared > 3 else ""
        allowed = " (allowed)" if self.allowed else ""
        return f"{what}: {self.shared} shared{allowed}, in {n} and {m} records: {pairs}{more}"


def compare(
    sides: Sequence[Side], *, allow: Sequence[str] = (), decoded: bool = True
) -> list[Finding]:
    """Every check between every two sides."""
    found = []
    for first, second in combinations(sides, 2):
        for check in CHECKS:
            strange = first.strange(check, second), second.strange(check, first)
            missing = (
                len(first.ids) - first.counted[check] + strange[0],
                len(second.ids) - second.counted[check] + strange[1],
            )
            absent = [side.name for side in (first, second) if not side.counted[check]]
            why = None
            if check in ("audio", "fingerprint") and not decoded:
                why = "--no-audio"
            elif absent:
                thing = {"audio": "sound", "fingerprint": "sound of 0.77 s"}.get(check, check)
                why = f"no {thing} in {' and '.join(absent)}"
            elif strange == (first.counted[check], second.counted[check]):
                why = f"a {check} is a hash in one and words in the other: hash both with one key"
            shared, records = 0, (0, 0)
            examples: list[dict[str, Any]] = []
            if why is None and check == "fingerprint":
                shared, records, examples = _alike(first, second)
            elif why is None:
                shared, records, examples = _equal(check, first, second)
            found.append(
                Finding(
                    *(check, (first.name, second.name), shared, check in allow, records),
                    *(missing, why, examples),
                )
            )
    return found


_Shared = tuple[int, tuple[int, int], list[dict[str, Any]]]


def _equal(check: str, first: Side, second: Side) -> _Shared:
    ours, theirs = first.keys[check], second.keys[check]
    values = [value for value in ours if value in theirs]
    records = sum(ours[value][1] for value in values), sum(theirs[value][1] for value in values)
    examples = [
        {"ids": [ours[value][0], theirs[value][0]], "value": value} for value in values[:EXAMPLES]
    ]
    return len(values), records, examples


def _alike(first: Side, second: Side) -> _Shared:
    """Look for each print of the larger side in the index of the smaller."""
    swapped = sum(map(len, second.prints)) < sum(map(len, first.prints))
    indexed, asked = (second, first) if swapped else (first, second)
    prints = Prints(indexed.prints)
    pairs: list[tuple[int, int, float]] = []
    for place, words in enumerate(asked.prints):
        if found := prints.find(words):
            other, rate = found
            pairs.append((place, other, rate) if swapped else (other, place, rate))
    records = len({pair[0] for pair in pairs}), len({pair[1] for pair in pairs})
    examples = [
        {"ids": [first.ids[one], second.ids[two]], "bit_errors": round(rate, 4)}
        for one, two, rate in pairs[:EXAMPLES]
    ]
    return len(pairs), records, examples
