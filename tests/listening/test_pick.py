"""pick: a stratified sample, each record with the probability that it was picked."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.listening.pick import allot, pick
from lanser_cli.records import Dropped, Record


def record(number: int, emotion: str | None, margin: float = 1.0) -> dict:
    votes = {"a": emotion, "b": emotion if number % 3 else "fear", "c": None}
    about = {"margin": margin}
    return {"id": f"r-{number}", "emotion": emotion, "entailment": about, "votes": votes}


VALUES = [record(n, "joy" if n % 10 else "anger", n / 20) for n in range(200)]


def picked(lanser: Lanser, path: Path, *more: object) -> list[dict]:
    return read_jsonl(lanser("pick", path, *more).stdout)


def test_a_rare_label_is_picked_as_often_as_a_common_one_and_says_how_likely_that_was(
    lanser: Lanser, tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "weak.jsonl", [*VALUES, record(999, None)])
    done = lanser("pick", path, "-n", "30")
    sample = read_jsonl(done.stdout)
    assert Counter(value["emotion"] for value in sample) == {"joy": 15, "anger": 15}
    assert {(v["pick"]["stratum"], v["pick"]["probability"]) for v in sample} == {
        ("joy", 15 / 180),
        ("anger", 15 / 20),
    }
    numbers = [int(value["id"][2:]) for value in sample]
    assert numbers == sorted(numbers)  # the order of the input
    assert b"201 in, 30 out, 0 rejected, 1 dropped (no weak label), 170 dropped" in done.stderr


def test_the_sample_hangs_on_the_seed_and_not_on_the_order(lanser: Lanser, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "weak.jsonl", VALUES)
    mixed = write_jsonl(tmp_path / "mixed.jsonl", random.Random(1).sample(VALUES, len(VALUES)))
    ours, theirs, other = (
        {value["id"] for value in picked(lanser, *words)}
        for words in ((path, "-n", 20), (mixed, "-n", 20), (path, "-n", 20, "--seed", 1))
    )
    assert ours == theirs != other


def test_strata_can_be_margins_or_how_many_answers_the_voters_gave(
    lanser: Lanser, tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "weak.jsonl", VALUES)
    by_margin = picked(lanser, path, "-n", 25, "--by", "margin")
    found = Counter(value["pick"]["stratum"] for value in by_margin)
    assert found == {f"margin from {edge}": 5 for edge in ("0", "0.5", "1", "2", "4")}
    for value in by_margin:
        assert float(value["pick"]["stratum"].split()[-1]) <= value["entailment"]["margin"]
    by_votes = picked(lanser, path, "-n", 10, "--by", "disagreement")
    for value in by_votes:
        answers = {vote for vote in value["votes"].values() if vote}
        assert value["pick"]["stratum"] == f"{len(answers)} answers"
    assert Counter(value["pick"]["stratum"] for value in by_votes) == {
        "1 answers": 5,
        "2 answers": 5,
    }


def test_every_record_of_a_stratum_is_picked_as_often_as_its_probability_says() -> None:
    records = [Record(value) for value in VALUES]
    times = Counter(
        outcome.id
        for seed in range(300)
        for outcome in pick(records, 20, "label", seed)
        if isinstance(outcome, Record)
    )
    for label, probability in (("joy", 10 / 180), ("anger", 10 / 20)):
        shares = [times[v["id"]] / 300 for v in VALUES if v["emotion"] == label]
        assert abs(sum(shares) / len(shares) - probability) < 1e-9
        assert max(shares) < probability + 5 * (probability * (1 - probability) / 300) ** 0.5


def test_what_a_small_stratum_lacks_goes_to_the_larger_ones() -> None:
    assert allot({"a": 3, "b": 100, "c": 100}, 23) == {"a": 3, "b": 10, "c": 10}
    assert allot({"a": 3, "b": 4}, 200) == {"a": 3, "b": 4}


def test_what_cannot_be_picked_is_said(lanser: Lanser, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "weak.jsonl", VALUES[:30])
    done = lanser("pick", path, "-n", "90")
    assert b"90 are wanted, 30 there are: all are taken" in done.stderr
    assert {value["pick"]["probability"] for value in read_jsonl(done.stdout)} == {1.0}
    again = lanser("pick", "-", input=done.stdout, check=3)
    assert again.stdout == b"" and b"was picked before" in again.stderr
    few = lanser("pick", path, "-n", "1", check=2)
    assert b"there are 2 strata, so take at least 2" in few.stderr
    bare = json.dumps({"id": "x", "emotion": "joy"}).encode()
    assert (
        b"run lanser agree"
        in lanser("pick", "-", "--by", "disagreement", input=bare, check=3).stderr
    )
    for margin in (True, 10**400):  # which no float holds
        about = {"id": "x", "emotion": "joy", "entailment": {"margin": margin}}
        done = lanser("pick", "-", "--by", "margin", input=json.dumps(about).encode(), check=3)
        assert b"has no 'margin'" in done.stderr


def test_votes_that_are_no_answers_are_rejected(lanser: Lanser, tmp_path: Path) -> None:
    strange = [["joy"], {"joy": 1}, True, 0.5]
    values = [{**VALUES[0], "id": f"s-{n}", "votes": {"a": v}} for n, v in enumerate(strange)]
    mute = [{}, {"a": None}, {"a": ""}]
    values += [{**VALUES[0], "id": f"m-{n}", "votes": votes} for n, votes in enumerate(mute)]
    path = write_jsonl(tmp_path / "weak.jsonl", [VALUES[0], *values])
    done = lanser("pick", path, "-n", "1", "--by", "disagreement", check=3)
    assert [value["id"] for value in read_jsonl(done.stdout)] == [VALUES[0]["id"]]
    assert done.stderr.count(b"'votes' must hold a label for each voter") == len(strange)
    assert done.stderr.count(b"nobody gave a label in 'votes'") == len(mute)


def test_at_most_the_sample_of_each_stratum_is_held() -> None:
    seen = 0
    for seen, outcome in enumerate(pick((Record(v) for v in VALUES), 5, "label", 0), 1):
        assert seen > 190 or isinstance(outcome, Dropped)
    assert seen == 200
