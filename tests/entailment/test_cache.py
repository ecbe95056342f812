"""The cache gives what the model gave, survives what can happen to it, and mixes nothing up."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lanser_cli.entailment.cache import FILE, CachedScorer, premise_key
from lanser_cli.errors import LanserError

HYPOTHESES = ["joy.", "fear.", "anger."]


class FakeScorer:
    """Scores by a rule, and counts the pairs it was asked about."""

    name, precision = "fake", "float32"

    def __init__(self, fingerprint: str = "f00d/float32/0", seed: int = 0) -> None:
        self.fingerprint, self.seed = fingerprint, seed
        self.pairs = 0

    def score(
        self, premises: Sequence[str], hypotheses: Sequence[str], wanted: np.ndarray | None = None
    ) -> np.ndarray:
        table = [[rule(p, h, self.seed) for h in hypotheses] for p in premises]
        scores = np.array(table, np.float32).reshape(len(premises), len(hypotheses))
        self.pairs += scores.size if wanted is None else int(wanted.sum())
        return scores if wanted is None else np.where(wanted, scores, np.float32(np.nan))

    def truncates(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[bool]:
        return [False] * len(premises)

    def knows(self, text: str) -> bool:
        return True

    def tokens(self, text: str) -> list[int]:
        return list(text.encode())


def rule(premise: str, hypothesis: str, seed: int) -> float:
    return ((premise_key(premise + hypothesis) + seed) % 10_007) / 997 - 5


def texts(count: int, start: int = 0) -> list[str]:
    return [f"text {n}, naïve" for n in range(start, start + count)]


def test_what_is_known_is_not_scored_again_and_is_the_same_to_the_bit(tmp_path: Path) -> None:
    plain = FakeScorer().score(texts(700), HYPOTHESES)
    first = FakeScorer()
    assert (CachedScorer(first, tmp_path).score(texts(700), HYPOTHESES) == plain).all()
    again = FakeScorer()
    cached = CachedScorer(again, tmp_path)
    assert (cached.score(texts(700), HYPOTHESES) == plain).all()
    assert (cached.score(texts(700), HYPOTHESES[::-1]) == plain[:, ::-1]).all()
    assert (first.pairs, again.pairs) == (2100, 0)


def test_only_new_pairs_are_scored(tmp_path: Path) -> None:
    scorer = FakeScorer()
    cached = CachedScorer(scorer, tmp_path)
    cached.score(texts(10), HYPOTHESES)
    cached.score(texts(10), [*HYPOTHESES, "awe."])  # a larger taxonomy
    assert scorer.pairs == 30 + 10
    cached.score(texts(15), HYPOTHESES[:2])  # more texts, a smaller one
    assert scorer.pairs == 40 + 10


def test_what_is_not_wanted_is_neither_scored_nor_given(tmp_path: Path) -> None:
    scorer = FakeScorer()
    cached = CachedScorer(scorer, tmp_path)
    wanted = np.array([[True, False, True], [False, True, False]])
    expected = scorer.score(texts(2), HYPOTHESES)
    scorer.pairs = 0
    found = cached.score(texts(2), HYPOTHESES, wanted)
    assert (np.isnan(found) == ~wanted).all() and (found[wanted] == expected[wanted]).all()
    assert scorer.pairs == 3
    assert (cached.score(texts(2), HYPOTHESES) == expected).all()
    assert scorer.pairs == 6
    assert np.isnan(cached.score(texts(2), HYPOTHESES, wanted)).sum() == 3


def test_models_are_never_mixed(tmp_path: Path) -> None:
    one, other = FakeScorer("aa/float32/0"), FakeScorer("bb/float32/0", seed=77)
    first = CachedScorer(one, tmp_path).score(texts(5), HYPOTHESES)
    second = CachedScorer(other, tmp_path).score(texts(5), HYPOTHESES)
    assert other.pairs == 15 and (first != second).any()
    assert (CachedScorer(one, tmp_path).score(texts(5), HYPOTHESES) == first).all()


class FrailScorer(FakeScorer):
    """Goes on in another precision, with other scores, once it has seen a certain text."""

    def score(
        self, premises: Sequence[str], hypotheses: Sequence[str], wanted: np.ndarray | None = None
    ) -> np.ndarray:
        if "frail" in premises:
            self.fingerprint, self.seed = "f00d/other/0", 5
        return super().score(premises, hypotheses, wanted)


def test_precisions_are_not_mixed_even_in_one_run(tmp_path: Path) -> None:
    cached = CachedScorer(FrailScorer(), tmp_path)
    before = cached.score(["a", "b"], HYPOTHESES)
    after = cached.score(["a", "frail"], HYPOTHESES)
    assert (after == FakeScorer(seed=5).score(["a", "frail"], HYPOTHESES)).all()
    assert (before[0] != after[0]).any()
    assert (CachedScorer(FakeScorer(), tmp_path).score(["a", "b"], HYPOTHESES) == before).all()
    other = FakeScorer("f00d/other/0", seed=5)
    found = CachedScorer(other, tmp_path).score(["a", "frail"], HYPOTHESES)
    assert (found == after).all() and other.pairs == 0


def test_anyone_can_look_into_it(tmp_path: Path) -> None:
    CachedScorer(FakeScorer(), tmp_path).score(["a", "b"], HYPOTHESES)
    with sqlite3.connect(tmp_path / FILE) as database:
        rows = database.execute(
            "SELECT model, text, log_odds FROM scores JOIN hypotheses ON hypothesis = id "
            "WHERE premise = ? ORDER BY text",
            (premise_key("b"),),
        ).fetchall()
    assert [(model, text) for model, text, _ in rows] == [
        ("f00d/float32/0", text) for text in sorted(HYPOTHESES)
    ]
    assert [np.float32(odds) for _, _, odds in rows] == [
        np.float32(rule("b", text, 0)) for text in sorted(HYPOTHESES)
    ]


def damage_header(path: Path) -> None:
    path.write_bytes(b"this was a cache once" * 300)


def damage_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def damage_version(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("damage", [damage_header, damage_pages, damage_version])
def test_a_damaged_cache_is_set_aside_and_begun_anew(
    damage, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:  # type: ignore[no-untyped-def]
    expected = CachedScorer(FakeScorer(), tmp_path).score(texts(900), HYPOTHESES)
    damage(tmp_path / FILE)
    scorer = FakeScorer()
    cached = CachedScorer(scorer, tmp_path)
    assert (cached.score(texts(900), HYPOTHESES) == expected).all()
    assert (cached.score(texts(900), HYPOTHESES) == expected).all()
    assert (CachedScorer(FakeScorer(), tmp_path).score(texts(900), HYPOTHESES) == expected).all()
    assert (tmp_path / (FILE + ".damaged")).exists()
    said = capsys.readouterr().err
    assert said.count("is damaged") == 1 and "begun anew" in said
    assert scorer.pairs <= 5400


def test_of_two_that_find_it_damaged_one_alone_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_text("no database " * 100)
    set_aside = CachedScorer._set_aside

    def later(late: CachedScorer, reason: str) -> None:
        monkeypatch.setattr(CachedScorer, "_set_aside", set_aside)
        CachedScorer(FakeScorer(), tmp_path).score(texts(9), HYPOTHESES)  # the other was quicker
        set_aside(late, reason)

    monkeypatch.setattr(CachedScorer, "_set_aside", later)
    scorer = FakeScorer()
    CachedScorer(scorer, tmp_path).score(texts(9), HYPOTHESES)
    assert scorer.pairs == 0, "what the other kept is there"
    assert (tmp_path / (FILE + ".damaged")).read_text().startswith("no database")


def test_a_damaged_cache_that_cannot_be_set_aside_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("no database " * 100)
    (tmp_path / (FILE + ".damaged") / "taken").mkdir(parents=True)
    with pytest.raises(LanserError, match=r"scores cannot be kept there.*cannot be set aside"):
        CachedScorer(FakeScorer(), tmp_path)


def test_a_cache_damaged_in_a_run_that_cannot_be_set_aside_is_one_sentence(tmp_path: Path) -> None:
    cached = CachedScorer(FakeScorer(), tmp_path)
    cached.score(texts(900), HYPOTHESES)
    (tmp_path / (FILE + ".damaged") / "taken").mkdir(parents=True)
    damage_header(tmp_path / FILE)
    with pytest.raises(LanserError, match="is damaged .* and cannot be set aside: remove it"):
        cached.score(texts(900), HYPOTHESES)


def test_a_full_cache_is_no_longer_added_to(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    scorer = FakeScorer()
    cached = CachedScorer(scorer, tmp_path, limit_gb=0.0001)
    for start in range(0, 5000, 500):
        found = cached.score(texts(500, start), HYPOTHESES)
        assert (found == FakeScorer().score(texts(500, start), HYPOTHESES)).all()
    assert (tmp_path / FILE).stat().st_size <= 100_000
    assert capsys.readouterr().err.count("is full") == 1
    known = FakeScorer()
    CachedScorer(known, tmp_path, limit_gb=0.0001).score(texts(500), HYPOTHESES)
    assert known.pairs == 0, "what was kept before serves on"


@pytest.mark.parametrize("why", ["full", "locked"])
def test_what_could_not_be_kept_is_no_number_of_anothers_hypothesis(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was rolled back is forgotten: else the next model's scores were taken for its own."""
    monkeypatch.setattr("lanser_cli.entailment.cache._BUSY_SECONDS", 0.1)
    CachedScorer(FakeScorer("other", seed=1), tmp_path).score(texts(50), ["first."])
    mine = CachedScorer(FakeScorer(), tmp_path, limit_gb=1e-5 if why == "full" else 10.0)
    reader = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    if why == "locked":  # for who commits, by who reads
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM scores").fetchone()
    mine.score(texts(300, 100), HYPOTHESES)
    reader.close()
    theirs = CachedScorer(FakeScorer("other", seed=1), tmp_path)
    theirs.score(texts(3), ["a.", "b.", "c."])
    expected = FakeScorer().score(texts(3), HYPOTHESES)
    for _ in range(2):
        assert (mine.score(texts(3), HYPOTHESES) == expected).all()


