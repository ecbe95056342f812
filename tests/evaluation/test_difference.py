"""Differences between runs against scipy's paired tests, and what four speakers cannot show."""

from __future__ import annotations

import tracemalloc
from itertools import product

import numpy as np
import pytest
from scipy.stats import norm, permutation_test, ttest_rel
from sklearn.metrics import f1_score

from lanser_cli.errors import LanserError
from lanser_cli.evaluation.answers import Answers
from lanser_cli.evaluation.difference import difference, holm
from lanser_cli.records import Record

NAMES = ("a", "b")


def answers(right, *, per_class=10, classes="xy", speakers=True):
    """Answers of which `right[s, c]` of speaker s and class c are right; each has as many clips."""
    made = []
    for s, row in enumerate(right):
        for c, hits in enumerate(row):
            for clip in range(per_class):
                wrong = classes[(c + 1) % len(classes)]
                fields = {"label": classes[c], "prediction": classes[c] if clip < hits else wrong}
                fields |= {"speaker": str(s)} if speakers else {}
                made.append(Record({"id": f"{s}-{c}-{clip}", **fields}))
    return Answers.of(made)


def both(draw, units):
    return [draw.integers(2, 11, (units, 2)) for _ in NAMES]


@pytest.mark.parametrize("seed", range(3))
def test_interval_and_p_are_those_of_scipys_paired_tests(seed):
    ours, theirs = both(np.random.default_rng(seed), 8)
    found = difference(NAMES, answers(ours), answers(theirs)).scores["uar"]
    shares = ours.mean(axis=1) / 10, theirs.mean(axis=1) / 10
    paired = ttest_rel(shares[1], shares[0])
    bounds = paired.confidence_interval(0.95)
    assert found.difference.value == pytest.approx(shares[1].mean() - shares[0].mean(), abs=1e-6)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(bounds), abs=1e-6)
    exact = permutation_test(
        shares,
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert found.p == pytest.approx(exact.pvalue, abs=1e-6)


def test_exchanged_units_are_measured_anew_for_f1():
    draw = np.random.default_rng(5)
    ours, theirs = (answers(right) for right in both(draw, 4))
    truth = np.array(ours.truths)
    owner = np.array(ours.owners, int)
    given = np.array([ours.given, theirs.given])
    moved = []
    for ways in product((0, 1), repeat=4):
        side = np.array(ways)[owner]
        first = np.where(side == 0, given[0], given[1])
        second = np.where(side == 0, given[1], given[0])
        moved.append(
            f1_score(truth, second, average="macro") - f1_score(truth, first, average="macro")
        )
    p = np.mean(np.abs(moved) >= abs(moved[0]) - 1e-9)
    found = difference(NAMES, ours, theirs)
    assert found.scores["macro_f1"].p == pytest.approx(p)
    assert (found.flips, found.exact) == (16, True)


@pytest.mark.slow
def test_on_null_data_p_is_below_five_per_cent_in_at_most_six():
    """Two runs that are equally good, on speakers that differ: 1,000 simulated comparisons."""
    draw = np.random.default_rng(0)
    below = covered = 0
    for _ in range(1000):
        level = np.clip(0.6 + draw.normal(0, 0.12, (10, 1)), 0.05, 0.95)
        own = [np.clip(level + draw.normal(0, 0.05, (10, 2)), 0.01, 0.99) for _ in NAMES]
        found = difference(NAMES, *(answers(draw.binomial(10, chance)) for chance in own))
        uar = found.scores["uar"]
        below += uar.p < 0.05
        covered += uar.difference.low <= 0 <= uar.difference.high
    assert below <= 60
    assert 930 <= covered <= 970


def test_more_than_twenty_units_are_drawn_and_agree_with_all_flips():
    ours, theirs = both(np.random.default_rng(2), 24)
    found = difference(NAMES, answers(ours), answers(theirs))
    assert (found.units, found.flips, found.exact) == (24, 19_999, False)
    drawn = permutation_test(
        (ours.mean(axis=1), theirs.mean(axis=1)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=19_999,
        random_state=1,
    )
    assert found.scores["uar"].p == pytest.approx(drawn.pvalue, abs=0.02)
    assert found == difference(NAMES, answers(ours), answers(theirs))


def test_records_without_speakers_are_taken_one_by_one():
    ours, theirs = both(np.random.default_rng(3), 8)
    loose = difference(NAMES, answers(ours, speakers=False), answers(theirs, speakers=False))
    assert (loose.unit, loose.units) == ("record", 160)
    assert loose.scores["uar"].p == pytest.approx(
        ttest_rel(
            *(
                np.array([g == t for g, t in zip(a.given, a.truths, strict=True)], float)
                for a in (answers(ours), answers(theirs))
            )
        ).pvalue,
        abs=0.03,
    )


def test_flips_of_records_that_several_seeds_answered_take_no_memory_by_record():
    draw = np.random.default_rng(8)
    ours, theirs = (
        Answers.of(
            Record({"id": str(n), "label": "ab"[n % 2], "predictions": dict(zip("01", row))})  # noqa: B905
            for n, row in enumerate(draw.choice(["a", "b"], (5000, 2)).tolist())
        ).pooled("01")
        for _ in NAMES
    )
    tracemalloc.start()
    found = difference(NAMES, ours, theirs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.n, found.units, found.exact) == (10_000, 5000, False)
    error = (found.scores["wa"].difference.high - found.scores["wa"].difference.value) / 1.96
    expected = 2 * norm.sf(abs(found.scores["wa"].difference.value) / error)
    assert found.scores["wa"].p == pytest.approx(expected, abs=0.02)
    assert peak < 50e6


def test_four_speakers_cannot_reach_significance_and_six_can():
    worst, best = np.full((6, 2), 2), np.full((6, 2), 9)
    four = difference(NAMES, answers(worst[:4]), answers(best[:4]))
    assert four.scores["uar"].p == four.least_p == 2 / 16
    assert "4 speakers cannot reach p < 0.05" in four.reservation and "6 can" in four.reservation
    assert four.scores["uar"].difference.low is None and four.scores["uar"].detectable is None
    six = difference(NAMES, answers(worst), answers(best))
    assert six.scores["uar"].p == 2 / 64 and six.reservation == ""
    of_two = holm([six, four])
    assert of_two[0].scores["uar"].p_holm == 2 * 2 / 64
    assert "6 speakers cannot reach p < 0.05 of 2 comparisons" in of_two[0].reservation


def test_holm_steps_down():
    draw = np.random.default_rng(4)
    found = [difference(NAMES, *map(answers, both(draw, 7))) for _ in range(4)]
    adjusted = holm(found)
    for score in ("uar", "wa", "macro_f1"):
        plain = [each.scores[score].p for each in found]
        order = np.argsort(plain)
        largest, expected = 0.0, {}
        for rank, place in enumerate(order):
            largest = max(largest, min(1.0, plain[place] * (4 - rank)))
            expected[place] = largest
        assert [each.scores[score].p_holm for each in adjusted] == pytest.approx(
            [expected[place] for place in range(4)], abs=1e-6
        )
        assert [each.scores[score].p for each in adjusted] == plain


def test_no_chance_is_more_than_one():
    same = answers(np.full((6, 2), 5))
    for each in holm([difference(NAMES, same, same)] * 3):
        assert all(score.p == score.p_holm == 1.0 for score in each.scores.values())


def test_a_true_difference_of_the_detectable_size_is_found_four_times_in_five():
    draw = np.random.default_rng(6)
    one = difference(NAMES, *(answers(draw.integers(3, 8, (12, 2))) for _ in NAMES))
    uar = one.scores["uar"]
    reach = uar.difference.high - uar.difference.value
    from scipy.stats import t as student

    error = reach / student.ppf(0.975, 11)
    samples = draw.normal(uar.detectable, error * np.sqrt(12), (20_000, 12))
    t = samples.mean(axis=1) / (samples.std(axis=1, ddof=1) / np.sqrt(12))
    power = np.mean(np.abs(t) > student.ppf(0.975, 11))
    assert power == pytest.approx(0.8, abs=0.01)


def test_other_records_are_refused_with_the_first_of_them():
    ours = answers(np.full((6, 2), 5))
    fewer = answers(np.full((5, 2), 5))
    with pytest.raises(LanserError, match="'5-0-0' is in a but not in b"):
        difference(NAMES, ours, fewer)
    with pytest.raises(LanserError, match="'5-0-0' is in b but not in a"):
        difference(NAMES, fewer, ours)
    other = answers(np.full((6, 2), 5), classes="xz")
    with pytest.raises(LanserError, match="truth of '0-1-0' is 'y' in a and 'z' in b"):
        difference(NAMES, ours, other)
    with pytest.raises(LanserError, match="units of a are speakers, those of b records"):
        difference(NAMES, ours, answers(np.full((6, 2), 5), speakers=False))
    moved = answers(np.full((6, 2), 5))
    moved.owners[moved.ids.index("2-0-0")] = "4"
    with pytest.raises(LanserError, match="speaker of '2-0-0' is '2' in a and '4' in b"):
        difference(NAMES, ours, moved)


def test_the_order_of_the_records_does_not_matter():
    ours, theirs = map(answers, both(np.random.default_rng(7), 6))
    back = [slice(None, None, -1)] * 4
    turned = Answers(
        theirs.ids[back[0]],
        theirs.truths[back[1]],
        theirs.given[back[2]],
        theirs.unit,
        theirs.owners[back[3]],
    )
    assert difference(NAMES, ours, turned) == difference(NAMES, ours, theirs)
