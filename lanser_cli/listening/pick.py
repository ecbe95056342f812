"""The verb pick: a stratified sample of labelled records, each with its inclusion probability."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lanser_cli import console, jsonl
from lanser_cli.choices import Stratifying
from lanser_cli.digests import string64
from lanser_cli.errors import UsageError
from lanser_cli.pipe import Pipe
from lanser_cli.records import Dropped, Outcome, Record, Reject
from lanser_cli.stage import one_process, unique
from lanser_cli.tally import Tally

STAGE = "pick"

_MARGINS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Log-odds between the strata of `--by margin`: known beforehand, so that a stream will do."""

_Entry = tuple[int, int, Record]
"""A hash turned negative, so that a heap gives the highest first; the place in the input; it."""


@dataclass(slots=True)
class _Stratum:
    """The records of a stratum whose ids have the lowest hashes, and how many it has in all."""

    size: int = 0
    kept: list[_Entry] = field(default_factory=list)

    def offer(self, entry: _Entry, most: int) -> Record | None:
        """Take a record in; the one that has to leave for it, if there are now too many."""
        self.size += 1
        if len(self.kept) < most:
            heapq.heappush(self.kept, entry)
            return None
        return heapq.heappushpop(self.kept, entry)[2]


def pick_files(inputs: Sequence[str], count: int, by: Stratifying, seed: int, pipe: Pipe) -> Tally:
    """Pick from the records of JSONL files.

    Raises:
        UsageError, LanserError: an input is not there; or as `pick`.
    """
    jsonl.check_files(inputs)
    items = unique(jsonl.read_records(inputs, STAGE), STAGE)
    made_with = {"--count": count, "--by": by, "--seed": seed}
    return pipe.run(pick(items, count, by, seed), one_process(list), made_with)


def pick(items: Iterable[Outcome], count: int, by: Stratifying, seed: int) -> Iterator[Outcome]:
    """Draw `count` records, as many of each stratum as can be; the sample comes last, in order.

    A stratum's sample is those of its records whose ids have the lowest hashes with this seed. It
    depends on the set of ids, not on their order. At most `count` records a stratum are held.

    Raises:
        UsageError: there are more strata than records to draw.
    """
    strata: defaultdict[str, _Stratum] = defaultdict(_Stratum)
    for place, item in enumerate(items):
        if not isinstance(item, Record):
            yield item
            continue
        name = _stratum(item, by)
        if not isinstance(name, str):
            yield name
            continue
        entry = (-string64(f"{seed} {item.id}"), place, item)
        if (left := strata[name].offer(entry, count)) is not None:
            yield _not_picked(left)
    sizes = {name: stratum.size for name, stratum in strata.items()}
    if len(sizes) > count:
        raise UsageError(
            f"-n {count}: there are {len(sizes)} strata, so take at least {len(sizes)}"
        )
    if 0 < sum(sizes.values()) < count:
        console.info(f"{STAGE}: {count} are wanted, {sum(sizes.values())} there are: all are taken")
    picked: list[tuple[int, Record]] = []
    for name, wanted in allot(sizes, count).items():
        about = {"stratum": name, "probability": wanted / sizes[name]}
        ranked = sorted(strata[name].kept, reverse=True)
        picked += [(place, one.with_fields(pick=about)) for _, place, one in ranked[:wanted]]
        yield from (_not_picked(one) for *_, one in ranked[wanted:])
    yield from (one for _, one in sorted(picked, key=lambda pair: pair[0]))


def allot(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """How many of each stratum: alike, and what small ones lack goes to the larger ones."""
    given: dict[str, int] = {}
    for rank, name in enumerate(sorted(sizes, key=lambda name: (sizes[name], name))):
        left = count - sum(given.values())
        given[name] = min(sizes[name], left // (len(sizes) - rank))
    return given


def _of_margin(edge: float) -> str:
    return f"margin from {edge:g}"


def highest_margin(stratum: str) -> float:
    """The margin that no record of a stratum reaches; infinity where it is none of margins."""
    tops = dict(zip(map(_of_margin, _MARGINS), (*_MARGINS[1:], math.inf), strict=True))
    return tops.get(stratum, math.inf)


def _not_picked(record: Record) -> Dropped:
    return Dropped(record.id, "not picked")


def _stratum(record: Record, by: Stratifying) -> str | Outcome:
    """The stratum of a record, or what becomes of a record that has none."""
    if "emotion" not in record.fields:
        return Reject.of(record, STAGE, "has no 'emotion': run lanser entail-label first")
    if record.fields.get("pick") is not None:
        return Reject.of(record, STAGE, "was picked before: pick from all labels at once")
    if record.emotion is None:
        return Dropped(record.id, "no weak label")
    if by == "label":
        return record.emotion
    if by == "margin":
        if record.margin is None:
            return Reject.of(record, STAGE, "has no 'margin' in 'entailment': pick --by label")
        return _of_margin(max(edge for edge in _MARGINS if edge <= max(record.margin, 0.0)))
    votes = record.fields.get("votes")
    if not isinstance(votes, dict):
        return Reject.of(record, STAGE, "has no 'votes': run lanser agree first")
    given = [vote for vote in votes.values() if vote not in (None, "")]
    if not all(isinstance(vote, str | int) and not isinstance(vote, bool) for vote in given):
        return Reject.of(record, STAGE, "'votes' must hold a label for each voter, a string")
    if not given:
        return Reject.of(record, STAGE, "nobody gave a label in 'votes'")
    return f"{len(set(map(str, given)))} answers"
