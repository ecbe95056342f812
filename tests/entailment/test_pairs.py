"""Pairs of premise and hypothesis, as tokens."""

from __future__ import annotations

from pathlib import Path

from lanser_cli.entailment.pairs import PairEncoder


def test_the_end_of_an_endless_text_is_not_tokenised(tiny_nli: Path) -> None:
    from transformers import AutoTokenizer

    encoder = PairEncoder(AutoTokenizer.from_pretrained(tiny_nli), 128, "tiny")
    endless, long = "a b c " * 200_000, "a b c " * 10_000
    [some], [head] = encoder.heads([endless]), encoder.heads([long])
    assert 128 < len(some) <= 100_000 and some[: len(head)] == head
    assert encoder.truncates([endless, "a b c"], ["d"]) == [True, False]
