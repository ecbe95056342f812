"""Controls on the weak label: the same utterances, another thing to learn of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.entailment import load_taxonomy, taxonomy_names
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record
from lanser_cli.training import controls
from lanser_cli.training.examples import WeakUtterance, weak_examples

SLIM = ("--model", "resnet18-slim", "--device", "cpu", "--crop", "0.5", "--steps", "1")
TEXTS = (
    ("the cake was delicious", "i love this cake", "what a tasty cake"),
    ("the train is late", "we missed the train", "the train station is closed"),
)


def weak(control, count=60, targets="soft"):
    """Utterances of three speakers; label `joy` twice as often as `anger`."""
    made = []
    for number in range(count):
        label = ("joy", "joy", "anger")[number % 3]
        fields = {
            "id": f"u{number}",
            "speaker": f"s{number // 20}",
            "emotion": label,
            "emotion_score": 1 - number / count,
            "emotion_scores": {"joy": number / count, "anger": 1 - number / count},
            "text": TEXTS[number % 2][number % 3],
            "label": ("happy", "angry")[number % 2],
        }
        made.append(WeakUtterance.of(Record(fields), targets, controls.kept_for(control)))
    return made


def test_shuffling_stays_within_the_speaker_and_takes_the_scores_along():
    before = weak("shuffled")
    after = controls.controlled(before, "shuffled", seed=0)
    assert [one.id for one in after] == [one.id for one in before]
    assert [one.emotion for one in after] != [one.emotion for one in before]
    for speaker in ("s0", "s1", "s2"):
        pairs = [
            Counter(
                (one.emotion, one.score, one.probabilities)
                for one in side
                if one.speaker == speaker
            )
            for side in (before, after)
        ]
        assert pairs[0] == pairs[1]
    assert after == controls.controlled(before, "shuffled", seed=0)
    assert after != controls.controlled(before, "shuffled", seed=1)


def test_labels_that_cannot_change_places_are_no_control():
    alone = [
        WeakUtterance.of(
            Record({"id": f"u{n}", "speaker": f"s{n}", "emotion": "ab"[n % 2]}),
            "hard",
            ("speaker",),
        )
        for n in range(6)
    ]
    with pytest.raises(LanserError, match="--control shuffled: .* none has two"):
        controls.controlled(alone, "shuffled", seed=0)


def test_the_prior_is_drawn_from_how_often_a_label_occurs():
    before = weak("prior", 3000)
    labels = [one.emotion for one in controls.controlled(before, "prior", seed=0)]
    assert labels.count("joy") / 3000 == pytest.approx(2 / 3, abs=0.03)
    same = np.mean([a == one.emotion for a, one in zip(labels, before, strict=True)])
    assert same == pytest.approx(4 / 9 + 1 / 9, abs=0.03), "independent of the weak label"


def test_clusters_are_of_what_is_said_and_as_many_as_labels():
    before = weak("clusters")
    after = controls.controlled(before, "clusters", seed=0)
    clusters = {}
    for number, one in enumerate(after):
        clusters.setdefault(number % 2, set()).add(one.emotion)
    assert len({one.emotion for one in after}) == 2
    assert clusters[0].isdisjoint(clusters[1]), "cake, or train"
    alike = [replace(one, fields={**one.fields, "text": "cake"}) for one in before]
    with pytest.raises(LanserError, match="2 labels, but only 1 texts"):
        controls.controlled(alike, "clusters", seed=0)


def test_fewer_clusters_than_labels_are_said(capsys):
    """Texts that differ by case alone are different words for k-means, and one vector."""
    texts = ("so it goes", "So it goes", "SO IT GOES", "the train is late")
    alike = [
        replace(one, fields={**one.fields, "emotion": "abc"[n % 3], "text": texts[n % 4]})
        for n, one in enumerate(weak("clusters"))
    ]
    after = controls.controlled(alike, "clusters", seed=0)
    assert len({one.emotion for one in after}) == 2
    assert "--control clusters: 3 labels, but only 2 clusters" in capsys.readouterr().err


def test_sentiment_and_gold_are_hard_labels():
    after = controls.controlled(weak("sentiment"), "sentiment", seed=0)
    assert [one.emotion for one in after[:3]] == ["positive", "positive", "negative"]
    [example] = weak_examples(after[:1], ("negative", "positive"))
    assert example.target == (0.0, 1.0)
    after = controls.controlled(weak("gold"), "gold", seed=0)
    assert [one.emotion for one in after[:2]] == ["happy", "angry"]


def test_every_label_that_ships_has_one_sentiment_and_goemotions_has_its_authors():
    named = [label for labels in controls.SENTIMENT.values() for label in labels.split(", ")]
    assert len(named) == len(set(named))
    shipped = {label for name in taxonomy_names() for label in load_taxonomy(name).labels}
    assert set(named) == shipped
    positive = {label for label in load_taxonomy("goemotions").labels
                if controls.sentiment(label) == "positive"}  # fmt: skip
    assert positive == {
        "admiration", "amusement", "approval", "caring", "desire", "excitement", "gratitude",
        "joy", "love", "optimism", "pride", "relief",
    }  # fmt: skip
    with pytest.raises(UsageError, match="'ennui' is not known"):
        controls.sentiment("ennui")


@pytest.mark.parametrize("control", ["prior", "clusters", "sentiment", "gold"])
def test_what_has_no_scores_has_no_soft_targets_and_no_weights(control):
    for targets, weighted, option in (
        ("soft", False, "--targets soft"),
        ("hard", True, "--score-"),
    ):
        with pytest.raises(UsageError, match=f"--control {control} has no scores: .*{option}"):
            controls.check(control, targets, weighted)
    controls.check(control, "hard", score_weighted=False)


@pytest.mark.parametrize("control", ["shuffled", "prior", "clusters", "sentiment", "gold"])
def test_a_run_says_its_control(
    control: str, labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    text = labelled.read_text().replace('"emotion": "anger"', '"emotion": "joy"')
    corpus, run = tmp_path / "corpus.jsonl", tmp_path / "run"
    corpus.write_text(text)
    line = ("pretrain", corpus, *SLIM, "-o", run)
    [made] = read_jsonl(lanser(*line, "--control", control).stdout)
    assert made["control"] == control and made["utterances"] == 12
    config = json.loads((run / "config.json").read_text())
    assert config["control"] == config["identity"]["--control"] == control
    lanser(*line, "--control", control, "--resume")
    lanser(*line, "--resume", check=2)


def test_records_without_what_a_control_reads_are_dropped(
    labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = read_jsonl(labelled)
    values[0]["text"] = values[1]["label"] = None
    path = tmp_path / "some.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    for control, reason in (("clusters", "no text"), ("gold", "no label")):
        done = lanser("pretrain", path, *SLIM, "--control", control, "-o", tmp_path / control)
        assert f"12 in, 11 used, 0 rejected, 1 dropped ({reason})" in done.stderr.decode()


def test_soft_targets_without_scores_are_refused_and_of_some_said(
    labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = [{**one, "emotion_scores": None} for one in read_jsonl(labelled)]
    data, line = tmp_path / "data.jsonl", ("--targets", "soft", *SLIM, "-o", tmp_path / "run")
    refused = lanser("pretrain", write_jsonl(data, values), *line, check=1)
    assert b"--targets soft: no record has 'emotion_scores'" in refused.stderr
    values[:3] = read_jsonl(labelled)[:3]
    some = lanser("pretrain", write_jsonl(data, values), *line)
    assert b"9 of 12 records have no 'emotion_scores'" in some.stderr
