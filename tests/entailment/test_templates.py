"""Templates: files of them, and what has not exactly one slot."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanser_cli.entailment import (
    DEFAULT_TEMPLATE,
    SWEEP_TEMPLATES,
    Template,
    load_taxonomy,
    load_templates,
)
from lanser_cli.errors import UsageError


def test_none_is_the_default() -> None:
    assert load_templates([]) == (Template(DEFAULT_TEMPLATE),)
    assert load_templates(SWEEP_TEMPLATES)[0].text == DEFAULT_TEMPLATE


def test_files_and_words_together(tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    text = "# ours\nI feel {}.\n\n  I am {adjective}.  \n"
    path.write_text(text, encoding="utf-8-sig")  # as Windows marks UTF-8
    found = load_templates(["So {noun}!", str(path)])
    assert [template.text for template in found] == [
        "So {noun}!",
        "I feel {}.",
        "I am {adjective}.",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ok {}.\nnone\n", ":2: template 'none' must have exactly one slot"),
        ("{} {}\n", ":1: template '{} {}' must have exactly one slot"),
        ("{{}}\n", ":1: template '{{}}' must have exactly one slot"),
        ("# nothing\n", ": there is no template in it"),
        ("So {}.\nSo {}.\n", "template 'So {}.' is given twice"),
    ],
)
def test_faults_of_a_file(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_templates([str(path)])
    assert sentence in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.txt: templates cannot be read"):
        load_templates([str(tmp_path / "gone.txt")])


@pytest.mark.parametrize("text", SWEEP_TEMPLATES)
def test_those_of_the_sweep_say_each_label_differently(text: str) -> None:
    taxonomy = load_taxonomy("hume48")
    assert len(set(Template(text).hypotheses(taxonomy))) == 48
