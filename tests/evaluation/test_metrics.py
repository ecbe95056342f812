"""UAR, WA and F1 against scikit-learn, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, recall_score

from lanser_cli.errors import LanserError
from lanser_cli.evaluation.metrics import measure
from lanser_cli.records import Record


def records(pairs, speakers=None):
    made = [Record({"id": str(i), "label": t, "prediction": p}) for i, (t, p) in enumerate(pairs)]
    if speakers:
        made = [r.with_fields(speaker=s) for r, s in zip(made, speakers, strict=True)]
    return made


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1))
@settings(max_examples=60, deadline=None)
def test_scores_are_scikit_learns(pairs):
    true, given_ = zip(*pairs, strict=True)
    result = measure(records(pairs))
    present = sorted(set(true))
    both = sorted(set(true) | set(given_))
    assert result.wa.value == pytest.approx(accuracy_score(true, given_), abs=1e-6)
    uar = recall_score(true, given_, labels=present, average="macro", zero_division=0)
    assert result.uar.value == pytest.approx(uar, abs=1e-6)
    for average, mine in (("macro", result.macro_f1), ("weighted", result.weighted_f1)):
        theirs = f1_score(true, given_, labels=both, average=average, zero_division=0)
        assert mine.value == pytest.approx(theirs, abs=1e-6)
    assert result.chance == pytest.approx(1 / len(present))
    for estimate in (result.uar, result.wa):
        assert 0 <= estimate.low <= estimate.high <= 1


def test_uar_and_wa_are_not_swapped():
    result = measure(records([("a", "a")] * 9 + [("b", "a")]))
    assert result.wa.value == 0.9
    assert result.uar.value == 0.5


def test_a_missing_answer_is_a_wrong_one():
    judged = [*records([("a", "a")]), Record({"id": "x", "label": "b"})]
    result = measure(judged)
    assert result.wa.value == 0.5 and "(none)" in result.labels


def test_intervals_cover_and_shrink():
    draw = np.random.default_rng(0)

    def width(n):
        pairs = [
            (t, t if draw.random() < 0.7 else "ab"[t == "a"]) for t in draw.choice(["a", "b"], n)
        ]
        wa = measure(records(pairs)).wa
        assert wa.low < 0.72 and wa.high > 0.68
        return wa.high - wa.low

    assert width(100) > 2 * width(2000)
    # a proportion of 0.7 over 2,000: 1.96 * 2 * sqrt(0.21 / 2000) = 0.040
    assert width(2000) == pytest.approx(0.040, rel=0.25)


def test_intervals_resample_speakers_where_they_are_named():
    pairs = [("ab"[i % 2], "ab"[i % 2] if i // 20 % 2 else "ba"[i % 2]) for i in range(200)]
    plain = measure(records(pairs))
    clustered = measure(records(pairs, [f"s{i // 20}" for i in range(200)]))
    assert (plain.resampled, clustered.resampled) == ("record", "speaker")
    # all clips of a speaker are right or all are wrong: ten things were measured, not 200
    assert clustered.wa.high - clustered.wa.low > 3 * (plain.wa.high - plain.wa.low)


def test_same_seed_same_interval():
    pairs = [("a", "a"), ("b", "a"), ("b", "b"), ("a", "b"), ("a", "a")]
    assert measure(records(pairs), seed=1) == measure(records(pairs), seed=1)


def test_nothing_to_compare():
    with pytest.raises(LanserError, match="no record has 'label'"):
        measure([Record({"id": "a", "prediction": "x"})])
    with pytest.raises(LanserError, match="no record has 'prediction'"):
        measure([Record({"id": "a", "label": "x"})])
