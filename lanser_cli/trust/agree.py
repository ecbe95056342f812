"""The verb agree: labels of several voters to one, weighed by how right each voter is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from lanser_cli import console
from lanser_cli.destination import check_writable
from lanser_cli.entailment.crosswalk import Crosswalk, crosswalk_of_labels
from lanser_cli.entailment.taxonomy import CUSTOM
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.output import write_json
from lanser_cli.pipe import Pipe
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.stage import one_process, watching
from lanser_cli.tally import Tally
from lanser_cli.trust.agreement import Agreement
from lanser_cli.trust.votes import FIRST, UNSAID, Voted, Voter, Votes, read_votes

STAGE = "agree"
FIELD = "emotion"
WINDOW = 1024


def parse_voters(words: Sequence[str]) -> list[Voter]:
    """Voters as the command line names them, `FILE` or `FILE:FIELD`.

    Raises:
        UsageError: fewer than two, or one twice.
        LanserError: as `Voter.parse`.
    """
    voters = [Voter.parse(word, FIELD) for word in words]
    if len(voters) < 2:
        raise UsageError("agree needs two voters, better three: FILE or FILE:FIELD each")
    if len({(os.path.realpath(voter.path), voter.field) for voter in voters}) < len(voters):
        raise UsageError("agree: a voter is named twice, and would count twice: name each once")
    return voters


def agree(
    voters: Sequence[Voter],
    pipe: Pipe,
    *,
    crosswalk: str | None = None,
    summary: Path | None = None,
) -> Tally:
    """Learn how right each voter is, and give each utterance the likeliest label.

    Args:
        crosswalk: the taxonomy that all labels are brought to, or a crosswalk file.
        summary: file for accuracies, confusions and kappas.

    Raises:
        UsageError: the voters' labels are of different taxonomies, and there is no crosswalk.
        LanserError: a file cannot be read, a voter has no vote, or no utterance has two.
    """
    if summary is not None:
        pipe.check_apart({"--summary": summary}, [voter.path for voter in voters])
        check_writable(summary)
    votes, way = read_votes(voters, STAGE), None
    if not votes.labels:
        if summary is not None:
            console.warn(f"{STAGE}: there are no records, so {summary} is not written")
        return pipe.run(votes.items(STAGE), one_process(list))
    if crosswalk is None:
        _check_alike(votes)
    else:
        way = crosswalk_of_labels(crosswalk, votes.labels)
        votes = _translated(votes, way)
    _check_meeting(votes)
    found = Agreement.of(votes)
    process = one_process(Judge(found, _about(votes, way)))
    files = list(dict.fromkeys(voter.path for voter in voters))
    tally = pipe.run(
        votes.items(STAGE),
        watching(process, lambda _: None, lambda: _say(found)),
        {
            "votes": [f"{voter.field} of file {files.index(voter.path) + 1}" for voter in voters],
            "--crosswalk": way and way.in_short,
        },
        count=lambda: int(votes.counts.sum()),
    )
    if summary is not None:
        write_json(summary, found.as_json())
    return tally


def _check_meeting(votes: Votes) -> None:
    """Refuse voters of whom no two vote on the same utterance.

    Raises:
        LanserError: naming the files and how many ids each has.
    """
    if not ((votes.patterns >= FIRST).sum(axis=1) > 1).any():
        ids = ", ".join(f"{file.path} has {file.is_first.sum()} ids" for file in votes.files)
        raise LanserError(
            f"{STAGE}: no utterance has two votes, so nothing can be learnt of how right voters "
            f"are: {ids}: name files with votes on the same ids"
        )


def _say(found: Agreement) -> None:
    for line in found.lines():
        console.info(f"{STAGE}: {line}")
    for path, count in found.votes.alone.items():
        if count:
            console.info(f"{STAGE}: in {path} alone, so that others abstain: {count}")
    for line in found.warnings():
        console.info(f"{STAGE}: {line}")


# ---------------------------------------------------------------- the records


_LEAST = 1e-12
"""Probability that the second label has at least, so that the margin is a number."""


class Judge:
    """A window function: records get the label that their pattern of votes makes likeliest."""

    def __init__(self, found: Agreement, about: dict[str, str]) -> None:
        self._found, self._about = found, about
        self._verdict = lru_cache(4096)(self._judge)

    def __call__(self, window: Sequence[Record]) -> list[Outcome]:
        return [self._judged(record) for record in window]

    def _judged(self, record: Record) -> Outcome:
        assert isinstance(record, Voted)
        verdict = self._verdict(record.pattern)
        if verdict is None:
            fields = " or ".join(sorted({f"'{v.field}'" for v in self._found.votes.voters}))
            return Reject.of(record, STAGE, f"nobody votes: it has no {fields} in any file")
        return record.relabelled(verdict)

    def _judge(self, pattern: int) -> dict[str, Any] | None:
        """What records of a pattern get; None if no voter has the key."""
        votes, model = self._found.votes, self._found.model
        codes = votes.patterns[pattern].tolist()
        if all(code == UNSAID for code in codes):
            return None
        said = [votes.labels[code - FIRST] if code >= FIRST else None for code in codes]
        given = [label for label in said if label is not None]
        ballots = {voter.name: label for voter, label in zip(votes.voters, said, strict=True)}
        about: dict[str, Any] = {"model": STAGE, **self._about}
        if not given:
            about["abstained"] = "no vote"
            return {"emotion": None, "entailment": about, "votes": ballots, "agreement": None}
        posterior = model.posterior[pattern]
        best = int(posterior.argmax())
        second = max(np.delete(posterior, best).max(initial=0.0), _LEAST)
        about["margin"] = round(float(np.log(posterior[best] / second)), 4)
        label = votes.labels[best]
        return {
            "emotion": label,
            "emotion_score": round(float(posterior[best]), 6),
            "emotion_scores": dict(zip(votes.labels, np.round(posterior, 6).tolist(), strict=True)),
            "entailment": about,
            "votes": ballots,
            "agreement": round(given.count(label) / len(given), 4),
        }


# ---------------------------------------------------------------- taxonomies


def _check_alike(votes: Votes) -> None:
    """Refuse voters whose labels are not of one taxonomy: by its name, or since they seldom meet.

    A voter may say few labels, or always the same one of those that others say. Two that say
    several are of different taxonomies if most of each one's labels are strange to the other,
    however often they say the rest. They are not compared where both name one taxonomy.

    Raises:
        UsageError: naming the voters.
    """
    named = {
        name: voter.name
        for voter, names in zip(votes.voters, votes.taxonomies, strict=True)
        for name in sorted(names)
    }
    advice = "bring all labels to one with --crosswalk TAXONOMY, or a crosswalk file"
    if len(named) > 1:
        found = " and ".join(f"{name} ({voter})" for name, voter in named.items())
        raise UsageError(f"agree: labels are of different taxonomies, {found}: {advice}")
    said = [votes.said(place) for place in range(len(votes.voters))]
    for place, (voter, mine) in enumerate(zip(votes.voters, said, strict=True)):
        others = set[str]().union(
            *(
                theirs
                for other, theirs in enumerate(said)
                if other != place and (len(theirs) > 1 or theirs.keys() - mine.keys())
            )
        )
        strange = [label for label in mine if others and label not in others]
        if len(strange) > 1 and 2 * sum(mine[label] for label in strange) > sum(mine.values()):
            raise UsageError(
                f"agree: most labels of {voter.name} are said by no other voter, such as "
                f"{' and '.join(strange[:2])}: if they are of another taxonomy, {advice}"
            )
    for one, other in combinations(range(len(said)), 2):
        by_name = votes.taxonomies[one] & votes.taxonomies[other] - {CUSTOM}
        fewer = min(len(said[one]), len(said[other]))
        if not by_name and fewer > 1 and 2 * len(said[one].keys() & said[other].keys()) < fewer:
            raise UsageError(
                f"agree: most labels of {votes.voters[one].name} and {votes.voters[other].name} "
                f"are said by one of the two alone, such as {_first(said[one], said[other])} and "
                f"{_first(said[other], said[one])}: if they are of different taxonomies, {advice}"
            )


def _first(mine: Mapping[str, int], theirs: Mapping[str, int]) -> str:
    """The first label of a voter that another never says."""
    return next(label for label in mine if label not in theirs)


def _about(votes: Votes, crosswalk: Crosswalk | None) -> dict[str, str]:
    """What a record says of the taxonomy of its label."""
    names = set[str]().union(*votes.taxonomies)
    about = {"taxonomy": names.pop()} if len(names) == 1 else {}
    return about if crosswalk is None else {**about, "crosswalk": crosswalk.target.name}


def _translated(votes: Votes, crosswalk: Crosswalk) -> Votes:
    """The votes for labels of the target; a label that leads nowhere counts as no vote."""
    places = dict(zip(crosswalk.source.labels, crosswalk.index, strict=True))
    ways = {
        label: None if (place := places[label]) is None else crosswalk.target.labels[place]
        for label in votes.labels
    }
    if lost := [label for label, way in ways.items() if way is None]:
        console.warn(
            f"{STAGE}: {', '.join(lost)} lead to no label of {crosswalk.target.name}, and count as "
            "no vote: say where they lead in a crosswalk file"
        )
    return votes.through(ways)
