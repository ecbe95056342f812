"""The verb agree: what becomes of votes, and how right the estimates are."""

from __future__ import annotations

import json
import tracemalloc
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Lanser, read_jsonl, write_jsonl
from sklearn.metrics import cohen_kappa_score

from lanser_cli.trust import dawid_skene
from lanser_cli.trust.dawid_skene import DawidSkene

LABELS = ("anger", "joy", "neutral", "sadness")
ACCURACIES = (0.85, 0.7, 0.6)


def voters(
    folder: Path, count: int = 3000, accuracies: Sequence[float] = ACCURACIES, silent: float = 0.1
) -> tuple[list[Path], list[str]]:
    """Files of voters that err by themselves, and the truth; some votes are missing."""
    draw = np.random.default_rng(5)
    truth = draw.choice(4, count, p=(0.1, 0.3, 0.4, 0.2))
    files = []
    for place, accuracy in enumerate(accuracies):
        wrong = (truth + draw.integers(1, 4, count)) % 4
        said = np.where(draw.random(count) < accuracy, truth, wrong)
        mute = draw.random(count) < silent
        records = [
            {"id": f"u{index}", "emotion": None if mute[index] else LABELS[said[index]], "n": place}
            for index in range(count)
        ]
        files.append(write_jsonl(folder / f"voter-{place}.jsonl", records))
    return files, [LABELS[label] for label in truth]


def write(folder: Path, name: str, said: Sequence[str | None], key: str = "emotion") -> Path:
    records = [{"id": f"u{index}", key: label} for index, label in enumerate(said)]
    return write_jsonl(folder / f"{name}.jsonl", records)


def test_estimates_are_near_the_truth_where_voters_err_by_themselves(
    lanser: Lanser, tmp_path: Path
) -> None:
    files, truth = voters(tmp_path)
    done = lanser("agree", *files, "--summary", tmp_path / "summary.json")
    records, summary = read_jsonl(done.stdout), json.loads((tmp_path / "summary.json").read_text())
    votes = [[value["emotion"] for value in read_jsonl(path)] for path in files]
    of_each = []
    for voter, said in zip(summary["voters"], votes, strict=True):
        given = [(label, true) for label, true in zip(said, truth, strict=True) if label]
        of_each.append(float(np.mean([label == true for label, true in given])))
        assert voter["accuracy"] == pytest.approx(of_each[-1], abs=0.03)
        for true, row in voter["confusion"].items():
            shares = [label for label, gold in given if gold == true]
            for label, share in row.items():
                assert share == pytest.approx(shares.count(label) / len(shares), abs=0.08)
    right = [record["emotion"] == true for record, true in zip(records, truth, strict=True)]
    heard = [[label == true for label, true in zip(said, truth, strict=True)] for said in votes]
    assert np.mean(right) > max(of_each)  # each of its own votes alone
    assert np.mean(right) > max(np.mean(each) for each in heard) + 0.05
    assert summary["converged"]
    assert f"{files[0]}: estimated to be right in 8" in done.stderr.decode()
    for kappa in summary["kappa"]:
        one, other = (votes[files.index(Path(name))] for name in kappa["voters"])
        both = [pair for pair in zip(one, other, strict=True) if None not in pair]
        assert kappa["n"] == len(both)
        assert kappa["value"] == pytest.approx(
            cohen_kappa_score(*zip(*both, strict=True)), abs=1e-4
        )


