"""Whether a network hears the voice and not the words: two tests that words cannot pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.prosody import controls, verdict
from lanser_cli.prosody.layers import Features
from lanser_cli.prosody.probes import Answers, Split, answer
from lanser_cli.prosody.table import TRAINED, named
from lanser_cli.records import Record

SENTENCE = "sentence"
"""The control that knows the words and nothing else."""


@dataclass(frozen=True, slots=True)
class FixedSentence:
    """Emotion from frozen features, within a sentence.

    Attributes:
        about: UAR of each column with its interval, `chance`, and the verdict on trained minus the
            hardest control.
        by_unit: column → speaker → UAR.
    """

    about: dict[str, Any]
    by_unit: dict[str, dict[str, float | None]]


def recalls(
    records: Sequence[Record],
    columns: Mapping[str, Sequence[Features]],
    speakers: Sequence[str],
    folds: Sequence[Split],
) -> dict[str, NDArray[np.float64]]:
    """UAR of emotion by ridge from frozen features, where the words of every emotion are the same.

    Only sentences that have every label count, so that the words say nothing of the label: the
    control `sentence`, which knows them, is at chance.

    Returns:
        Column → `[speakers]`, in order of first mention; empty where the records have no two
        labels on a common sentence.
    """
    rows = _balanced(records)
    if not rows:
        return {}
    labels = _labels(records, rows)
    truth = np.full((len(records), len(labels)), np.nan)
    truth[rows] = np.equal.outer([str(records[row].label) for row in rows], labels)
    sentences = [str(record.word("sentence")) for record in records]
    words: list[Features] = [{"": controls.one_hot(sentences)}]
    return {
        name: np.mean(
            [_recalls(answer(one, truth, folds), truth, speakers) for one in variants], axis=0
        )
        for name, variants in {**columns, SENTENCE: words}.items()
    }


def fixed_sentence(
    records: Sequence[Record],
    found: Sequence[Mapping[str, NDArray[np.float64]]],
    speakers: Sequence[str],
) -> FixedSentence | None:
    """The verdict on emotion within a sentence.

    Args:
        found: what `recalls` found of each seed, whose mean is judged.

    Returns:
        None where there is nothing to judge.
    """
    by_speaker = {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}
    if not by_speaker or not np.isfinite(by_speaker[TRAINED]).any():
        return None
    rows = _balanced(records)
    labels = _labels(records, rows)
    shown = {name: verdict.estimate(values, verdict.SHARE) for name, values in by_speaker.items()}
    names = list(dict.fromkeys(speakers))
    by_unit = {name: named(names, values) for name, values in by_speaker.items()}
    judged = verdict.judge(by_speaker.pop(TRAINED), by_speaker)
    about = {
        "utterances": len(rows),
        "sentences": len({records[row].word("sentence") for row in rows}),
        "labels": labels,
        "chance": round(1 / len(labels), 6),
        "uar": {name: asdict(one) for name, one in shown.items()},
        **judged.as_json(),
    }
    return FixedSentence(about, by_unit)


def against_voice(
    records: Sequence[Record],
    answers: Sequence[Sequence[str]],
    speakers: Sequence[str],
    known: Collection[str],
) -> dict[str, Any] | None:
    """Whom a network follows where the words say one emotion and the voice another.

    Args:
        answers: of each seed, the network's own label for each record.
        known: the labels that every network could give.

    Returns:
        Shares of the answers that are the record's `label` (voice) and its `emotion` (words), a
        mean over speakers; None where no record has two that differ and that the networks know.
    """
    torn = [
        (speaker, [one == record.label for one in given], [one == record.emotion for one in given])
        for record, speaker, *given in zip(records, speakers, *answers, strict=True)
        if record.label in known and record.emotion in known and record.emotion != record.label
    ]
    if not torn:
        return None
    who = np.array([speaker for speaker, *_ in torn])
    found: dict[str, Any] = {"utterances": len(torn), "speakers": len(np.unique(who))}
    for name, place in (("voice", 1), ("words", 2)):
        hits = np.array([np.mean(one[place]) for one in torn])
        shares = np.array([hits[who == speaker].mean() for speaker in np.unique(who)])
        found[name] = asdict(verdict.estimate(shares, verdict.SHARE))
    return found


def _labels(records: Sequence[Record], rows: Sequence[int]) -> list[str]:
    return sorted({str(records[row].label) for row in rows})


def _balanced(records: Sequence[Record]) -> list[int]:
    """Rows of the sentences that were spoken with every label there is."""
    spoken: dict[str, set[str]] = {}
    for record in records:
        if record.label and (sentence := record.word("sentence")):
            spoken.setdefault(sentence, set()).add(record.label)
    labels = {record.label for record in records if record.label}
    whole = {sentence for sentence, found in spoken.items() if found == labels}
    if len(labels) < 2:
        return []
    return [
        row
        for row, record in enumerate(records)
        if record.label and record.word("sentence") in whole
    ]


def _recalls(
    answers: Answers, truth: NDArray[np.float64], speakers: Sequence[str]
) -> NDArray[np.float64]:
    """UAR of each speaker, in order of first mention; NaN for one without an answer."""
    # Less the share that each label has in training: a rare one is to be answered as well.
    lean = answers.chosen - answers.mean
    known = np.isfinite(lean).all(axis=1)
    given = np.where(known, np.nan_to_num(lean).argmax(axis=1), -1)
    true = np.nan_to_num(truth).argmax(axis=1)
    who = np.asarray(speakers)
    found = []
    for speaker in dict.fromkeys(speakers):
        own = known & (who == speaker)
        hits = [float((given[own & (true == k)] == k).mean()) for k in np.unique(true[own])]
        found.append(float(np.mean(hits)) if hits else float("nan"))
    return np.array(found)
