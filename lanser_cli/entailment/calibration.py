"""Calibration: the prior of each label is subtracted from its log-odds.

A model finds some hypotheses likelier than others whatever the text, and its labels collapse onto
them. The prior of a label is its mean log-odds over a sample of the input (`batch`), or over
everyday sentences that ship with lanser (`null`), so that nothing need be known of the input. The
means of the embedded model ship too.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from lanser_cli import console
from lanser_cli.digests import string64
from lanser_cli.entailment.label_scorer import LabelScorer, Scorer
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.output import write_json
from lanser_cli.shape import COUNT, Maybe, That, read_json
from lanser_cli.stage import windows

_FOLDER = Path(__file__).parent
EVERYDAY_PRIOR = _FOLDER / "everyday_prior.json"
"""Of the default template and all taxonomies that ship; `recipes/everyday_prior.py` writes it."""

SAMPLE = 1000
"""Texts of the input that a batch prior is the mean over."""

FEW = 20
"""Different texts, or answers, below which a mean is no prior: each would be over 5 % of what is
taken from its own score, and one alone is all of it."""

_SCHEMA = 1

_SHAPE = {
    "taxonomy": str,
    "templates": [str],
    "labels": [str],
    "hypotheses": Maybe([str]),
    "texts": That(COUNT, "a whole number from 1 on", lambda value: value > 0),
    "log_odds": {str: [That(float, "between -1e6 and 1e6", lambda value: abs(value) <= 1e6)]},
}


def mean_odds(label_scorer: LabelScorer, texts: Sequence[str]) -> NDArray[np.float32]:
    """The mean raw log-odds of each label over the texts that have them: float32 `[labels]`.

    Raises:
        LanserError: none has.
    """
    total, count = np.zeros(len(label_scorer.taxonomy.labels)), 0
    times = Counter(texts)  # sentences of a corpus may be few, and each is scored once
    for some in windows(times, 100):
        raw = label_scorer.raw(some)
        has = ~np.isnan(raw).any(axis=1)
        weights = np.array([times[text] for text in some])[has]
        total, count = total + weights @ raw[has].astype(np.float64), count + int(weights.sum())
    if not count:
        raise _unscored(label_scorer, some[0])
    return (total / count).astype(np.float32)


def _unscored(label_scorer: LabelScorer, text: str) -> LanserError:
    return LanserError(f"--calibrate: no text has scores: {label_scorer.scorer.fault(text)}")


@cache
def everyday() -> tuple[str, ...]:
    """64 everyday sentences, written for this: as people speak, with all feelings and none.

    Zhao, Wallace, Feng, Klein and Singh (2021), Calibrate Before Use, ICML 2021, take texts without
    content, such as "N/A". What people say in fact is nearer to the mean over an input.
    """
    return tuple((_FOLDER / "everyday.txt").read_text(encoding="utf-8").splitlines())


@cache
def _shipped() -> tuple[str, dict[str, float]]:
    """The fingerprint of a model, and its mean log-odds over everyday sentences by hypothesis."""
    value = json.loads(EVERYDAY_PRIOR.read_text(encoding="utf-8"))
    return value["fingerprint"], value["log_odds"]


_MEANS: WeakKeyDictionary[Scorer, dict[str, dict[str, float]]] = WeakKeyDictionary()
"""Of each scorer, by its fingerprint, the means that are known, by hypothesis."""


def null_odds(label_scorer: LabelScorer) -> NDArray[np.float32]:
    """The mean raw log-odds of each label over everyday sentences: float32 `[labels]`.

    Only hypotheses are scored whose mean does not ship and which were not asked about before, over
    the sentences that have scores.

    Raises:
        LanserError: none has.
    """
    scorer, hypotheses = label_scorer.scorer, label_scorer.hypotheses
    fingerprint, shipped = _shipped()
    mine = scorer.fingerprint
    known = _MEANS.setdefault(scorer, {}).setdefault(
        mine, dict(shipped) if mine == fingerprint else {}
    )
    if missing := [text for text in dict.fromkeys(hypotheses) if text not in known]:
        raw = scorer.score(everyday(), missing)
        raw = raw[~np.isnan(raw).any(axis=1)]
        if not len(raw):
            raise _unscored(label_scorer, everyday()[0])
        means = raw.mean(axis=0, dtype=np.float64)
        known.update(zip(missing, means.tolist(), strict=True))
    odds = np.array([known[text] for text in hypotheses])
    return odds.reshape(len(label_scorer.templates), -1).mean(axis=0).astype(np.float32)


def prior_of_exact(coarse: LabelScorer, exact: LabelScorer) -> NDArray[np.float32]:
    """The prior of a model in float32 by that of the same model in less: float32 `[labels]`.

    What each label's scores are off in less precision is in the prior too, and so falls out; of
    exact scores it would come back. It is measured on the everyday sentences.
    """
    assert coarse.prior is not None
    return coarse.prior - (null_odds(coarse) - null_odds(exact))


def sample(texts: Iterable[tuple[str, str]], size: int = SAMPLE) -> list[str]:
    """Up to `size` of the (id, text) pairs: those whose ids have the lowest hashes.

    The sample depends on the set of pairs alone, not on their order, and holds `size` of them in
    memory at most.
    """
    lowest: list[tuple[int, str]] = []
    for identifier, text in texts:
        entry = (-string64(identifier), text)
        if len(lowest) < size:
            heapq.heappush(lowest, entry)
        else:
            heapq.heappushpop(lowest, entry)
    return [text for _, text in sorted(lowest, reverse=True)]


@dataclass(frozen=True, slots=True)
class Prior:
    """A batch prior as it is kept in a file, so that a stream and its parts are treated alike.

    Attributes:
        texts: how many it is the mean over.
        of: for each fingerprint of a model, the log-odds of each hypothesis set's labels.
        hypotheses: template by template; none in a file of an older lanser.
    """

    taxonomy: str
    templates: tuple[str, ...]
    labels: tuple[str, ...]
    texts: int
    of: dict[str, tuple[float, ...]]
    hypotheses: tuple[str, ...] = ()

    @classmethod
    def measure(cls, label_scorers: Sequence[LabelScorer], texts: Sequence[str]) -> Prior:
        """The mean over texts, for each label scorer (they share taxonomy and templates).

        Few different texts are a warning.

        Raises:
            LanserError: there is no text, or all are the same.
        """
        if not texts:
            raise LanserError("--calibrate batch: the input has no text to take a mean over")
        different = len(set(texts))
        if different == 1:
            raise LanserError(
                "--calibrate batch: all texts of the input are the same, so that their mean would "
                "take away all they say: use --calibrate null, or give the whole input"
            )
        if different < FEW:
            console.warn(
                f"--calibrate batch: a mean over {different} different texts is no prior, and "
                "takes away much of what they say: use --calibrate null, or give more texts"
            )
        first = label_scorers[0]
        return cls(
            first.taxonomy.name,
            tuple(template.text for template in first.templates),
            first.taxonomy.labels,
            len(texts),
            {
                each.scorer.fingerprint: tuple(map(float, mean_odds(each, texts)))
                for each in label_scorers
            },
            tuple(first.hypotheses),
        )

    @classmethod
    def load(cls, path: Path) -> Prior:
        """Read a file that `save` wrote.

        Raises:
            UsageError: it holds something else.
        """
        try:
            value = read_json(path, "a prior that lanser wrote", _SHAPE, _SCHEMA)
        except LanserError as error:
            raise UsageError(f"{error} (remove it, and it is made anew)") from None
        labels = tuple(value["labels"])
        of = {key: tuple(map(float, odds)) for key, odds in value["log_odds"].items()}
        if wrong := [key for key, odds in of.items() if len(odds) != len(labels)]:
            raise UsageError(
                f"{path}: not a prior that lanser wrote: 'log_odds.{wrong[0]}' has not one number "
                "a label (remove it, and it is made anew)"
            )
        said = tuple(value.get("hypotheses") or ())
        return cls(value["taxonomy"], tuple(value["templates"]), labels, value["texts"], of, said)

    def save(self, path: Path) -> None:
        value = {
            "schema": _SCHEMA,
            "taxonomy": self.taxonomy,
            "templates": list(self.templates),
            "labels": list(self.labels),
            "hypotheses": list(self.hypotheses),
            "texts": self.texts,
            "log_odds": {key: list(odds) for key, odds in self.of.items()},
        }
        try:
            write_json(path, value)
        except OSError as error:
            raise LanserError(f"{path}: cannot be written: {error.strerror}") from None

    def of_labels(self, label_scorer: LabelScorer, where: str) -> NDArray[np.float32]:
        """The prior of this label scorer's labels, log-odds: float32 `[labels]`.

        Raises:
            UsageError: the prior was measured with another model, taxonomy or template.
        """
        scorer, taxonomy = label_scorer.scorer, label_scorer.taxonomy
        templates = tuple(template.text for template in label_scorer.templates)
        what = (
            ("taxonomy", self.taxonomy, taxonomy.name),
            ("labels", self.labels, taxonomy.labels),
            ("templates", self.templates, templates),
        )
        wrong = [name for name, mine, its in what if mine != its]
        if not wrong and self.hypotheses not in ((), tuple(label_scorer.hypotheses)):
            wrong = ["words for the labels"]
        if scorer.fingerprint not in self.of:
            wrong.append(f"model or precision ('{scorer.name}', {scorer.precision})")
        if wrong:
            raise UsageError(
                f"{where}: this prior was measured with other {', '.join(wrong)}: "
                "name another --prior file, and it is made anew"
            )
        return np.array(self.of[scorer.fingerprint], np.float32)
