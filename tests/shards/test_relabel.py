"""New weak labels for a packed set: no tar is touched, and no reader sees half of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.errors import LanserError, UsageError
from lanser_cli.lock import FileLock
from lanser_cli.origin import of_files
from lanser_cli.records import Record, Reject
from lanser_cli.shards import reader
from lanser_cli.shards.pack import pack
from lanser_cli.shards.relabel import relabel_shards
from lanser_cli.shards.side_file import Labels
from lanser_cli.shards.verify import verify_shards
from lanser_cli.shards.writer import ShardWriter


@pytest.fixture(scope="module")
def built(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "shards"
    records = [Record.parse(value) for value in read_jsonl(labelled)]
    pack(records, ShardWriter(folder, max_count=5), processes=1)
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


def read(*names: object) -> list[Record]:
    found = list(reader.records_of(map(str, names), "test"))
    assert not [item for item in found if isinstance(item, Reject)]
    return [item for item in found if isinstance(item, Record)]


def new_labels(path: Path, ids: list[str]) -> Path:
    about = {"taxonomy": "plutchik8", "margin": 0.5}
    return write_jsonl(
        path,
        [
            {"id": one, "text": "not taken", "emotion": f"new-{one}", "entailment": about}
            for one in ids
        ],
    )


def relabel(folder: Path, source: Path) -> dict:
    return relabel_shards(folder, str(source))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_by_command(copy: Path, tmp_path: Path, lanser: Lanser) -> None:
    before, old = contents(copy), read(copy)
    ids = [record.id for record in old]
    source = new_labels(tmp_path / "new.jsonl", [*reversed(ids[1:]), "stranger"])
    made = lanser("shard", "--relabel", "-", copy, input=source.read_bytes())
    [said] = read_jsonl(made.stdout)
    assert said["relabelled"] == 11 and b"11 of 12 samples" in made.stderr

    after = contents(copy)
    [side] = after.keys() - before.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"index.json"}
    lines = read_jsonl(copy / side)
    assert [line["id"] for line in lines] == ids, "one line a sample, in the order of the shards"
    assert lines[0]["emotion"] == old[0].emotion and lines[1]["emotion"] == f"new-{ids[1]}"

    index = json.loads(after["index.json"])
    assert index["labels"]["emotion"] == {old[0].emotion: 1} | {f"new-{one}": 1 for one in ids[1:]}
    assert index["labels"]["label"] == json.loads(before["index.json"])["labels"]["label"]
    assert index["taxonomy"] == ["plutchik8"] and index["relabelled"]["samples"] == 11

    found = read(copy)
    assert found[0] == old[0]
    for was, now in zip(old[1:], found[1:], strict=True):
        assert now.emotion == f"new-{now.id}" and now.text == was.text
        assert not {"emotion_score", "emotion_scores"} & now.fields.keys(), "nothing old is left"
        assert now.label == was.label and now.fields["mine"] == was.fields["mine"]
    verified = lanser("shard", "--verify", copy)
    assert read_jsonl(verified.stdout)[0]["whole"]


def test_shards_named_one_by_one_are_relabelled_too(copy: Path, tmp_path: Path) -> None:
    ids = [record.id for record in read(copy)]
    relabel(copy, new_labels(tmp_path / "new.jsonl", ids))
    for names in (["speech-{000001..000002}.tar"], ["speech-000002.tar", "speech-000000.tar"]):
        found = read(*(copy / name for name in names))
        assert found and all(record.emotion == f"new-{record.id}" for record in found)


def test_a_run_over_shards_that_were_relabelled_meanwhile_is_another(
    copy: Path, tmp_path: Path
) -> None:
    """No byte of the tars tells it; both ways to name them do."""
    before = [of_files([name]) for name in (copy, f"{copy}/*.tar")]
    relabel(copy, new_labels(tmp_path / "new.jsonl", [one.id for one in read(copy)]))
    after = [of_files([name]) for name in (copy, f"{copy}/*.tar")]
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert after == [of_files([name]) for name in (copy, f"{copy}/*.tar")]


def test_a_folder_with_braces_in_its_name_is_that_folder(copy: Path, tmp_path: Path) -> None:
    folder = copy.rename(tmp_path / "takes{1,2}")
    ids = [one.id for one in read(folder)]
    relabel(folder, new_labels(tmp_path / "new.jsonl", ids))
    assert [one.emotion for one in read(folder)] == [f"new-{one}" for one in ids]
    assert [one.id for tar in sorted(folder.glob("*.tar")) for one in read(tar)] == ids


def test_again_and_again(copy: Path, tmp_path: Path) -> None:
    ids = [record.id for record in read(copy)]
    relabel(copy, new_labels(tmp_path / "new.jsonl", ids))
    second = write_jsonl(tmp_path / "second.jsonl", [{"id": ids[3], "emotion": None}])
    index = relabel(copy, second)
    assert [path.name for path in copy.glob("labels*")] == [index["relabelled"]["file"]]
    found = read(copy)
    assert found[3].emotion is None and found[4].emotion == f"new-{ids[4]}"
    assert index["labels"]["emotion"] == {f"new-{one}": 1 for one in ids if one != ids[3]}
    relabel(copy, second)
    assert read(copy) == found and verify_shards(copy) == []


def test_a_relabelled_set_packed_anew_has_its_labels(copy: Path, tmp_path: Path) -> None:
    ids = [record.id for record in read(copy)]
    relabel(copy, new_labels(tmp_path / "new.jsonl", ids))
    pack(read(copy), ShardWriter(tmp_path / "anew"), processes=1)
    assert [record.emotion for record in read(tmp_path / "anew")] == [f"new-{one}" for one in ids]


def test_an_unreadable_sample_takes_no_label_from_its_neighbours(
    copy: Path, tmp_path: Path
) -> None:
    relabel(copy, new_labels(tmp_path / "new.jsonl", [record.id for record in read(copy)]))
    tar = copy / "speech-000000.tar"
    data = tar.read_bytes()
    start = data.index(b'{"id":')
    tar.write_bytes(data[:start] + b"x" + data[start + 1 :])
    found = list(reader.records_of([str(tar)], "test"))
    records = [item for item in found if isinstance(item, Record)]
    assert len(found) == 5 and len(records) == 4
    assert all(record.emotion == f"new-{record.id}" for record in records)


def test_verify_sees_a_side_file_that_is_not_the_one(copy: Path, tmp_path: Path) -> None:
    ids = [record.id for record in read(copy)]
    file = relabel(copy, new_labels(tmp_path / "new.jsonl", ids))["relabelled"]["file"]
    data = (copy / file).read_bytes()
    (copy / file).write_bytes(data.replace(b"new-", b"NEW-", 1))
    assert verify_shards(copy) == [f"{file}: its SHA-256 is not that of the index"]
    (copy / file).write_bytes(data[:-30])
    with pytest.raises(LanserError, match=f"damaged: no labels for '{ids[-1]}'"):
        read(copy)
    (copy / file).unlink()
    assert "are missing" in verify_shards(copy)[0]
    with pytest.raises(LanserError, match="are missing"):
        read(copy)


@pytest.mark.parametrize("file", ["keep.txt", "../keep.txt", "speech-000000.tar", "labels-0.jsonl"])
def test_relabelling_deletes_nothing_that_an_index_names_but_its_own(
    file: str, copy: Path, tmp_path: Path, lanser: Lanser
) -> None:
    source = new_labels(tmp_path / "new.jsonl", [record.id for record in read(copy)])
    relabel(copy, source)
    for path in (copy / "keep.txt", tmp_path / "keep.txt", copy / "labels-0.jsonl"):
        path.write_text("mine")
    index = json.loads((copy / "index.json").read_text())
    index["relabelled"]["file"] = file
    (copy / "index.json").write_text(json.dumps(index))
    before = contents(copy) | {"above": (tmp_path / "keep.txt").read_bytes()}
    made = lanser("shard", "--relabel", source, copy, check=1)
    assert b"index.json: not an index of shards: 'relabelled.file' must be" in made.stderr
    assert contents(copy) | {"above": (tmp_path / "keep.txt").read_bytes()} == before


def test_verify_knows_where_the_labels_of_each_shard_start(copy: Path, tmp_path: Path) -> None:
    relabel(copy, new_labels(tmp_path / "new.jsonl", [record.id for record in read(copy)]))
    index = json.loads((copy / "index.json").read_text())
    index["relabelled"]["starts"][1] = 0
    (copy / "index.json").write_text(json.dumps(index))
    assert verify_shards(copy) == [
        "index.json: 'relabelled.starts' is not where the labels of each shard begin"
    ]
    del index["relabelled"]["starts"][1]
    (copy / "index.json").write_text(json.dumps(index))
    with pytest.raises(LanserError, match="'relabelled.starts' must have one number a shard"):
        read(copy)


def test_a_side_file_sets_weak_labels_and_nothing_else(copy: Path, tmp_path: Path) -> None:
    old = read(copy)
    relabel(copy, new_labels(tmp_path / "new.jsonl", [record.id for record in old]))
    [side] = copy.glob("labels-*.jsonl")
    lines = read_jsonl(side)
    lines[0] |= {"audio_filepath": "/etc/passwd", "label": "joy", "emotion": "theirs"}
    write_jsonl(side, lines)
    first = next(iter(reader.records_of([str(copy / "speech-000000.tar")], "test")))
    assert isinstance(first, Record) and first.emotion == "theirs"
    assert (first.audio_filepath, first.label) == (old[0].audio_filepath, old[0].label)
    for bad in ({"emotion": 7.5}, {"emotion_scores": {"joy": "much"}}, {"entailment": []}):
        write_jsonl(side, [lines[0] | bad, *lines[1:]])
        with pytest.raises(LanserError, match="damaged: no labels for 'clip-00'"):
            list(reader.records_of([str(copy / "speech-000000.tar")], "test"))


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([{"id": "stranger", "emotion": "joy"}], "none of the 1 new labels"),
        ([{"id": "a", "text": "no label yet"}], "'a' has no 'emotion'"),
        ([{"id": "a", "emotion": "joy"}] * 2, "'a' is there twice"),
        ([{"id": "a", "emotion": 3.5}], "'emotion' must be a string"),
        ([], "none of the 0 new labels"),
    ],
)
def test_what_cannot_be_used_leaves_the_set_as_it_is(
    copy: Path, tmp_path: Path, lines: list[dict], why: str, lanser: Lanser
) -> None:
    before = contents(copy)
    source = write_jsonl(tmp_path / "new.jsonl", lines)
    made = lanser("shard", "--relabel", source, copy, check=None)
    assert made.returncode == 1 and why in made.stderr.decode()
    assert len(made.stderr.splitlines()) == 1 and contents(copy) == before


def test_a_set_keeps_one_taxonomy_and_one_writer(copy: Path, tmp_path: Path) -> None:
    ids = [record.id for record in read(copy)]
    relabel(copy, new_labels(tmp_path / "new.jsonl", ids))
    before, about = contents(copy), {"taxonomy": "ekman6"}
    lines = [{"id": ids[0], "emotion": "joy", "entailment": about}]
    other = write_jsonl(tmp_path / "other.jsonl", lines)
    with pytest.raises(UsageError, match="1 of 12 labels .* some of ekman6 and some of plutchik8"):
        relabel(copy, other)
    lock = FileLock(copy, path=copy / ".lock")
    with pytest.raises(LanserError, match="is writing this set"):
        relabel(copy, other)
    lock.release()
    assert contents(copy) == before
    (tmp_path / "kept").write_text("kept")
    (copy / "labels.jsonl.part").symlink_to(tmp_path / "kept")
    index = relabel_shards(copy, str(other), mix_taxonomies=True)
    assert index["taxonomy"] == ["ekman6", "plutchik8"]
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_broken_shard_leaves_the_set_as_it_is(copy: Path, tmp_path: Path) -> None:
    source = new_labels(tmp_path / "new.jsonl", [record.id for record in read(copy)])
    tar = copy / "speech-000002.tar"
    tar.write_bytes(tar.read_bytes()[:1500])
    before = contents(copy)
    with pytest.raises(LanserError, match="--verify"):
        relabel(copy, source)
    assert contents(copy) == before


def test_which_set_must_be_said(tmp_path: Path, copy: Path, lanser: Lanser) -> None:
    source = new_labels(tmp_path / "new.jsonl", ["a"])
    for inputs in ([], [copy, copy]):
        made = lanser("shard", "--relabel", source, *inputs, check=None)
        assert made.returncode == 2 and b"one folder of shards" in made.stderr
    made = lanser("shard", "--relabel", source, tmp_path, check=None)
    assert made.returncode == 1 and b"no index.json in it" in made.stderr


def test_labels_at_training_time_are_the_same_labels(copy: Path, tmp_path: Path) -> None:
    before = read(copy)
    source = new_labels(tmp_path / "new.jsonl", [record.id for record in before[2:]])
    labels = Labels(str(source), "--labels")
    found = [(record, labels.get(record.id)) for record in before]
    in_memory = [record if label is None else record.relabelled(label) for record, label in found]
    relabel(copy, source)
    assert read(copy) == in_memory


def test_votes_come_and_go_with_the_label_that_they_made(copy: Path, tmp_path: Path) -> None:
    ids = [record.id for record in read(copy)]
    agreed = [
        {
            "id": one,
            "emotion": "joy",
            "entailment": {"model": "agree", "taxonomy": "ekman6", "margin": 1.0},
            "votes": {"a.jsonl": "joy", "b.jsonl": None},
            "agreement": 0.5,
        }
        for one in ids
    ]
    relabel(copy, write_jsonl(tmp_path / "agreed.jsonl", agreed))
    assert {str(record.fields["votes"]) for record in read(copy)} == {str(agreed[0]["votes"])}
    relabel(copy, new_labels(tmp_path / "new.jsonl", ids))
    assert not [record for record in read(copy) if {"votes", "agreement"} & record.fields.keys()]


def test_votes_of_another_kind_stay() -> None:
    record = Record.parse({"id": "a", "emotion": "joy", "emotion_score": 1.0, "votes": 3})
    assert record.relabelled({"emotion": "fear"}).fields == {
        "id": "a",
        "emotion": "fear",
        "votes": 3,
    }
