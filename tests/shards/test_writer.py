"""Writing shards: parallel, lossy, interrupted, without room, and two at a time."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile
from conftest import ENVIRONMENT, read_jsonl, tone, write_jsonl

from lanser_cli.audio.sound import SAMPLE_RATE, AudioError, load, read
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record
from lanser_cli.shards import encoder, reader
from lanser_cli.shards.index import read_index
from lanser_cli.shards.pack import pack as pack_records
from lanser_cli.shards.verify import verify_shards
from lanser_cli.shards.writer import ShardWriter
from lanser_cli.tally import Ledger

COUNT = 150


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 records, cut out of one long file."""
    folder = tmp_path_factory.mktemp("many")
    draw = np.random.default_rng(0)
    sound = (tone(60.0) + 0.1 * draw.standard_normal(960_000)).astype(np.float32)
    soundfile.write(folder / "long.flac", 0.5 * sound, 16_000)
    values = [
        {
            "id": f"u{n:03d}",
            "audio_filepath": str(folder / "long.flac"),
            "offset": round(0.37 * n, 6),
            "duration": 0.2 + 0.013 * (n % 20),
            "emotion": ("joy", "anger")[n % 2],
        }
        for n in range(COUNT)
    ]
    return write_jsonl(folder / "records.jsonl", values)


def tars(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def records(path: Path) -> list[Record]:
    return [Record.parse(value) for value in read_jsonl(path)]


def pack(source: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "lanser_cli", "shard", str(source), "-o", str(folder)),
            *("--max-count", "40", *options),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **ENVIRONMENT},
    )


