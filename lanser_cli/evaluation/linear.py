"""Linear classifiers on fixed features, in the same folds as fine-tuning.

The cost C is chosen on each fold's training side alone, by inner folds that keep the same groups
apart. Nothing of a test side is seen before it is answered.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lanser_cli import console
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.evaluation.metrics import Result
from lanser_cli.evaluation.seeds import measure_run
from lanser_cli.output import write_json, write_jsonl
from lanser_cli.provenance import command_line, versions
from lanser_cli.records import Record
from lanser_cli.tally import Ledger
from lanser_cli.training.folds import Fold, Protocol, divide

Array = NDArray[np.float64]
Classifier: TypeAlias = Literal["svm", "logistic"]

COSTS: dict[Classifier, tuple[float, ...]] = {
    "svm": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
    "logistic": (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
}
"""Costs to choose from; of equal ones the first."""

INNER_FOLDS = 4
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Tested:
    """Answers to the test records of all folds, in the order of the input.

    Attributes:
        records: with `prediction` and, where the classifier knows probabilities, `scores`.
        costs: the C that each fold chose.
    """

    records: list[Record]
    costs: dict[str, float]


def divided(records: Sequence[Record], protocol: Protocol) -> list[Fold]:
    """The folds of fine-tuning.

    Args:
        records: all, also those without features: who is in which fold hangs on every record.

    Raises:
        LanserError: there is no test; or as `divide`.
        UsageError: as `divide`.
    """
    folds = divide(records, protocol)
    if not any(fold.test for fold in folds):
        raise LanserError("--folds 0 leaves nothing to test on")
    return folds


def known(
    folds: Sequence[Fold], records: Sequence[Record], protocol: Protocol, ledger: Ledger
) -> list[Fold]:
    """Folds with those of their records that have features; without folds that test none.

    Args:
        records: that have.
        ledger: gets what is trained and tested on, and what is not.

    Raises:
        LanserError: a fold has none left to train on, or none has any to test on.
    """
    ids = {record.id for record in records}

    def left(side: Sequence[Record]) -> list[Record]:
        return [record for record in side if record.id in ids]

    every = (Fold(f.name, left(f.training), left(f.test), left(f.validation)) for f in folds)
    folds = [fold for fold in every if fold.test]
    if not folds or not all(fold.training for fold in folds):
        raise LanserError(f"{ledger.stage}: nothing left to train on or to test on: {ledger}")
    used = {one.id for fold in folds for side in (fold.training, fold.test) for one in side}
    apart = {one.id for fold in folds for one in fold.validation} - used
    ledger.done += len(used)
    for reason, count in (
        ("for validation", len(apart)),
        (f"beyond --fraction {protocol.fraction:g}", len(records) - len(used) - len(apart)),
    ):
        if count:
            ledger.dropped[reason] += count
    return folds


def over_folds(
    classifier: Classifier,
    features: Array,
    records: Sequence[Record],
    folds: Sequence[Fold],
    protocol: Protocol,
) -> Tested:
    """Train on each fold's training side and answer its test side.

    Args:
        features: `[records, d]`; NaN where one is not defined, which becomes the training mean.
        protocol: of the folds. Its first group is what inner folds keep apart, too.

    Raises:
        LanserError: a fold has one class to train on.
    """
    rows = {record.id: row for row, record in enumerate(records)}
    answered: dict[str, Record] = {}
    costs: dict[str, float] = {}
    for fold in folds:
        labels = np.array([str(record.label) for record in fold.training])
        if len(set(labels)) < 2:
            raise LanserError(f"fold {fold.name}: all it has to train on is '{labels[0]}'")
        known = features[[rows[record.id] for record in fold.training]]
        owners = np.array([str(record.word(protocol.groups[0])) for record in fold.training])
        cost = costs[fold.name] = _best_cost(classifier, known, labels, owners, protocol.seed)
        model = _fitted(classifier, cost, known, labels)
        asked = features[[rows[record.id] for record in fold.test]]
        for record, fields in zip(fold.test, _answers(model, asked), strict=True):
            answered[record.id] = record.with_answer(**fields, test_fold=fold.name)
    return Tested([answered[one.id] for one in records if one.id in answered], costs)


def scaled_by_speaker(features: Array, records: Sequence[Record]) -> Array:
    """Features with mean 0 and standard deviation 1 for each speaker, of test speakers as well.

    Raises:
        UsageError: a record has no speaker.
    """
    speakers = np.array([record.speaker or "" for record in records])
    if "" in speakers:
        raise UsageError(
            f"--normalise speaker: '{records[speakers.tolist().index('')].id}' has no 'speaker'"
        )
    scaled = np.empty_like(features)
    with warnings.catch_warnings():  # of features that no clip of a speaker has
        warnings.simplefilter("ignore", RuntimeWarning)
        for speaker in set(speakers):
            own = features[speakers == speaker]
            spread = np.nanstd(own, axis=0)
            scaled[speakers == speaker] = (own - np.nanmean(own, axis=0)) / np.where(
                spread > 1e-9, spread, 1.0
            )
    return scaled


def write_run(
    folder: Path, verb: str, start: str, tested: Tested, protocol: Protocol, **details: Any
) -> Result:
    """Leave a folder that `eval` and `compare` read like a run's; return how good it is.

    Args:
        start: what the run is called where others have what they started from.
        details: what else its config says; what is None is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "predictions.jsonl", (record.fields for record in tested.records))
    about = {"schema": _SCHEMA, "verb": verb, "argv": command_line(), "versions": versions()}
    more = {"init": start, "protocol": asdict(protocol), "costs": tested.costs, **details}
    config = {name: found for name, found in {**about, **more}.items() if found is not None}
    write_json(folder / "config.json", config)
    result = measure_run(tested.records)
    console.info(f"{verb}: {folder}: {result}")
    return result


