"""Priors: what is measured, what is kept in a file, and that a stream and its parts agree."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.entailment import LabelScorer, PairScorer, Taxonomy, Template
from lanser_cli.entailment.calibration import CONTENT_FREE, Prior, mean_odds, sample
from lanser_cli.errors import LanserError, UsageError

MOODS = Taxonomy.of_labels(["joy", "fear", "anger"])
TEXTS = [f"{mood} number {n}" for n in range(40) for mood in ("oh joy", "what a fright", "no")]


@pytest.fixture(scope="module")
def label_scorer(tiny_nli: Path) -> LabelScorer:
    return LabelScorer(PairScorer(str(tiny_nli)), MOODS, (Template("I feel {}."), Template("{}")))


def records(folder: Path) -> Path:
    items = [{"id": f"n{n}", "text": text} for n, text in enumerate(TEXTS)]
    return write_jsonl(folder / "in.jsonl", items)


def test_the_mean_is_the_mean(label_scorer: LabelScorer) -> None:
    raw = label_scorer.raw(TEXTS)
    assert raw.shape == (len(TEXTS), 3)
    assert np.abs(mean_odds(label_scorer, TEXTS) - raw.mean(axis=0)).max() < 1e-5
    assert (
        np.abs(
            mean_odds(label_scorer, CONTENT_FREE) - label_scorer.raw(CONTENT_FREE).mean(axis=0)
        ).max()
        < 1e-5
    )


def test_subtracting_the_batch_prior_gives_every_label_the_same_mean(
    label_scorer: LabelScorer,
) -> None:
    fair = LabelScorer(
        label_scorer.scorer, MOODS, label_scorer.templates, mean_odds(label_scorer, TEXTS)
    )
    assert np.abs(fair.odds(TEXTS).mean(axis=0)).max() < 1e-5


def test_the_sample_depends_on_the_ids_alone() -> None:
    pairs = [(f"id{n}", f"text {n}") for n in range(500)]
    chosen = sample(pairs, 50)
    assert len(set(chosen)) == 50
    random.Random(1).shuffle(pairs)
    assert sample(pairs, 50) == chosen
    assert sample(iter(pairs[:20]), 50) == sample(sorted(pairs[:20]), 50)
    assert len(sample(pairs, 10_000)) == 500 and sample([], 5) == []


def test_a_prior_survives_its_file(label_scorer: LabelScorer, tmp_path: Path) -> None:
    prior = Prior.measure([label_scorer], TEXTS)
    prior.save(tmp_path / "prior.json")
    again = Prior.load(tmp_path / "prior.json")
    assert again == prior
    found = again.of_labels(label_scorer, "x")
    assert found.dtype == np.float32 and (found == mean_odds(label_scorer, TEXTS)).all()
    with pytest.raises(LanserError, match="no text"):
        Prior.measure([label_scorer], [])


def test_a_prior_of_something_else_is_refused(label_scorer: LabelScorer, tmp_path: Path) -> None:
    prior = Prior.measure([label_scorer], TEXTS[:5])
    other = LabelScorer(
        label_scorer.scorer, Taxonomy.of_labels(["joy", "fear"]), label_scorer.templates
    )
    with pytest.raises(UsageError, match="other labels: name another --prior"):
        prior.of_labels(other, "p.json")
    with pytest.raises(UsageError, match="other templates"):
        prior.of_labels(
            LabelScorer(label_scorer.scorer, MOODS, label_scorer.templates[:1]), "p.json"
        )
    strange = Prior(prior.taxonomy, prior.templates, prior.labels, 5, {"ff": (0.0, 0.0, 0.0)})
    with pytest.raises(UsageError, match="other model or precision"):
        strange.of_labels(label_scorer, "p.json")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "[" * 100_000, '{"schema": 1, "labels": ["a"], "log_odds": {"x": []}}'),
        '{"schema": 1, "taxonomy": "t", "templates": [], "labels": ["a"], "texts": 1e999}',
        *(
            '{"schema": 1, "taxonomy": "t", "templates": ["{}"], "labels": ["a"], "texts": 3, '
            f'"log_odds": {{"x": [{odds}]}}}}'
            for odds in ("NaN", "1e39", "1, 2", '"1"', "true")
        ),
    ],
)
def test_a_file_that_is_no_prior_is_a_usage_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(UsageError, match="not a prior that lanser wrote"):
        Prior.load(tmp_path / "p.json")
    (tmp_path / "p.json").write_text('{"schema": 99}')
    with pytest.raises(UsageError, match="newer lanser"):
        Prior.load(tmp_path / "p.json")


@pytest.mark.slow
def test_parts_and_streams_agree_with_the_whole(
    lanser: Lanser, tiny_nli: Path, tmp_path: Path
) -> None:
    path = records(tmp_path)
    line = ("entail-label", "--model", tiny_nli, "--labels", "joy,fear,anger", "--device", "cpu")
    line += ("--calibrate", "batch")
    whole = lanser(*line, path)
    by_id = {item["id"]: item["emotion_scores"] for item in read_jsonl(whole.stdout)}
    assert b"labels before calibration: " in whole.stderr and b"labels after it: " in whole.stderr
    prior = tmp_path / "prior.json"
    second = lanser(*line, path, "--part", "2/3", "--prior", prior)
    streamed = lanser(*line, "--prior", prior, input=path.read_bytes())
    assert read_jsonl(streamed.stdout) == read_jsonl(whole.stdout)
    part = read_jsonl(second.stdout)
    assert len(part) == len(TEXTS) // 3
    for item in part:
        assert item["emotion_scores"] == pytest.approx(by_id[item["id"]], abs=2e-6)
        assert item["entailment"]["calibration"] == "batch"
    assert json.loads(prior.read_text())["texts"] == len(TEXTS)


def test_calibration_against_collapse(lanser: Lanser, tiny_nli: Path, tmp_path: Path) -> None:
    path = records(tmp_path)
    line = ("entail-label", "--model", tiny_nli, "--labels", "joy,fear,anger", "--device", "cpu")
    plain = {item["emotion"] for item in read_jsonl(lanser(*line, path).stdout)}
    fair = {
        item["emotion"] for item in read_jsonl(lanser(*line, path, "--calibrate", "batch").stdout)
    }
    assert len(plain) < 3, "the tiny model was meant to collapse"
    assert len(fair) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--calibrate", "batch"), "reads its input twice"),
        (("--calibrate", "sometimes"), "'none', 'null', 'batch'"),
        (("--prior", "p.json"), "--prior FILE goes with --calibrate batch"),
        (("--top-k-first", "3"), "name that with --model"),
        (("--model", "a", "--model", "b"), "with --sweep only"),
    ],
)
def test_usage(lanser: Lanser, words: tuple[str, ...], message: str) -> None:
    result = lanser("entail-label", *words, input=b'{"id": "a", "text": "b"}\n', check=2)
    assert message in result.stderr.decode()
    assert result.stdout == b"" and len(result.stderr.splitlines()) == 1
