"""A model is not asked what it cannot read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Lanser, write_jsonl

from lanser_cli.entailment import PairScorer, Taxonomy, Template, label, load_taxonomy
from lanser_cli.entailment.label_scorer import LabelScorer
from lanser_cli.entailment.taxonomy import taxonomy_names
from lanser_cli.entailment.templates import SWEEP_TEMPLATES
from lanser_cli.errors import UsageError
from lanser_cli.records import Record


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ("радость,грусть", "'радость', 'грусть'"),
        ("幸福,joy,愤怒", "'幸福', '愤怒'"),
        ("😀,😢", "'😀', '😢'"),
        ("joy,سعادة", "'سعادة'"),
    ],
)
def test_labels_that_the_embedded_model_cannot_read_are_named_before_the_first_record(
    lanser: Lanser, tmp_path: Path, labels: str, named: str
) -> None:
    path = write_jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": "I am so happy"}])
    done = lanser("entail-label", path, "--labels", labels, check=2)
    assert done.stdout == b""
    [line] = done.stderr.decode().splitlines()
    assert line.startswith(f"lanser: error: model 'embedded' cannot read {named}: ")


def test_a_taxonomy_or_template_that_cannot_be_read_is_refused_from_python_too() -> None:
    scorer = PairScorer()
    with pytest.raises(UsageError, match="cannot read '喜悦'"):
        next(label([Record({"id": "a", "text": "x"})], Taxonomy.of_labels(["喜悦", "joy"]), scorer))
    feelings = Taxonomy.of_labels(["joy", "anger"])
    with pytest.raises(UsageError, match="cannot read 'Этот человек чувствует"):
        LabelScorer(scorer, feelings, (Template("Этот человек чувствует {}."),))


def test_labels_that_a_model_reads_alike_are_refused(tiny_nli: Path) -> None:
    tiny = PairScorer(str(tiny_nli))  # which does not tell letter case
    for labels in (["joy", "Joy"], ["anger", "tedio", "tédio"]):
        with pytest.raises(UsageError, match=f"reads '{labels[-2]}', '{labels[-1]}' alike"):
            LabelScorer(tiny, Taxonomy.of_labels(labels), (Template("{}"),))
    twice = replace(Taxonomy.of_labels(["joy", "bliss", "anger"]), nouns=("joy", "joy", "anger"))
    with pytest.raises(UsageError, match="asked for 'joy', 'bliss' by one word, 'joy'"):
        LabelScorer(tiny, twice, (Template("{}"),))
    LabelScorer(tiny, twice, (Template("{adjective}"),))
    with pytest.raises(UsageError, match="cannot read '☺'"):
        LabelScorer(tiny, Taxonomy.of_labels(["joy", "☺"]), (Template("{}"),))


def test_all_that_ships_can_be_read_by_the_embedded_model() -> None:
    scorer = PairScorer()
    templates = tuple(Template(text) for text in SWEEP_TEMPLATES)
    for name in taxonomy_names():
        LabelScorer(scorer, load_taxonomy(name), templates)
    LabelScorer(scorer, Taxonomy.of_labels(["colère", "tristesse", "naïveté"]), templates)
