"""Shards that lie elsewhere: fetched whole, from servers that fail, and through a cache."""

from __future__ import annotations

import errno
import gzip
import json
import multiprocessing
import random
import re
import shutil
import socket
import ssl
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import soundfile
from conftest import Lanser, write_jsonl
from quick import Quick, as_ranks
from test_docs import blocks

from lanser_cli import app, provenance
from lanser_cli.audio import sound
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record
from lanser_cli.shards import download, reader, remote
from lanser_cli.shards.cache import parse_size, stream
from lanser_cli.shards.pack import pack
from lanser_cli.shards.relabel import relabel_shards
from lanser_cli.shards.writer import ShardWriter

UTTERANCES, IN_A_SHARD = 24, 2


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 shards of 2 utterances, of noise, so that all are of about one size."""
    folder = tmp_path_factory.mktemp("packed")
    draw = np.random.default_rng(0)
    records = []
    for index in range(UTTERANCES):
        path = folder / f"{index:02d}.wav"
        soundfile.write(path, draw.uniform(-0.5, 0.5, 8_000), 16_000)
        emotion = ("anger", "joy")[index % 2]
        records.append(Record({"id": path.stem, "audio_filepath": str(path), "emotion": emotion}))
    pack(records, ShardWriter(folder / "shards", max_count=IN_A_SHARD))
    return folder / "shards"


class Store(ThreadingHTTPServer):
    """An object store: files of a folder, whole or by ranges, with the faults it was told.

    Attributes:
        faults: of the next requests for a file by its name: a status; `half` of what was promised
            and no more; `reset` in the middle; `less`, promised and sent; `stall`; `packed`; half
            of a file that is then `replaced`, or `shortened`.
        heeds: `If-Range`, which some servers do not.
        ranges: asked for, by the name of the file; empty for all of it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folder = folder
        self.faults: dict[str, list[int | str]] = defaultdict(list)
        self.ranges: dict[str, list[str]] = defaultdict(list)
        self.passwords: list[str | None] = []
        self.heeds = True

    def url(self, name: str = "speech-{000000..000011}.tar") -> str:
        return f"http://127.0.0.1:{self.server_port}/set/{name}"


