"""What is kept, and on which side, depends on hashes, not on order; nothing is lost uncounted."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import ROOT, Lanser, read_jsonl, write_jsonl
from hypothesis import given
from hypothesis import strategies as st

from lanser_cli.errors import UsageError
from lanser_cli.records import Dropped, Outcome, Record, Reject
from lanser_cli.shards import reader
from lanser_cli.shards.selection import FLAGS, Selection, parse_splits, select

WRITTEN = "train=0.8,dev=0.1,test=0.1"
THREE = {"train": 0.8, "dev": 0.1, "test": 0.1}


def weak(identifier: str, emotion: str | None = "joy", **fields: object) -> Record:
    return Record({"id": identifier, "emotion": emotion, **fields})


def run(items: Iterable[Outcome], selection: Selection) -> tuple[list[str], dict[str, str]]:
    """Ids that are kept, in order, and the reason for each that is dropped."""
    found = list(select(items, selection))
    assert not [item for item in found if isinstance(item, Reject)]
    kept = [item.id for item in found if isinstance(item, Record)]
    return kept, {item.id: item.reason for item in found if isinstance(item, Dropped)}


def many(count: int = 300) -> list[Record]:
    names = ("joy", "joy", "joy", "anger", "anger", "fear")
    return [weak(f"r{index}", names[index % 6]) for index in range(count)]


def test_nothing_asked_nothing_changed() -> None:
    items = [weak("a", split="mine"), Reject(None, "x", "bad", None), Dropped("b", "why")]
    assert list(select(items, Selection())) == items


def test_limits_are_for_weak_labels() -> None:
    items = [
        weak("low", emotion_score=0.4, entailment={"margin": 2.0}),
        weak("close", emotion_score=0.6, entailment={"margin": 0.05}),
        weak("good", emotion_score=0.5, entailment={"margin": 0.1}),
        weak("by-scores", emotion_scores={"joy": 0.7}, entailment={"margin": 1}),
        weak("no-score", entailment={"margin": 1}),
        weak("no-margin", emotion_score=0.9),
        weak("human", None, label="joy"),
        Record({"id": "human-only", "label": "joy"}),
    ]
    kept, dropped = run(items, Selection(min_score=0.5, min_margin=0.1))
    assert kept == ["good", "by-scores", "human", "human-only"]
    assert dropped == {
        "low": "score below 0.5",
        "close": "margin below 0.1",
        "no-score": "no score",
        "no-margin": "no margin",
    }


def test_flags() -> None:
    items = [
        weak("a", asr={"flags": ["vad", "repetition"]}),
        weak("b", asr={"flags": ["vad"]}),
        weak("c", asr={"flags": []}),
        weak("d"),
    ]
    kept, dropped = run(items, Selection(drop_flags="repetition,empty"))
    assert kept == ["b", "c", "d"] and dropped == {"a": "flag: repetition"}
    kept, dropped = run(items, Selection(drop_flags="all"))
    assert kept == ["c", "d"] and dropped == {"a": "flag: vad", "b": "flag: vad"}


def test_the_flags_are_those_of_the_documentation() -> None:
    [row] = re.findall(r"^\| `flags` \| (.*)$", (ROOT / "docs/formats.md").read_text(), re.M)
    assert set(FLAGS) == set(re.findall(r"`([a-z_]+)`(?:,| \()", row))


def test_the_first_of_equal_texts_that_passes_is_kept() -> None:
    items = [
        Record({"id": "abstained", "text": "Oh no", "emotion": None}),
        weak("unsure", text="Oh no", emotion_score=0.1),
        weak("first", text="Oh, no!", emotion_score=0.9),
        weak("again", text=" oh NO", emotion_score=0.9),
        weak("other", text="oh yes", emotion_score=0.9),
        weak("none-1", emotion_score=0.9),
        weak("none-2", text="...", emotion_score=0.9),
        weak("none-3", text="?", emotion_score=0.9),
    ]
    kept, dropped = run(items, Selection(min_score=0.5, dedupe="text"))
    assert kept == ["abstained", "first", "other", "none-1", "none-2", "none-3"]
    assert dropped["again"] == "same text as an earlier record"


def test_most_of_a_class_in_input_order() -> None:
    items = [*many(), weak("none", None), Record({"id": "human", "label": "bored"})]
    kept, dropped = run(items, Selection(max_per_class=60))
    counts = Counter(record.emotion for record in items if record.id in kept)
    assert counts == {"joy": 60, "anger": 60, "fear": 50, None: 2}
    order = [record.id for record in items]
    assert kept == sorted(kept, key=order.index)
    assert Counter(dropped.values()) == {"over 60 of joy": 90, "over 60 of anger": 40}


def test_balance() -> None:
    kept, dropped = run(many(), Selection(balance=True))
    assert Counter(record.emotion for record in many() if record.id in kept) == {
        "joy": 50, "anger": 50, "fear": 50
    }  # fmt: skip
    assert set(dropped.values()) == {"over 50 of joy, to balance", "over 50 of anger, to balance"}
    both, reasons = run(many(), Selection(balance=True, max_per_class=7))
    assert len(both) == 21 and "over 7 of fear" in reasons.values()
    assert run([], Selection(balance=True)) == ([], {})
    assert run([weak("a", None)], Selection(balance=True)) == (["a"], {})


def test_what_is_kept_of_a_class_is_no_matter_of_order_but_of_the_seed() -> None:
    shuffled = random.Random(0).sample(many(), 300)
    for selection in (Selection(max_per_class=20), Selection(balance=True)):
        assert set(run(many(), selection)[0]) == set(run(shuffled, selection)[0])
    other = run(many(), Selection(max_per_class=20, seed=1))[0]
    assert set(other) != set(run(many(), Selection(max_per_class=20))[0])


def test_the_spool_changes_no_field() -> None:
    fields = {
        "zeta": 1,
        "id": "a",
        "emotion": "joy",
        "mine": {"ü": "日本", "big": 10**25, "x": 0.1},
    }
    bad = weak("bad", mine="\ud800")
    reject = Reject(None, "x", "bad", None)
    found = list(select([Record(fields), bad, reject], Selection(max_per_class=5)))
    [same] = [item for item in found if isinstance(item, Record)]
    assert list(same.fields.items()) == list(fields.items())
    refused = [item for item in found if isinstance(item, Reject)]
    assert [item.id for item in refused] == ["bad", None]


# ---------------------------------------------------------------- splits


def sides(records: Iterable[Record], **options: object) -> dict[str, str]:
    selection = Selection(split=WRITTEN, **options)  # type: ignore[arg-type]
    found = list(select(records, selection))
    assert all(isinstance(item, Record) for item in found)
    return {item.id: str(item.fields["split"]) for item in found if isinstance(item, Record)}


def test_shares_are_near_what_was_asked_and_seeded() -> None:
    records = [weak(f"r{index}", split="old") for index in range(20_000)]
    found = sides(records, split_by="record")
    counts = Counter(found.values())
    for name, share in THREE.items():
        assert counts[name] / 20_000 == pytest.approx(share, abs=0.01)
    other = sides(records, split_by="record", seed=1)
    agreeing = sum(found[key] == other[key] for key in found) / 20_000
    assert agreeing == pytest.approx(0.8**2 + 2 * 0.1**2, abs=0.02)


def test_the_choice_within_a_class_tells_nothing_of_the_split() -> None:
    records = [weak(f"r{index}") for index in range(20_000)]
    chosen = Selection(max_per_class=4_000, split=WRITTEN, split_by="record")
    found = [item for item in select(records, chosen) if isinstance(item, Record)]
    counts = Counter(item.fields["split"] for item in found)
    assert counts["train"] / 4_000 == pytest.approx(0.8, abs=0.03)


NAMES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40)


@given(NAMES, NAMES, st.integers(0, 3))
def test_data_added_moves_nothing_and_no_speaker_is_on_two_sides(
    first: list[tuple[int, int]], more: list[tuple[int, int]], seed: int
) -> None:
    def made(pairs: list[tuple[int, int]], name: str) -> list[Record]:
        return [
            weak(f"{name}{place}", speaker=f"s{speaker}", audio_filepath=f"{file}.wav")
            for place, (speaker, file) in enumerate(pairs)
        ]

    old, all_of_them = made(first, "old"), made(more, "new") + made(first, "old")
    for by, key in (("speaker", "speaker"), ("recording", "audio_filepath"), ("record", "id")):
        before, after = (sides(r, split_by=by, seed=seed) for r in (old, all_of_them))
        assert before.items() <= after.items()
        groups: dict[object, set[str]] = {}
        for record in all_of_them:
            groups.setdefault(record.fields[key], set()).add(after[record.id])
        assert all(len(where) == 1 for where in groups.values())


def test_a_packed_record_is_split_by_the_file_that_was_packed() -> None:
    plain = [weak(f"r{index}", audio_filepath=f"{index % 9}.wav") for index in range(90)]
    packed = [
        record.with_fields(
            audio_filepath=f"x.tar#{record.id}.flac", source_filepath=record.audio_filepath
        )
        for record in plain
    ]
    assert sides(plain, split_by="recording") == sides(packed, split_by="recording")


@pytest.mark.parametrize(("by", "missing"), [("speaker", "speaker"), ("recording", "audio_file")])
def test_without_what_it_is_split_by_a_record_is_refused(by: str, missing: str) -> None:
    [item] = select([weak("a")], Selection(split=WRITTEN, split_by=by))
    assert isinstance(item, Reject) and item.id == "a"
    assert f"'{missing}" in item.error and "or split by" in item.error


def test_a_split_that_nearly_has_a_common_name_is_pointed_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Selection(split="tran=0.5,mine=0.25,test=0.25")
    said = capsys.readouterr().err
    assert said == "--split: there will be a split 'tran': did you mean 'train'?\n"


def test_texts_and_hashes_of_texts_are_not_said_to_be_free_of_repeats(
    capsys: pytest.CaptureFixture[str],
) -> None:
    both = [weak("a", text="so it is"), *(weak(one, text_hash="5f" * 16) for one in "bc")]
    kept, _ = run(both, Selection(dedupe="text"))
    assert kept == ["a", "b"]
    assert "repeats among the two stay" in capsys.readouterr().err
    run(both[1:], Selection(dedupe="text"))
    assert capsys.readouterr().err == ""


def test_a_split_that_nobody_falls_to_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """With three speakers a share of a tenth is mostly nobody's."""
    few = [weak(f"r{index}", speaker=f"s{index % 3}") for index in range(30)]
    found = sides(few, split_by="speaker", seed=0)
    empty = [name for name in THREE if name not in found.values()]
    said = capsys.readouterr().err
    assert empty and said.startswith(f"--split: nothing is in {', '.join(empty)}: each speaker")
    sides([weak(f"r{index}", speaker=f"s{index}") for index in range(90)], split_by="speaker")
    assert capsys.readouterr().err == ""


