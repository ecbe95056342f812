"""The verb baseline: linear classifiers on functionals of the sound, without any network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from lanser_cli import console, workers
from lanser_cli.choices import Scaling
from lanser_cli.errors import LanserError
from lanser_cli.evaluation.linear import (
    Array,
    Classifier,
    check_new,
    over_folds,
    scaled_by_speaker,
    write_run,
)
from lanser_cli.pipe import WindowFunction, windows
from lanser_cli.prosody.functionals import Measured, Measurer
from lanser_cli.records import Record, Reject
from lanser_cli.shards.gather import gather
from lanser_cli.tally import Ledger
from lanser_cli.training.examples import human_label_set
from lanser_cli.training.folds import Protocol, divide

STAGE = "baseline"
WINDOW = 16


def baseline(
    inputs: Sequence[str] | None,
    run: Path | None,
    protocol: Protocol,
    ledger: Ledger,
    *,
    normalise: Scaling = "none",
    processes: int = 1,
    fetch: Path | None = None,
) -> dict[str, Any]:
    """Test a linear SVM and logistic regression; write the folders `svm` and `logistic` of a run.

    Args:
        inputs, fetch: as `gather` takes them.
        protocol: the folds, as of fine-tuning.
        normalise: `speaker` scales features for each speaker. It uses all of a test speaker's
            clips, though not their labels, so such results are a row of their own.
        processes: that decode and measure.

    Returns:
        The result line.

    Raises:
        LanserError: fewer than two labels, or records that cannot be divided so.
        UsageError: there is no folder to write, or it holds something.
    """
    run = check_new(run, STAGE)
    labelled = gather(inputs, ledger, fetch, take=protocol.take)
    records, features = _measured(labelled, ledger, processes)
    labels = human_label_set(records)
    if normalise == "speaker":
        features = scaled_by_speaker(features, records)
    folds = divide(records, protocol)
    used = {one.id for fold in folds for side in (fold.training, fold.test) for one in side}
    if unused := len(records) - len(used):
        ledger.dropped[f"beyond --fraction {protocol.fraction:g}"] += unused
    ledger.done = len(used)
    if not any(fold.test for fold in folds):
        raise LanserError("--folds 0 leaves nothing to test a baseline on")
    made: dict[str, Any] = {"run": str(run), "labels": list(labels)}
    apart = ", normalised by speaker" if normalise == "speaker" else ""
    for classifier in get_args(Classifier):
        tested = over_folds(
            *(classifier, features, records, folds), group=protocol.group, seed=protocol.seed
        )
        result = write_run(
            *(run / classifier, STAGE, f"{classifier} on functionals{apart}", tested, protocol),
            normalise=normalise,
        )
        made[classifier] = result.summary()
    return made


def _measured(
    records: Sequence[Record], ledger: Ledger, processes: int
) -> tuple[list[Record], Array]:
    """Records whose sound could be measured, and their vectors `[records, d]`."""
    kept: list[Record] = []
    vectors: list[Array] = []
    measure = workers.spread(_make_measurer, ["cpu"] * processes)
    with console.progress(STAGE, len(records)) as meter:
        for window in measure(windows(records, WINDOW)):
            for outcome in window:
                if isinstance(outcome, Measured):
                    kept.append(Record(outcome.fields))
                    vectors.append(np.frombuffer(outcome.vector))
                elif isinstance(outcome, Reject):
                    ledger.reject(outcome)
            meter.advance(len(window))
    if not kept:
        raise LanserError(f"{STAGE}: no sound could be measured: {ledger}")
    return kept, np.stack(vectors)


def _make_measurer(_device: str) -> WindowFunction:
    return Measurer(STAGE)
