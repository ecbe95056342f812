"""Calibration: what a label scores before anything was said, taken off what it scores.

A model finds some hypotheses likelier than others whatever the text, and its labels collapse onto
them. The prior of a label is its mean log-odds over texts that say nothing about emotion (`null`),
or over a sample of the input (`batch`).
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanser_cli.digests import string64
from lanser_cli.entailment.judge import Judge
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.output import write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METHODS = ("none", "null", "batch")

CONTENT_FREE = ("N/A", "[MASK]", "")
"""Zhao, Wallace, Feng, Klein and Singh (2021), Calibrate Before Use, ICML 2021."""

SAMPLE = 1000
"""Texts of the input that a batch prior is the mean over."""

_SCHEMA = 1


def mean_odds(judge: Judge, texts: Sequence[str]) -> NDArray[np.float32]:
    """The mean raw log-odds of each label over texts: float32 `[labels]`."""
    import numpy as np

    total = np.zeros(len(judge.taxonomy.labels))
    for start in range(0, len(texts), 100):
        total += judge.raw(texts[start : start + 100]).astype(np.float64).sum(axis=0)
    return (total / len(texts)).astype(np.float32)


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
    """

    taxonomy: str
    templates: tuple[str, ...]
    labels: tuple[str, ...]
    texts: int
    of: dict[str, tuple[float, ...]]

    @classmethod
    def measure(cls, judges: Sequence[Judge], texts: Sequence[str]) -> Prior:
        """The mean over texts, for each of the judges (they share taxonomy and templates).

        Raises:
            LanserError: there is no text.
        """
        if not texts:
            raise LanserError("--calibrate batch: the input has no text to take a mean over")
        first = judges[0]
        return cls(
            first.taxonomy.name,
            tuple(template.text for template in first.templates),
            first.taxonomy.labels,
            len(texts),
            {
                judge.scorer.fingerprint: tuple(map(float, mean_odds(judge, texts)))
                for judge in judges
            },
        )

    @classmethod
    def load(cls, path: Path) -> Prior:
        """Read a file that `save` wrote.

        Raises:
            UsageError: it holds something else.
        """
        try:
            value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if value["schema"] != _SCHEMA:
                raise ValueError(f"schema {value['schema']}, not {_SCHEMA}")
            labels = tuple(map(str, value["labels"]))
            of = {str(key): tuple(map(float, odds)) for key, odds in value["log_odds"].items()}
            if any(len(odds) != len(labels) for odds in of.values()):
                raise ValueError("not one number a label")
            templates = tuple(map(str, value["templates"]))
            return cls(str(value["taxonomy"]), templates, labels, int(value["texts"]), of)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path}: not a prior that lanser wrote ({error}): remove it, and it is made anew"
            ) from None

    def save(self, path: Path) -> None:
        value = {
            "schema": _SCHEMA,
            "taxonomy": self.taxonomy,
            "templates": list(self.templates),
            "labels": list(self.labels),
            "texts": self.texts,
            "log_odds": {key: list(odds) for key, odds in self.of.items()},
        }
        try:
            write_json(path, value)
        except OSError as error:
            raise LanserError(f"{path}: cannot be written: {error.strerror}") from None

    def for_judge(self, judge: Judge, where: str) -> NDArray[np.float32]:
        """The log-odds to subtract from this judge's: float32 `[labels]`.

        Raises:
            UsageError: the prior was measured with another model, taxonomy or template.
        """
        import numpy as np

        what = (
            ("taxonomy", self.taxonomy, judge.taxonomy.name),
            ("labels", self.labels, judge.taxonomy.labels),
            ("templates", self.templates, tuple(template.text for template in judge.templates)),
        )
        wrong = [name for name, mine, its in what if mine != its]
        if judge.scorer.fingerprint not in self.of:
            wrong.append(f"model or precision ('{judge.scorer.name}', {judge.scorer.precision})")
        if wrong:
            raise UsageError(
                f"{where}: this prior was measured with other {', '.join(wrong)}: "
                "name another --prior file, and it is made anew"
            )
        return np.array(self.of[judge.scorer.fingerprint], np.float32)
