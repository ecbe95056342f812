"""Probes, scores and verdicts against features whose knowledge is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lanser_cli.errors import LanserError
from lanser_cli.prosody.controls import one_hot, shuffled
from lanser_cli.prosody.probes import PENALTIES, Answers, _ridge, answer, splits
from lanser_cli.prosody.scores import average, score
from lanser_cli.prosody.table import Table, table
from lanser_cli.prosody.verdict import estimate, judge

SPEAKERS, CLIPS, WIDTH = 8, 30, 12


class Corpus:
    """Made-up utterances of `SPEAKERS` speakers, women and men in turns."""

    def __init__(self, seed: int = 0, speakers: int = SPEAKERS) -> None:
        self.draw = np.random.default_rng(seed)
        self.n = speakers * CLIPS
        self.who = np.arange(self.n) % speakers
        self.speakers = [f"s{one}" for one in self.who]
        self.everyone = np.arange(self.n)
        self.sex = [("female", "male")[one % 2] for one in self.who]

    def noise(self, width: int = WIDTH):
        return self.draw.standard_normal((self.n, width))

    def folds(self, folds: int = 4):
        return splits(self.speakers, [self.everyone], folds)

    def table(self, trained, targets, **controls) -> Table:
        columns = {"trained": [{"": trained}]}
        columns |= {name: [{"": features}] for name, features in controls.items()}
        return table(columns, targets, self.speakers, self.folds())


# ---------------------------------------------------------------- folds


def test_no_speaker_is_on_both_sides_of_an_outer_or_inner_fold() -> None:
    corpus = Corpus()
    speakers = np.array(corpus.speakers)
    tested = []
    for split in corpus.folds(5):
        sides = [(split.train, split.test), *split.inner]
        assert all(not set(speakers[a]) & set(speakers[b]) for a, b in sides)
        assert all(set(a) | set(b) == set(split.train) for a, b in split.inner)
        tested += list(split.test)
    assert sorted(tested) == list(range(corpus.n))


def test_networks_are_never_mixed() -> None:
    corpus = Corpus()
    parts = [np.flatnonzero(corpus.who < 4), np.flatnonzero(corpus.who >= 4)]
    for split in splits(corpus.speakers, parts, 5):
        [part] = [set(part) for part in parts if set(split.test) & set(part)]
        assert set(split.train) | set(split.test) <= part


def test_one_speaker_is_refused_with_the_reason() -> None:
    with pytest.raises(LanserError, match="by 's0': a probe is tested on another speaker"):
        splits(["s0"] * 30, [np.arange(30)], 5)


def test_a_single_utterance_to_be_trained_on_is_refused_with_the_reason() -> None:
    with pytest.raises(LanserError, match="'a', one of two speakers, has one utterance"):
        splits(["a", "b", "b"], [np.arange(3)], 2)


def test_of_two_speakers_each_is_tested_by_the_other() -> None:
    corpus = Corpus(speakers=2)
    found = splits(corpus.speakers, [corpus.everyone], 5)
    assert len(found) == 2 and all(split.inner for split in found)


# ---------------------------------------------------------------- ridge


def test_the_ridge_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    draw = np.random.default_rng(1)
    for width in (5, 80):  # fewer and more features than utterances
        x, y, unseen = (draw.standard_normal(shape) for shape in ((40, width), (40, 2), (9, width)))
        scaler = StandardScaler().fit(x)
        ours = _ridge(x, y, unseen)
        for place in (0, 5, 14):
            theirs = Ridge(alpha=PENALTIES[place]).fit(scaler.transform(x), y)
            np.testing.assert_allclose(
                ours[place], theirs.predict(scaler.transform(unseen)), atol=1e-8
            )


def test_a_target_that_is_in_the_features_is_read_off_and_another_is_not() -> None:
    corpus = Corpus()
    x = corpus.noise()
    y = np.stack([x @ corpus.draw.standard_normal(WIDTH), corpus.draw.standard_normal(corpus.n)], 1)
    for probe, least in (("ridge", 0.95), ("mlp", 0.8)):
        found = score(answer({"": x}, y, corpus.folds(), probe=probe), y, corpus.speakers)
        assert found.r2[0] > least and found.spearman[0] > 0.9, probe
        assert found.r2[1] < 0.05 and abs(found.spearman[1]) < 0.3, probe
        assert found.n.tolist() == [corpus.n] * 2


def test_the_hidden_layer_finds_what_no_weighted_sum_can() -> None:
    corpus = Corpus()
    x = corpus.noise(2)
    y = np.abs(x[:, :1]) * 3
    linear, hidden = (
        score(answer({"": x}, y, corpus.folds(), probe=probe), y, corpus.speakers).r2[0]
        for probe in ("ridge", "mlp")
    )
    assert linear < 0.1 and hidden > 0.5


def test_r2_is_the_share_of_the_variance_that_is_in_the_features() -> None:
    corpus = Corpus(speakers=60)
    x = corpus.noise()
    y = x[:, :1] + corpus.draw.standard_normal((corpus.n, 1))
    found = score(answer({"": x}, y, corpus.folds()), y, corpus.speakers)
    assert found.r2[0] == pytest.approx(0.5, abs=0.05)
    assert found.within[0] == pytest.approx(0.5, abs=0.05)


def test_the_layer_is_chosen_on_the_inner_folds() -> None:
    corpus = Corpus()
    layers = {"stem": corpus.noise(), "block": corpus.noise()}
    y = np.stack([layers["stem"][:, 0], layers["block"][:, 0]], axis=1)
    found = answer(layers, y, corpus.folds())
    np.testing.assert_array_equal(found.chosen[:, 0], found.by_layer["stem"][:, 0])
    np.testing.assert_array_equal(found.chosen[:, 1], found.by_layer["block"][:, 1])


def test_scale_and_offset_of_features_and_targets_do_not_matter() -> None:
    corpus = Corpus()
    x = corpus.noise()
    y = x[:, :1] + 0.5 * corpus.draw.standard_normal((corpus.n, 1))
    plain = score(answer({"": x}, y, corpus.folds()), y, corpus.speakers)
    x, y = x * np.logspace(-4, 4, WIDTH) + 1000, 100 * y - 7
    odd = score(answer({"": x}, y, corpus.folds()), y, corpus.speakers)
    assert odd.r2[0] == pytest.approx(plain.r2[0], abs=1e-6)
    assert odd.within[0] == pytest.approx(plain.within[0], abs=1e-6)


def test_an_utterance_without_the_target_is_left_out_for_that_target_only() -> None:
    corpus = Corpus()
    x = corpus.noise()
    y = x[:, :2].copy()
    y[::3, 1] = np.nan
    found = answer({"": x}, y, corpus.folds())
    assert np.isfinite(found.chosen[:, 0]).all()
    assert np.array_equal(np.isnan(found.chosen[:, 1]), np.isnan(y[:, 1]))
    assert score(found, y, corpus.speakers).n.tolist() == [240, 160]
    alone = answer({"": x}, y[:, 1:], corpus.folds())
    np.testing.assert_allclose(alone.chosen[:, 0], found.chosen[:, 1], rtol=1e-9)


def test_dead_features_and_too_few_utterances_do_no_harm() -> None:
    corpus = Corpus()
    x = np.concatenate([corpus.noise(), np.full((corpus.n, 3), 0.1)], axis=1).astype(np.float32)
    y = np.concatenate([x[:, :1], np.full((corpus.n, 1), np.nan)], axis=1)
    y[:5, 1] = 1.0
    found = score(answer({"": x}, y, corpus.folds()), y, corpus.speakers)
    assert found.r2[0] > 0.95
    assert found.n[1] == 0 and math.isnan(found.r2[1]) and math.isnan(found.within[1])


def test_features_that_are_not_finite_are_one_error() -> None:
    corpus = Corpus()
    x = corpus.noise()
    x[3, 1] = np.inf
    with pytest.raises(LanserError, match="1 of 240 utterances have NaN or infinite .* block 2"):
        answer({"block 2": x}, x[:, :1], corpus.folds())


# ---------------------------------------------------------------- scores


def test_scores_are_those_of_scikit_learn_and_scipy() -> None:
    from scipy.stats import spearmanr
    from sklearn.metrics import r2_score

    draw = np.random.default_rng(0)
    y, guess = draw.standard_normal((2, 40, 1))
    guess = 0.7 * y + 0.3 * guess
    who = ["a", "b"] * 20
    found = score(Answers(guess, {}, np.full_like(y, y.mean())), y, who)
    assert found.r2[0] == pytest.approx(r2_score(y, guess))
    assert found.spearman[0] == pytest.approx(spearmanr(y[:, 0], guess[:, 0]).statistic)
    less = [
        np.concatenate([x[0::2] - x[0::2].mean(), x[1::2] - x[1::2].mean()]) for x in (y, guess)
    ]
    assert found.within[0] == pytest.approx(r2_score(*less))
    mine = r2_score(y[::2] - y[::2].mean(), guess[::2] - guess[::2].mean())
    assert found.by_speaker[1, 0, 0] == pytest.approx(mine)


def test_r2_is_clipped_and_an_average_is_that_of_the_seeds() -> None:
    y = np.array([[0.0], [1.0], [0.0], [1.0]])
    who = ["a", "a", "b", "b"]
    bad = score(Answers(100 - y, {}, np.full_like(y, 0.5)), y, who)
    good = score(Answers(y, {}, np.full_like(y, 0.5)), y, who)
    assert bad.r2[0] == bad.within[0] == -1.0 and good.r2[0] == 1.0
    assert average([bad, good]).r2[0] == 0.0


def test_what_does_not_vary_within_a_speaker_has_no_score_there() -> None:
    corpus = Corpus()
    y = corpus.who[:, None].astype(float)
    found = score(answer({"": y}, y, corpus.folds()), y, corpus.speakers)
    assert found.r2[0] > 0.9 and math.isnan(found.within[0])


# ---------------------------------------------------------------- verdicts


def pitch_of(corpus: Corpus):
    """A target that sex explains in part, and each utterance in part: `[n]`."""
    own = corpus.draw.standard_normal(corpus.n)
    return 3.0 * (np.array(corpus.sex) == "female") + own, own


def test_features_that_hold_a_target_are_shown() -> None:
    corpus = Corpus()
    pitch, own = pitch_of(corpus)
    x = np.concatenate([corpus.noise(), own[:, None]], axis=1)
    found = corpus.table(x, {"pitch": pitch}, sex=one_hot(corpus.sex), random=corpus.noise())
    assert found.decisive.word == "shown"
    assert found.decisive.difference.low > 0.5
    assert found.as_json()["verdict"] == "shown"
    assert found.decisive.sentence("pitch").startswith("Shown: ")


@pytest.mark.parametrize("seed", range(5))
def test_random_features_are_not_shown(seed: int) -> None:
    corpus = Corpus(seed)
    pitch, _ = pitch_of(corpus)
    found = corpus.table(corpus.noise(), {"pitch": pitch}, random=corpus.noise())
    assert found.decisive.word == "not shown"


def test_features_that_hold_only_sex_know_nothing_within_a_speaker() -> None:
    corpus = Corpus()
    pitch, _ = pitch_of(corpus)
    x = np.concatenate([one_hot(corpus.sex), 0.01 * corpus.noise()], axis=1)
    found = corpus.table(x, {"pitch": pitch}, random=corpus.noise())
    assert found.verdicts["r2"].word == "shown"  # against features that do not even know sex
    assert found.columns["trained"].r2[0] > 0.5
    assert found.columns["trained"].within[0] < 0.05
    assert found.decisive.word == "not shown"
    against_sex = corpus.table(x, {"pitch": pitch}, sex=one_hot(corpus.sex))
    assert against_sex.verdicts["r2"].word == "not shown"


def test_it_is_the_best_control_that_counts() -> None:
    corpus = Corpus()
    pitch, own = pitch_of(corpus)
    x = np.concatenate([corpus.noise(), own[:, None]], axis=1)
    found = corpus.table(x, {"pitch": pitch}, random=corpus.noise(), as_good=x.copy())
    assert found.decisive.control == "as_good"
    assert found.decisive.word == "not shown"


def test_fewer_than_six_speakers_have_values_and_no_verdict() -> None:
    corpus = Corpus(speakers=5)
    pitch, own = pitch_of(corpus)
    found = corpus.table(own[:, None], {"pitch": pitch}, random=corpus.noise())
    assert found.decisive.word == "no verdict" and found.decisive.shown is None
    assert found.decisive.difference.value > 0.5 and found.decisive.difference.low is None
    assert "5 speakers" in found.decisive.sentence("pitch")


def test_an_interval_over_speakers_is_students() -> None:
    from scipy import stats

    values = np.array([0.1, 0.4, 0.2, 0.35, 0.3, 0.15, np.nan])
    found = estimate(values)
    known = values[:-1]
    low, high = stats.t.interval(0.95, 5, known.mean(), stats.sem(known))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


def test_the_comparison_is_paired_over_speakers() -> None:
    level = np.linspace(-0.5, 0.5, 8)  # speakers differ far more than the columns do
    found = judge(level + 0.1, {"control": level + 0.001 * np.arange(8)})
    assert found.shown and found.difference.value == pytest.approx(0.0965)


def test_the_best_control_has_the_highest_mean_though_another_may_be_harder_to_surpass() -> None:
    even = np.linspace(-0.001, 0.001, 8)
    uneven = np.where(np.arange(8) % 2, 0.4, -0.42)
    found = judge(np.full(8, 0.1), {"even": even, "uneven": uneven})
    assert (found.control, found.shown) == ("even", True)
    assert judge(np.full(8, 0.1), {"uneven": uneven}).shown is False


def test_a_verdict_on_noise_is_seldom_shown() -> None:
    """Over 400 draws of eight speakers, the better of two controls: one in forty at most."""
    draw = np.random.default_rng(0)
    shown = [
        judge(draw.standard_normal(8), {name: draw.standard_normal(8) for name in "ab"}).shown
        for _ in range(400)
    ]
    assert np.mean(shown) <= 0.025


# ---------------------------------------------------------------- controls


def test_shuffled_deals_out_the_same_rows_within_a_part() -> None:
    x = np.arange(40.0).reshape(20, 2)
    parts = [np.arange(0, 20, 2), np.arange(1, 20, 2)]
    dealt = shuffled(x, parts, 5)
    for rows in parts:
        assert sorted(map(tuple, dealt[rows])) == sorted(map(tuple, x[rows]))
    assert (dealt != x).any()
    np.testing.assert_array_equal(dealt, shuffled(x, parts, 5))


def test_shuffled_utterances_know_nothing() -> None:
    corpus = Corpus()
    x = corpus.noise()
    y = x[:, :1] + 0.1 * corpus.noise(1)
    dealt = shuffled(x, [corpus.everyone], 0)
    found = score(answer({"": dealt}, y, corpus.folds()), y, corpus.speakers)
    assert found.r2[0] < 0.05
