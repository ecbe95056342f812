"""The verb doubt: labels that were flipped are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Lanser, read_jsonl, write_jsonl

LABELS = np.array(["anger", "joy", "neutral", "sadness"])
COUNT, FLIPPED = 1200, 0.15


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """Records with labels of which some are flipped, and out-of-fold scores; which; the scores."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    draw = np.random.default_rng(4)
    truth = draw.choice(4, COUNT, p=(0.15, 0.25, 0.4, 0.2))
    points = draw.normal(size=(4, 6))[truth] * 1.5 + draw.normal(size=(COUNT, 6))
    wrong = draw.random(COUNT) < FLIPPED
    given = np.where(wrong, (truth + draw.integers(1, 4, COUNT)) % 4, truth)
    model = LogisticRegression(max_iter=500)
    chances = cross_val_predict(model, points, given, cv=5, method="predict_proba")
    records = [
        {
            "id": f"u{n}",
            "label": LABELS[given[n]],
            "scores": dict(zip(LABELS, row.tolist(), strict=True)),
        }
        for n, row in enumerate(chances)
    ]
    return write_jsonl(tmp_path_factory.mktemp("flipped") / "all.jsonl", records), wrong, chances


def test_flipped_labels_are_found_far_above_chance(
    lanser: Lanser, flipped: tuple[Path, np.ndarray, np.ndarray]
) -> None:
    from cleanlab.filter import find_label_issues
    from sklearn.metrics import roc_auc_score

    path, wrong, chances = flipped
    found = read_jsonl(lanser("doubt", path).stdout)
    doubtful = np.array([record["doubtful"] for record in found])
    assert (doubtful & wrong).sum() / doubtful.sum() > 0.7  # by chance 0.15
    assert (doubtful & wrong).sum() / wrong.sum() > 0.7
    doubts = [record["doubt"] for record in found]
    assert roc_auc_score(wrong, doubts) > 0.9
    assert min(doubts) >= 0 and max(doubts) <= 1
    labels = np.array([list(LABELS).index(record["label"]) for record in found])
    theirs = find_label_issues(labels, chances, filter_by="low_normalized_margin", n_jobs=1)
    assert (doubtful != theirs).sum() <= 1  # they round the number of wrong ones


