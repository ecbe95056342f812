"""Tar shards: the same bytes from the same input, and no fault that goes unseen."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Lanser, read_jsonl, tone, write_jsonl

from lanser_cli.audio import sound
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Dropped, Outcome, Record, Reject
from lanser_cli.shards import encoder, reader
from lanser_cli.shards.index import SCHEMA, read_index
from lanser_cli.shards.pack import pack
from lanser_cli.shards.samples import read_tar
from lanser_cli.shards.verify import verify_shards
from lanser_cli.shards.writer import ShardWriter
from lanser_cli.tally import Ledger


@pytest.fixture(scope="module")
def records(labelled: Path) -> list[Record]:
    return [Record.parse(value) for value in read_jsonl(labelled)]


def build(folder: Path, items: Iterable[Outcome], **options: object) -> dict:
    index = pack(items, ShardWriter(folder, **options))  # type: ignore[arg-type]
    return index


@pytest.fixture(scope="module")
def built(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve records in three shards. Not to be changed: see `copy`."""
    folder = tmp_path_factory.mktemp("built") / "shards"
    build(folder, records, max_count=5)
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


def tars(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def make_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def flac(seconds: float = 0.2) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(seconds), 16_000, format="FLAC")
    return buffer.getvalue()


def kinds(items: Iterable[Outcome]) -> tuple[list[Record], list[Reject]]:
    found = list(items)
    return (
        [item for item in found if isinstance(item, Record)],
        [item for item in found if isinstance(item, Reject)],
    )


# ---------------------------------------------------------------- writing


def test_the_same_input_gives_the_same_bytes(
    records: list[Record], built: Path, tmp_path: Path
) -> None:
    build(tmp_path / "again", records, max_count=5)
    assert tars(tmp_path / "again") == tars(built)
    assert len(tars(built)) == 3