class _Answer(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        name = self.path.split("?")[0].rpartition("/")[2]
        wanted = self.headers.get("Range", "")
        self.server.ranges[name].append(wanted)
        self.server.passwords.append(self.headers["Authorization"])
        faults = self.server.faults[name]
        fault = faults.pop(0) if faults else 200
        path = self.server.folder / name
        if not path.exists() and fault == 200:
            fault = 404
        if isinstance(fault, int) and fault != 200:
            self.send_error(fault)
            return
        body = path.read_bytes()
        tag = f'"{hash(body)}"'
        heeded = self.headers["If-Range"] == tag or not self.server.heeds
        start = int(wanted[6:-1]) if wanted and heeded else 0
        if start > len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if fault == "replaced":
            path.write_bytes(body[::-1])
        elif fault == "shortened":
            path.write_bytes(body[:999])
        elif fault == "packed":
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        body = body[start : len(body) // 2 if fault == "less" else None]
        self.send_header("ETag", tag)
        self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        whole = fault in (200, "less", "packed")
        self.wfile.write(body if whole else body[: len(body) // 2])
        if fault == "stall":
            time.sleep(1)
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def store(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store of a copy of the set; to try again takes no time."""
    monkeypatch.setattr(download, "_WAITS", (0, 0, 0))
    shutil.copytree(packed, tmp_path / "store")
    with Store(tmp_path / "store") as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def first_of(store: Store, folder: Path, name: str = "speech-000000.tar") -> Path:
    (copy,) = remote.fetch([store.url(name)], folder)
    return Path(copy)


# ---------------------------------------------------------------- whole


def test_shards_elsewhere_are_fetched_when_asked(packed: Path, tmp_path: Path) -> None:
    url = f"pipe:cat {packed}/speech-000001.tar"
    with pytest.raises(UsageError, match=r"not on this machine: say --fetch DIR"):
        remote.fetch([url], None)
    with pytest.raises(UsageError, match="--fetch DIR"):
        list(reader.records_of(["s3://bucket/{0..3}.tar"], "test"))
    assert list(tmp_path.iterdir()) == []
    (copy,) = remote.fetch([url], tmp_path / "cache")
    assert Path(copy).read_bytes() == (packed / "speech-000001.tar").read_bytes()
    changed = Path(copy).stat().st_mtime_ns
    assert remote.fetch([url, "local.tar"], tmp_path / "cache") == [copy, "local.tar"]
    assert Path(copy).stat().st_mtime_ns == changed
    bad_ones = ["pipe:false", "pipe:true", "nosuch://x/y.tar", f"pipe:cat {packed}/none"]
    for bad in [*bad_ones, "nosuch://x/{0..3.tar"]:
        with pytest.raises(LanserError, match="cannot be fetched"):
            remote.fetch([bad], tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").glob("*.tar*")] == [Path(copy).name]


def test_a_server_that_fails_is_asked_again_for_what_is_missing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    name = "speech-000000.tar"
    monkeypatch.setattr(download, "_PATIENCE", 0.2)
    for fault, said in [
        (503, "HTTP 503 Service Unavailable"),
        ("half", "the connection broke off, [0-9]+ bytes are missing"),
        ("reset", "reset by peer|bytes are missing"),
        ("stall", "timed out"),
    ]:
        store.ranges.clear()
        store.faults[name] = [fault]
        copy = first_of(store, tmp_path / str(fault))
        assert copy.read_bytes() == (store.folder / name).read_bytes()
        assert re.search(f"{name}: .*({said}): trying again in 0 s", capsys.readouterr().err)
        if fault == "half":
            assert store.ranges[name] == ["", f"bytes={copy.stat().st_size // 2}-"]


def test_what_a_server_does_not_send_whole_is_never_used(store: Store, tmp_path: Path) -> None:
    name = "speech-000000.tar"
    for faults, why in [
        ([404], "HTTP 404 Not Found"),
        (["half"] * 4, "bytes are missing, after 4 tries"),
        (["less"] * 4, r"\d+ bytes came, not \d+, after 4 tries"),
    ]:
        store.faults[name] = list(faults)
        with pytest.raises(LanserError, match=f"cannot be fetched: .*{why}"):
            first_of(store, tmp_path / "cache")
    (store.folder / name).write_bytes(bytes((store.folder / name).stat().st_size))
    with pytest.raises(LanserError, match="cannot be fetched: its SHA-256 is not"):
        first_of(store, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.tar*"))


@pytest.mark.parametrize("fault", ["replaced", "shortened"])
@pytest.mark.parametrize("heeds", [True, False])
def test_a_copy_is_never_half_of_one_file_and_half_of_the_next(
    fault: str, heeds: bool, store: Store, tmp_path: Path
) -> None:
    """Where no index has a digest that would tell."""
    name, store.heeds = "speech-000000.tar", heeds
    (store.folder / "index.json").unlink()
    store.faults[name] = [fault]
    assert first_of(store, tmp_path / "cache").read_bytes() == (store.folder / name).read_bytes()
    assert len(store.ranges[name]) == (2 if heeds else 3)


def test_what_a_server_packs_is_refused_and_an_index_not_passed_over(
    store: Store, tmp_path: Path
) -> None:
    """Without it, the new weak labels that it names would be missed."""
    for name in ("index.json", "speech-000000.tar"):
        store.faults[name] = ["packed"]
        with pytest.raises(LanserError, match=f"{name}: cannot be fetched: .* packed, by gzip"):
            first_of(store, tmp_path / "cache")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE HTML>\n<html><title>Directory listing</title>", "a web page"),
        (b'{"id": "a", "audio_filepath": "a.wav"}\n', "JSON"),
    ],
)
def test_what_is_no_tar_is_named_and_not_kept(
    store: Store, tmp_path: Path, body: bytes, said: str
) -> None:
    """As of the address of a folder, for which a server sends the list of what is in it."""
    (store.folder / "listing").write_bytes(body)
    with pytest.raises(LanserError, match=f"cannot be fetched: {said} came, and shards are tars"):
        first_of(store, tmp_path / "cache", "listing")
    assert not list((tmp_path / "cache").rglob("*.tar"))


def test_what_may_pass_is_told_from_what_does_not() -> None:
    """Of a connection; a full disk is no matter of patience."""
    passing = [ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), ConnectionResetError()]
    passing += [OSError(errno.EHOSTUNREACH, "No route to host"), socket.gaierror(-3, "again")]
    lasting = [OSError(errno.ENOSPC, "No space left"), ssl.SSLCertVerificationError(1, "expired")]
    assert all(map(download._may_pass, passing)) and not any(map(download._may_pass, lasting))


@pytest.mark.parametrize(
    ("scheme", "words", "absent", "package"),
    [
        ("s3", "aws s3 cp --only-show-errors URL -", "An error occurred (404)", "the AWS CLI"),
        (
            "gs",
            "gcloud storage cat --quiet URL",
            "ERROR: (gcloud.storage.cat) The following URLs matched no objects or files:",
            "the Google Cloud CLI",
        ),
    ],
)
def test_a_store_is_read_by_its_command_which_may_fail_at_first(
    scheme: str,
    words: str,
    absent: str,
    package: str,
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """By a stand-in for the command, which breaks off in the middle the first time."""
    name, _, rest = words.partition(" ")
    command = tmp_path / "bin" / name
    command.parent.mkdir()
    command.write_text(
        f"""#!/bin/sh
        for word; do case $word in {scheme}://*) url=$word;; esac; done
        [ "$*" = "{rest.replace("URL", "$url")}" ] || exit 2
        file={packed}/${{url##*/}}
        [ -e $file ] || {{ echo "{absent}" >&2; exit 1; }}
        [ -e {tmp_path}/tried ] || {{
            head -c 99 $file; echo no route >&2; touch {tmp_path}/tried; exit 1
        }}
        exec cat $file
        """
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    monkeypatch.setattr(download, "_WAITS", (0, 0, 0))
    (copy,) = remote.fetch([f"{scheme}://bucket/set/speech-000001.tar"], tmp_path / "cache")
    assert Path(copy).read_bytes() == (packed / "speech-000001.tar").read_bytes()
    assert "no route: trying again" in capsys.readouterr().err
    assert Path(copy).with_name("index.json").exists()
    with pytest.raises(LanserError, match=f"none.tar: cannot be fetched: {re.escape(absent)}$"):
        remote.fetch([f"{scheme}://bucket/set/none.tar"], tmp_path / "cache")
    assert "trying again" not in capsys.readouterr().err
    command.unlink()
    monkeypatch.setenv("PATH", str(command.parent))
    with pytest.raises(LanserError, match=f"there is no command {name}: install {package}$"):
        remote.fetch([f"{scheme}://bucket/set/speech-000002.tar"], tmp_path / "cache")


def test_an_address_that_the_command_would_take_for_a_pattern_is_refused(tmp_path: Path) -> None:
    """Several shards, one behind the other, would be one file of which the first alone is read."""
    with pytest.raises(LanserError, match=r"gcloud takes \* for a pattern: name each shard"):
        remote.fetch(["gs://bucket/set*/a.tar"], tmp_path / "cache")


def test_each_address_has_a_file_of_its_own(tmp_path: Path) -> None:
    urls = [f"{host}/{name}" for host in ("s3://a", "s3://b/set") for name in ("x.tar", "y.tar")]
    urls += ["s3://b/set/x", "s3://b/set/x y.tar", "s3://b/set/x%20y.tar", "s3://b/set/x_y.tar"]
    urls += ["s3://b/set/{0}.tar"]
    urls += ["https://b/set/x.tar", "https://b/set/x.tar?one", "https://b/set/.tar", "pipe:x.tar"]
    paths = {remote.Remote.of(url, tmp_path).path for url in urls}
    assert len(paths) == len(urls) and all(path.suffix == ".tar" for path in paths)
    assert all(len(path.relative_to(tmp_path).parts) <= 2 for path in paths)
    web = remote.Remote.of("https://h/my%20set/my%20clips.tar", tmp_path)
    assert web.path.name == "my clips.tar", "as the index of its set has it"
    beside = web.sibling("index.json")
    assert beside is not None and beside.url == "https://h/my%20set/index.json"


def test_a_name_and_a_password_are_for_the_server_alone(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Neither messages nor what is kept beside an output have the password."""
    url = store.url("speech-000000.tar").replace("127", "me:a%20b@127")
    remote.fetch([url], tmp_path / "cache")
    assert set(store.passwords) == {"Basic bWU6YSBi"}
    with pytest.raises(LanserError, match="me:…@127.*none.tar: cannot be fetched") as caught:
        remote.fetch([url.replace("speech-000000", "none")], tmp_path / "cache")
    with pytest.raises(LanserError) as failed:
        remote.fetch([f"pipe:false {url}"], tmp_path / "cache")
    provenance.set_command_line(["pretrain", url])
    told = [*provenance.command_line(), capsys.readouterr().err]
    told += [str(caught.value), str(failed.value)]
    provenance.set_command_line(None)
    assert "a%20b" not in "".join(told)


def test_new_weak_labels_come_with_their_shards(store: Store, tmp_path: Path) -> None:
    new = [{"id": f"{index:02d}", "emotion": "fear"} for index in range(UTTERANCES)]
    relabel_shards(store.folder, str(write_jsonl(tmp_path / "new.jsonl", new)))
    shards = remote.fetch([store.url()], tmp_path / "whole")
    streamed, _ = stream([store.url()], tmp_path / "streamed", "10M")
    for inputs in (shards, streamed):
        found = list(reader.records_of(inputs, "test"))
        assert [one.emotion for one in found if isinstance(one, Record)] == ["fear"] * UTTERANCES
    (side,) = store.folder.glob("labels-*.jsonl")
    side.write_bytes(side.read_bytes().replace(b"fear", b"rage"))
    with pytest.raises(LanserError, match="cannot be fetched: its SHA-256 is not"):
        remote.fetch([store.url()], tmp_path / "other")


def test_a_set_without_an_index_is_taken_as_it_is_and_a_server_that_hides_it_is_not(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    store.faults["index.json"] = [503] * 4
    with pytest.raises(LanserError, match=r"index\.json: cannot be fetched: HTTP 503"):
        first_of(store, tmp_path / "cache")
    (store.folder / "index.json").write_text("<html>all is well</html>")
    assert first_of(store, tmp_path / "page").exists()
    assert "index.json: cannot be fetched: " in capsys.readouterr().err
    (store.folder / "index.json").unlink()
    assert first_of(store, tmp_path / "cache").exists()


def test_a_folder_without_locks_takes_what_is_fetched_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    (copy,) = remote.fetch(["pipe:echo x"], tmp_path)
    assert Path(copy).read_bytes() == b"x\n"
    assert "has no locks" in capsys.readouterr().err
    with pytest.raises(LanserError, match="has no locks, which --fetch-limit needs"):
        stream(["pipe:echo y"], tmp_path, "1G")


# ---------------------------------------------------------------- streamed


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measured(folder: Path) -> Callable[..., None]:
    """`download`, but beside a folder, in `peaks`, is then said what it holds."""

    def download_(url: str, target: IO[bytes], **options: Any) -> None:
        download.download(url, target, **options)
        target.flush()
        with folder.with_name("peaks").open("a") as file:
            file.write(f"{size_of(folder)}\n")

    return download_


def peaks_of(folder: Path) -> list[int]:
    return [int(line) for line in folder.with_name("peaks").read_text().splitlines()]


def limit_of(store: Store, shards: int) -> int:
    """Bytes that so many shards and all else take."""
    sizes = [path.stat().st_size for path in store.folder.glob("*.tar")]
    return shards * max(sizes) + size_of(store.folder) - sum(sizes) + 12 * 200


def _read_at_random(paths: list[str], truth: dict[str, bytes], seed: int) -> None:
    for path in random.Random(seed).choices(paths, k=20):
        member = f"{path}#{2 * int(path[-6:-4]):02d}.flac"
        assert sound.to_int16(sound.read(member)).tobytes() == truth[Path(path).name]


def test_processes_share_a_folder_that_never_holds_more_than_its_limit(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "download", measured(tmp_path / "cache"))
    (store.folder / "index.json").unlink()
    limit = limit_of(store, 2)
    paths, cache = stream([store.url()], tmp_path / "cache", str(limit))
    assert cache is not None and len(list((tmp_path / "cache").rglob("*.tar"))) == 0
    truth = {}
    for item in reader.records_of(paths, "test"):
        assert isinstance(item, Record)
        tar = Path(str(item.audio_filepath).partition("#")[0]).name
        here = f"{store.folder / tar}#{item.id}.flac"
        truth.setdefault(tar, sound.to_int16(sound.read(here)).tobytes())
    context = multiprocessing.get_context("fork")
    readers = [
        context.Process(target=_read_at_random, args=(paths, truth, seed)) for seed in range(3)
    ]
    for one in readers:
        one.start()
    for one in readers:
        one.join(60)
    assert [one.exitcode for one in readers] == [0, 0, 0]
    peaks = peaks_of(tmp_path / "cache")
    assert len(peaks) > 2 * 12, "shards came more than once"
    assert limit / 2 < max(peaks) <= limit


def test_a_shard_that_is_read_stays(store: Store, tmp_path: Path) -> None:
    paths, cache = stream([store.url()], tmp_path / "cache", str(limit_of(store, 2)))
    assert cache is not None
    with cache.lent(paths[0]):
        for path in paths[1:5]:
            cache.lent(path).close()
        assert Path(paths[0]).exists(), "though it is the one that was borrowed first"
    cache.lent(paths[5]).close()
    assert not Path(paths[0]).exists()


def test_a_shard_that_was_replaced_is_refused(store: Store, tmp_path: Path) -> None:
    (store.folder / "index.json").unlink()
    paths, cache = stream([store.url()], tmp_path / "cache", str(limit_of(store, 1)))
    assert cache is not None
    for path in paths[:2]:
        cache.lent(path).close()
    about = json.loads(Path(f"{paths[0]}.json").read_text())
    (example,) = map(json.loads, blocks("docs/formats.md", "json shard-version"))
    assert list(about) == list(example) and len(about["sha256"]) == 64
    first = store.folder / "speech-000000.tar"
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    with pytest.raises(LanserError, match="its SHA-256 is not what it was"):
        cache.lent(paths[0])


def test_a_limit_that_cannot_work_is_refused_before_training(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    sizes = [path.stat().st_size for path in store.folder.glob("*.tar")]
    sizes_in_words = {"800M": 800 << 20, "1.5T": 3 << 39, "50GiB": 50 << 30, "7": 7, "0": 0}
    for text, size in (sizes_in_words | {"0.5": 1}).items():  # not 0, which is no limit
        assert parse_size(text) == size
    assert stream(["a.tar"], None, "0") == (["a.tar"], None)
    with pytest.raises(UsageError, match="--fetch-limit many: not a size: say 800M"):
        stream([store.url()], folder, "many")
    with pytest.raises(UsageError, match="--fetch DIR names"):
        stream([store.url()], None, "1G")
    with pytest.raises(LanserError, match=r"speech-0000\d\d.tar: has .*raise it"):
        stream([store.url()], folder, str(min(sizes) - 1))
    (folder / "mine").write_bytes(bytes(sum(sizes)))
    _, cache = stream([store.url()], folder, str(sum(sizes)))
    assert cache is not None
    with pytest.raises(LanserError, match="taken by what is not of this run"):
        cache.lent(str(next(iter(cache._shards))))
    (folder / "mine").unlink()
    _, cache = stream([store.url()], folder, str(8 * max(sizes)))
    assert cache is not None
    coming = Path(f"{next(iter(cache._shards))}.part")  # as another rank fetches it
    coming.write_bytes(bytes(max(sizes)))
    cache.check_blocks(3, UTTERANCES)
    coming.unlink()
    with pytest.raises(UsageError, match="--shuffle-buffer 3: "):
        cache.check_blocks(3, UTTERANCES // 2)
    with pytest.raises(UsageError, match="--shuffle-buffer 9: .*say at most 3"):
        cache.check_blocks(9)
    _, cache = stream([store.url()], folder, str(3 * max(sizes)))
    assert cache is not None
    with pytest.raises(UsageError, match="five of them must fit"):
        cache.check_blocks(1, UTTERANCES)


@pytest.mark.slow
def test_streamed_training_is_that_of_shards_that_lie_here_also_after_the_store_failed(
    store: Store, tmp_path: Path, lanser: Lanser
) -> None:
    words = ["--model", "resnet18-slim", "--crop", "0.4", "--epochs", "2", "--batch-size", "4"]
    words += ["--precision", "float32", "--shuffle-buffer", "4", "--threads", "1"]
    lanser("pretrain", store.folder, "-o", tmp_path / "here", *words)
    cache, run = tmp_path / "cache", tmp_path / "streamed"
    words += ["--fetch", cache, "--fetch-limit", limit_of(store, 8), "--workers", "2"]
    words += ["-o", run, "--checkpoint-every", "1", store.url()]
    store.faults["speech-000003.tar"] = [200, 200, 404, 404]
    done = lanser("pretrain", *words, check=1)
    said = done.stderr.decode().splitlines()
    assert said[-1].endswith("speech-000003.tar: cannot be fetched: HTTP 404 Not Found")
    assert "Traceback" not in done.stderr.decode()
    assert list((run / "checkpoints").glob("*.pt")) and not (run / "model.safetensors").exists()
    store.faults.clear()
    lanser("pretrain", *words, "--resume")
    weights = [tmp_path / name / "model.safetensors" for name in ("here", "streamed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    fetches = [len(asked) for name, asked in store.ranges.items() if name.endswith(".tar")]
    assert 12 < sum(fetches) < 12 * 2 * 3, "a pass over all, and one an epoch, of two runs"
    assert size_of(cache) <= limit_of(store, 8)


def learn(arguments: list[str]) -> int:
    """CACHE ARGUMENTS...: a command as a `Quick` runs it, with a network for few steps."""
    from lanser_cli.models.architectures import ARCHITECTURES, Shape

    ARCHITECTURES["tiny"] = Shape("basic", (1, 1, 1, 1), (8, 8, 8, 8), 8)
    download._WAITS = (0, 0, 0)  # type: ignore[assignment]
    remote.download = measured(Path(arguments[0]))  # type: ignore[assignment]
    return app.main(arguments[1:])


@pytest.mark.slow
def test_two_ranks_that_stream_share_a_folder_and_learn_as_on_shards_that_lie_here(
    store: Store, tmp_path: Path, quick: Callable[..., Quick]
) -> None:
    """Though every connection for what came once already breaks off at first."""
    cache, limit = tmp_path / "cache", limit_of(store, 8)
    words = ["--model", "tiny", "--crop", "0.2", "--epochs", "2", "--batch-size", "2"]
    words += ["--precision", "float32", "--shuffle-buffer", "4", "--threads", "1", "--workers", "1"]
    fetch = ["--fetch", cache, "--fetch-limit", limit, store.url()]
    shards = [path.name for path in store.folder.glob("*.tar")]
    store.faults |= {name: [200, "half"] for name in shards}
    for run, more in (("here", [store.folder]), ("streamed", fetch)):
        line = [cache, "pretrain", *words, "-o", tmp_path / run, *more]
        ranks = [quick(*line, main=learn, env=place) for place in as_ranks(2)]
        done = [rank.wait() for rank in ranks]
        assert [one.code for one in done] == [0, 0], done
    weights = [tmp_path / run / "model.safetensors" for run in ("here", "streamed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert max(peaks_of(cache)) <= limit and size_of(cache) <= limit
    broken = [name for name in shards if not store.faults[name]]
    assert sum(one.err.count(": trying again in 0 s") for one in done) == len(broken)
    fetches = [len(store.ranges[name]) - (name in broken) for name in shards]
    # Each rank passes over all at first, and finds what the other has just fetched; then each is
    # fetched once an epoch for both. Eight stay from one pass to the next, if they are wanted.
    assert min(fetches) >= 1 and max(fetches) <= 2 + 2
    assert sum(fetches) >= 12 + 2 * (12 - 8)
