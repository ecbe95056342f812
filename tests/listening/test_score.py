"""listen --score: what the marks of a sample say of all labels."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Lanser, read_jsonl, write_jsonl

from lanser_cli.entailment.why import Part, Reasons
from lanser_cli.listening.estimates import Drawn, certify, fewest_marks, lower_bound, share
from lanser_cli.listening.marks import Marks, digest
from lanser_cli.listening.score import scores_of
from lanser_cli.records import Record

RNG = np.random.default_rng
TOPS = np.full(4, np.inf)
"""Of strata of which no margin is known."""


def sample_of(path: Path, counts: dict[str, tuple[int, int]]) -> list[dict]:
    """A sample with so many of each label, out of so many."""
    values = [
        {
            "id": f"{label}-{number}",
            "emotion": label,
            "emotion_scores": {name: 0.5 for name in counts},
            "entailment": {"margin": round(number / 10, 1)},
            "pick": {"stratum": label, "probability": picked / size},
        }
        for label, (picked, size) in counts.items()
        for number in range(picked)
    ]
    write_jsonl(path, values)
    return values


def marks_of(path: Path, values: list[dict], hear: Callable[[dict], str | None]) -> Path:
    page = digest([Record(value) for value in values])
    return write_jsonl(
        path, [{"id": value["id"], "label": hear(value), "page": page} for value in values]
    )


def drawn(right: np.ndarray, weights: np.ndarray) -> Drawn:
    """Marks of one stratum, all inside."""
    return Drawn(right, np.ones(len(right), bool), weights, np.zeros(len(right), int), TOPS)


def test_scores_are_weighted_by_hand_made_probabilities(lanser: Lanser, tmp_path: Path) -> None:
    values = sample_of(tmp_path / "s.jsonl", {"joy": (40, 400), "anger": (20, 40)})
    # All anger is right but 5, in truth joy; all joy is right but 10: 4 none of these, 6 anger.
    wrong = {f"anger-{n}": "joy" for n in range(5)}
    wrong |= {f"joy-{n}": "none of these" if n < 4 else "anger" for n in range(10)}
    marks = marks_of(tmp_path / "m.jsonl", values, lambda v: wrong.get(v["id"], v["emotion"]))
    done = lanser("listen", tmp_path / "s.jsonl", "--score", marks, "--precision", "0.7")
    every, anger, joy = read_jsonl(done.stdout)
    assert [one["label"] for one in (every, anger, joy)] == [None, "anger", "joy"]
    assert every["precision"]["value"] == pytest.approx((300 + 30) / 440)
    assert joy["precision"]["value"] == 0.75 and anger["precision"]["value"] == 0.75
    assert joy["recall"]["value"] == pytest.approx(300 / (300 + 10))
    assert anger["recall"]["value"] == pytest.approx(30 / (30 + 60))
    assert (joy["labels"], anger["labels"]) == (400, 40)
    # Korn and Graubard's number for a recall of 30 / 90: misses are 6 of 40 that weigh 10 each.
    joy_part = 6 * (10 / 90 / 3) ** 2 - 40 * (6 / 40 * 10 / 90 / 3) ** 2
    anger_part = 15 * (2 / 90 * 2 / 3) ** 2 - 20 * (15 / 20 * 2 / 90 * 2 / 3) ** 2
    worth = 1 / 3 * 2 / 3 / (joy_part + anger_part)
    kish = 90**2 / (6 * 10**2 + 15 * 2**2)
    assert anger["effective"] == {"precision": 20, "recall": round(min(kish, worth), 1)}
    # Mistakes have the lowest margins: 29 of 29 are right from 1.1 on, but 30 of 36 from 0.4 on.
    certified = joy["certified"]
    assert (certified["min_margin"], certified["marks"], certified["coverage"]) == (1.1, 29, 0.725)
    assert certified["low"] == pytest.approx(0.05 ** (1 / 29), abs=1e-4)
    assert b"certified: joy >= 0.7 at margin >= 1.1, 95% sure; it keeps 72%" in done.stderr
    curve = joy["curve"]
    assert [point["min_margin"] for point in curve] == sorted(p["min_margin"] for p in curve)
    assert curve[0]["coverage"] == 1 and curve[0]["precision"]["value"] == 0.75
    assert curve[-1]["precision"]["value"] == 1


def test_marks_that_are_missing_share_their_weight_and_are_counted(
    lanser: Lanser, tmp_path: Path
) -> None:
    values = sample_of(tmp_path / "s.jsonl", {"joy": (10, 100), "anger": (10, 10), "fear": (5, 50)})
    marks = marks_of(tmp_path / "m.jsonl", values, lambda v: v["emotion"])
    kept = [
        json.dumps({**mark, "label": None} if mark["id"] == "joy-0" else mark)
        for mark in read_jsonl(marks)
        if not mark["id"].startswith("fear") and mark["id"] not in ("joy-1", "anger-1")
    ]
    marks.write_text("\n".join(kept) + "\n")
    done = lanser("listen", tmp_path / "s.jsonl", "--score", marks)
    assert [one["labels"] for one in read_jsonl(done.stdout)] == [110, 10, 100]
    assert b"17 used, 0 rejected, 1 dropped (cannot tell), 7 dropped (not heard)" in done.stderr
    assert b"nothing was heard of 'fear'" in done.stderr
    assert b"0.8 takes at least 14 marks of a label" in done.stderr


def test_two_samples_of_strata_of_one_name_keep_their_own_weights(
    lanser: Lanser, tmp_path: Path
) -> None:
    values = sample_of(tmp_path / "s.jsonl", {"joy": (20, 1980)})
    for value in values[:10]:  # all that a small corpus has
        value["pick"]["probability"] = 0.5
    write_jsonl(tmp_path / "s.jsonl", values)
    small = {value["id"] for value in values[:10]}
    marks = marks_of(
        tmp_path / "m.jsonl", values, lambda v: "none of these" if v["id"] in small else "joy"
    )
    every = read_jsonl(lanser("listen", tmp_path / "s.jsonl", "--score", marks).stdout)[0]
    assert every["labels"] == 20 + 990
    assert every["precision"]["value"] == pytest.approx(990 / 1010, abs=1e-6)


def test_an_interval_of_a_share_lies_between_0_and_1() -> None:
    for right in (False, True):
        for count in range(1, 40):
            found = share(Drawn(*(np.full(count, one) for one in (right, True, 1.0, 0)), TOPS))
            assert found is not None and "-" not in str(found)
            assert 0 <= (found.low or 0) <= (found.high or 0) <= 1


def test_marks_of_another_page_are_refused(lanser: Lanser, tmp_path: Path) -> None:
    values = sample_of(tmp_path / "s.jsonl", {"joy": (3, 10)})
    marks = marks_of(tmp_path / "m.jsonl", values, lambda v: "joy")
    for label in ("Joy", "", ...):  # another spelling would be a label of its own; and none at all
        told = [mark | {"label": label} for mark in read_jsonl(marks)]
        other = [{k: v for k, v in mark.items() if v is not ...} for mark in told]
        write_jsonl(tmp_path / "hand-made.jsonl", other)
        done = lanser(
            *("listen", tmp_path / "s.jsonl", "--score", tmp_path / "hand-made.jsonl"), check=1
        )
        assert b"the mark of 'joy-0' has no label of the page" in done.stderr
    values[0]["text"] = "another text"
    write_jsonl(tmp_path / "s.jsonl", values)
    done = lanser("listen", tmp_path / "s.jsonl", "--score", marks, check=2)
    assert b"the marks are of another page" in done.stderr and done.stdout == b""
    both = lanser("listen", tmp_path / "s.jsonl", check=2)
    assert b"either -o PAGE" in both.stderr


def test_intervals_and_bounds_are_those_of_scipy() -> None:
    from scipy.stats import binomtest

    hits, weights = np.arange(30) < 24, np.full(30, 7.0)
    exact = binomtest(24, 30)
    wilson = exact.proportion_ci(method="wilson")
    found = share(drawn(hits, weights))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=1e-6)
    one_sided = binomtest(24, 30, alternative="greater").proportion_ci(0.95, method="exact")
    assert lower_bound(drawn(hits, weights)) == pytest.approx(one_sided.low)
    assert drawn(np.ones(3, bool), np.array([1.0, 1.0, 2.0])).effective == pytest.approx(16 / 6)
    assert fewest_marks(0.8) == 14 and 0.8**14 < 0.05 < 0.8**13


def test_a_label_that_is_always_right_is_no_surer_than_its_marks() -> None:
    rng = RNG(4)
    for _ in range(50):  # sums in another order differ in their last digits
        strata = rng.integers(0, 4, 60)
        weights, inside = rng.uniform(1, 50, 4)[strata], rng.random(60) < 0.6
        sure = Drawn(inside | (rng.random(60) < 0.5), inside, weights, strata, TOPS)
        own = weights[inside]
        assert sure.effective == pytest.approx(own.sum() ** 2 / (own**2).sum())
        found = share(sure)
        assert found is not None and found.low < 0.95 and lower_bound(sure) > 0.7


def test_weighted_estimates_are_unbiased_and_their_intervals_hold_the_truth() -> None:
    rng = RNG(0)
    sizes, picked = np.array([3000, 900, 300]), np.array([60, 60, 60])
    stratum = np.repeat(np.arange(3), sizes)  # which is the label given
    truth = np.where(rng.random(len(stratum)) < 0.75, stratum, rng.integers(0, 3, len(stratum)))
    ends = np.cumsum([0, *sizes])
    values, held = [], []
    real = np.array([np.mean(stratum[truth == 1] == 1), np.mean(truth == stratum)])
    for _ in range(400):
        rows = np.concatenate(
            [rng.choice(np.arange(ends[k], ends[k + 1]), picked[k], False) for k in range(3)]
        )
        weights = np.repeat(sizes / picked, picked)
        found = [
            share(Drawn(truth[rows] == stratum[rows], inside, weights, stratum[rows], TOPS))
            for inside in (truth[rows] == 1, np.ones(len(rows), bool))
        ]
        values.append([one.value for one in found])
        held.append([one.low <= true <= one.high for one, true in zip(found, real, strict=True)])
    spread = np.std(values, axis=0) / 20
    assert (np.abs(np.mean(values, axis=0) - real) < 4 * spread + 0.005).all()
    assert (np.mean(held, axis=0) > 0.92).all()


def threshold_of(
    rng: np.random.Generator, count: int, precision_at: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float] | None:
    """The certified threshold of one simulated sample, and the true precision from there on."""
    margins = rng.exponential(2.0, count)
    right = rng.random(count) < precision_at(margins)
    found = certify(margins, drawn(right, np.ones(count)), 0.8)
    if found is None:
        return None
    above = rng.exponential(2.0, 4000) + found.min_margin  # exponentials have no memory
    return found.min_margin, float(precision_at(above).mean())


def test_what_is_certified_is_true_in_95_of_100_samples() -> None:
    rng = RNG(1)

    def never(margins: np.ndarray) -> np.ndarray:
        return np.full(len(margins), 0.795)  # every certificate is wrong

    def rising(margins: np.ndarray) -> np.ndarray:
        return 0.55 + 0.4 * (1 - np.exp(-margins / 2))

    for precision_at in (never, rising):
        for count in (40, 120):
            found = [threshold_of(rng, count, precision_at) for _ in range(400)]
            wrong = np.mean([one is not None and one[1] < 0.8 for one in found])
            assert wrong <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


def test_a_certificate_holds_with_unlike_weights_too() -> None:
    rng = RNG(3)
    weights = np.repeat([90.0, 30.0, 10.0], 40)
    precision = np.repeat([0.79, 0.8, 0.82], 40)  # by weight 0.795: every certificate is wrong
    assert np.average(precision, weights=weights) < 0.8
    wrong = [
        certify(
            rng.exponential(2.0, 120),
            replace(drawn(rng.random(120) < precision, weights), strata=np.repeat([0, 1, 2], 40)),
            0.8,
        )
        is not None
        for _ in range(400)
    ]
    assert np.mean(wrong) <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


def test_no_threshold_is_certified_above_which_a_stratum_that_matters_was_not_heard() -> None:
    """Three marks of nearly all labels are below it by chance: what is above nobody knows."""
    rare, common = np.linspace(0.1, 5, 200), np.array([0.2, 0.3, 0.4])
    margins, strata = np.concatenate([rare, common]), np.repeat([0, 1], [200, 3])
    weights, right = np.repeat([1.0, 1000.0], [200, 3]), np.repeat([True, False], [200, 3])
    sample = Drawn(right, np.ones(203, bool), weights, strata, TOPS)
    assert certify(margins, sample, 0.8) is None
    light = replace(sample, weights=np.ones(203))
    found = certify(margins, light, 0.8)
    assert found is not None and found.min_margin == 0
    above = margins + (strata == 0)  # strata that are ranges of margins
    found = certify(above, replace(sample, tops=np.array([np.inf, 0.5])), 0.8)
    assert found is not None and found.min_margin > 0.4


@pytest.mark.parametrize("by", ["margin", "votes"])
def test_a_label_that_no_mark_of_a_large_stratum_has_may_be_in_it_all_the_same(by: str) -> None:
    """Of 20,000 records 300 have it, all wrongly; 60 marks often show none of these."""
    rng, certified = RNG(7), []
    names = ("margin from 0", "margin from 4") if by == "margin" else ("2 answers", "1 answers")
    many, few = np.arange(20_000) < 300, np.arange(1000) < 400
    for _ in range(300):
        has = np.concatenate([rng.choice(many, 60, False), rng.choice(few, 60, False)])
        strata = np.repeat([0, 1], 60)
        given = np.where(has, "joy", "anger")
        good = np.where(strata == 0, ~has, rng.random(120) < 0.97)
        low, high = rng.uniform(0, 0.5, 120), 4 + rng.exponential(1.0, 120)
        margins = np.where(strata == 0, low, high) if by == "margin" else high
        weights = np.repeat([20_000 / 60, 1000 / 60], 60)
        marks = Marks(given, np.where(good, given, "fear"), margins, weights, strata, names)
        joy = next(one for one in scores_of(marks, 0.8) if one.label == "joy")
        certified.append(joy.certified)
    wrong = [one is not None and (by == "votes" or one.min_margin < 4) for one in certified]
    assert np.mean(wrong) <= 0.05, "true there: 0.97 of 400 of 700"
    if by == "margin":  # from 4 on it is known
        assert np.mean([one is not None for one in certified]) > 0.7


def test_good_labels_are_certified_with_few_marks_and_all_are_kept() -> None:
    rng = RNG(2)
    found = [threshold_of(rng, 120, lambda values: np.full(len(values), 0.95)) for _ in range(200)]
    assert np.mean([one is not None for one in found]) > 0.8
    assert np.mean([one is not None and one[0] == 0 for one in found]) > 0.7


def test_examples_in_the_documentation_have_the_keys_of_what_is_made(
    lanser: Lanser, tmp_path: Path
) -> None:
    page = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^```json (pick|mark|score|why)\n(.*?)\n```$", page, re.MULTILINE))
    examples = {name: json.loads(line) for name, line in shown.items()}
    values = sample_of(tmp_path / "s.jsonl", {"joy": (20, 40)})
    marks = marks_of(tmp_path / "m.jsonl", values, lambda v: "joy")
    scored = read_jsonl(lanser("listen", tmp_path / "s.jsonl", "--score", marks).stdout)[1]
    assert list(examples["score"]) == list(scored)
    for key in ("precision", "recall", "effective", "certified"):
        assert list(examples["score"][key]) == list(scored[key])
    assert list(examples["score"]["curve"][0]) == list(scored["curve"][0])
    assert list(examples["mark"]) == list(read_jsonl(marks)[0])
    del values[0]["pick"]
    path = write_jsonl(tmp_path / "weak.jsonl", values[:1])
    [picked] = read_jsonl(lanser("pick", path).stdout)
    assert list(examples["pick"]["pick"]) == list(picked["pick"])
    assert Record.parse(examples["pick"]).fields == examples["pick"]
    assert list(examples["why"]) == [field.name for field in fields(Reasons)]
    assert list(examples["why"]["labels"][0]) == [field.name for field in fields(Part)]
