"""Side files and tars of strangers, mutated at random: a sentence each, and never more.

Seeded, so a failure comes back. No traceback, no hang, and whatever is read is accounted for.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import read_jsonl, write_jsonl
from mutants import a_tar, damaged_tar, mutated

from lanser_cli.audio import archive, sound
from lanser_cli.entailment.calibration import Prior
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.evaluation import certificate
from lanser_cli.records import Dropped, Record, Reject
from lanser_cli.shards import reader
from lanser_cli.shards.pack import pack
from lanser_cli.shards.relabel import relabel_shards
from lanser_cli.shards.samples import read_tar
from lanser_cli.shards.verify import verify_shards
from lanser_cli.shards.writer import ShardWriter

pytestmark = pytest.mark.slow


@contextmanager
def in_time(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"still at it after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(path: Path, value: Any, times: int, read: Callable[[], object]) -> int:
    """Write mutants to a path and read each; how many were refused, each by one sentence."""
    draw, refused = random.Random(0), 0
    for _ in range(times):
        path.write_text(mutated(value, draw), encoding="utf-8", errors="surrogatepass")
        with in_time(10):
            try:
                read()
            except LanserError as error:
                refused += 1
                assert "\n" not in str(error) and str(path.parent) in str(error)
    return refused


@pytest.fixture(scope="module")
def shards(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A relabelled set of three shards."""
    folder = tmp_path_factory.mktemp("fuzz") / "shards"
    records = [Record.parse(value) for value in read_jsonl(labelled)][:4]
    pack(records, ShardWriter(folder, max_count=2), processes=1)
    source = write_jsonl(folder.parent / "new.jsonl", [{"id": records[0].id, "emotion": "new"}])
    relabel_shards(folder, str(source))
    return folder


def test_mutants_of_an_index(shards: Path) -> None:
    path = shards / "index.json"
    value, names = json.loads(path.read_text()), {found.name for found in shards.iterdir()}
    whole = path.read_bytes()
    silent = []

    def read() -> None:
        items = list(reader.records_of([str(shards)], "test"))
        faults = verify_shards(shards, processes=1)
        if not faults and [item.id for item in items if isinstance(item, Record)] != ids:
            silent.append(path.read_text())

    ids = [item.id for item in reader.records_of([str(shards)], "test") if isinstance(item, Record)]
    assert len(ids) == 4
    refused = fuzz(path, value, 300, read)
    path.write_bytes(whole)
    assert refused > 150 and not silent
    assert {found.name for found in shards.iterdir()} == names


def test_mutants_of_an_index_that_is_relabelled(shards: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shards, tmp_path / "set"))
    (folder / "mine.txt").write_text("mine")
    source = write_jsonl(tmp_path / "new.jsonl", [{"id": "clip-00", "emotion": "joy"}])
    value = json.loads((folder / "index.json").read_text())
    kept = {path.name for path in folder.iterdir() if not path.name.startswith("labels-")}
    [side] = folder.glob("labels-*")
    data = side.read_bytes()

    def read() -> None:
        try:
            relabel_shards(folder, str(source))
        finally:
            left = {path.name for path in folder.iterdir()}
            assert kept <= left and not any(name.endswith(".part") for name in left)
            side.write_bytes(data)

    assert fuzz(folder / "index.json", value, 150, read) > 50
    assert {path.name for path in tmp_path.iterdir()} == {"set", "new.jsonl"}


def test_mutants_of_a_certificate(tmp_path: Path) -> None:
    check = {"check": "id", "sides": ["a", "b"], "shared": 0, "allowed": False, "records": [1, 1]}
    value = {
        "schema": 1,
        "passed": True,
        "sides": [
            {"name": n, "records": 1, "rejected": 0, "digest": "0" * 64, "ids": "0" * 8}
            for n in "ab"
        ],
        "checks": [check | {"missing": [0, 0], "not_checked": None, "examples": []}] * 3,
    }
    path = tmp_path / "audit.json"
    assert fuzz(path, value, 1_000, lambda: certificate.cite(path)) > 500


def test_mutants_of_a_prior(tmp_path: Path) -> None:
    value = {
        **{"schema": 1, "taxonomy": "t", "templates": ["I am {}."], "labels": ["a", "b"]},
        **{"texts": 9, "log_odds": {"0123": [0.5, -1.25], "4567": [0.0, 3.0]}},
    }
    path = tmp_path / "prior.json"
    assert fuzz(path, value, 1_000, lambda: Prior.load(path)) > 500


def test_mutants_of_the_config_of_a_run(tiny_run: Path, tmp_path: Path) -> None:
    from lanser_cli.evaluation.about import About
    from lanser_cli.training import runs

    seen = {"run": "x", "checked": True, "speaker": 1, "voice": 0, "id": 0, "sound": 0}
    value = json.loads((tiny_run / "config.json").read_text()) | {
        "init": "runs/a",
        "protocol": {"folds": 5, "group": "speaker", "fraction": 0.5, "protocol": None},
        "seen": seen | {"examples": ["voice a"]},
        "identity": {"--seed": "0"},
        "test_speakers": ["a", "b"],
    }

    def read() -> None:
        str(runs.use_of_labels(tmp_path))
        str(About.of(tmp_path).warning)
        about = runs.read_architecture(tmp_path)
        assert 0 < about.crop_seconds <= 600 and len(set(about.labels)) == len(about.labels) > 0

    assert fuzz(tmp_path / "config.json", value, 1_000, read) > 500


def test_mutants_of_the_weak_labels_of_a_set(shards: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shards, tmp_path / "set"))
    [side] = folder.glob("labels-*")
    lines = read_jsonl(side)
    first = lines.pop(0) | {"emotion_scores": {"new": 1.0}, "entailment": {"taxonomy": "x"}}

    def read() -> None:
        rest = "".join(json.dumps(line) + "\n" for line in lines)
        side.write_text(side.read_text(errors="surrogateescape").strip() + "\n" + rest)
        for item in reader.records_of([str(folder)], "test"):
            assert isinstance(item, Record)
            Record.parse(dict(item.fields))

    assert fuzz(side, first, 300, read) > 50


# ---------------------------------------------------------------- tars


def _named(path: Path) -> list[str]:
    """The names of the sounds in a tar that are not hidden."""
    with path.open("rb") as stream:
        names = [item.name for item in archive.walk(stream) if isinstance(item, archive.Member)]
    shown = [name for name in names if not name.rpartition("/")[2].startswith(".")]
    return [name for name in shown if name.endswith(".flac")]


def test_mutants_of_a_tar(tmp_path: Path) -> None:
    whole, draw, path = a_tar(), random.Random(0), tmp_path / "x.tar"
    sounds: set[bytes] = set()
    path.write_bytes(whole)
    assert len(list(read_tar(str(path), "test"))) == 6
    for round_ in range(800):
        path = tmp_path / f"{round_ % 2}.tar"
        data = damaged_tar(whole, draw)
        path.write_bytes(data)
        for bare in (False, True):
            with in_time(10):
                items = list(read_tar(str(path), "test", bare=bare))
            assert items, "what was there is in nothing that came out"
            for item in items:
                if isinstance(item, Record):
                    with in_time(10):
                        try:
                            sounds.add(sound.load(item).tobytes())
                        except RecordError as error:
                            assert "\n" not in str(error)
                else:
                    assert isinstance(item, (Reject, Dropped))
            if not any(isinstance(item, Reject) for item in items):
                assert len(items) == len(_named(path)), data
    assert sounds