def test_scores_come_from_another_file_by_id(
    lanser: Lanser, flipped: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    path, _, _ = flipped
    values = read_jsonl(path)
    bare = [{"id": value["id"], "emotion": value["label"]} for value in values]
    bare[7]["emotion"] = None
    bare += [{"id": "new", "emotion": "joy"}, {"id": "odd", "emotion": "love"}, {"id": "mute"}]
    odd = {**values[0], "id": "odd"}
    scores = [{"id": v["id"], "chances": v["scores"], "heard": True} for v in [odd, *values[::-1]]]
    weak, answers = (
        write_jsonl(tmp_path / "weak.jsonl", bare),
        write_jsonl(tmp_path / "answers.jsonl", scores),
    )
    done = lanser(*("doubt", weak, "--label", "emotion", "--scores", f"{answers}:chances"), check=3)
    found, alone = read_jsonl(done.stdout), read_jsonl(lanser("doubt", path).stdout)
    assert [value["id"] for value in found] == [value["id"] for value in values]
    assert (found[7]["doubt"], found[7]["doubtful"]) == (None, False)
    pairs = [(one["doubt"], other["doubt"]) for one, other in zip(found, alone, strict=True)]
    del pairs[7]
    np.testing.assert_allclose(*zip(*pairs, strict=True), atol=1e-3)
    said = done.stderr.decode()
    for words in ("new: has no scores", "no label 'love' but anger", "mute: has no 'emotion'"):
        assert words in said
    assert f"{COUNT + 1} of {COUNT + 1} scores are of a model that was trained on" in said


def test_rows_that_do_not_sum_to_one_are_rejected(lanser: Lanser, tmp_path: Path) -> None:
    rows = [(0.9, 0.1), (0.3, 0.695)] * 10 + [(0, 0), (1, 1), (0.5, 0.48)]
    records = [
        {"id": str(n), "label": ("joy", "fear")[n % 2], "scores": {"joy": joy, "fear": fear}}
        for n, (joy, fear) in enumerate(rows)
    ]
    path = write_jsonl(tmp_path / "x.jsonl", [*records, {**records[20], "id": "n", "label": None}])
    done = lanser("doubt", path, check=3)
    assert [record["id"] for record in read_jsonl(done.stdout)] == [*map(str, range(20)), "n"]
    assert done.stderr.count(b"its scores do not sum to 1") == 3
    alone = write_jsonl(tmp_path / "fit.jsonl", records[:20])
    assert read_jsonl(lanser("doubt", alone).stdout) == read_jsonl(done.stdout)[:20]
    none = lanser("doubt", write_jsonl(tmp_path / "y.jsonl", records[20:]), check=1)
    assert b"and those of 3 records do not sum to 1" in none.stderr


def test_a_label_that_ties_with_another_is_not_taken_for_wrong(
    lanser: Lanser, tmp_path: Path
) -> None:
    even = {"joy": 0.5, "fear": 0.5}
    records = [{"id": str(n), "label": list(even)[n % 2], "scores": even} for n in range(20)]
    found = read_jsonl(lanser("doubt", write_jsonl(tmp_path / "x.jsonl", records)).stdout)
    assert {record["doubtful"] for record in found} == {False}


def test_a_resumed_run_has_the_same_scores_and_another_file_may_doubt_a_best_label(
    lanser: Lanser, tmp_path: Path
) -> None:
    labels = [{"id": str(n), "emotion": ("joy", "fear")[n % 2]} for n in range(20)]
    write_jsonl(tmp_path / "weak.jsonl", labels)
    command = ("doubt", "weak.jsonl", "--label", "emotion", "--scores", "s.jsonl:emotion_scores")
    for chance, more, code in ((0.8, (), 0), (0.7, ("--resume",), 2)):
        scores = [
            {"id": one["id"], "emotion_scores": {"joy": chance, "fear": 1 - chance}}
            for one in labels
        ]
        write_jsonl(tmp_path / "s.jsonl", scores)
        done = lanser(*command, "-o", "o.jsonl", *more, cwd=tmp_path, check=code)
    assert b"made with another --scores" in done.stderr


@pytest.mark.parametrize("option", ["-o", "--rejects"])
def test_a_file_of_scores_is_an_input_too(option: str, lanser: Lanser, tmp_path: Path) -> None:
    for name in ("x", "s"):
        values = [{"id": one, "label": one, "scores": {"a": 0.9, "b": 0.1}} for one in "ab"]
        write_jsonl(tmp_path / f"{name}.jsonl", values)
    before = (tmp_path / "s.jsonl").read_bytes()
    words = ("--scores", "s.jsonl", option, "s.jsonl", *(["--force"] if option == "-o" else []))
    done = lanser("doubt", "x.jsonl", *words, cwd=tmp_path, check=2)
    assert b"would overwrite the input s.jsonl" in done.stderr
    assert (tmp_path / "s.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "words", "mention"),
    [
        ('{"id":"a","label":"joy"}', (), "no record has 'scores'"),
        ('{"id":"a","label":"joy","scores":{"joy":2,"fear":1}}', (), "no probabilities"),
        ('{"id":"a","label":"joy","scores":{"joy":1,"fear":0}}', (), "fewer than two different"),
        (
            '{"id":"a","emotion":"joy","emotion_scores":{"joy":1}}',
            ("--label", "emotion", "--scores", "x.jsonl:emotion_scores"),
            "never in doubt",
        ),
        (
            '{"id":"a","emotion":"joy","emotion_scores":{"joy":1,"fear":0}}',
            ("--label", "emotion", "--scores", "./x.jsonl:emotion_scores"),
            "never in doubt",
        ),
        (
            '{"id":"a","label":"joy","scores":{"joy":1,"fear":0}}',
            ("x.jsonl:label",),
            "x.jsonl:label: is no file",
        ),
    ],
)
def test_scores_that_say_nothing_are_refused(
    line: str, words: tuple[str, ...], mention: str, lanser: Lanser, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text(line + "\n")
    done = lanser("doubt", "x.jsonl", *words, cwd=tmp_path, check=None)
    assert done.returncode in (1, 2) and done.stdout == b""
    assert mention in done.stderr.decode()