def test_splits_are_read_in_order() -> None:
    assert list(parse_splits(WRITTEN).items()) == list(THREE.items())
    assert parse_splits("all=1") == {"all": 1.0} and parse_splits(None) == {}


@pytest.mark.parametrize(
    "text", ["train", "train=0.8", "a=0.5,a=0.5", "a=x,b=1", "a b=1", "a=1.5,b=-0.5", "a=nan", ""]
)
def test_bad_splits(text: str) -> None:
    with pytest.raises(UsageError, match="--split"):
        parse_splits(text)


def test_other_bad_values() -> None:
    for wrong in (
        {"drop_flags": "empty,repetiton"},
        {"dedupe": "sound"},
    ):
        with pytest.raises(UsageError, match="choose from"):
            Selection(**wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- the command


def test_by_command_every_drop_is_counted_in_the_index(
    labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = read_jsonl(labelled)
    values[0]["emotion_score"] = 0.2
    values[1]["asr"] = {"flags": ["repetition"]}
    values[3]["text"] = values[2]["text"].upper()
    twin = {**values[4], "id": "twin", "text": "other words"}
    data = write_jsonl(tmp_path / "data.jsonl", [*values, twin])
    out = tmp_path / "shards"
    made = lanser(
        *("shard", data, "--min-score", 0.5, "--drop-flags", "all", "--dedupe", "audio,text"),
        *("--split", "train=0.5,test=0.5", "--seed", 2, "-o", out),
    )
    index = json.loads((out / "index.json").read_text())
    assert index["dropped"] == {
        "flag: repetition": 1,
        "same sound as an earlier record": 1,
        "same text as an earlier record": 1,
        "score below 0.5": 1,
    }
    assert index["samples"] == len(values) - 3
    assert b"1 dropped (score below 0.5)" in made.stderr
    found = [item for item in reader.records_of([str(out)], "test") if isinstance(item, Record)]
    where = {(item.speaker, item.fields["split"]) for item in found}
    assert len(where) == len({speaker for speaker, _ in where})
    assert sum(index["speakers"].values()) == len(where)


def test_parts_of_a_selection_hold_the_records_of_the_whole(
    labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    ids = []
    for part in ("1/2", "2/2"):
        out = tmp_path / part[0]
        lanser("shard", labelled, "--max-per-class", 4, "--part", part, "-o", out)
        ids.append({item.id for item in reader.records_of([str(out)], "test")})
    lanser("shard", labelled, "--max-per-class", 4, "-o", tmp_path / "whole")
    whole = {item.id for item in reader.records_of([str(tmp_path / "whole")], "test")}
    assert len(whole) == 8 and ids[0] | ids[1] == whole and not ids[0] & ids[1]


def test_bad_options_end_it_before_anything_is_made(
    labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    across = ["--part", "1/2", "--dedupe", "text,audio"]  # a part does not hear the others
    for words in (["--split", "a=0.5"], ["--dedupe", "x"], ["--split-by", "x"], across):
        made = lanser("shard", labelled, *words, "-o", tmp_path / "out", check=None)
        assert made.returncode == 2 and len(made.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()