def test_a_record_says_who_voted_for_what(lanser: Lanser, tmp_path: Path) -> None:
    said = ["joy", "joy", "anger", "anger", "joy", None, "anger", "joy"]
    a = write_jsonl(
        tmp_path / "a.jsonl",
        [
            {"id": f"u{n}", "emotion": label, "mine": n, "emotion_score": 0.5}
            | {"entailment": {"model": "embedded", "taxonomy": "ekman6", "margin": 0.1}}
            for n, label in enumerate(said)
        ],
    )
    b = write(tmp_path, "b", ["joy", "anger", "anger", "anger", "joy", "", "anger"], key="judged")
    c = write(tmp_path, "c", ["joy", "joy", "anger", None, "joy", None, "anger", "joy", "anger"])
    done = lanser("agree", a, f"{b}:judged", c)
    records = read_jsonl(done.stdout)
    assert [record["id"] for record in records] == [f"u{n}" for n in range(9)]
    second = records[1]
    assert second["votes"] == {str(a): "joy", f"{b}:judged": "anger", str(c): "joy"}
    assert (second["emotion"], second["agreement"], second["mine"]) == ("joy", 0.6667, 1)
    assert sum(second["emotion_scores"].values()) == pytest.approx(1, abs=1e-5)
    assert second["emotion_score"] == max(second["emotion_scores"].values())
    assert list(second["entailment"]) == ["model", "taxonomy", "margin"]
    assert second["entailment"]["taxonomy"] == "ekman6"
    assert second["entailment"]["margin"] > 0.1
    assert records[3]["votes"][str(c)] is None and records[3]["agreement"] == 1
    unheard = records[5]
    assert (unheard["emotion"], unheard["agreement"]) == (None, None)
    assert unheard["entailment"]["abstained"] == "no vote"
    assert "emotion_score" not in unheard
    assert records[8] == {
        **{"id": "u8", "emotion": "anger", "emotion_score": records[8]["emotion_score"]},
        **{key: records[8][key] for key in ("emotion_scores", "entailment", "votes", "agreement")},
    }
    assert f"in {c} alone, so that others abstain: 1" in done.stderr.decode()


