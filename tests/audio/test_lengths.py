"""Limits of length, in every verb that learns or packs."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.audio.lengths import ANY, Lengths
from lanser_cli.errors import UsageError
from lanser_cli.records import Record


def test_an_utterance_is_as_long_as_its_record_says_else_as_its_file_is(labelled: Path) -> None:
    records = [Record(value) for value in read_jsonl(labelled)]
    stated = [record.duration for record in records]
    limits = Lengths(0.7, 1.0)
    wanted = [seconds is not None and 0.7 <= seconds <= 1.0 for seconds in stated]
    assert 0 < sum(wanted) < len(wanted)
    assert [limits.fault(record) is None for record in records] == wanted
    silent = [record.with_fields(duration=None) for record in records]
    assert [limits.fault(record) is None for record in silent] == wanted
    later = [record.with_fields(duration=None, offset=0.5) for record in records]
    assert {limits.fault(record) for record in later} == {"shorter than 0.7 s"}
    assert limits.fault(Record({"id": "a", "audio_filepath": "gone.wav"})) is None
    assert all(ANY.fault(record) is None for record in [*records, Record({"id": "a"})])


def test_limits_that_leave_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="--min-seconds 2 and --max-seconds 1 leave nothing"):
        Lengths(2, 1)


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "baseline", "efficiency"])
def test_every_learner_leaves_out_what_is_too_short_or_too_long(
    lanser: Lanser, labelled: Path, tiny_run: Path, tmp_path: Path, verb: str
) -> None:
    words = (verb, labelled, "-o", tmp_path / "run")
    words += ("--init", tiny_run) if verb == "efficiency" else ()
    limits = ("--min-seconds", 0.7, "--max-seconds", 0.65)
    assert b"leave nothing" in lanser(*words, *limits, check=2).stderr
    done = lanser(*words, "--min-seconds", 9, check=1)
    assert b"12 dropped (shorter than 9 s)" in done.stderr
    if verb == "baseline":
        limits = ("--min-seconds", 0.7, "--max-seconds", 1.0)
        said = lanser(*words, *limits, "--folds", 2, check=None).stderr.decode()
        assert "12 in, 7 used, 0 rejected, 3 dropped (longer than 1 s), 2 dropped (shorter" in said


def test_shards_hold_what_is_within(lanser: Lanser, labelled: Path, tmp_path: Path) -> None:
    values = read_jsonl(labelled)
    for value in values[:2]:
        del value["duration"]
    path = write_jsonl(tmp_path / "in.jsonl", values)
    limits = ("--min-seconds", 0.625, "--max-seconds", 0.725)
    done = lanser("shard", path, "-o", tmp_path / "shards", *limits, "--workers", 1)
    assert read_jsonl(done.stdout)[0]["samples"] == 2
    assert (
        "12 in, 2 out, 0 rejected, 9 dropped (longer than 0.725 s), 1 dropped (shorter than 0.625"
        in done.stderr.decode()
    )
