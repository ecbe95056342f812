"""The verb why: one record's weak label taken apart, computed once more, and compared."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np

from lanser_cli import jsonl
from lanser_cli.audio import sound
from lanser_cli.choices import Calibration
from lanser_cli.digests import sound_sha256
from lanser_cli.entailment.context import InContext, with_context
from lanser_cli.entailment.crosswalk import probabilities
from lanser_cli.entailment.entail_label import (
    LabelSettings,
    batch_prior,
    labeller_of,
    make_cascade,
    read_transcripts,
)
from lanser_cli.entailment.labeller import premise_of
from lanser_cli.entailment.made_by import has_context
from lanser_cli.entailment.task import Task
from lanser_cli.errors import LanserError
from lanser_cli.records import Record, Reject, attempt
from lanser_cli.shape import Maybe, That, check_shape
from lanser_cli.summary import Summary

STAGE = "why"

_CLOSE = 1e-4
"""Probabilities that differ by less are the same: last digits depend on what is in a batch."""

_MOST_CONTEXT = 100
"""Utterances of a dialogue that are remembered until the record comes."""

_SHAPE = {
    **{key: str for key in ("model", "taxonomy", "precision")},
    "calibration": That(str, "none, null or batch", lambda value: value in get_args(Calibration)),
    "templates": [str],
    **dict.fromkeys(("crosswalk", "lang", "server", "first_model"), Maybe(str)),
    "candidates": Maybe(int),
    "context": Maybe(int),
}
"""Of `entailment`, as far as it says how to compute a label again."""


@dataclass(frozen=True, slots=True)
class Part:
    """A label that was scored.

    Attributes:
        hypotheses: of each template.
        log_odds: of entailment, averaged over the templates; None: it was no candidate.
        prior: what calibration subtracts.
        probability: after a softmax over the labels that were scored.
    """

    label: str
    hypotheses: tuple[str, ...]
    log_odds: float | None
    prior: float
    probability: float


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why a record has its label.

    Attributes:
        audio: its path, and either the SHA-256 of its sound and its seconds or the error.
        premise: the words that were scored, context included; None: none were.
        labels: what was scored, the likeliest first.
        stored, computed: `emotion`, `emotion_scores`, `margin`, `abstained`, as the record has
            them and as they come out now.
        differs: which of these are not the same.
        votes, agreement: of several voters, where the record has them.
        prior_texts: of how many texts the prior is now, where these may not be all that the record
            was labelled with.
        context: how many utterances were put before it, where these may be others than then.
        command: what makes the label again.
    """

    id: str
    audio: dict[str, Any] | None
    text: str
    flags: list[str]
    premise: str | None
    labels: list[Part]
    stored: dict[str, Any]
    computed: dict[str, Any]
    differs: list[str]
    votes: Any
    agreement: Any
    prior_texts: int | None
    context: int | None
    command: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def verdict(self) -> str:
        """Whether the label comes out again, in a sentence."""
        if not self.differs:
            return "computed again, the label and its scores are the same"
        found = f"computed again, the label differs in {', '.join(self.differs)}"
        if self.prior_texts is not None:
            found += (
                f"; the prior is now of the {self.prior_texts} texts of this file and not of those "
                "that it was labelled with"
            )
        if self.context is not None:
            found += (
                "; what was said before it is now what this file has of its dialogue, which may "
                "not be what it was labelled after"
            )
        if self.prior_texts is None and self.context is None:
            return found
        return (
            f"{found}, from which the difference may come: name the whole file that entail-label "
            "wrote"
        )


@dataclass(frozen=True, slots=True)
class Agreed:
    """Why a record has the label that `agree` gave it.

    Attributes:
        stored: `emotion`, `emotion_scores` (the posterior), `margin`, `abstained`.
        votes: voter -> its label.
        agreement: the share of voters that gave the label.
    """

    id: str
    text: str
    stored: dict[str, Any]
    votes: dict[str, Any]
    agreement: float | None

    @classmethod
    def of(cls, record: Record) -> Agreed:
        """What the record says.

        Raises:
            LanserError: it has no votes.
        """
        votes = record.fields.get("votes")
        if not isinstance(votes, dict):
            raise LanserError(f"{record.id}: was agreed, but has no 'votes' that say of what")
        agreement = record.fields.get("agreement")
        return cls(record.id, record.text or "", _answer(record), votes, agreement)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def verdict(self) -> str:
        """Where the label is from, in a sentence."""
        given = sum(vote is not None for vote in self.votes.values())
        return (
            f"was agreed from {given} votes, and its scores are the posterior: lanser "
            "why with the file of a voter takes one vote apart"
        )


def in_its_context(record: Record, inputs: Sequence[str], read: Sequence[str]) -> Record:
    """A record from labelled files with the utterances of its dialogue that it was labelled after.

    Args:
        inputs: the labelled files.
        read: where the utterances are: these files, or the input of the run.

    Raises:
        LanserError: they are not there.
    """
    if not has_context(record):
        return Record(record.fields)
    its: Record | None = record
    if list(read) != list(inputs):
        items = read_transcripts(read, _MOST_CONTEXT)
        its = next((i for i in items if isinstance(i, Record) and i.id == record.id), None)
    count = record.fields["entailment"]["context"]
    said = its.said if isinstance(its, InContext) else ()
    if len(said) < min(count, _MOST_CONTEXT):
        raise LanserError(
            f"{record.id}: came after {count} utterances of its dialogue, and {len(said)} are in "
            f"{', '.join(read)}: name the whole file that entail-label wrote"
        )
    return InContext(record.fields, said[-count:])


