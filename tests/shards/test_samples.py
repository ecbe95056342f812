"""What is in a tar, whoever made it: each sample comes out, or a reject or a count says why not."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Lanser, read_jsonl, tone

from lanser_cli.audio import sound
from lanser_cli.audio.sound import AudioError
from lanser_cli.records import Dropped, Outcome, Record, Reject
from lanser_cli.shards.samples import read_tar

END = bytes(1024)


def flac(hertz: float = 200.0) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(0.2, hertz), 16_000, format="FLAC")
    return buffer.getvalue()


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", size: int = -1
) -> bytes:
    about = tarfile.TarInfo(name)
    about.type, about.linkname, about.size = kind, link, len(data) if size < 0 else size
    return about.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def fields(identifier: str, **more: object) -> bytes:
    return json.dumps({"id": identifier, "label": "joy", **more}).encode()


def sample(key: str, hertz: float = 200.0, **more: object) -> bytes:
    name = key.rpartition("/")[2].partition(".")[0]
    return member(f"{key}.flac", flac(hertz)) + member(f"{key}.json", fields(name, **more))


def altered(header: bytes, start: int, field: bytes) -> bytes:
    """A header with another field, and a checksum that fits."""
    block = bytearray(header[:512])
    block[start : start + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + header[512:]


def pax(**keys: bytes) -> bytes:
    text = b""
    for key, value in keys.items():
        field = b" %s=%s\n" % (key.replace("_", ".").encode(), value)
        length = next(n for n in range(len(field), len(field) + 9) if n == len(field) + len(str(n)))
        text += str(length).encode() + field
    return member("pax", text, tarfile.XHDTYPE)


def read(path: Path, *blocks: bytes, bare: bool = False) -> tuple[list[str], list[str]]:
    """The ids that a tar of these blocks gives, each with its sound, and what else was said."""
    path.write_bytes(b"".join(blocks))
    ids, others = [], []
    for item in read_tar(str(path), "test", bare=bare):
        if isinstance(item, Record):
            ids.append(item.id)
            assert len(sound.load(item)) == 3_200
        else:
            said = item.error if isinstance(item, Reject) else f"dropped: {item.reason}"
            others.append(said.removeprefix(f"{path}: "))
    return ids, others


# ---------------------------------------------------------------- headers that lie


def _size(field: bytes) -> bytes:
    return altered(member("x.flac"), 124, field)


LIES: dict[str, tuple[bytes, str]] = {
    "a negative size": (_size(b"\xff" * 11 + b"\0"), "-256 bytes promised"),
    "a size of minus one block": (_size(b"\xff" * 10 + b"\xfe\0"), "-512 bytes promised"),
    "a size beyond all files": (
        _size(b"\x80" + (1 << 60).to_bytes(11, "big")),
        f"{1 << 60} bytes promised",
    ),
    "a size that is no number": (_size(b"zzzzzzzzzzz\0"), "invalid header"),
    "a negative size in pax": (pax(size=b"-1024") + member("x.flac"), "a size of -1024"),
    "an endless size in pax": (pax(size=b"9" * 5_000) + member("x.flac"), "a size of 9999999"),
    "a long name of gigabytes": (
        member("x", kind=tarfile.GNUTYPE_LONGNAME, size=7 << 30),
        f"{7 << 30} bytes promised",
    ),
    "a long name of megabytes": (
        member("x", bytes(2 << 20), kind=tarfile.GNUTYPE_LONGNAME),
        "a header of 2097152 bytes",
    ),
    "pax that is none": (member("pax", b"99 path", tarfile.XHDTYPE), "a pax header that is none"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_one_reject_and_reading_goes_on(name: str, tmp_path: Path) -> None:
    lie, said = LIES[name]
    ids, others = read(tmp_path / "x.tar", sample("a"), lie, sample("b"), sample("c"), END)
    assert ids == ["a", "b", "c"]
    [why] = others
    assert why.startswith("not a whole tar file, broken or cut off after 1 records: ")
    assert said in why


def test_headers_within_headers_take_neither_stack_nor_time(tmp_path: Path) -> None:
    started = time.process_time()
    nested = pax(path=b"x.flac") * 5_000 + pax(path=b"b.flac") + member("b", flac())
    named = member("@", b"b.json\0", kind=tarfile.GNUTYPE_LONGNAME) + member("b", fields("b"))
    assert read(tmp_path / "x.tar", sample("a"), nested, named, END) == (["a", "b"], [])
    assert time.process_time() - started < 5


def test_many_lies_close_together_are_read_once(tmp_path: Path) -> None:
    started = time.process_time()
    ids, others = read(tmp_path / "x.tar", _size(b"\xff" * 12) * 4_000, sample("a"), END)
    assert ids == ["a"] and len(others) == 4_000
    assert time.process_time() - started < 10


SPARSE = "'x.flac' is packed as a sparse file: pack it without --sparse"


@pytest.mark.parametrize("kind", ["gnu", "pax"])
def test_a_sparse_member_is_a_reject(kind: str, tmp_path: Path) -> None:
    if kind == "gnu":
        first = altered(member("x.flac", flac(), tarfile.GNUTYPE_SPARSE), 482, b"\1")
        block, data = first[:512], first[512:]
        packed = block + bytes(504) + b"\0" * 8 + data  # the map goes on in a block of its own
    else:
        packed = pax(GNU_sparse_major=b"1", GNU_sparse_name=b"x.flac") + member("0/x", flac())
    ids, others = read(
        *(tmp_path / "x.tar", sample("a"), packed, member("x.json", fields("x"))),
        *(sample("b"), END),
    )
    assert (ids, others) == (["a", "b"], [SPARSE])


def test_names_that_no_record_can_hold_are_rejects(tmp_path: Path) -> None:
    latin = b"".join(
        altered(member("x", data), 0, b"\xe9t\xe9.%s\0" % suffix)
        for suffix, data in ((b"flac", flac()), (b"json", fields("x")))
    )
    null = pax(path=b"n\0l.flac") + member("x", flac())
    null += pax(path=b"n\0l.json") + member("x", fields("n"))
    ids, others = read(tmp_path / "x.tar", sample("a"), latin, null, sample("b"), END)
    assert ids == ["a", "b"]
    assert [why.partition(": ")[2] for why in others] == [
        "member name is not UTF-8, or has a null: rename it"
    ] * 2
    assert "\\udce9t\\udce9.flac" in others[0]


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
def test_json_nested_too_deeply_is_a_reject(deep: bytes, tmp_path: Path) -> None:
    bad = member("x.flac", flac()) + member("x.json", b'{"id":"x","mine":' + deep + b"}")
    ids, others = read(tmp_path / "x.tar", sample("a"), bad, sample("b"), END)
    assert (ids, others) == (["a", "b"], ["x.flac: bad record: nested too deeply"])


def test_json_of_many_megabytes_is_not_decoded(tmp_path: Path) -> None:
    bad = member("x.flac", flac()) + member("x.json", fields("x", text="a" * (17 << 20)))
    ids, others = read(tmp_path / "x.tar", bad, sample("b"), END)
    assert ids == ["b"] and others[0].startswith("x.flac: bad record: its JSON has 17 MB")


# ---------------------------------------------------------------- where it ends


def test_data_behind_the_end_mark_is_said_and_read(tmp_path: Path) -> None:
    one, two = sample("a") + END + bytes(8192), sample("b") + END
    ids, others = read(tmp_path / "x.tar", one, two)
    assert ids == ["a", "b"]
    [why] = others
    assert why.endswith(f"after 1 records: data behind the end mark at byte {len(sample('a'))}")
    assert read(tmp_path / "x.tar", sample("a"), END, b"signed by me" * 99)[0] == ["a"]


def test_a_sector_of_zeros_costs_the_samples_it_lies_in(tmp_path: Path) -> None:
    first, second, third = sample("a"), sample("b"), sample("c")
    ids, others = read(tmp_path / "x.tar", first, bytes(512), second[512:], third, END)
    assert ids == ["a", "c"] and len(others) == 1


@pytest.mark.parametrize("cut", [0.01, 0.2, 0.5, 0.8, 0.95])
def test_a_tar_that_is_cut_off_has_one_reject(cut: float, tmp_path: Path) -> None:
    whole = b"".join(map(sample, "abcd"))
    ids, others = read(tmp_path / "x.tar", whole[: int(len(whole) * cut)])
    assert ids == list("abcd")[: int(4 * cut)] and len(others) == 1


@pytest.mark.parametrize("pack", ["gzip", "bz2", "lzma", "zstd"])
def test_a_compressed_tar_is_called_so(pack: str, tmp_path: Path) -> None:
    import bz2
    import lzma

    import zstandard

    compress: Callable[[bytes], bytes] = {
        "gzip": gzip.compress,
        "bz2": bz2.compress,
        "lzma": lzma.compress,
        "zstd": zstandard.ZstdCompressor().compress,
    }[pack]
    ids, [why] = read(tmp_path / "x.tar", compress(sample("a") + END))
    name = {"bz2": "bzip2", "lzma": "xz"}.get(pack, pack)
    assert not ids and why.startswith(f"is compressed with {name}: unpack it")
    with pytest.raises(AudioError, match=f"compressed with {name}"):
        sound.read(f"{tmp_path}/x.tar#a.flac")


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tar")
    [item] = read_tar(str(tmp_path / "x.tar"), "test")
    assert isinstance(item, Reject) and "not a plain file" in item.error
    with pytest.raises(AudioError, match="not a plain file"):
        sound.read(f"{tmp_path}/x.tar#a.flac")


def test_a_tar_without_any_sample_says_so(tmp_path: Path) -> None:
    for blocks in ([END], [member("README", b"hello"), END]):
        assert read(tmp_path / "x.tar", *blocks) == ([], ["no sound and no record in it"])


# ---------------------------------------------------------------- names


def test_a_name_that_is_there_twice_gives_no_label_the_other_sound(tmp_path: Path) -> None:
    low, high = sample("a", 150.0), sample("a", 350.0)
    for other in (high, sample("./a", 350.0)):
        ids, others = read(tmp_path / "x.tar", low, sample("b"), other, END)
        assert ids == ["b"]
        assert (
            others
            == [
                "'a.flac' is there 2 times, and which is meant cannot be known: give each member a "
                "name of its own"
            ]
            * 2
        )
    with pytest.raises(AudioError, match="'a.flac' is there 2 times"):
        sound.read(f"{tmp_path}/x.tar#a.flac")


def test_every_name_of_two_tars_in_one_is_counted(tmp_path: Path, lanser: Lanser) -> None:
    (tmp_path / "x.tar").write_bytes(sample("a") + sample("a", 300.0) + sample("c") + END)
    made = lanser("shard", tmp_path / "x.tar", "-o", tmp_path / "out", check=3)
    assert b"3 in, 1 out, 2 rejected" in made.stderr


def test_keys_with_dots_are_samples(tmp_path: Path, lanser: Lanser) -> None:
    keys = ("plain", "s/Track 2.0 (clean)", "s/Track 2.0 (noisy)", "2026.11.26-a.b")
    blocks = [
        member(f"{key}.flac", flac()) + member(f"{key}.json", fields(f"n{number}"))
        for number, key in enumerate(keys)
    ]
    assert read(tmp_path / "x.tar", *blocks, END) == (["n0", "n1", "n2", "n3"], [])
    made = lanser("shard", tmp_path / "x.tar", "-o", tmp_path / "out")
    assert b"4 in, 4 out, 0 rejected" in made.stderr
    half = member("s/Track 3.1.flac", flac())
    assert read(tmp_path / "x.tar", half, END) == ([], ["'s/Track 3.1' has no key.json member"])


def test_further_members_of_a_sample_are_counted_if_they_are_sound(tmp_path: Path) -> None:
    blocks = member("a.json", fields("a")) + member("a.meta.json", b"[]") + member("a.txt", b"x")
    blocks += member("a.flac", flac()) + member("a.noisy.flac", flac(300.0))
    dropped = ["dropped: sound beside that of its sample"]
    assert read(tmp_path / "x.tar", blocks, END) == (["a"], dropped)


def test_a_sample_without_an_id_has_the_same_to_every_verb(tmp_path: Path) -> None:
    """So labels made of a tar by transcribe and entail-label find its samples in pretrain."""
    for fields in (b'{"speaker": "ann"}', b'{"id": null, "speaker": "ann"}'):
        blocks = member("set/a.flac", flac()) + member("set/a.json", fields)
        for bare in (False, True):
            assert read(tmp_path / "x.tar", blocks, END, bare=bare) == (["set_a"], [])


def test_two_sounds_of_one_key_are_both_accounted_for(tmp_path: Path) -> None:
    blocks = member("a.wav", flac()) + member("a.flac", flac()) + member("a.json", fields("a"))
    ids, others = read(tmp_path / "x.tar", blocks, END)
    assert (ids, others) == (["a"], ["'a' has a second sound member: 'a.flac'"])
    found = list(read_tar(str(tmp_path / "x.tar"), "test", bare=True))
    assert len(found) == 2


def test_hidden_members_are_passed_over_and_part_no_pair(tmp_path: Path, lanser: Lanser) -> None:
    """As bsdtar on a Mac writes them: `._NAME` beside each member."""
    mac = b"\0\5\x16\7\0\2\0\0Mac OS X"
    blocks = [member("set/._a.flac", mac), member("set/a.flac", flac())]
    blocks += [member("set/._a.json", mac), member("set/a.json", fields("a"))]
    blocks += [member("set/.checkpoints/a-checkpoint.flac", flac()), sample("./set/b")]
    for bare in (False, True):
        assert read(tmp_path / "x.tar", *blocks, END, bare=bare) == (["a", "b"], [])


def test_sounds_before_all_json_are_pairs_to_every_verb(tmp_path: Path) -> None:
    sounds = b"".join(member(f"{key}.flac", flac()) for key in "abc")
    blocks = sounds + member("b.json", fields("B")) + member("a.json", fields("A"))
    ids, others = read(tmp_path / "x.tar", blocks, END, bare=True)
    assert (sorted(ids), others) == (["A", "B", "c"], [])


# ---------------------------------------------------------------- links


def test_a_link_is_the_member_it_leads_to(tmp_path: Path) -> None:
    blocks = sample("s/a", 250.0)
    for key, kind, target in (
        ("s/b", tarfile.LNKTYPE, "s/a.flac"),
        ("s/c", tarfile.SYMTYPE, "a.flac"),
        ("t/d", tarfile.SYMTYPE, "../s/c.flac"),
        ("e", tarfile.LNKTYPE, "s/b.flac"),
    ):
        blocks += member(f"{key}.flac", b"", kind, target)
        blocks += member(f"{key}.json", fields(key[-1]))
    path = tmp_path / "x.tar"
    assert read(path, blocks, END) == (["a", "b", "c", "d", "e"], [])
    first = sound.read(f"{path}#s/a.flac")
    assert all(np.array_equal(first, sound.read(f"{path}#{n}.flac")) for n in ("s/b", "t/d", "e"))


def test_what_tar_makes_of_two_names_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(flac())
    os.link(tmp_path / "a.flac", tmp_path / "b.flac")
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_bytes(fields(name))
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("a.flac", "a.json", "b.flac", "b.json"):
            tar.add(tmp_path / name, name)
        assert tar.getmember("b.flac").islnk()
    found = list(read_tar(str(tmp_path / "x.tar"), "test"))
    assert [item.id for item in found if isinstance(item, Record)] == ["a", "b"]


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_a_link_out_of_the_tar_or_in_a_circle_is_a_reject(kind: bytes, tmp_path: Path) -> None:
    out = member("x.flac", b"", kind, "/etc/passwd") + member("x.json", fields("x"))
    circle = member("y.flac", b"", kind, "z.flac") + member("y.json", fields("y"))
    circle += member("z.flac", b"", kind, "y.flac") + member("z.json", fields("z"))
    nothing = member("n.flac", b"", kind, "") + member("n.json", fields("n"))
    ids, others = read(tmp_path / "x.tar", sample("a"), out, circle, nothing, END)
    assert ids == ["a"]
    assert others == [
        "'x.flac' is a link to '/etc/passwd', which is not in the tar: pack the file itself",
        "'y.flac' is a link in a circle",
        "'z.flac' is a link in a circle",
        "'n.flac' is a link to nothing",
    ]


def test_a_device_is_no_sound(tmp_path: Path) -> None:
    blocks = member("x.flac", b"", tarfile.CHRTYPE) + member("x.json", fields("x"))
    ids, others = read(tmp_path / "x.tar", sample("a"), blocks, END)
    assert (ids, others) == (["a"], ["'x.flac' is no file but a device or the like"])


# ---------------------------------------------------------------- all of it counted


def accounted(items: Iterable[Outcome]) -> int:
    return sum(isinstance(item, (Record, Reject, Dropped)) for item in items)


def test_in_is_out_and_rejected_and_dropped(tmp_path: Path, lanser: Lanser) -> None:
    path = tmp_path / "x.tar"
    blocks = [sample("a"), sample("b"), member("b.loud.flac", flac()), sample("c"), sample("c")]
    blocks += [member("d.flac", flac()), member("e.json", fields("e")), sample("f")]
    blocks += [_size(b"\xff" * 12)]
    path.write_bytes(b"".join([*blocks, END]))
    rejects = tmp_path / "rejects.jsonl"
    made = lanser("shard", path, "-o", tmp_path / "out", "--rejects", rejects, check=3)
    said = "9 in, 3 out, 5 rejected, 1 dropped (sound beside that of its sample)"
    assert said in made.stderr.decode()
    assert len(read_jsonl(rejects)) == 5 and accounted(read_tar(str(path), "test")) == 9


def test_the_names_of_many_tars_are_kept(tmp_path: Path) -> None:
    """Records in any order over twenty tars do not read each tar's headers again."""
    from lanser_cli.audio import archive

    paths = []
    for number in range(20):
        paths.append(tmp_path / f"{number}.tar")
        paths[-1].write_bytes(b"".join(member(f"{n}.flac", b"x") for n in range(50)) + END)
    indices = [archive.index_of(str(path)) for path in paths]
    assert [archive.index_of(str(path)) for path in reversed(paths)] == indices[::-1]
    assert all(len(index) == 50 for index in indices)
