"""The verb text-only: what the words alone tell of a labelled corpus' emotions.

A corpus of fixed sentences tells nothing by its words: a classifier of text is then at chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lanser_cli import console, jsonl
from lanser_cli.choices import Removing
from lanser_cli.devices import parse_devices
from lanser_cli.entailment.crosswalk import Crosswalk, load_crosswalk, probabilities
from lanser_cli.entailment.label_scorer import LabelScorer
from lanser_cli.entailment.scorer import PairScorer
from lanser_cli.entailment.task import Task
from lanser_cli.entailment.taxonomy import load_taxonomy
from lanser_cli.entailment.text_vectors import text_vectors
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.evaluation.linear import Array, Tested, divided, known, over_folds, write_run
from lanser_cli.evaluation.metrics import Result
from lanser_cli.evaluation.strays import taxonomy_of
from lanser_cli.records import Record, Reject
from lanser_cli.stage import unique
from lanser_cli.tally import Ledger
from lanser_cli.training.examples import human_label_set
from lanser_cli.training.folds import Protocol
from lanser_cli.training.heard import TRANSDUCTIVE

STAGE = "text-only"


def text_only(
    inputs: Sequence[str] | None,
    run: Path,
    protocol: Protocol,
    ledger: Ledger,
    *,
    taxonomy: str = "goemotions",
    crosswalk: str | None = None,
    calibrate: Removing = "none",
    device: str = "auto",
) -> tuple[dict[str, Any], dict[str, Result]]:
    """Test two readers of the transcript; write the folders `entailment` and `logistic` of a run.

    `entailment` is trained on no label: the taxonomy's label that the text entails most, brought to
    the corpus' labels. `logistic` is logistic regression on the embedded model's vector of the
    text, trained in the folds of fine-tuning. Both answer the same test records.

    Args:
        inputs: JSONL of records with `text` and `label`.
        crosswalk: as `load_crosswalk`; None finds the shipped taxonomy of the corpus' labels.
        calibrate: `batch` subtracts each label's mean log-odds over the corpus.

    Returns:
        The result line, and the results by the name of the reader.

    Raises:
        LanserError: no record has both, or they cannot be divided so.
        UsageError: there is no crosswalk to the labels, or it leads to none of them.
    """
    every = _records(inputs or ["-"], protocol, ledger)
    records = [record for record in every if _words(record)]
    if not records:
        raise LanserError(f"{STAGE}: no record has 'text' and 'label': {ledger}")
    labels = human_label_set(every)
    way = _way(taxonomy, crosswalk, labels)
    folds = known(divided(every, protocol), records, protocol, ledger)
    missing = protocol.missing(every)
    scorer = PairScorer(device=parse_devices(device)[0])
    texts = [_words(record) for record in records]
    distinct = list(dict.fromkeys(texts))
    place = {text: row for row, text in enumerate(distinct)}
    each = [place[text] for text in texts]
    odds = LabelScorer(scorer, way.source, Task(way.source).templates).raw(distinct)[each]
    if calibrate == "batch":
        odds = odds - odds.mean(axis=0)
    entailed = _answered(records, probabilities(odds, way), way.target.labels)
    vectors = text_vectors(distinct).astype(np.float64)[each]
    trained = over_folds("logistic", vectors, records, folds, protocol)
    tested = {record.id for record in trained.records}
    made: dict[str, Any] = {"run": str(run), "labels": list(labels)}
    if protocol.standard:
        made |= {"protocol": protocol.protocol, "missing": missing}
    results: dict[str, Result] = {}
    asked = {"taxonomy": taxonomy, "crosswalk": way.target.name, "calibration": calibrate}
    for name, start, found in (
        ("entailment", f"entailment of {taxonomy}", Tested(entailed, {})),
        ("logistic", "logistic regression on text", trained),
    ):
        kept = Tested([one for one in found.records if one.id in tested], found.costs)
        details: dict[str, Any] = {"missing": missing, **(asked if found is not trained else {})}
        results[name] = write_run(run / name, STAGE, start, kept, protocol, **details)
        made[name] = results[name].summary()
    if calibrate == "batch":
        made["entailment"]["transductive"] = True
        console.warn(f"{STAGE}: entailment is transductive: {TRANSDUCTIVE}")
    return made, results


def _words(record: Record) -> str:
    return (record.text or "").strip()


def _records(inputs: Sequence[str], protocol: Protocol, ledger: Ledger) -> list[Record]:
    """The records to divide; those without a text are counted as dropped."""
    jsonl.check_files(inputs)
    records = []
    for item in unique(jsonl.read_records(inputs, STAGE), STAGE):
        ledger.read += 1
        if isinstance(item, Reject):
            ledger.reject(item)
        elif isinstance(item, Record):
            taken = protocol.take(item)
            if isinstance(taken, str):
                ledger.dropped[taken] += 1
            else:
                records.append(taken)
                if not _words(taken):
                    ledger.dropped["no text"] += 1
    return records


def _way(taxonomy: str, crosswalk: str | None, labels: Sequence[str]) -> Crosswalk:
    target = crosswalk or getattr(taxonomy_of(labels), "name", None)
    if target is None:
        raise UsageError(
            f"no taxonomy that ships has the labels {', '.join(labels)}: write a crosswalk file "
            "from --taxonomy to them, and name it with --crosswalk"
        )
    way = load_crosswalk(target, load_taxonomy(taxonomy), partial=True)
    lost = [label for label in labels if label not in way.target.labels]
    if len(lost) == len(labels):
        raise UsageError(
            f"--crosswalk {target}: no label of {taxonomy} leads to one of {', '.join(labels)}, "
            "which the records have: name another"
        )
    if lost:
        console.warn(
            f"{STAGE}: no label of {taxonomy} leads to {', '.join(lost)}: entailment never "
            "answers so"
        )
    return way


def _answered(records: Sequence[Record], chances: Array, labels: Sequence[str]) -> list[Record]:
    return [
        record.with_answer(
            prediction=labels[int(row.argmax())],
            scores=dict(zip(labels, np.round(row, 6).tolist(), strict=True)),
        )
        for record, row in zip(records, chances, strict=True)
    ]
