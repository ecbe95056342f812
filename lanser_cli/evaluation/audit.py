"""Leaks between sets: what two of them share, and a certificate that says so.

Of each record digests and a fingerprint are kept, not its sound: about 0.8 kB for the
id, the SHA-256 and the entries by speaker, text and so on, and 62.5 words of 4 bytes for each
second of sound, to which the index of a comparison adds 16 bytes a word of the smaller side. A
million clips of 4 s take 0.8 GB + 1 GB, and 2 GB more while two halves of them are compared.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

from lanser_cli import console, workers
from lanser_cli.audio import sound
from lanser_cli.digests import sound_sha256
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.evaluation.checks import Finding, Heard, Side
from lanser_cli.evaluation.fingerprint import fingerprint
from lanser_cli.records import Dropped, Outcome, Record, Reject, attempt
from lanser_cli.shards import reader
from lanser_cli.stage import WindowFunction, unique, windows
from lanser_cli.tally import Ledger

WINDOW = 16


def listen(window: Sequence[Record]) -> list[Outcome]:
    """A window function: adds the SHA-256 of 16 kHz mono 16-bit samples, and a fingerprint."""
    return [
        attempt(_heard, record, "audit") if record.audio_filepath else record for record in window
    ]


def _heard(record: Record) -> Heard:
    waveform = sound.load(record)
    digest = bytes.fromhex(sound_sha256(sound.to_int16(waveform)))
    return Heard(record.fields, digest, fingerprint(waveform).tobytes())


def _make_listener(_device: str) -> WindowFunction:
    return listen


def collect(
    inputs: Sequence[str], ledger: Ledger, *, decode: bool = True, processes: int = 1
) -> list[Side]:
    """Read all sides: one an input or, of a single input, one for each `split` in it.

    Args:
        ledger: takes the counts and the rejects.
        decode: compare sound as well.
        processes: that decode.

    Raises:
        UsageError: an input is named twice.
        LanserError: an input is not there, a side is empty, or there is but one.
    """
    if len(set(inputs)) < len(inputs):
        raise UsageError("audit: the same input is named twice: name the sets to keep apart")
    reader.check_inputs(inputs)
    by_split = len(inputs) == 1
    sides = {} if by_split else {name: Side(name) for name in inputs}
    asked: deque[tuple[Record, Side]] = deque()
    """The records that are being listened to, in their order, and their sides."""
    refused: Counter[str | None] = Counter()
    within = "split" if by_split else None  # an id in two splits is no repeat but a leak

    def refuse(reject: Reject, name: str | None) -> None:
        ledger.reject(reject)
        refused[name] += 1

    def read() -> Iterator[Record]:
        for path in inputs:
            for item in unique(reader.records_of([path], "audit"), "audit", within=within):
                ledger.read += 1
                if isinstance(item, Reject):
                    refuse(item, _split(item) if by_split else path)
                elif isinstance(item, Dropped):
                    ledger.dropped[item.reason] += 1
                else:
                    name = item.split if by_split else path
                    if name is None:
                        why = "has no 'split': a single set is audited by split; or name two sets"
                        refuse(Reject.of(item, "audit", why), None)
                        continue
                    asked.append((item, sides.setdefault(name, Side(name))))
                    yield item

    waiting = windows(read(), WINDOW)
    outcomes: Iterable[list[Outcome]] = map(list, waiting)
    if decode:
        outcomes = workers.spread(_make_listener, ["cpu"] * processes)(waiting)
    with console.progress("audit", reader.count(inputs)) as meter:
        for window in outcomes:
            for outcome in window:
                record, side = asked.popleft()
                side.add(outcome if isinstance(outcome, Heard) else Heard(record.fields))
                if isinstance(outcome, Reject):
                    side.unheard.add(record.id)
                    refuse(outcome, side.name)
                else:
                    ledger.done += 1
            meter.reach(ledger.met)
    for side in sides.values():
        side.rejected = refused[side.name]
        if len(side.unheard) == len(side.ids):
            raise LanserError(f"audit: {side.name}: no record to audit in it ({ledger})")
    if len(sides) < 2:
        found = f"the one split '{next(iter(sides))}'" if sides else "no record with a 'split'"
        raise LanserError(
            f"audit: {inputs[0]} has {found}: name two sets, or one with several splits ({ledger})"
        )
    return list(sides.values())


def _split(reject: Reject) -> str | None:
    """The split that a rejected line names; None where it names none."""
    return Record(reject.record).split if isinstance(reject.record, dict) else None


def say(findings: Iterable[Finding]) -> None:
    """Say what is shared, or could not be checked, on stderr."""
    for finding in findings:
        if finding.shared or not finding.complete:
            out = console.warn if finding.leaks else console.info
            out(f"audit: {console.ascii_safe(str(finding))}")
