"""UAR, WA and F1 against scikit-learn, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student
from sklearn.metrics import accuracy_score, f1_score, recall_score

from lanser_cli.errors import LanserError, UsageError
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
    assert result.wa.value == pytest.approx(accuracy_score(true, given_), abs=1e-6)
    uar = recall_score(true, given_, labels=present, average="macro", zero_division=0)
    assert result.uar.value == pytest.approx(uar, abs=1e-6)
    for average, mine in (("macro", result.macro_f1), ("weighted", result.weighted_f1)):
        theirs = f1_score(true, given_, labels=present, average=average, zero_division=0)
        assert mine.value == pytest.approx(theirs, abs=1e-6)
    assert result.chance == pytest.approx(1 / len(present))
    for estimate in (result.uar, result.wa):
        if estimate.low is not None:
            assert len(pairs) >= 5 and 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert sum(result.strays.values()) == sum(one not in present for one in given_)


def test_uar_and_wa_are_not_swapped():
    result = measure(records([("a", "a")] * 9 + [("b", "a")]))
    assert result.wa.value == 0.9
    assert result.uar.value == 0.5


def test_a_missing_answer_is_a_wrong_one():
    judged = [*records([("a", "a")]), Record({"id": "x", "label": "b"})]
    result = measure(judged)
    assert result.wa.value == 0.5 and (result.missing, result.strays) == (1, {})
    assert result.labels == ("a", "b")


def test_one_stray_answer_in_400_is_no_class_of_its_own():
    pairs = [("abcd"[i % 4],) * 2 for i in range(399)]
    whole = measure(records([*pairs, ("d", "d")]))
    stray = measure(records([*pairs, ("d", "rage")]))
    assert whole.macro_f1.value == 1.0
    assert stray.macro_f1.value == pytest.approx(1.0, abs=0.003) and stray.strays == {"rage": 1}
    assert sum(map(sum, stray.confusion)) == 399
    missing = measure([*records(pairs), Record({"id": "x", "label": "d"})])
    assert missing.macro_f1 == stray.macro_f1 and missing.missing == 1


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


def test_intervals_are_over_speakers_where_they_are_named():
    pairs = [("ab"[i % 2], "ab"[i % 2] if i // 20 % 2 else "ba"[i % 2]) for i in range(200)]
    plain = measure(records(pairs))
    clustered = measure(records(pairs, [f"s{i // 20}" for i in range(200)]))
    assert (plain.unit, plain.units) == ("record", 200)
    assert (clustered.unit, clustered.units) == ("speaker", 10)
    # all clips of a speaker are right or all are wrong: ten things were measured, not 200
    assert clustered.wa.high - clustered.wa.low > 3 * (plain.wa.high - plain.wa.low)


def test_a_unit_of_each_record_gives_what_alike_records_give_together():
    """Records are counted by kind; the intervals must be those of the plain jackknife."""
    pairs = [("a", "a"), ("b", "a"), ("b", "b"), ("a", "b"), ("a", "a"), ("b", "c")] * 3
    plain = measure(records(pairs))
    named = measure(records(pairs, [f"s{i}" for i in range(len(pairs))]))
    for one, two in ((plain.uar, named.uar), (plain.macro_f1, named.macro_f1)):
        assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high))


def test_an_interval_of_a_mean_is_students():
    """Of accuracy over speakers who said as much, the jackknife is the plain t interval."""
    right = (3, 5, 6, 8, 9, 9)
    pairs = [("a", "a" if i < n else "b") for n in right for i in range(10)]
    speakers = [f"s{s}" for s in range(len(right)) for _ in range(10)]
    wa = measure(records(pairs, speakers)).wa
    shares = np.array(right) / 10
    low, high = student.interval(0.95, 5, shares.mean(), shares.std(ddof=1) / np.sqrt(6))
    assert (wa.low, wa.high) == pytest.approx((low, min(high, 1.0)), abs=1e-6)


def test_few_speakers_have_no_interval_and_it_says_why():
    pairs = [("ab"[i % 2], "ab"[i % 3 % 2]) for i in range(40)]
    few = measure(records(pairs, [f"s{i % 4}" for i in range(40)]))
    assert (few.uar.low, few.uar.high, str(few.wa)) == (None, None, f"{few.wa.value:.3f}")
    assert few.interval == "no intervals, which need 5 speakers: there are 4 speakers"
    assert measure(records(pairs, ["s"] * 40)).interval.endswith("there is one speaker")
    assert measure(records(pairs, [f"s{i % 5}" for i in range(40)])).uar.low is not None


def test_speakers_who_are_all_alike_have_no_interval_of_no_width():
    pairs = [("ab"[i % 2], "ab"[i % 2]) for i in range(40)]
    sure = measure(records(pairs, [f"s{i % 5}" for i in range(40)]))
    assert (sure.uar.value, sure.uar.low, str(sure.uar)) == (1.0, None, "1.000")
    assert sure.interval == "no intervals, since all 5 speakers are alike"
    assert measure(records(pairs)).wa.low is None


def test_more_classes_than_labels_can_be_are_another_key():
    with pytest.raises(UsageError, match="'label' has 501 different values: it is no label"):
        measure(records([(f"t{n}", "a") for n in range(501)]))


def test_the_unit_can_be_named():
    made = [
        r.with_fields(voice=i % 6) for i, r in enumerate(records([("a", "a"), ("b", "a")] * 30))
    ]
    result = measure(made, by="voice")
    assert (result.unit, result.units) == ("voice", 6)
    with pytest.raises(UsageError, match="--by voice: 1 of 61 records do not have it"):
        measure([*made, *records([("a", "a")])], by="voice")


def test_nothing_to_compare():
    with pytest.raises(LanserError, match="no record has 'label'"):
        measure([Record({"id": "a", "prediction": "x"})])
    with pytest.raises(LanserError, match="no record has 'prediction'"):
        measure([Record({"id": "a", "label": "x"})])