def test_the_documented_example_is_such_a_record(lanser: Lanser, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    example = json.loads(page.split("```json agreed\n")[1].split("```")[0])
    about = {"entailment": {"taxonomy": "ekman6"}}
    records = [{"id": f"u{n}", "text": "", "emotion": ("anger", "joy")[n % 2]} for n in range(4)]
    files = [
        write_jsonl(tmp_path / f"{name}.jsonl", [record | about for record in records])
        for name in ("a", "b")
    ]
    made = read_jsonl(lanser("agree", *files).stdout)[0]
    assert sorted(made) == sorted(example)
    assert list(made["entailment"]) == list(example["entailment"])
    said = list(example["votes"].values())
    assert example["agreement"] == round(said.count(example["emotion"]) / len(said), 4)
    chances = sorted(example["emotion_scores"].values())
    assert example["emotion_score"] == chances[-1] and sum(chances) == pytest.approx(1)
    assert example["entailment"]["margin"] == pytest.approx(
        np.log(chances[-1] / chances[-2]), abs=1e-3
    )


def test_many_patterns_take_no_memory_but_their_votes_and_posterior(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All votes of all labels as floats would be ten times the posterior."""
    draw = np.random.default_rng(0)
    said, counts = draw.integers(-1, 28, (50_000, 10)), np.ones(50_000, np.int64)
    tracemalloc.start()
    found = DawidSkene.fit(said, counts, 28, most=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * found.posterior.nbytes
    monkeypatch.setattr(dawid_skene, "_AT_ONCE", len(said))
    at_once = DawidSkene.fit(said, counts, 28, most=2)
    np.testing.assert_allclose(found.posterior, at_once.posterior, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_posteriors_are_those_of_crowd_kit() -> None:
    import pandas as pd

    draw = np.random.default_rng(2)
    truth = draw.integers(0, 4, 200)
    table = np.where(draw.random((200, 5)) < 0.6, truth[:, None], draw.integers(0, 4, (200, 5)))
    table[draw.random((200, 5)) < 0.3] = -1
    table[(table < 0).all(axis=1), 0] = 1
    patterns, inverse, counts = np.unique(table, axis=0, return_inverse=True, return_counts=True)
    ours = DawidSkene.fit(patterns, counts, 4, most=25, tolerance=-1)
    votes = [
        {"task": task, "worker": worker, "label": label}
        for task, row in enumerate(table.tolist())
        for worker, label in enumerate(row)
        if label >= 0
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of crowd-kit's, about pandas
        from crowdkit.aggregation import DawidSkene as Theirs

        theirs = Theirs(n_iter=25, tol=-1).fit(pd.DataFrame(votes))
    found = theirs.probas_.sort_index()[[0, 1, 2, 3]].to_numpy()
    np.testing.assert_allclose(ours.posterior[inverse.reshape(-1)], found, atol=1e-6)
    ahead = DawidSkene.fit(patterns, counts, 4, most=26, tolerance=-1)  # theirs end with them
    for worker in range(5):
        errors = theirs.errors_.loc[worker].sort_index()[[0, 1, 2, 3]].to_numpy()
        np.testing.assert_allclose(ahead.confusions[worker], errors.T, atol=1e-6)


def test_labels_of_another_taxonomy_are_refused_or_translated(
    lanser: Lanser, tmp_path: Path
) -> None:
    a = write(tmp_path, "a", ["anger", "joy", "sadness", "joy", "anger", "fear"])
    b = write(tmp_path, "b", ["angry", "happy", "sad", "happy", "angry", "happy"])
    c = write(tmp_path, "c", ["annoyance", "love", "grief", "pride", "anger", "joy"])
    refused = lanser("agree", a, b, c, check=2).stderr.decode()
    assert "most labels of" in refused and "--crosswalk" in refused
    done = lanser("agree", a, b, c, "--crosswalk", "iemocap4")
    found = [record["emotion"] for record in read_jsonl(done.stdout)]
    assert found == ["angry", "happy", "sad", "happy", "angry", "happy"]
    assert "fear lead to no label of iemocap4" in done.stderr.decode()
    assert read_jsonl(done.stdout)[0]["entailment"]["crosswalk"] == "iemocap4"
    ways = {"anger": "bad", "annoyance": "bad", "joy": "good", "grief": None, "rare": "bad"}
    ways |= dict.fromkeys(("happy", "love", "pride"), "good")
    ways |= dict.fromkeys(("sadness", "fear", "angry", "sad"), "bad")
    labels = {name: {"noun": name, "adjective": name} for name in ("good", "bad")}
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"name": "own", "source": "a test", "labels": labels}))
    (tmp_path / "ways.json").write_text(json.dumps({"to": str(own), "map": ways}))
    done = lanser("agree", a, b, c, "--crosswalk", tmp_path / "ways.json")
    assert [record["emotion"] for record in read_jsonl(done.stdout)][:3] == ["bad", "good", "bad"]
    for mapping, mention in (
        (5, b"'map' must be an object"),
        ([{}], b"'map' must be an object"),
        (dict.fromkeys([*ways, "anger"]) | {"rare": "bad"}, b"none of anger, angry"),
    ):
        (tmp_path / "ways.json").write_text(json.dumps({"to": str(own), "map": mapping}))
        done = lanser("agree", a, b, c, "--crosswalk", tmp_path / "ways.json", check=2)
        assert mention in done.stderr


@pytest.mark.parametrize("shared", [[], ["neutral", "neutral", "neutral", "neutral"]])
@pytest.mark.parametrize("name", [None, "custom"])
def test_pairs_of_voters_of_two_taxonomies_are_refused(
    shared: list[str], name: str | None, lanser: Lanser, tmp_path: Path
) -> None:
    about = {"entailment": {"taxonomy": name}} if name else {}
    files = []
    for said in (["happy", "sad", "angry"], ["joy", "sadness", "anger"]):
        for copy in "ab":
            records = [
                {"id": f"u{n}", "emotion": label} | about for n, label in enumerate(shared + said)
            ]
            files.append(write_jsonl(tmp_path / f"{said[0]}-{copy}.jsonl", records))
    refused = lanser("agree", *files, check=2).stderr.decode()
    assert f"most labels of {files[0]} and {files[2]} are said by one of the two alone" in refused
    assert "such as angry and anger" in refused and "--crosswalk" in refused
    lanser("agree", *files, "--crosswalk", "iemocap4")


def test_voters_with_fewer_labels_or_one_more_are_of_the_same_taxonomy(
    lanser: Lanser, tmp_path: Path
) -> None:
    full = ["joy", "anger", "sadness", "fear", "neutral", "joy"]
    a = write(tmp_path, "a", full)
    for number, said in enumerate(
        (
            ["joy"] * 6,
            ["joy", "anger", "joy", "neutral", "neutral", "joy"],
            ["joy", "anger", "sadness", "fear", "love", "love"],
            ["joy", "love", "anger", "love", "joy", "joy"],
        )
    ):
        lanser("agree", a, write(tmp_path, f"b{number}", said))
    strange = lanser("agree", a, write(tmp_path, "other", ["calm"] * 6), check=2)
    assert b"are said by no other voter" in strange.stderr
    about = {"entailment": {"taxonomy": "goemotions"}}
    few = [
        write_jsonl(
            tmp_path / f"{name}.jsonl",
            [{"id": f"u{n}", "emotion": label} | about for n, label in enumerate(said)],
        )
        for name, said in (
            ("c", ["neutral", "neutral", "neutral", "neutral", "joy", "love"]),
            ("d", ["neutral", "neutral", "neutral", "neutral", "anger", "fear"]),
        )
    ]
    lanser("agree", *few)


def test_taxonomies_that_records_name_must_be_one(lanser: Lanser, tmp_path: Path) -> None:
    files = []
    for name in ("ekman6", "goemotions"):
        about: dict[str, Any] = {"entailment": {"taxonomy": name}}
        records = [{"id": "a", "emotion": "joy"} | about, {"id": "b", "emotion": "anger"} | about]
        files.append(write_jsonl(tmp_path / f"{name}.jsonl", records))
    said = lanser("agree", *files, check=2).stderr.decode()
    assert "different taxonomies, ekman6 (" in said and "goemotions (" in said


def test_voters_who_tell_nothing_are_said(lanser: Lanser, tmp_path: Path) -> None:
    said = ["joy", "anger", "joy", "sadness", "anger", "joy"]
    a, b = write(tmp_path, "a", said), write(tmp_path, "b", said)
    c = write(tmp_path, "c", ["joy"] * 6)
    done = lanser("agree", a, b, c, "--summary", tmp_path / "s.json")
    assert [record["emotion"] for record in read_jsonl(done.stdout)] == said
    assert f"{a} and {b} hardly differ (kappa 1.00)" in done.stderr.decode()
    assert f"{c} always says joy" in done.stderr.decode()
    assert json.loads((tmp_path / "s.json").read_text())["kappa"][1]["value"] == 0
    spelt = write(tmp_path, "e", [label.replace("joy", "Joy") for label in said])
    done = lanser("agree", a, spelt)
    assert "alone: 'joy' (3), 'Joy' (3): write them alike" in done.stderr.decode()
    alone = lanser("agree", c, f"{write(tmp_path, 'd', ['joy'] * 6)}")
    assert json.loads(alone.stdout.splitlines()[0])["emotion_scores"] == {"joy": 1.0}


def test_lines_that_are_no_votes_are_rejected(lanser: Lanser, tmp_path: Path) -> None:
    a = write(tmp_path, "a", ["joy", "anger", "joy"])
    b = write(tmp_path, "b", ["joy", "anger", "joy"])
    with b.open("a") as stream:
        stream.write(
            '{"id":"u1","emotion":"joy"}\nx\n{"id":"u2","emotion":["joy"]}\n{"id":"new"}\n'
        )
    done = lanser("agree", a, b, check=3)
    assert [record["emotion"] for record in read_jsonl(done.stdout)] == ["joy", "anger", "joy"]
    said = done.stderr.decode()
    for words in ("duplicate id 'u1'", ":5: not JSON", "must be a string", "nobody votes"):
        assert words in said
    assert "agree: 7 in, 3 out, 4 rejected" in said


def test_a_label_of_refused_records_alone_is_none(lanser: Lanser, tmp_path: Path) -> None:
    twice = [{"id": "u0", "emotion": None}, {"id": "u0", "emotion": "fear"}]
    a, b = (write_jsonl(tmp_path / f"{name}.jsonl", twice) for name in "ab")
    done = lanser("agree", a, b, check=1)
    assert b"a.jsonl: no record has a label in 'emotion'" in done.stderr
    for path in (a, b):
        write_jsonl(path, [*twice, {"id": "u1", "emotion": "joy"}])
    found = read_jsonl(lanser("agree", a, b, check=3).stdout)
    assert found[-1]["emotion_scores"] == {"joy": 1.0}


def test_a_resumed_run_has_the_same_voters(lanser: Lanser, tmp_path: Path) -> None:
    for name in "ab":
        records = [{"id": str(n), "emotion": "joy", "other": "fear"} for n in range(4)]
        write_jsonl(tmp_path / f"{name}.jsonl", records)
    lanser("agree", "a.jsonl", "b.jsonl:other", "b.jsonl", "-o", "o.jsonl", cwd=tmp_path)
    again = ("agree", "a.jsonl", "a.jsonl:other", "b.jsonl", "-o", "o.jsonl", "--resume")
    done = lanser(*again, cwd=tmp_path, check=2)
    assert b"made with another votes" in done.stderr


def test_a_resumed_run_goes_the_same_way(lanser: Lanser, tmp_path: Path) -> None:
    """A crosswalk file may lead to a taxonomy's file, which may be another by then."""
    write(tmp_path, "a", ["anger", "joy", "joy"])
    write(tmp_path, "b", ["anger", "joy", "anger"])
    way = {"to": "own.json", "map": {"anger": "bad", "joy": "good"}}
    (tmp_path / "way.json").write_text(json.dumps(way))
    line = ("agree", "a.jsonl", "b.jsonl", "--crosswalk", "way.json", "-o", "o.jsonl")
    for names, more, code in (
        (("good", "bad"), (), 0),
        (("good", "bad"), ("--resume",), 0),
        (("bad", "good"), ("--resume",), 2),
    ):
        labels = {name: {"noun": name, "adjective": name} for name in names}
        own = {"name": "own", "source": "a test", "labels": labels}
        (tmp_path / "own.json").write_text(json.dumps(own))
        done = lanser(*line, *more, cwd=tmp_path, check=code)
    assert b"made with another --crosswalk" in done.stderr


def test_of_nothing_comes_nothing(lanser: Lanser, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b.jsonl").touch()
    none = lanser("agree", "a.jsonl", "b.jsonl", "--summary", "s.json", cwd=tmp_path)
    assert none.stdout == b"" and b"no records, so s.json is not written" in none.stderr


def test_voters_who_never_meet_teach_nothing(lanser: Lanser, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").touch()
    write(tmp_path, "a", ["joy", "anger"])
    write_jsonl(tmp_path / "b.jsonl", [{"id": "other", "emotion": "joy"}])
    write_jsonl(
        tmp_path / "c.jsonl", [{"id": "u0", "emotion": None}, {"id": "v", "emotion": "joy"}]
    )
    for second, ids in (("none.jsonl", 0), ("b.jsonl", 1), ("c.jsonl", 2)):
        done = lanser("agree", "a.jsonl", second, "-o", "o.jsonl", cwd=tmp_path, check=1)
        said = done.stderr.decode()
        assert "no utterance has two votes" in said
        assert f"a.jsonl has 2 ids, {second} has {ids} ids" in said
        assert not (tmp_path / "o.jsonl").exists()
    write(tmp_path, "a", ["fear", "joy"])
    write(tmp_path, "b", ["joy", "fear"])
    lanser("agree", "a.jsonl", "b.jsonl", cwd=tmp_path)
    crossed = ("agree", "a.jsonl", "b.jsonl", "--crosswalk", "iemocap4")  # fear leads nowhere
    assert b"no utterance has two votes" in lanser(*crossed, cwd=tmp_path, check=1).stderr


@pytest.mark.parametrize(
    ("words", "mention"),
    [
        (("a.jsonl",), "two voters"),
        (("a.jsonl", "a.jsonl"), "named twice"),
        (("a.jsonl", "./a.jsonl:emotion"), "named twice"),
        (("a.jsonl", "-"), "not a stream"),
        (("a.jsonl", "."), "is a folder: name a file of records"),
        (("a.jsonl", "a.jsonl:feeling"), "no record has a label in 'feeling'"),
        (("a.jsonl", "gone.jsonl:prediction"), "no such file as gone.jsonl"),
        (("a.jsonl", "a.jsonl:id", "--summary", "a.jsonl"), "would overwrite the input"),
        (
            ("a.jsonl", "a.jsonl:id", "--summary", "s.json", "--rejects", "s.json"),
            "is that of --rejects s.json",
        ),
    ],
)
def test_what_cannot_vote_is_refused(
    words: tuple[str, ...], mention: str, lanser: Lanser, tmp_path: Path
) -> None:
    write(tmp_path, "a", ["joy", "anger"])
    done = lanser("agree", *words, cwd=tmp_path, check=None)
    assert done.returncode in (1, 2) and done.stdout == b""
    assert mention in done.stderr.decode()
