"""Leaks between sets: what two of them share, and a certificate that says so.

Of each record digests and a fingerprint are kept, not its sound: about 0.8 kB for the
id, the SHA-256 and the entries by speaker, text and so on, and 62.5 words of 4 bytes for each
second of sound, to which the index of a comparison adds 16 bytes a word of the smaller side. A
million clips of 4 s take 0.8 GB + 1 GB, and 2 GB more while two halves of them are compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanser_cli import console, pipe, workers
from lanser_cli.audio.sound import load
from lanser_cli.errors import LanserError, RecordError, UsageError
from lanser_cli.evaluation.certificate import certificate
from lanser_cli.evaluation.fingerprint import Prints, fingerprint
from lanser_cli.output import file_rejects, result_line, write_json
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.shards import reader
from lanser_cli.texts import spoken_form

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


CHECKS = ("id", "speaker", "sentence", "text", "audio", "fingerprint")


EXAMPLES = 5


WINDOW = 16


_SIDE, _SOUND, _PRINT = "audit: side", "audit: sound", "audit: print"
"""Keys of a record on its way through the audit; they leave with it."""


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
    rejected: int = 0

    def add(self, record: Record) -> None:
        """Remember a record that `Listener` has heard."""
        import numpy as np

        fields = record.fields
        self.ids.append(record.id)
        self.sounds.append(fields.get(_SOUND) or b"")
        self.prints.append(np.frombuffer(fields.get(_PRINT) or b"", np.uint32))
        values = {
            "id": record.id,
            "speaker": record.speaker,
            "sentence": fields.get("sentence"),
            "text": record.text and spoken_form(record.text),
            "audio": self.sounds[-1].hex(),
        }
        for check, value in values.items():
            if value:
                first, count = self.keys[check].get(value, (record.id, 0))
                self.keys[check][value] = first, count + 1

    def has(self, check: str) -> int:
        """Number of records that have what a check looks at."""
        if check == "fingerprint":
            return sum(len(words) > 0 for words in self.prints)
        return sum(count for _, count in self.keys[check].values())

    def digest(self) -> str:
        """SHA-256 over lines `ID AUDIO`, sorted by id; AUDIO is the SHA-256 of the sound."""
        digest = hashlib.sha256()
        for identifier, sound in sorted(zip(self.ids, self.sounds, strict=True)):
            digest.update(f"{identifier} {sound.hex()}\n".encode())
        return digest.hexdigest()


class Listener:
    """A window function: adds the SHA-256 of 16 kHz mono 16 bit samples, and a fingerprint."""

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        return [self._heard(record) if record.audio_filepath else record for record in window]

    @staticmethod
    def _heard(record: Record) -> Outcome:
        import numpy as np

        try:
            waveform = load(record)
        except RecordError as error:
            return Reject.of(record, "audit", error)
        samples = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype("<i2")
        return record.with_fields(
            **{
                _SOUND: hashlib.sha256(samples.tobytes()).digest(),
                _PRINT: fingerprint(waveform).tobytes(),
            }
        )


def _make_listener(device: str) -> Listener:
    return Listener()


def collect(
    inputs: Sequence[str], *, decode: bool = True, processes: int = 1
) -> tuple[list[Side], list[Reject]]:
    """Read all sides: one an input or, of a single input, one for each `split` in it.

    Raises:
        UsageError: an input is named twice.
        LanserError: an input is not there, a side is empty, or there is but one.
    """
    if len(set(inputs)) < len(inputs):
        raise UsageError("audit: the same input is named twice: name the sets to keep apart")
    reader.check_inputs(inputs)
    names = list(inputs) if len(inputs) > 1 else []
    sides = {name: Side(name) for name in names}
    refused: list[Reject] = []

    def refuse(reject: Reject, name: str | None) -> None:
        refused.append(reject)
        if name in sides:
            sides[name].rejected += 1

    def read() -> Iterator[Record]:
        for path in inputs:
            for item in pipe.unique(reader.records_of([path], "audit"), "audit"):
                name = path if names else None
                if isinstance(item, Reject):
                    refuse(item, name)
                elif isinstance(item, Record):
                    name = name or item.fields.get("split")
                    if name:
                        yield item.with_fields(**{_SIDE: name})
                    else:
                        why = "has no 'split': a single set is audited by split; or name two sets"
                        refuse(Reject.of(item, "audit", why), None)

    windows = pipe.windows(read(), WINDOW)
    if decode:
        outcomes: Iterable[list[Outcome]] = workers.spread(_make_listener, ["cpu"] * processes)(
            windows
        )
    else:
        outcomes = (list[Outcome](window) for window in windows)
    with console.progress("audit") as meter:
        for window in outcomes:
            meter.advance(len(window))
            for outcome in window:
                if isinstance(outcome, Record):
                    name = outcome.fields[_SIDE]
                    sides.setdefault(name, Side(name)).add(outcome)
                elif isinstance(outcome, Reject) and isinstance(outcome.record, dict):
                    name = outcome.record.pop(_SIDE)
                    sides.setdefault(name, Side(name))
                    refuse(outcome, name)
    for side in sides.values():
        if not side.ids:
            raise LanserError(f"audit: {side.name}: no record to audit in it{_first(refused)}")
    if len(sides) < 2:
        found = f"the one split '{next(iter(sides))}'" if sides else "no record with a 'split'"
        raise LanserError(
            f"audit: {inputs[0]} has {found}: name two sets, or one with several splits"
            + _first(refused)
        )
    return list(sides.values()), refused


def _first(refused: Sequence[Reject]) -> str:
    return f" ({len(refused)} rejected, the first: {refused[0].error})" if refused else ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one pair of sides.

    Attributes:
        shared: values that both sides have; for `fingerprint`, records of the second side that
            sound like one of the first.
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
            missing = len(first.ids) - first.has(check), len(second.ids) - second.has(check)
            absent = [side.name for side in (first, second) if not side.has(check)]
            why = None
            if check in ("audio", "fingerprint") and not decoded:
                why = "--no-audio"
            elif absent:
                thing = {"audio": "sound", "fingerprint": "sound of 0.75 s"}.get(check, check)
                why = f"no {thing} in {' and '.join(absent)}"
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


def audit(
    inputs: Sequence[str],
    *,
    allow: Sequence[str] = (),
    decode: bool = True,
    processes: int = 1,
    output: Path | None = None,
    rejects: Path | None = None,
) -> int:
    """Audit, say what was found, and return the exit code.

    Raises:
        LanserError: as in `collect`; or there is no folder for the certificate.
    """
    from lanser_cli.errors import EXIT_FAILED, EXIT_REJECTED

    if output is not None and not output.absolute().parent.is_dir():
        raise LanserError(f"{output}: there is no folder {output.absolute().parent}")
    sides, refused = collect(inputs, decode=decode, processes=processes)
    file_rejects(refused, rejects)
    findings = compare(sides, allow=allow, decoded=decode)
    for finding in findings:
        if finding.shared or not finding.complete:
            say = console.warn if finding.leaks else console.info
            say(f"audit: {console.ascii_safe(str(finding))}")
    result = certificate(sides, findings)
    if output is not None:
        write_json(output, result)
    used = sum(len(side.ids) for side in sides)
    console.info(f"audit: {used + len(refused)} in, {used} used, {len(refused)} rejected")
    short = ("passed", "sides")
    counts = [
        {"check": f.check, "sides": f.sides, "shared": f.shared, "allowed": f.allowed}
        | {"missing": f.missing, "not_checked": f.not_checked}
        for f in findings
    ]
    with result_line() as write:
        write({**{key: result[key] for key in short}, "checks": counts})
    if not result["passed"]:
        return EXIT_FAILED
    return EXIT_REJECTED if refused else 0