def find(inputs: Sequence[str], identifier: str) -> Record:
    """A labelled record by its id, after what is said in these files before it.

    Raises:
        LanserError: there is none, or nothing says how it was labelled or that it was agreed.
    """
    jsonl.check_files(inputs)
    for item in with_context(jsonl.read_records(inputs, STAGE), _MOST_CONTEXT):
        if not isinstance(item, Record) or item.id != identifier:
            continue
        if item.is_agreed:
            return item
        about = item.fields.get("entailment") or {}
        try:
            check_shape(about, _SHAPE, "entailment")
        except ValueError as error:
            raise LanserError(
                f"{identifier}: was not labelled by lanser entail-label: {error}"
            ) from None
        return item
    raise LanserError(f"{', '.join(inputs)}: there is no record '{identifier}' in it")


def reasons(
    record: Record,
    inputs: Sequence[str],
    task: Task,
    settings: LabelSettings,
    command: Sequence[str],
    *,
    device: str,
    whole: bool,
) -> Reasons:
    """Take the label of a record apart, and compute it again.

    Args:
        inputs: what a batch prior is the mean over, if no file keeps it.
        whole: whether these are known to be all texts that the record was labelled among.

    Raises:
        UsageError, LanserError: as `make_cascade`; or the record cannot be labelled.
    """
    prior, prior_texts = None, None
    if settings.calibrate == "batch":
        prior = batch_prior(inputs, task, settings, device)
        prior_texts = None if whole else prior.texts
    cascade = make_cascade(device, task, settings, prior)
    [outcome] = labeller_of(cascade, settings)([record])
    if not isinstance(outcome, Record):
        why = outcome.error if isinstance(outcome, Reject) else outcome.reason
        raise LanserError(f"{record.id}: cannot be labelled: {why}")
    premise = None if outcome.emotion_scores is None else premise_of(record)
    labels: list[Part] = []
    if premise is not None:
        main = cascade.main
        raw = cascade.raw([premise])
        names = main.taxonomy.labels
        sentences = np.array(main.hypotheses).reshape(-1, len(names)).T
        less = np.zeros(len(names)) if main.prior is None else main.prior
        chances = probabilities(main.less_prior(raw))[0]
        for place in np.argsort(-chances, kind="stable").tolist():
            odds = float(raw[0, place])
            labels.append(
                Part(
                    names[place],
                    tuple(sentences[place].tolist()),
                    round(odds, 4) if np.isfinite(odds) else None,
                    round(float(less[place]), 4),
                    round(float(chances[place]), 6),
                )
            )
    stored, computed = _answer(record), _answer(outcome)
    return Reasons(
        record.id,
        _audio(record),
        record.text or "",
        record.flags,
        premise,
        labels,
        stored,
        computed,
        [name for name in stored if not _same(stored[name], computed[name])],
        record.fields.get("votes"),
        record.fields.get("agreement"),
        prior_texts,
        len(record.said) if isinstance(record, InContext) and not whole else None,
        shlex.join(command),
    )


def _answer(record: Record) -> dict[str, Any]:
    about = record.fields["entailment"]
    return {
        "emotion": record.emotion,
        "emotion_scores": record.emotion_scores,
        "margin": about.get("margin"),
        "abstained": about.get("abstained"),
    }


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= _CLOSE * max(1.0, abs(one))
    return bool(one == other)


def _audio(record: Record) -> dict[str, Any] | None:
    if record.audio_filepath is None:
        return None
    samples = attempt(sound.load_int16, record, STAGE)
    if isinstance(samples, Reject):
        return {"path": record.audio_filepath, "error": samples.error}
    seconds = round(len(samples) / sound.SAMPLE_RATE, 3)
    return {"path": record.audio_filepath, "sha256": sound_sha256(samples), "seconds": seconds}


def shown(found: Reasons | Agreed) -> Summary:
    """The labels as a table, and the rest under it, for a terminal."""
    if isinstance(found, Agreed):
        scores = found.stored["emotion_scores"] or {}
        ranked = [
            [name, f"{scores[name]:.3f}"] for name in sorted(scores, key=lambda n: -scores[n])
        ]
        return Summary(["label", "probability"], ranked, _sentence(found), [_ballots(found)])
    rows = [
        [
            part.label,
            " | ".join(part.hypotheses),
            "" if part.log_odds is None else f"{part.log_odds:.2f}",
            f"{part.prior:.2f}",
            f"{part.probability:.3f}",
        ]
        for part in found.labels
    ]
    audio = found.audio or {}
    notes = [
        f"Premise: {found.premise or found.computed['abstained']}",
        f"Flags: {', '.join(found.flags) or 'none'}",
        f"Sound: {audio.get('sha256') or audio.get('error') or 'none'}",
        f"Again: {found.command}",
    ]
    if isinstance(found.votes, dict):
        notes.insert(0, _ballots(found))
    head = ["label", "hypothesis", "log-odds", "prior", "probability"]
    return Summary(head, rows, _sentence(found), notes)


def _sentence(found: Reasons | Agreed) -> str:
    label = found.stored["emotion"] or f"no label ({found.stored['abstained']})"
    return f"{found.id}: {label}; {found.verdict}."


def _ballots(found: Reasons | Agreed) -> str:
    votes = ", ".join(f"{voter}: {vote or 'no vote'}" for voter, vote in found.votes.items())
    return f"Votes: {votes}; agreement {found.agreement}"