def test_members(records: list[Record], built: Path) -> None:
    names = []
    for path in sorted(built.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                assert member.isfile() and member.mtime == 0
                assert (member.uname, member.gname) == ("lanser", "lanser")
                names.append(member.name)
    expected = [f"{item.id}.{suffix}" for item in records for suffix in ("flac", "json")]
    assert names == expected


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # by WebDataset
def test_other_tools_read_them(records: list[Record], built: Path) -> None:
    import webdataset

    urls = [str(path) for path in sorted(built.glob("*.tar"))]
    found = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [item["__key__"] for item in found] == [record.id for record in records]
    wave, rate = soundfile.read(io.BytesIO(found[3]["flac"]))
    assert rate == 16_000 and wave.ndim == 1
    assert json.loads(found[3]["json"])["id"] == records[3].id


def test_a_round_trip_of_sound_and_fields(records: list[Record], built: Path) -> None:
    found, rejects = kinds(reader.records_of([str(built)], "test"))
    assert not rejects
    assert [item.id for item in found] == [item.id for item in records]
    for before, after in zip(records, found, strict=True):
        assert np.abs(sound.load(after) - sound.load(before)).max() <= 2.0**-15
        own = {k: v for k, v in before.fields.items() if k not in ("audio_filepath", "duration")}
        assert own.items() <= dict(after.fields).items()
        assert after.duration == before.duration
        assert after.fields["source_filepath"] == before.audio_filepath
        assert after.audio_filepath is not None
        archive, _, member = after.audio_filepath.partition("#")
        assert Path(archive).parent == built and member == f"{before.id}.flac"


def test_sound_of_16_bits_is_kept_to_the_last(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 4000).astype(np.int16)
    samples[:2] = (-32768, 32767)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    record = Record({"id": "a", "audio_filepath": str(tmp_path / "a.wav"), "label": "joy"})
    build(tmp_path / "out", [record])
    with tarfile.open(tmp_path / "out" / "speech-000000.tar") as tar:
        stream = tar.extractfile("a.flac")
        assert stream is not None
        found, _ = soundfile.read(io.BytesIO(stream.read()), dtype="int16")
    assert np.array_equal(found, samples)


def test_loud_sound_is_clipped_and_does_not_wrap(tmp_path: Path) -> None:
    wave = np.linspace(-2, 2, 4001).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    record = Record({"id": "a", "audio_filepath": str(tmp_path / "a.wav"), "label": "joy"})
    build(tmp_path / "out", [record])
    (found,) = reader.records_of([str(tmp_path / "out")], "test")
    assert isinstance(found, Record)
    assert np.abs(sound.load(found) - wave.clip(-1, 1)).max() <= 2.0**-15


def test_an_offset_is_cut_out_and_remembered(records: list[Record], tmp_path: Path) -> None:
    part = records[8].with_fields(offset=0.25, duration=0.5)
    build(tmp_path / "out", [part])
    (found,) = reader.records_of([str(tmp_path / "out")], "test")
    assert isinstance(found, Record)
    assert found.offset == 0.0 and found.duration == 0.5
    assert found.fields["source_offset"] == 0.25
    assert np.abs(sound.load(found) - sound.load(part)).max() <= 2.0**-15
    assert len(sound.load(found)) == 8_000


def test_shards_of_shards_have_the_same_sound(built: Path, tmp_path: Path) -> None:
    build(tmp_path / "second", reader.records_of([str(built)], "test"))
    before, after = (
        [
            sound.load(item)
            for item in reader.records_of([str(folder)], "test")
            if isinstance(item, Record)
        ]
        for folder in (built, tmp_path / "second")
    )
    assert len(before) == len(after) == 12
    assert all(map(np.array_equal, before, after))


def test_shards_of_shards_know_where_their_sound_first_came_from(
    records: list[Record], tmp_path: Path
) -> None:
    """So a recording stays on one side of a split however often it is packed."""
    build(tmp_path / "once", [records[8].with_fields(offset=0.25, duration=0.5)])
    (once,) = reader.records_of([str(tmp_path / "once")], "test")
    assert isinstance(once, Record)
    build(tmp_path / "twice", [once.with_fields(offset=0.125, duration=0.25)])
    (twice,) = reader.records_of([str(tmp_path / "twice")], "test")
    assert isinstance(twice, Record)
    keys = ("source_filepath", "source_offset")
    assert [once.fields[key] for key in keys] == [records[8].audio_filepath, 0.25]
    assert [twice.fields[key] for key in keys] == [records[8].audio_filepath, 0.375]


@pytest.mark.parametrize(("count", "sizes"), [(1, [1] * 12), (5, [5, 5, 2]), (12, [12])])
def test_max_count(count: int, sizes: list[int], records: list[Record], tmp_path: Path) -> None:
    index = build(tmp_path / "out", records, max_count=count)
    assert [shard["samples"] for shard in index["shards"]] == sizes
    assert len(tars(tmp_path / "out")) == len(sizes)


def test_max_bytes(records: list[Record], tmp_path: Path) -> None:
    index = build(tmp_path / "out", records, max_bytes=20_000)
    sizes = [shard["bytes"] for shard in index["shards"]]
    assert len(sizes) > 2
    biggest = 2048 + max(Path(str(item.audio_filepath)).stat().st_size for item in records)
    for size in sizes:
        assert size <= 20_000 + biggest + 10_240
    assert all(size >= 20_000 for size in sizes[:-1])
    assert verify_shards(tmp_path / "out") == []


def test_the_index(records: list[Record], built: Path) -> None:
    index = json.loads((built / "index.json").read_text())
    assert index == read_index(built)
    assert (index["schema"], index["name"], index["samples"]) == (SCHEMA, "speech", 12)
    assert index["seconds"] == pytest.approx(sum(item.duration or 0 for item in records), abs=0.01)
    assert index["labels"] == {
        "emotion": {"anger": 6, "disgust": 6},
        "label": {"anger": 6, "disgust": 6},
    }
    assert index["speakers"] == {"all": 3}
    assert index["taxonomy"] == []
    assert index["argv"] == [], "made from Python, by no command line"
    assert index["versions"]["lanser"]
    for shard, (name, data) in zip(index["shards"], tars(built).items(), strict=True):
        assert shard["file"] == name
        assert shard["bytes"] == len(data)
        assert shard["sha256"] == hashlib.sha256(data).hexdigest()
    assert sum(shard["seconds"] for shard in index["shards"]) == pytest.approx(index["seconds"])


def test_splits_and_taxonomies_are_in_the_index(records: list[Record], tmp_path: Path) -> None:
    about = {"taxonomy": "ekman6"}
    items = [
        item.with_fields(split="test" if n < 2 else "train", entailment=about)
        for n, item in enumerate(records)
    ]
    index = build(tmp_path / "out", items)
    assert index["speakers"] == {"test": 1, "train": 3}
    assert index["taxonomy"] == ["ekman6"]


def test_what_has_no_label_or_no_sound_is_counted(records: list[Record], tmp_path: Path) -> None:
    human = records[0].with_fields(emotion=None)
    weak = records[1].with_fields(label=None)
    neither = records[2].with_fields(emotion=None, label=None)
    silent = neither.with_fields(id="silent", entailment={"abstained": "empty"})
    gone = records[3].with_fields(audio_filepath="/nowhere.wav")
    before = Reject("x", "transcribe", "was bad before", None)
    writer = ShardWriter(tmp_path / "out")
    items = [human, neither, gone, weak, silent, Dropped("y", "low score"), before]
    with Ledger("shard", tmp_path / "rejects.jsonl", word="out") as tally:
        index = pack(items, writer, ledger=tally)
    assert index["samples"] == 2
    assert (tally.read, tally.done, tally.rejected) == (7, 2, 2)
    assert tally.dropped == {
        "no label: not labelled": 1,
        "no label: empty": 1,
        "low score": 1,
    }
    assert tally.read == tally.done + tally.rejected + sum(tally.dropped.values())
    rejects = read_jsonl(tmp_path / "rejects.jsonl")
    assert {reject["id"] for reject in rejects} == {gone.id, "x"}
    assert [item.id for item in reader.records_of([str(tmp_path / "out")], "test")] == [
        human.id,
        weak.id,
    ]


def test_nothing_to_pack_is_a_fault_and_leaves_no_index(
    records: list[Record], tmp_path: Path
) -> None:
    for items in ([], [records[0].with_fields(emotion=None, label=None)]):
        with pytest.raises(LanserError, match="nothing to pack"):
            build(tmp_path / "out", items)
        assert not (tmp_path / "out").exists()
    build(tmp_path / "out", records)


def test_an_empty_set_has_an_index_and_reading_it_says_so(tmp_path: Path) -> None:
    index = ShardWriter(tmp_path / "out").finish()
    assert (index["samples"], index["seconds"], index["shards"]) == (0, 0, [])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["index.json"]
    assert verify_shards(tmp_path / "out") == []
    assert list(reader.records_of([str(tmp_path / "out")], "test")) == []
    with pytest.raises(LanserError, match="an empty set of shards: there is nothing to read"):
        reader.check_inputs([str(tmp_path / "out")])


# ---------------------------------------------------------------- interrupted


class Interrupted(ShardWriter):
    """Ctrl-C when some samples have been written."""

    after = 0

    def add(self, sample: encoder.Sample) -> None:
        if not self.after:
            raise KeyboardInterrupt
        self.after -= 1
        super().add(sample)


@pytest.mark.parametrize("after", [0, 3, 5, 11])
def test_a_resumed_run_gives_the_same_set(
    after: int, records: list[Record], built: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    writer = Interrupted(folder, max_count=5)
    writer.after = after
    with pytest.raises(KeyboardInterrupt):
        pack(records, writer)
    assert len(tars(folder)) == after // 5
    assert not (folder / "index.json").exists()
    assert list(folder.glob("*.part")) == []
    writer = ShardWriter(folder, max_count=5, resume=True)
    tally = Ledger("shard", word="out")
    index = pack(records, writer, ledger=tally)
    assert tally.already_done == after // 5 * 5
    assert tally.done + tally.already_done == 12
    assert tars(folder) == tars(built)
    assert index == read_index(built)
    assert verify_shards(folder) == []


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # as a killed run leaves them
def test_a_killed_run_leaves_a_part_that_does_no_harm(
    records: list[Record], built: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    writer = ShardWriter(folder, max_count=5)
    for item in records[:7]:
        writer.add(encoder.Encoder().encode(item))
    del writer
    assert [path.name for path in folder.glob("*.part")] == ["speech-000001.tar.part"]
    with pytest.raises(
        LanserError, match=r"shards without index\.json: .*--resume; else name them"
    ):
        list(reader.records_of([str(folder)], "test"))
    build(folder, records, max_count=5, resume=True)
    assert tars(folder) == tars(built)
    assert list(folder.glob("*.part")) == []


def test_refusals(records: list[Record], copy: Path) -> None:
    for resume in (False, True):
        with pytest.raises(UsageError, match="holds a finished set of shards: name another folder"):
            ShardWriter(copy, resume=resume)
    (copy / "index.json").unlink()
    with pytest.raises(UsageError, match="unfinished run: go on with --resume, or remove them"):
        ShardWriter(copy)
    with pytest.raises(UsageError, match=r"not of this set, which expects other-000000\.tar"):
        ShardWriter(copy, name="other", resume=True)
    first = copy / "speech-000000.tar"
    first.write_bytes(first.read_bytes()[:3000])
    with pytest.raises(LanserError, match=r"broken or cut off .*remove the file, then --resume"):
        ShardWriter(copy, resume=True)


# ---------------------------------------------------------------- verify


def flip(folder: Path) -> None:
    path = folder / "speech-000001.tar"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(folder: Path) -> None:
    path = folder / "speech-000001.tar"
    path.write_bytes(path.read_bytes()[:30_000])


def edit(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "index.json"
        index = json.loads(path.read_text())
        change(index)
        path.write_text(json.dumps(index))

    return apply


def replace_with_text(folder: Path) -> None:
    """A sound that is none, in a shard that the index agrees with."""
    path = folder / "speech-000002.tar"
    with tarfile.open(path) as tar:
        members = [(m.name, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]
    members[0] = (members[0][0], b"not a sound" * 50)
    make_tar(path, members)

    def agree(index: dict) -> None:
        index["shards"][2]["bytes"] = path.stat().st_size
        index["shards"][2]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()

    edit(agree)(folder)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped byte": (flip, "speech-000001.tar: its SHA-256 is not that of the index"),
    "cut off": (cut, "speech-000001.tar: 30000 bytes, not "),
    "missing": (lambda folder: (folder / "speech-000002.tar").unlink(), "000002.tar: missing"),
    "extra": (
        lambda folder: shutil.copy(folder / "speech-000000.tar", folder / "speech-000003.tar"),
        "speech-000003.tar: not in the index",
    ),
    "wrong count": (
        edit(lambda index: index["shards"][0].update(samples=4)),
        "speech-000000.tar: 5 samples, not 4",
    ),
    **{
        f"wrong {key}": (edit(lambda index, key=key, lie=lie: index.update({key: lie})), said)
        for key, lie, said in (
            ("samples", 13, "index.json: 'samples' is 13, but 12 in the shards"),
            ("seconds", 0.5, "index.json: 'seconds' is 0.5, but "),
            ("taxonomy", ["x"], "index.json: 'taxonomy' is [\"x\"], but [] in the shards"),
            ("speakers", {"all": 4}, '\'speakers\' is {"all": 4}, but {"all": 3}'),
            ("labels", {"emotion": {"joy": 12}, "label": {}}, "index.json: 'labels' is "),
        )
    },
    "wrong seconds of a shard": (
        edit(lambda index: index["shards"][1].update(seconds=77.0)),
        "speech-000001.tar: 4.750 seconds, not 77.0",
    ),
    "no sound": (replace_with_text, "clip-10.flac: is no sound but a text"),
}


def test_a_whole_set_has_no_faults(built: Path) -> None:
    assert verify_shards(built) == []


def test_other_keys_in_an_index_are_no_fault(copy: Path) -> None:
    edit(lambda index: index["shards"][0].update(copied="2026-11-27"))(copy)
    assert verify_shards(copy) == []


@pytest.mark.parametrize("name", FAULTS)
def test_verify_finds(name: str, copy: Path) -> None:
    damage, sentence = FAULTS[name]
    assert verify_shards(copy) == []
    damage(copy)
    faults = verify_shards(copy)
    assert faults, "went unseen"
    assert any(sentence in fault for fault in faults), faults
    assert all("\n" not in fault for fault in faults)


def test_an_index_that_is_none(copy: Path) -> None:
    edit(lambda index: index.update(schema=SCHEMA + 1, shards="changed"))(copy)
    with pytest.raises(LanserError, match=rf"newer lanser \(schema {SCHEMA + 1}\): upgrade"):
        verify_shards(copy)
    for text in (
        "",
        "[]",
        "{}",
        '{"schema":1}',
        '{"schema":"x","shards":[]}',
        '{"schema":1,"shards":[{}]}',
    ):
        (copy / "index.json").write_text(text)
        with pytest.raises(LanserError, match="not an index of shards"):
            read_index(copy)
        with pytest.raises(LanserError, match="not an index of shards"):
            reader.check_inputs([str(copy)])
    (copy / "index.json").unlink()
    with pytest.raises(LanserError, match=r"no index\.json in it, so no finished set of shards"):
        verify_shards(copy)


STRANGE = {
    "elsewhere": (
        ("shards", 0, "file"),
        "../speech-000000.tar",
        "'shards[0].file' must be the name",
    ),
    "a device": (("shards", 0, "file"), "/dev/zero", "'shards[0].file' must be the name of a tar"),
    "twice": (("shards", 0, "file"), "speech-000001.tar", "'shards' has speech-000001.tar more"),
    "negative": (("shards", 2, "bytes"), -1, "'shards[2].bytes' must be a whole number from 0 on"),
    "endless": (("seconds",), 10**400, "'seconds' must be a finite number, not 10000000000"),
    "no text": (("shards", 1, "sha256"), [], "'shards[1].sha256' must be a string, not an array"),
    "yes": (("samples",), True, "'samples' must be a whole number, not true or false"),
    "missing": (("labels", "label"), None, "'labels.label' must be an object, not null"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_wrong_with_an_index_is_one_sentence_with_file_and_key(
    name: str, copy: Path, lanser: Lanser
) -> None:
    (*way, last), value, said = STRANGE[name]

    def change(index: dict) -> None:
        for key in way:
            index = index[key]
        index[last] = value

    edit(change)(copy)
    for command in (["--verify", copy], [copy, "-o", copy / "out"], [copy / "*.tar", "-o", "out"]):
        made = lanser("shard", *command, check=1, cwd=copy)
        [line] = made.stderr.decode().splitlines()
        assert f"{copy}/index.json: not an index of shards: {said}" in line
    assert not (copy / "out").exists()


def test_an_index_of_other_programs_is_none_of_ours(copy: Path) -> None:
    (copy / "index.json").write_text('{"wids_version": 1, "shardlist": []}')
    assert len(list(reader.records_of([str(copy / "speech-000000.tar")], "test"))) == 5


def test_samples_that_an_index_promises_and_a_shard_lacks_are_a_reject(copy: Path) -> None:
    path = copy / "speech-000001.tar"
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    data = path.read_bytes()
    hole = slice(members[2].offset, members[8].offset)  # three samples, as after a bad sector
    path.write_bytes(data[: hole.start] + bytes(hole.stop - hole.start) + data[hole.stop :])
    for name in (copy, path):
        found, rejects = kinds(reader.records_of([str(name)], "test"))
        assert [item.id for item in found if "000001" in str(item.audio_filepath)] == [
            "clip-05",
            "clip-09",
        ]
        behind, lost = (item.error for item in rejects)
        assert "after 1 records: data behind the end mark at byte " in behind
        assert lost == f"{path}: 2 samples, not 5 as index.json says: see lanser shard --verify"


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("part", [0.0, 0.03, 0.2, 0.5, 0.9])
def test_a_cut_tar_gives_what_is_whole_and_one_reject(part: float, copy: Path) -> None:
    path = copy / "speech-000000.tar"
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
        data = path.read_bytes()[: last.offset_data + last.size]
    whole = [item.id for item in read_tar(str(path), "test") if isinstance(item, Record)]
    path.write_bytes(data[: int(len(data) * part)])
    found, rejects = kinds(read_tar(str(path), "test"))
    assert [item.id for item in found] == whole[: len(found)]
    assert len(found) < 5
    assert len(found) >= int(5 * part) - 1
    for item in found:
        assert len(sound.load(item)) > 9_000
    (reject,) = rejects
    assert f"broken or cut off after {len(found)} records" in reject.error
    assert str(path) in reject.error


def test_a_tar_cut_between_two_members(copy: Path) -> None:
    """Python's tarfile takes the end of the file for the end of the archive."""
    path = copy / "speech-000000.tar"
    with tarfile.open(path) as tar:
        third = tar.getmembers()[4].offset
    path.write_bytes(path.read_bytes()[:third])
    found, rejects = kinds(read_tar(str(path), "test"))
    assert len(found) == 2
    assert ["cut off after 2 records" in reject.error for reject in rejects] == [True]


def test_rubbish_in_the_middle_of_a_tar(copy: Path) -> None:
    path = copy / "speech-000000.tar"
    with tarfile.open(path) as tar:
        third = tar.getmembers()[4].offset
    data = bytearray(path.read_bytes())
    data[third : third + 512] = b"\xa5" * 512
    path.write_bytes(data)
    found, rejects = kinds(read_tar(str(path), "test"))
    assert [item.id for item in found] == ["clip-00", "clip-01", "clip-03", "clip-04"]
    assert len(rejects) == 1 and "broken or cut off after 2 records" in rejects[0].error


def test_no_tar_at_all(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("dear diary\n" * 100)
    found, rejects = kinds(read_tar(str(tmp_path / "text.tar"), "test"))
    assert not found and len(rejects) == 1
    with pytest.raises(LanserError, match=r"gone\.tar: cannot be read: No such file"):
        list(read_tar(str(tmp_path / "gone.tar"), "test"))


def test_halves_of_samples(tmp_path: Path) -> None:
    members = [
        ("a.json", b'{"id":"a"}'),
        ("b.flac", flac()),
        ("b.json", b'{"id":"b"}'),
        ("c.flac", flac()),
        ("b.wav", flac()),
    ]
    found, rejects = kinds(read_tar(make_tar(tmp_path / "x.tar", members), "test"))
    assert [item.id for item in found] == ["b"]
    assert sorted(reject.error.partition(": ")[2] for reject in rejects) == [
        "'a' has no sound member",
        "'b' has a second sound member: 'b.wav'",
        "'c' has no key.json member",
    ]


def test_members_of_other_kinds_and_tars_of_a_folder(tmp_path: Path) -> None:
    """What `tar cf x.tar ./folder` makes, with a text and a class next to each sound."""
    members = []
    for key in ("./set.v1/a", "./set.v1/b"):
        members += [(f"{key}.cls", b"3"), (f"{key}.json", json.dumps({"id": key[-1]}).encode())]
        members += [(f"{key}.txt", b"hello"), (f"{key}.WAV", flac(0.2 if key[-1] == "a" else 0.3))]
    found, rejects = kinds(read_tar(make_tar(tmp_path / "x.tar", members), "test"))
    assert not rejects
    assert [(item.id, len(sound.load(item))) for item in found] == [("a", 3200), ("b", 4800)]


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    members = []
    for number, key in enumerate(("/tmp/lanser-evil", "../evil", "a/../../evil")):
        members += [(f"{key}.flac", flac()), (f"{key}.json", b'{"id":"e%d"}' % number)]
    members += [("a..b/fine.flac", flac()), ("a..b/fine.json", b'{"id":"fine"}')]
    path = make_tar(inside / "x.tar", members)
    found, rejects = kinds(read_tar(path, "test"))
    assert [item.id for item in found] == ["fine"]
    assert [item.error for item in rejects] == [
        f"{path}: '{key}' leads out of the tar: such a name is refused"
        for key in ("/tmp/lanser-evil", "../evil", "a/../../evil")
    ]
    assert not Path("/tmp/lanser-evil.flac").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"{", "bad record"),
        (b"[]", "bad record"),
        (b'"text"', "bad record"),
        (b"\xff\xfe", "bad record"),
        (b'{"id":"../x"}', "must consist of letters"),
        (b'{"id":"a","text":7}', "'text' must be a string"),
    ],
)
def test_bad_records_in_a_shard(data: bytes, sentence: str, tmp_path: Path) -> None:
    members = [("a.flac", flac()), ("a.json", data), ("b.flac", flac()), ("b.json", b'{"id":"b"}')]
    path = make_tar(tmp_path / "x.tar", members)
    bad, good = read_tar(path, "test")
    assert isinstance(bad, Reject) and isinstance(good, Record)
    assert sentence in bad.error and f"{path}: a.flac: " in bad.error


def test_brace_ranges_globs_folders_and_jsonl(built: Path, labelled: Path) -> None:
    expected = [item.id for item in reader.records_of([str(built)], "test")]
    assert len(expected) == 12
    for name in ("speech-{000000..000002}.tar", "speech-*.tar", "speech-00000{0,1,2}.tar"):
        reader.check_inputs([str(built / name)])
        assert [item.id for item in reader.records_of([str(built / name)], "test")] == expected
    assert [item.id for item in reader.records_of([str(labelled)], "test")] == expected
    some = [str(built / "speech-000002.tar"), str(built / "speech-000000.tar")]
    assert [item.id for item in reader.records_of(some, "test")] == expected[10:] + expected[:5]
    with pytest.raises(LanserError, match=r"speech-000003\.tar: there is no such shard"):
        reader.check_inputs([str(built / "speech-{000000..000003}.tar")])
    with pytest.raises(LanserError, match="there is no such shard"):
        reader.check_inputs([str(built / "train-*.tar")])


def test_records_may_name_members_of_shards(built: Path, tmp_path: Path) -> None:
    """As a list of new labels for old shards does."""
    (first, *_) = reader.records_of([str(built)], "test")
    assert isinstance(first, Record) and first.audio_filepath
    path = write_jsonl(tmp_path / "x.jsonl", [{"id": "n", "audio_filepath": first.audio_filepath}])
    (found,) = reader.records_of([str(path)], "test")
    assert isinstance(found, Record)
    assert np.array_equal(sound.load(found), sound.load(first))


def test_items_are_counted_beforehand_where_that_can_be_told(
    records: list[Record], built: Path, clips: Path, labelled: Path, tmp_path: Path
) -> None:
    inputs = [str(built), f"{built}/*.tar", str(clips), f"{clips}/clip-0*.wav", str(labelled)]
    for some in ([one] for one in inputs):
        assert reader.count(some) == len(list(reader.records_of(some, "test"))), some
    assert reader.count(inputs) == 4 * 12 + 10
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(labelled.read_bytes()))
    lonely = make_tar(tmp_path / "lonely.tar", [("a.flac", flac())])
    for unknown in ("-", str(packed), lonely):
        assert reader.count([str(clips), unknown]) is None
