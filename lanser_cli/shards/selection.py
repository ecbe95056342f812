"""Which records go into a set, and to which side of it: limits, classes, repeats, splits.

What is kept, and which split a record is in, depends on hashes of a seed and what a record is
called, never on the order of the input; so data that is added later moves nothing.
"""

from __future__ import annotations

import json
import re
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import IO

import numpy as np

from lanser_cli import console
from lanser_cli.audio.lengths import Lengths
from lanser_cli.choices import SplitBy
from lanser_cli.digests import StringSet, string64
from lanser_cli.errors import RecordError, UsageError
from lanser_cli.records import Dropped, Outcome, Record, Reject, to_json
from lanser_cli.redaction import Redaction, is_hash
from lanser_cli.texts import spoken_form

FLAGS = (
    *("empty", "repetition", "speech_rate", "low_logprob", "no_speech", "hallucination", "vad"),
    "cut_off",
)
"""What `asr.flags` may hold."""

DEDUPE = ("audio", "text")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_STAGE = "shard"


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be left out, and how the rest is split.

    Attributes:
        min_score: lowest probability of a weak label, 0..1.
        min_seconds, max_seconds: length of an utterance, as `Lengths`.
        min_margin: lowest log-odds of a weak label over the second.
        drop_flags: `asr.flags` to leave out, with commas between; `all` stands for any.
        max_per_class: most records of a class, that is of a weak label, or of a human one where
            there is no weak label.
        balance: cut every class to the size of the smallest that occurs.
        dedupe: leave out what repeats the `text`, the `audio`, or either (`text,audio`), of an
            earlier record. Sound is compared by who decodes it: see `pack`.
        split: `NAME=SHARE,...` overwrites `split`; None leaves it as it is.
        split_by: what is never in two splits: a speaker, a recording (the file a record is from,
            as its path is written), or nothing but the record.
        seed: of what is kept of a class, and of the splits.

    Raises:
        UsageError: a value that makes no sense.
    """

    min_seconds: float = 0.0
    max_seconds: float | None = None
    min_score: float = 0.0
    min_margin: float = 0.0
    drop_flags: str | None = None
    max_per_class: int | None = None
    balance: bool = False
    dedupe: str | None = None
    split: str | None = None
    split_by: SplitBy = "speaker"
    seed: int = 0

    def __post_init__(self) -> None:
        _check_words("--drop-flags", self.unwanted_flags, (*FLAGS, "all"))
        _check_words("--dedupe", self.repeats, DEDUPE)
        for name in parse_splits(self.split):
            near = get_close_matches(name, _SPLITS, n=1, cutoff=0.7)
            if near and name not in _SPLITS:
                console.warn(f"--split: there will be a split '{name}': did you mean '{near[0]}'?")
        Lengths(self.min_seconds, self.max_seconds)

    @property
    def unwanted_flags(self) -> frozenset[str]:
        return _words(self.drop_flags)

    @property
    def repeats(self) -> frozenset[str]:
        """What may not occur twice."""
        return _words(self.dedupe)


def _words(text: str | None) -> frozenset[str]:
    return frozenset(text.split(",")) if text is not None else frozenset()


_SPLITS = ("train", "dev", "test")


def parse_splits(text: str | None) -> dict[str, float]:
    """`train=0.8,dev=0.1,test=0.1` -> name -> share, in this order; None -> nothing.

    Raises:
        UsageError: not of this form, a name twice, or shares that do not sum to 1.
    """
    splits: dict[str, float] = {}
    for part in text.split(",") if text is not None else ():
        name, _, share = part.partition("=")
        try:
            number = float(share)
        except ValueError:
            number = 0.0
        if not _NAME.fullmatch(name) or not 0 < number <= 1 or name in splits:
            raise UsageError(
                f"--split '{text}': write NAME=SHARE,NAME=SHARE such as train=0.8,test=0.2, each "
                "name once"
            )
        splits[name] = number
    if splits and abs(sum(splits.values()) - 1) > 1e-6:
        raise UsageError(f"--split '{text}': the shares add up to {sum(splits.values()):g}, not 1")
    return splits


def select(
    items: Iterable[Outcome], selection: Selection, redaction: Redaction | None = None
) -> Iterator[Outcome]:
    """Pass on the records that are wanted, in order, with their `split`; the others as `Dropped`.

    The limits on score and margin are for weak labels: a record without one (it may have a human
    label) passes them. A weak label that lacks the number it is judged by is dropped. Of equal
    texts the first that passes the limits is kept; letter case, punctuation and spaces do not
    count. A record that has not what it is to be split by is a reject.

    With `max_per_class` or `balance` the records are held in a temporary file until the last has
    been read, and 8 bytes of each in memory; those of a class are kept whose hashes are lowest.
    With `dedupe`, 12 to 24 bytes of memory for each different text.

    Args:
        redaction: what may be kept of a record, in the temporary file too; None: all of it.
    """
    passed = _limited(items, selection)
    if redaction is not None:
        passed = map(redaction.outcome, passed)
    if selection.split is not None:
        passed = _split(passed, selection)
    if selection.max_per_class is None and not selection.balance:
        return passed
    return _capped(passed, selection)


def _limited(items: Iterable[Outcome], selection: Selection) -> Iterator[Outcome]:
    texts, flags, repeats = StringSet(), selection.unwanted_flags, selection.repeats
    lengths = Lengths(selection.min_seconds, selection.max_seconds)
    kinds = set[bool]()
    for item in items:
        if isinstance(item, Record):
            reason = lengths.fault(item) or _unsure(item, selection) or _flagged(item, flags)
            if reason is None and "text" in repeats and _class(item):  # others are not packed
                text = spoken_form(item.text or "") or item.word("text_hash")
                if text:
                    kinds.add(is_hash(text))
                if text and not texts.add(text):
                    reason = "same text as an earlier record"
            if reason is not None:
                yield Dropped(item.id, reason)
                continue
        yield item
    if len(kinds) > 1:
        console.warn(
            "--dedupe text: some records have words and others hashes of them, so that repeats "
            "among the two stay: hash all with one key"
        )


def _unsure(record: Record, selection: Selection) -> str | None:
    if record.emotion is None:
        return None
    limits = (
        ("score", selection.min_score, _score(record)),
        ("margin", selection.min_margin, record.margin),
    )
    for name, limit, found in limits:
        if limit <= 0:
            continue
        if not isinstance(found, (int, float)):
            return f"no {name}"
        if found < limit:
            return f"{name} below {limit:g}"
    return None


def _score(record: Record) -> float | None:
    score: float | None = record.fields.get("emotion_score")
    if score is None:
        score = (record.emotion_scores or {}).get(str(record.emotion))
    return score


def _flagged(record: Record, unwanted: frozenset[str]) -> str | None:
    for flag in record.flags:
        if flag in unwanted or "all" in unwanted:
            return f"flag: {flag}"
    return None


def _split(items: Iterable[Outcome], selection: Selection) -> Iterator[Outcome]:
    splits, used = parse_splits(selection.split), set[str]()
    for item in items:
        if not isinstance(item, Record):
            yield item
            continue
        try:
            place = _hash(f"split/{selection.seed}", _group(item, selection.split_by)) / 2**64
        except RecordError as error:
            yield Reject.of(item, _STAGE, error)
            continue
        name = _split_at(splits, place)
        if _class(item):  # others are not packed
            used.add(name)
        yield item.with_fields(split=name)
    if used and (empty := [name for name in splits if name not in used]):
        console.warn(
            f"--split: nothing is in {', '.join(empty)}: each {selection.split_by} falls to a "
            "split at random, and here are few: take another --seed, or another --split-by"
        )


def _split_at(splits: Mapping[str, float], place: float) -> str:
    for name, share in splits.items():
        place -= share
        if place < 0:
            return name
    return name  # rounding left a gap behind the last


def _group(record: Record, by: str) -> str:
    """What all records that must be in one split share."""
    if by == "record":
        return record.id
    if by == "speaker":
        group = record.speaker
        missing = "'speaker', which --split-by speaker needs: add it, or split by recording"
    else:  # of a record from a shard the file that was packed
        group = record.fields.get("source_filepath") or record.audio_filepath
        missing = "'audio_filepath', which --split-by recording needs: add it, or split by record"
    if not group:
        raise RecordError(f"has no {missing}")
    return str(group)


def _capped(items: Iterable[Outcome], selection: Selection) -> Iterator[Outcome]:
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as spool:
        hashes: defaultdict[str, array[int]] = defaultdict(lambda: array("Q"))
        for item in items:
            if not isinstance(item, Record):
                yield item
                continue
            try:
                spool.write(to_json(item.fields) + "\n")
            except RecordError as error:
                yield Reject.of(item, _STAGE, error)
                continue
            if name := _class(item):
                hashes[name].append(_hash(f"keep/{selection.seed}", item.id))
        yield from _lowest(spool, hashes, selection)


def _lowest(
    spool: IO[str], hashes: Mapping[str, array[int]], selection: Selection
) -> Iterator[Outcome]:
    smallest = min((len(found) for found in hashes.values()), default=0)
    limit = selection.max_per_class or smallest
    if selection.balance:
        limit = min(limit, smallest)
    highest = {
        name: int(np.partition(np.frombuffer(found, np.uint64), limit - 1)[limit - 1])
        for name, found in hashes.items()
        if len(found) > limit
    }
    to_balance = ", to balance" if selection.balance and limit == smallest else ""
    spool.seek(0)
    for line in spool:
        record = Record(json.loads(line))
        name = _class(record)
        bound = highest.get(name) if name else None
        if bound is not None and _hash(f"keep/{selection.seed}", record.id) > bound:
            yield Dropped(record.id, f"over {limit} of {name}{to_balance}")
        else:
            yield record


def _class(record: Record) -> str | None:
    return record.emotion or record.label


def _hash(purpose: str, key: str) -> int:
    """64 bits; those of one purpose say nothing of those of another."""
    return string64(f"{purpose}/{key}")


def _check_words(option: str, words: frozenset[str], choices: tuple[str, ...]) -> None:
    for value in sorted(words - set(choices)):
        raise UsageError(f"{option} '{value}': choose from {', '.join(choices)}")
