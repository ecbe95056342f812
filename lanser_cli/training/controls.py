"""Controls on the weak label: what pre-training gains if the label says less, or more.

The utterances that have what a control needs and the network stay; only what is learned of each
utterance changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lanser_cli import console
from lanser_cli.choices import Control, Targets
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record
from lanser_cli.training.examples import WeakUtterance

NEEDS: dict[Control, tuple[str, ...]] = {"clusters": ("text",), "gold": ("label",)}
"""Keys without which a record is left out."""

SENTIMENT = {
    "positive": (
        "admiration, adoration, aesthetic appreciation, amusement, approval, awe, calm, calmness, "
        "caring, contentment, desire, determination, ecstasy, entrancement, excitement, gratitude, "
        "happiness, happy, interest, joy, love, optimism, pride, relief, romance, satisfaction, "
        "sexual desire, surprise (positive), sympathy, triumph, trust"
    ),
    "negative": (
        "anger, angry, annoyance, anxiety, awkwardness, boredom, contempt, disappointment, "
        "disapproval, disgust, distress, doubt, embarrassment, empathic pain, envy, fear, fearful, "
        "grief, guilt, horror, nervousness, pain, remorse, sad, sadness, shame, "
        "surprise (negative), tiredness"
    ),
    "neutral": (
        "anticipation, concentration, confusion, contemplation, craving, curiosity, neutral, "
        "nostalgia, realization, surprise, surprised"
    ),
}
"""Labels of all taxonomies that ship, by sentiment. Those of GoEmotions as its authors group them
(Demszky et al. 2020); what they call ambiguous, such as surprise, is neutral here."""


def kept_for(control: Control) -> tuple[str, ...]:
    """The keys of a record that a control reads, besides the weak label."""
    return ("speaker",) if control == "shuffled" else NEEDS.get(control, ())


def missing(record: Record, control: Control) -> str | None:
    """Why a control must leave a record out."""
    lacking = [key for key in NEEDS.get(control, ()) if not record.fields.get(key)]
    return f"no {lacking[0]}" if lacking else None


def check(control: Control, targets: Targets, score_weighted: bool) -> None:
    """Raise UsageError if what is asked for needs scores, which the control has none of."""
    wanted = "--targets soft" if targets == "soft" else "--score-weighted" if score_weighted else ""
    if wanted and control not in ("none", "shuffled"):
        raise UsageError(f"--control {control} has no scores: leave {wanted} out")


def controlled(
    records: Sequence[WeakUtterance], control: Control, seed: int
) -> list[WeakUtterance]:
    """The utterances with what a control puts in place of their weak labels.

    shuffled: the labels, scores and all, permuted within each speaker. prior: drawn from how often
    each occurs. clusters: k-means over the embedded encoder's vectors of the transcripts, with as
    many clusters as labels. sentiment: the label's. gold: the human label.

    Raises:
        LanserError: fewer transcripts than clusters, or no speaker with two labels to shuffle.
        UsageError: a label whose sentiment is not known.
    """
    draw = np.random.default_rng(seed)
    weak = [str(record.emotion) for record in records]
    if control == "shuffled":
        return _shuffled(records, draw)
    if control == "prior":
        counts = Counter(weak)
        names = sorted(counts)
        shares = np.array([counts[name] for name in names]) / len(weak)
        return _relabelled(records, draw.choice(names, len(weak), p=shares).tolist())
    if control == "clusters":
        texts = [str(record.text) for record in records]
        return _relabelled(records, _clusters(texts, len(set(weak)), seed))
    if control == "sentiment":
        return _relabelled(records, [sentiment(label) for label in weak])
    if control == "gold":
        return _relabelled(records, [str(record.label) for record in records])
    return list(records)


def sentiment(label: str) -> str:
    """Positive, negative or neutral.

    Raises:
        UsageError: a label that no taxonomy of the package has.
    """
    for name, labels in SENTIMENT.items():
        if label in labels.split(", "):
            return name
    raise UsageError(
        f"--control sentiment: the sentiment of '{label}' is not known: label the data with a "
        "taxonomy of the package"
    )


def _relabelled(records: Sequence[WeakUtterance], labels: Sequence[str]) -> list[WeakUtterance]:
    return [
        replace(record, fields={**record.fields, "emotion": label}, scored=(), probabilities=())
        for record, label in zip(records, labels, strict=True)
    ]


def _shuffled(records: Sequence[WeakUtterance], draw: np.random.Generator) -> list[WeakUtterance]:
    places: dict[str | None, list[int]] = {}
    for place, record in enumerate(records):
        places.setdefault(record.speaker, []).append(place)
    shuffled = list(records)
    for mine in places.values():
        for place, other in zip(mine, draw.permutation(mine), strict=True):
            giver = records[other]
            shuffled[place] = replace(
                records[place],
                fields={**records[place].fields, "emotion": giver.emotion},
                scored=giver.scored,
                probabilities=giver.probabilities,
                score=giver.score,
            )
    moved = sum(one.emotion != other.emotion for one, other in zip(records, shuffled, strict=True))
    if not moved:
        raise LanserError(
            "--control shuffled: labels are shuffled within each speaker, and none has two "
            "different ones to change places: leave 'speaker' out to shuffle them over all"
        )
    console.info(f"pretrain: shuffled: {moved} of {len(records)} have another label than their own")
    return shuffled


def _clusters(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """A cluster's name for each text."""
    from sklearn.cluster import MiniBatchKMeans

    from lanser_cli.entailment.text_vectors import text_vectors

    if len(set(texts)) < count:
        raise LanserError(f"--control clusters: {count} labels, but only {len(set(texts))} texts")
    means = MiniBatchKMeans(count, random_state=seed, n_init=4, batch_size=4096)
    found = means.fit_predict(text_vectors(texts)).tolist()
    if (made := len(set(found))) < count:
        console.warn(
            f"--control clusters: {count} labels, but only {made} clusters: the texts are too few, "
            "or too much alike"
        )
    return [f"cluster {number:02d}" for number in found]
