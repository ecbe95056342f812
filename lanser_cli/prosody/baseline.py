"""The verb baseline: linear classifiers on functionals of the sound, without any network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from lanser_cli import console
from lanser_cli.audio.measured import measured
from lanser_cli.choices import Scaling
from lanser_cli.errors import LanserError
from lanser_cli.evaluation.linear import (
    Classifier,
    divided,
    known,
    over_folds,
    scaled_by_speaker,
    write_run,
)
from lanser_cli.evaluation.metrics import Result
from lanser_cli.prosody.functionals import measurer
from lanser_cli.records import Record
from lanser_cli.shards.gather import gather
from lanser_cli.tally import Ledger
from lanser_cli.training.examples import human_label_set
from lanser_cli.training.folds import Protocol
from lanser_cli.training.heard import TRANSDUCTIVE

STAGE = "baseline"


def baseline(
    inputs: Sequence[str] | None,
    run: Path,
    protocol: Protocol,
    ledger: Ledger,
    *,
    normalise: Scaling = "none",
    processes: int | None = None,
    fetch: Path | None = None,
) -> tuple[dict[str, Any], dict[str, Result]]:
    """Test a linear SVM and logistic regression; write the folders `svm` and `logistic` of a run.

    Args:
        inputs, fetch: as `gather` takes them.
        protocol: the folds, as of fine-tuning.
        normalise: `speaker` scales features for each speaker. It uses all of a test speaker's
            clips, though not their labels, so such results are a row of their own.
        processes: that decode and measure, as `measured` takes them.

    Returns:
        The result line, and the results by the name of the classifier.

    Raises:
        LanserError: fewer than two labels, or records that cannot be divided so.
        UsageError: `normalise` needs a speaker that a record does not name.
    """
    labelled = gather(inputs, ledger, fetch, take=protocol.take)
    labels = human_label_set(labelled)
    folds = divided(labelled, protocol)
    kept = measured(labelled, ledger, measurer, what=STAGE, processes=processes)
    if not kept:
        raise LanserError(f"{STAGE}: no sound could be measured: {ledger}")
    records, features = [Record(one.fields) for one in kept], np.stack([one.found for one in kept])
    if normalise == "speaker":
        features = scaled_by_speaker(features, records)
    folds = known(folds, records, protocol, ledger)
    missing = protocol.missing(labelled)
    made: dict[str, Any] = {"run": str(run), "labels": list(labels)}
    if protocol.standard:
        made |= {"protocol": protocol.protocol, "missing": missing}
    if normalise == "speaker":
        made["transductive"] = True
        console.warn(f"{STAGE}: transductive: {TRANSDUCTIVE}")
    found: dict[str, Result] = {}
    apart = ", normalised by speaker" if normalise == "speaker" else ""
    for classifier in get_args(Classifier):
        tested = over_folds(classifier, features, records, folds, protocol)
        result = write_run(
            *(run / classifier, STAGE, f"{classifier} on functionals{apart}", tested, protocol),
            normalise=normalise,
            missing=missing,
        )
        made[classifier], found[classifier] = result.summary(), result
    return made, found
