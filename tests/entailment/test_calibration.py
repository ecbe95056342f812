"""Priors: what is measured, what is kept in a file, and that a stream and its parts agree."""

from __future__ import annotations

import csv
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.entailment import (
    LabelScorer,
    PairScorer,
    Taxonomy,
    Template,
    load_taxonomy,
    load_templates,
    taxonomy_names,
)
from lanser_cli.entailment.calibration import (
    EVERYDAY_PRIOR,
    Prior,
    everyday,
    mean_odds,
    null_odds,
    sample,
)
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
    everyday_mean = label_scorer.raw(everyday()).mean(axis=0)
    assert np.abs(null_odds(label_scorer) - everyday_mean).max() < 1e-5


def anew(label_scorer: LabelScorer) -> LabelScorer:
    """The same by a scorer that has been asked nothing."""
    return replace(label_scorer, scorer=PairScorer(label_scorer.scorer.name))


def test_what_is_known_of_a_scorer_is_not_asked_again(
    label_scorer: LabelScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_scorer, asked, plain = anew(label_scorer), [], PairScorer.score

    def score(self: PairScorer, premises, hypotheses, wanted=None):  # type: ignore[no-untyped-def]
        asked.extend(hypotheses)
        return plain(self, premises, hypotheses, wanted)

    monkeypatch.setattr(PairScorer, "score", score)
    one = replace(label_scorer, templates=label_scorer.templates[:1])
    first, both, again = (null_odds(each) for each in (one, label_scorer, one))
    assert (first == again).all() and (first != both).any()
    assert asked == label_scorer.hypotheses


def test_what_a_server_does_not_answer_is_not_in_the_mean(
    label_scorer: LabelScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything, refused = PairScorer.score, set(everyday()[:60])

    def score(self: PairScorer, premises, hypotheses, wanted=None):  # type: ignore[no-untyped-def]
        scores = everything(self, premises, hypotheses, wanted)
        scores[[text in refused for text in premises]] = np.nan
        return scores

    answered = label_scorer.raw(everyday()[60:]).mean(axis=0)
    monkeypatch.setattr(PairScorer, "score", score)
    for mean in (null_odds(anew(label_scorer)), mean_odds(label_scorer, everyday())):
        assert np.abs(mean - answered).max() < 1e-5
    refused.update(everyday())
    with pytest.raises(LanserError, match="no text has scores"):
        null_odds(anew(label_scorer))


def test_the_prior_that_ships_is_what_the_embedded_model_scores_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedded = LabelScorer(
        PairScorer(precision="float32"), load_taxonomy("ekman6"), load_templates(())
    )
    recomputed = embedded.raw(everyday()).mean(axis=0)
    monkeypatch.setattr(PairScorer, "score", None)
    assert null_odds(embedded) == pytest.approx(recomputed, abs=2e-3), (
        "after a change of model, sentences or nouns: python recipes/everyday_prior.py"
    )
    for name in taxonomy_names():
        everyone = LabelScorer(embedded.scorer, load_taxonomy(name), embedded.templates)
        assert np.isfinite(null_odds(everyone)).all(), name


def test_what_the_prior_that_ships_lacks_is_scored_and_of_another_model_everything(
    label_scorer: LabelScorer,
) -> None:
    default = load_templates(())
    embedded = PairScorer(precision="float32")
    mixed = LabelScorer(embedded, Taxonomy.of_labels(["joy", "hunger"]), default)
    assert null_odds(mixed) == pytest.approx(mixed.raw(everyday()).mean(axis=0), abs=2e-3)
    other = LabelScorer(label_scorer.scorer, MOODS, default)
    shipped = json.loads(EVERYDAY_PRIOR.read_text())["log_odds"]
    assert null_odds(other)[0] != pytest.approx(shipped["This person feels joy."], abs=0.1)


def test_everyday_sentences_are_in_no_set_that_figures_come_from(shared: Path) -> None:
    def plain(text: str) -> str:
        return " ".join(re.findall(r"[\w']+", text.lower()))

    sentences = {plain(text) for text in everyday()}
    assert len(sentences) == len(everyday()) == 64
    for path in sorted((shared / "text").glob("*_test.*")):
        for line in path.read_text(encoding="utf-8").split("\n"):
            texts = next(csv.reader([line]), []) if path.suffix == ".csv" else line.split("\t")
            assert sentences.isdisjoint(map(plain, texts)), f"{path.name}: {line}"


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


def test_a_mean_over_few_texts_is_said_to_be_no_prior_and_over_one_is_refused(
    label_scorer: LabelScorer, capsys: pytest.CaptureFixture[str]
) -> None:
    several = [f"oh {n}" for n in range(20)]
    Prior.measure([label_scorer], several)
    assert capsys.readouterr().err == ""
    Prior.measure([label_scorer], several[:19] * 10)
    said = capsys.readouterr().err
    assert "a mean over 19 different texts is no prior" in said and "--calibrate null" in said
    assert len(said.splitlines()) == 1
    with pytest.raises(LanserError, match="all texts of the input are the same.*--calibrate null"):
        Prior.measure([label_scorer], ["disgusting"] * 50)


def test_a_sure_label_is_not_calibrated_away(
    lanser: Lanser, tiny_nli: Path, tmp_path: Path
) -> None:
    one = {"id": "a", "text": "that sticky green stuff on the wall is disgusting"}
    path, prior = write_jsonl(tmp_path / "one.jsonl", [one]), tmp_path / "prior.json"
    line = ("entail-label", "--model", tiny_nli, "-t", "ekman6", "--device", "cpu")
    line += ("--calibrate", "batch", "--prior", prior)
    done = lanser(*line, path, check=1)
    assert done.stdout == b"" and b"all texts of the input are the same" in done.stderr
    assert not prior.exists()
    several = [{"id": f"b{n}", "text": f"oh {n}"} for n in range(3)]
    few = lanser(*line, write_jsonl(tmp_path / "few.jsonl", several), "-q")
    assert few.stderr.startswith(b"--calibrate batch: a mean over 3 different texts is no prior")
    again = lanser(*line, "-q", input=path.read_bytes())  # a stream has the prior that is kept
    assert again.stderr == b"" and len(again.stdout.splitlines()) == 1


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
    said = replace(MOODS, nouns=("bliss", *MOODS.nouns[1:]))  # a file that was edited since
    with pytest.raises(UsageError, match="other words for the labels"):
        prior.of_labels(LabelScorer(label_scorer.scorer, said, label_scorer.templates), "p.json")
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


@pytest.mark.parametrize("other", ["-o", "--rejects"])
def test_a_prior_is_neither_another_output_nor_lost_for_want_of_a_folder(
    other: str, lanser: Lanser, tmp_path: Path
) -> None:
    path = records(tmp_path)
    line = ("entail-label", path, "--calibrate", "batch", "--prior")
    done = lanser(*line, "x.json", other, "x.json", cwd=tmp_path, check=2)
    assert f"is that of {other} x.json".encode() in done.stderr
    done = lanser(*line, path, cwd=tmp_path, check=2)
    assert b"would overwrite the input" in done.stderr
    done = lanser(*line, "gone/x.json", "--model", "nowhere", cwd=tmp_path, check=1)
    assert b"there is no folder" in done.stderr  # which is said before a model is looked for
    assert not (tmp_path / "x.json").exists()


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


@pytest.mark.slow
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
