"""The verb why: one record's weak label taken apart, computed once more, and compared."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np

from lanser_cli import jsonl
from lanser_cli.audio import sound
from lanser_cli.choices import Calibration
from lanser_cli.digests import sound_sha256
from lanser_cli.entailment import gliclass_scorer
from lanser_cli.entailment.context import InContext, with_context
from lanser_cli.entailment.entail_label import (
    LabelSettings,
    batch_prior,
    labeller_of,
    make_cascade,
)
from lanser_cli.entailment.label_scorer import SERVED
from lanser_cli.entailment.labeller import premise_of, probabilities
from lanser_cli.entailment.task import Task
from lanser_cli.entailment.taxonomy import CUSTOM
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
    command: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def verdict(self) -> str:
        """Whether the label comes out again, in a sentence."""
        if not self.differs:
            return "computed again, the label and its scores are the same"
        found = f"computed again, the label differs in {', '.join(self.differs)}"
        if self.prior_texts is None:
            return found
        return (
            f"{found}; the prior is now of the {self.prior_texts} texts of this file and not of "
            "those that it was labelled with, from which the difference may come: name the whole "
            "file that entail-label wrote"
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


def find(inputs: Sequence[str], identifier: str) -> Record:
    """A labelled record by its id, with the context that it was labelled in.

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
        said = about.get("context") or 0
        if isinstance(item, InContext):
            return InContext(item.fields, item.said[-said:]) if said else Record(item.fields)
        return item
    raise LanserError(f"{', '.join(inputs)}: there is no record '{identifier}' in it")


def options_in(record: Record) -> dict[str, Any]:
    """The options of entail-label that a record speaks of, where nothing is beside its file.

    Raises:
        LanserError: it has not all labels that were named on the command line, or was below a
            limit.
    """
    about, scores = record.fields["entailment"], record.emotion_scores or {}
    custom = about["taxonomy"] == CUSTOM
    lacks = None
    if custom and (
        sum(scores.values()) < 0.9999  # --top-k left some out, or it abstained
        or about.get("crosswalk")
        or about.get("candidates")
    ):
        lacks = "which labels it was to choose from"
    elif about.get("abstained") in ("low score", "low margin"):
        lacks = "which limit its label was below"
    if lacks is not None:
        raise LanserError(
            f"{record.id}: does not say {lacks}: name the file that entail-label wrote with -o, "
            "with its FILE.meta.json beside it"
        )
    is_plain = about["precision"] != SERVED and not about["model"].startswith(
        gliclass_scorer.PREFIX
    )
    asked = (about.get("server") or "").rpartition(", ")[2]
    given = {
        "labels": list(scores) if custom else None,
        "taxonomy": None if custom else about["taxonomy"],
        "crosswalk": about.get("crosswalk"),
        "lang": about.get("lang"),
        "templates": about["templates"],
        "models": [about["model"]],
        "precision": about["precision"] if is_plain else None,
        "llm_mode": "choice" if asked.startswith("choice ") else None,
        "calibrate": about["calibration"],
        "context": about.get("context"),
        "top_k_first": about.get("candidates"),
        "first_model": about.get("first_model"),
        "top_k": None if custom else len(scores),
        "keep_flagged": bool(record.flags and scores),
    }
    return {name: value for name, value in given.items() if value}


def command_of(given: Mapping[str, Any], inputs: Sequence[str]) -> list[str]:
    """A command line with these options."""
    names = {"models": "model", "templates": "template"}
    words = ["lanser", "entail-label", *inputs]
    for name, value in given.items():
        value = ",".join(value) if name == "labels" else value
        option = "--" + names.get(name, name).replace("_", "-")
        for one in value if isinstance(value, list) else [value]:
            words += [option] if one is True else [option, str(one)]
    return words


def sources(given: Mapping[str, Any], inputs: Sequence[str]) -> Sequence[str]:
    """What a batch prior that no file keeps was the mean over.

    That is the input of the run or, where it is gone, the labelled file, unless that is a part.

    Raises:
        LanserError: the prior is gone.
    """
    prior, read = given.get("prior"), given.get("inputs") or ()
    if prior is not None and not prior.exists():
        raise LanserError(f"--prior {prior}: is gone, and with it what this label was made with")
    if read and all(map(os.path.isfile, read)):
        return read
    if given.get("calibrate") == "batch" and given.get("part") and prior is None:
        raise LanserError(
            f"{', '.join(inputs)}: is a part of {', '.join(read) or 'a stream'}, whose mean over "
            "all of it is the prior of this label, and which is not there"
        )
    return inputs


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
        whole: whether these are known to be all texts that the record was labelled with.

    Raises:
        UsageError, LanserError: as `make_cascade`; or the record cannot be labelled.
    """
    prior, prior_texts = None, None
    if settings.calibrate == "batch":
        prior = batch_prior(inputs, task, settings, device)
        prior_texts = None if whole else prior.texts
    cascade = make_cascade(device, task, settings, prior)
    [outcome] = labeller_of(cascade, task, settings)([record])
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