@pytest.fixture(scope="module")
def alone(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set as one process writes it."""
    folder = tmp_path_factory.mktemp("alone") / "shards"
    result = pack(many, folder, "--workers", "1")
    assert result.returncode == 0, result.stderr
    assert len(tars(folder)) == 4
    return folder


def test_bytes_do_not_depend_on_the_number_of_workers(
    many: Path, alone: Path, tmp_path: Path
) -> None:
    result = pack(many, tmp_path / "out", "--workers", "3")
    assert result.returncode == 0, result.stderr
    assert tars(tmp_path / "out") == tars(alone)
    ours, theirs = (
        {key: value for key, value in read_index(folder).items() if key != "argv"}
        for folder in (tmp_path / "out", alone)
    )
    assert ours == theirs


def test_a_tar_is_what_tarfile_would_have_made_of_it(alone: Path, tmp_path: Path) -> None:
    for name, data in tars(alone).items():
        again = tmp_path / name
        with tarfile.open(alone / name) as source, tarfile.open(again, "w") as target:
            for member in source:
                target.addfile(member, source.extractfile(member))
        assert again.read_bytes() == data


def test_an_id_longer_than_a_tar_header_holds(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.1), 16_000)
    name = "x" * 180
    record = Record({"id": name, "audio_filepath": str(tmp_path / "a.wav"), "label": "joy"})
    pack_records([record], ShardWriter(tmp_path / "out"))
    (found,) = reader.records_of([str(tmp_path / "out")], "test")
    assert isinstance(found, Record) and found.id == name
    assert verify_shards(tmp_path / "out") == []


def test_segments_of_a_long_file_are_cut_to_the_sample(many: Path, alone: Path) -> None:
    whole, rate = soundfile.read(records(many)[0].audio_filepath, dtype="int16")
    assert rate == SAMPLE_RATE
    found = list(reader.records_of([str(alone)], "test"))
    assert len(found) == COUNT
    for before, after in zip(records(many), found, strict=True):
        assert isinstance(after, Record) and before.duration is not None
        start = round(before.offset * rate)
        piece = whole[start : start + round(before.duration * rate)]
        assert np.array_equal(np.rint(load(after) * 32768), piece)
        assert after.fields.get("source_offset") == (before.offset or None)


# ---------------------------------------------------------------- lossy


@pytest.mark.slow
def test_opus_is_smaller_decodes_and_gives_the_same_bytes_twice(
    many: Path, alone: Path, tmp_path: Path
) -> None:
    items = records(many)[:40]
    for name in ("one", "two"):
        pack_records(items, ShardWriter(tmp_path / name), codec="opus")
        time.sleep(1.1)  # libsndfile seeds a stream's number with the second
    assert tars(tmp_path / "one") == tars(tmp_path / "two")
    assert verify_shards(tmp_path / "one") == []
    lossless = {item.id: item for item in reader.records_of([str(alone)], "test")}  # type: ignore[union-attr]
    for item in reader.records_of([str(tmp_path / "one")], "test"):
        assert isinstance(item, Record)
        assert item.audio_filepath is not None and item.audio_filepath.endswith(".opus")
        exact, lossy = load(lossless[item.id]), load(item)  # type: ignore[arg-type]
        assert len(exact) == len(lossy)
        assert np.corrcoef(exact, lossy)[0, 1] > 0.8  # of a tone with noise


def test_renumbered_ogg_has_right_checksums(many: Path, tmp_path: Path) -> None:
    """libogg drops a page whose checksum is wrong: one flipped bit must cost sound."""
    sample = encoder.Encoder("opus").encode(records(many)[7])
    with tarfile.open(fileobj=io.BytesIO(sample.members + bytes(1024))) as tar:
        stream = tar.extractfile("u007.opus")
        assert stream is not None
        ogg = bytearray(stream.read())
    path = tmp_path / "x.opus"
    path.write_bytes(ogg)
    assert len(read(str(path))) == round(sample.duration * 16_000)  # type: ignore[operator]
    ogg[ogg.rindex(b"OggS") + 22] ^= 1
    path.write_bytes(ogg)
    with pytest.raises(AudioError):
        read(str(path))


def test_an_unknown_codec_is_refused(many: Path, tmp_path: Path) -> None:
    result = pack(many, tmp_path / "out", "--codec", "mp3")
    assert result.returncode == 2 and "not one of 'flac', 'opus'" in result.stderr


# ---------------------------------------------------------------- interrupted


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 0.02, 0.06])
def test_killed_at_any_moment_and_resumed(
    moment: float, many: Path, alone: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "lanser_cli", "shard", "-", "-o", str(folder)]
    command += ["--max-count", "40", "--workers", "2", "-q"]
    lines = many.read_bytes().splitlines(keepends=True)
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **ENVIRONMENT},
    )
    assert process.stdin is not None
    process.stdin.write(b"".join(lines[:140]))
    process.stdin.flush()
    until = time.monotonic() + 60
    while not list(folder.glob("*.tar")) and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()
    assert not (folder / "index.json").exists()
    assert 1 <= len(tars(folder)) <= 3
    with many.open("rb") as again:
        result = subprocess.run(
            [*command[:-1], "--resume"],
            stdin=again,
            capture_output=True,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
    assert result.returncode == 0, result.stderr
    assert "already done" in result.stderr
    assert tars(folder) == tars(alone)
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", *tars(alone)]
    assert verify_shards(folder) == []


# ---------------------------------------------------------------- no room


def test_no_room_in_mid_shard(many: Path, alone: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the kernel refuses the write."""
    folder = tmp_path / "out"
    limit = 2 * max(map(len, tars(alone).values()))
    program = (
        "import resource, sys; from lanser_cli import app; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        "sys.exit(app.main(sys.argv[1:]))"
    )
    command = ["shard", str(many), "-o", str(folder), "--workers", "1"]
    result = subprocess.run(
        [sys.executable, "-c", program, *command, "--max-count", "100"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **ENVIRONMENT},
    )
    assert result.returncode == 1
    assert "cannot be written: File too large: make room or name another folder" in result.stderr
    assert "Traceback" not in result.stderr
    assert not folder.exists()
    again = pack(many, folder, "--resume")
    assert again.returncode == 0, again.stderr
    assert tars(folder) == tars(alone)


def test_a_set_whose_index_finds_no_room_is_gone_on_with(many: Path, tmp_path: Path) -> None:
    folder, samples = tmp_path / "out", encoder.Encoder()(records(many)[:2])
    writer = ShardWriter(folder, max_count=2, identity={"input": "a"})
    for sample in samples:
        writer.add(cast(encoder.Sample, sample))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(LanserError, match="whole shards are kept for --resume"):
            writer.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.abandon()
    again = ShardWriter(folder, identity={"input": "a"}, resume=True)
    assert len(again.done) == 2
    again.finish()
    assert verify_shards(folder) == []


def test_a_target_that_cannot_be_written(many: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file" / "out", Path("/proc/out")):
        result = pack(many, folder)
        assert (result.returncode, result.stdout) == (1, "")
        assert f"{folder}: cannot be written: " in result.stderr
        assert "Traceback" not in result.stderr


def test_two_writers_in_one_folder(many: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    first = ShardWriter(folder)
    with pytest.raises(
        LanserError, match=rf"another lanser shard writes here \(process {os.getpid()} on"
    ):
        ShardWriter(folder)
    result = pack(many, folder)
    assert result.returncode == 1 and "another lanser shard writes here" in result.stderr
    first.abandon()
    pack_records(records(many)[:3], ShardWriter(folder))
    with pytest.raises(UsageError, match="finished set"):
        ShardWriter(folder)
    assert not (folder / ".lock").exists()


# ---------------------------------------------------------------- the same sound


def test_the_same_sound_under_two_names(tmp_path: Path) -> None:
    for name, pitch in (("a", 200.0), ("b", 300.0), ("c", 200.0)):
        soundfile.write(tmp_path / f"{name}.wav", tone(0.3, pitch), 16_000)
    soundfile.write(
        tmp_path / "d.flac", soundfile.read(tmp_path / "a.wav", dtype="int16")[0], 16_000
    )
    items = [
        Record({"id": path.stem, "audio_filepath": str(path), "label": "joy"})
        for path in sorted(tmp_path.glob("?.*"))
    ]
    for resume in (False, True):
        writer = ShardWriter(tmp_path / "out", max_count=1, resume=resume)
        ledger = Ledger("shard", word="out")
        index = pack_records(items, writer, dedupe_audio=True, ledger=ledger)
        assert [s["samples"] for s in index["shards"]] == [1, 1]
        assert index["dropped"] == {"same sound as an earlier record": 2}
        assert ledger.already_done == (2 if resume else 0)
        (tmp_path / "out" / "index.json").unlink()


def test_a_list_or_a_record_runs_no_command(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    line = {"id": "a", "audio_filepath": f"pipe:touch {mark}", "label": "joy"}
    source = write_jsonl(tmp_path / "a.jsonl", [line])
    result = pack(source, tmp_path / "out", "--fetch", str(tmp_path / "cache"))
    assert result.returncode == 1 and "rejected: a: " in result.stderr
    assert not mark.exists()


@pytest.mark.slow
def test_a_tar_of_a_hundred_thousand_tiny_files(tmp_path: Path) -> None:
    """Reading takes one pass; nothing but what has no neighbour yet is held."""
    sound = tmp_path / "a.wav"
    soundfile.write(sound, tone(0.01), 16_000)
    data = sound.read_bytes()
    header = {}
    for suffix, content in (("wav", data), ("json", b"{}")):
        header[suffix] = (len(content), content + bytes(-len(content) % 512))
    with (tmp_path / "tiny.tar").open("wb") as stream:
        for n in range(50_000):
            for suffix, (size, padded) in header.items():
                about = tarfile.TarInfo(f"k{n:05d}.{suffix}")
                about.size = size
                stream.write(about.tobuf() + padded)
        stream.write(bytes(1024))
    count = 0
    for item in reader.records_of([str(tmp_path / "tiny.tar")], "test", bare=True):
        assert isinstance(item, Record) and item.id == f"k{count:05d}"
        count += 1
    assert count == 50_000
    assert len(load(item)) == 160
    assert json.dumps(item.fields["audio_filepath"]).endswith('tiny.tar#k49999.wav"')


def test_a_stream_to_resume_with_must_begin_with_what_was_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the set would be of two inputs: nobody knows a stream beforehand."""
    soundfile.write(tmp_path / "a.wav", tone(0.1), 16_000)
    sound, gone = {"audio_filepath": str(tmp_path / "a.wav")}, {"audio_filepath": "gone.wav"}
    mine = [{"id": f"a{n}", "label": "joy", **(gone if n == 1 else sound)} for n in range(5)]
    theirs = [{**one, "id": one["id"].replace("a", "b")} for one in mine]
    folder = tmp_path / "out"

    def go(values: list[dict], *, resume: bool = True) -> dict:
        writer = ShardWriter(folder, max_count=1, resume=resume)
        ledger = Ledger("shard", word="out")
        return pack_records(map(Record, values), writer, of_stream=True, ledger=ledger)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ShardWriter, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        go(mine[:3], resume=False)
    kept = tars(folder)
    assert len(kept) == 2
    for other in (theirs, mine[1:], []):
        with pytest.raises((UsageError, LanserError), match="samples that this input does not"):
            go(other)
        assert tars(folder) == kept
    assert go(mine)["samples"] == 4
    assert verify_shards(folder) == []