def _fitted(classifier: Classifier, cost: float, features: Array, labels: Array) -> Any:
    """A pipeline: fill in means, scale, classify with classes weighted alike."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if classifier == "svm":
        last: Any = SVC(kernel="linear", C=cost, class_weight="balanced")
    else:
        last = LogisticRegression(C=cost, class_weight="balanced", max_iter=1000)
    model = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), last)
    with warnings.catch_warnings():  # of a cost too high to be chosen
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, labels)


def _best_cost(
    classifier: Classifier, features: Array, labels: Any, owners: Any, seed: int
) -> float:
    """The cost with the best UAR over inner folds; the middle one where there can be none."""
    from sklearn.model_selection import StratifiedGroupKFold

    costs = COSTS[classifier]
    most = int(np.unique(labels, return_counts=True)[1].max())
    count = min(INNER_FOLDS, len(set(owners)), most)
    splits: list[tuple[Any, Any]] = []
    if count > 1:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        with warnings.catch_warnings():  # of a class with fewer groups than folds
            warnings.simplefilter("ignore", UserWarning)
            splits = list(splitter.split(features, labels, owners))
    splits = [(train, test) for train, test in splits if len(set(labels[train])) > 1]
    if not splits:
        return costs[len(costs) // 2]
    truths = np.concatenate([labels[test] for _, test in splits])
    classes = np.unique(truths)  # in one order, in which sums are the same in every process
    recalls = []
    for cost in costs:
        given = np.concatenate(
            [
                _fitted(classifier, cost, features[train], labels[train]).predict(features[test])
                for train, test in splits
            ]
        )
        recalls.append(np.mean([np.mean(given[truths == one] == one) for one in classes]))
    return costs[int(np.argmax(recalls))]


def _answers(model: Any, features: Array) -> list[Mapping[str, Any]]:
    """The fields that each row gets."""
    words: list[str] = model.predict(features).tolist()
    if not hasattr(model, "predict_proba"):  # a support vector machine knows none
        return [{"prediction": word} for word in words]
    names = model[-1].classes_.tolist()
    return [
        {"prediction": word, "scores": dict(zip(names, np.round(row, 6).tolist(), strict=True))}
        for word, row in zip(words, model.predict_proba(features), strict=True)
    ]
