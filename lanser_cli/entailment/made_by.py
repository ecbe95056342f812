"""What made a label: the options that its record speaks of, and the texts around it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lanser_cli import origin
from lanser_cli.entailment import gliclass_scorer
from lanser_cli.entailment.label_scorer import SERVED
from lanser_cli.entailment.taxonomy import CUSTOM
from lanser_cli.errors import LanserError
from lanser_cli.records import Record


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


def sources(given: Mapping[str, Any], inputs: Sequence[str], record: Record) -> Sequence[str]:
    """Where the texts are that a record was labelled among: its context, and those of a prior.

    That is the input of the run or, where it is gone or another by now, the labelled file, unless
    that is a part.

    Raises:
        LanserError: the prior is gone, or what it or the context was made of.
    """
    prior, read = given.get("prior"), given.get("inputs") or ()
    if prior is not None and not prior.exists():
        raise LanserError(f"--prior {prior}: is gone, and with it what this label was made with")
    if read and all(map(os.path.isfile, read)):
        made = origin.identity_in(origin.beside(Path(inputs[0])))
        if made and made.get("input") == origin.of_files(read):
            return read
    has_prior = given.get("calibrate") == "batch" and prior is None
    if given.get("part") and (has_prior or has_context(record)):
        what = "the prior of this label" if has_prior else "what was said before this record"
        raise LanserError(
            f"{', '.join(inputs)}: is a part of {', '.join(read) or 'a stream'}, and {what} is of "
            "all of that, which is not there as it was"
        )
    return inputs


def has_context(record: Record) -> bool:
    """Whether it was labelled after earlier utterances of its dialogue."""
    return bool((record.fields.get("entailment") or {}).get("context"))