def test_a_cache_that_somebody_reads_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanser_cli.entailment.cache._BUSY_SECONDS", 0.1)
    CachedScorer(FakeScorer(), tmp_path).score(texts(3), HYPOTHESES)
    reader = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM scores").fetchone()
    known = FakeScorer()
    CachedScorer(known, tmp_path, limit_gb=float("inf")).score(texts(3), HYPOTHESES)
    assert known.pairs == 0


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LanserError, match="scores cannot be kept there .*: name another folder"):
        CachedScorer(FakeScorer(), tmp_path / "file")
    (tmp_path / "taken" / FILE).mkdir(parents=True)
    with pytest.raises(LanserError, match="name another folder"):
        CachedScorer(FakeScorer(), tmp_path / "taken")


def test_a_locked_cache_is_done_without(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanser_cli.entailment.cache._BUSY_SECONDS", 0.1)
    cached = CachedScorer(FakeScorer(), tmp_path)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    expected = FakeScorer().score(texts(3), HYPOTHESES)
    for _ in range(3):
        assert (cached.score(texts(3), HYPOTHESES) == expected).all()
    assert capsys.readouterr().err.count("was locked") == 1
    other.execute("ROLLBACK")
    assert (cached.score(texts(3), HYPOTHESES) == expected).all()


def _fill(folder: str, start: int) -> None:
    cached = CachedScorer(FakeScorer(), Path(folder))
    for first in range(start, start + 400, 20):
        cached.score(texts(20, first), HYPOTHESES)


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_fill, args=(str(tmp_path), start)) for start in (0, 200)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    scorer = FakeScorer()
    found = CachedScorer(scorer, tmp_path).score(texts(600), HYPOTHESES)
    assert scorer.pairs == 0
    assert (found == FakeScorer().score(texts(600), HYPOTHESES)).all()


WRITER = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from test_cache import HYPOTHESES, CachedScorer, FakeScorer, texts
cached = CachedScorer(FakeScorer(), Path({folder!r}))
for start in range(0, 10**9, 50):
    cached.score(texts(50, start), HYPOTHESES)
"""


def test_a_writer_that_is_killed_leaves_a_good_cache(tmp_path: Path) -> None:
    script = WRITER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    for _ in range(3):
        before = (tmp_path / FILE).stat().st_size if (tmp_path / FILE).exists() else 0
        process = subprocess.Popen([sys.executable, "-c", script])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if (tmp_path / FILE).exists() and (tmp_path / FILE).stat().st_size > before + 50_000:
                break
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    scorer = FakeScorer()
    found = CachedScorer(scorer, tmp_path).score(texts(500), HYPOTHESES)
    assert scorer.pairs == 0
    assert (found == FakeScorer().score(texts(500), HYPOTHESES)).all()
    with sqlite3.connect(tmp_path / FILE) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
