"""Reading and writing JSONL: what comes in odd, torn, packed or twice, and what comes out."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from conftest import ENVIRONMENT, read_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

from lanser_cli import digests, jsonl, output
from lanser_cli.errors import EXIT_REJECTED, LanserError, UsageError
from lanser_cli.jsonl import read_records
from lanser_cli.pipe import Pipe
from lanser_cli.records import Dropped, Outcome, Record, Reject, to_json
from lanser_cli.stage import one_process, unique, windows
from lanser_cli.tally import Ledger, Tally

LINES = b'{"id":"a","n":1}\n{"id":"b"}\n{"id":"c","text":"\xc3\xa9"}\n'


def read(path: Path, data: bytes) -> list[Record | Reject]:
    path.write_bytes(data)
    return list(read_records([str(path)], "test"))


def ids(items: Sequence[Outcome]) -> list[str | None]:
    return [item.id for item in items]


def records(count: int) -> list[Outcome]:
    return [Record({"id": f"r{number:03d}", "number": number}) for number in range(count)]


def copied(window: Sequence[Record]) -> list[Outcome]:
    return list(window)


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("x.jsonl", bytes),
        ("x.jsonl.gz", gzip.compress),
        ("x.jsonl.zst", zstandard.compress),
        ("x.ndjson", bytes),
    ],
)
def test_plain_and_packed(name: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    items = read(tmp_path / name, pack(LINES))
    assert [dict(item.fields) for item in items if isinstance(item, Record)] == read_jsonl(LINES)
    assert jsonl.is_jsonl(name)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("empty_between", [False, True])
def test_packed_files_behind_each_other(
    pack: Callable[[bytes], bytes], empty_between: bool, tmp_path: Path
) -> None:
    """What `cat a.zst b.zst` makes, after `--part`."""
    data = pack(LINES) + (pack(b"") if empty_between else b"") + pack(b'{"id":"d"}\n')
    suffix = "gz" if pack is gzip.compress else "zst"
    assert ids(read(tmp_path / f"x.jsonl.{suffix}", data)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("zst", zstandard.compress)])
def test_a_packed_file_that_is_cut_off_is_not_taken_for_whole(
    suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    data = b"".join(b'{"id":"%d"}\n' % number for number in range(20_000))
    packed, path = pack(data), tmp_path / f"x.jsonl.{suffix}"
    assert len(read(path, packed)) == 20_000
    for kept in (0, 5, len(packed) // 2, len(packed) - 1):
        with pytest.raises(LanserError, match="cut-off") as caught:
            read(path, packed[:kept])
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_packed_file_that_is_none(suffix: str, tmp_path: Path) -> None:
    for data in (LINES, b"\x1f\x8b garbage", b"\x28\xb5\x2f\xfd garbage"):
        with pytest.raises(LanserError, match=f"x.jsonl.{suffix}: broken"):
            read(tmp_path / f"x.jsonl.{suffix}", data)


def test_broken_packed_bytes(tmp_path: Path) -> None:
    data = os.urandom(50_000).hex().encode()
    packed = bytearray(gzip.compress(data))
    packed[2000:2100] = bytes(100)
    with pytest.raises(LanserError, match="broken or cut-off"):
        read(tmp_path / "x.jsonl.gz", bytes(packed))


@given(st.lists(st.binary(max_size=2000).map(bytes.hex), max_size=20), st.integers(1, 300))
@settings(max_examples=25, deadline=None)
def test_zst_gives_the_bytes_that_went_in(texts: list[str], step: int) -> None:
    data = "\n".join(texts).encode()
    half = len(data) // 2
    packed = zstandard.compress(data[:half]) + zstandard.compress(data[half:])
    stream = jsonl._Zstandard(io.BytesIO(packed))
    parts = []
    while part := stream.read(step):
        parts.append(part)
    assert b"".join(parts) == data


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + LINES,
        LINES.replace(b"\n", b"\r\n"),
        LINES.replace(b"\n", b"\n\n  \n\t\r\n"),
        LINES.rstrip(b"\n"),
        b"\n" + LINES,
        LINES.replace(b"{", b"  { ").replace(b"}", b" }  "),
    ],
    ids=["bom", "crlf", "blank", "no last newline", "blank first", "spaces"],
)
def test_harmless_oddities(data: bytes, tmp_path: Path) -> None:
    items = read(tmp_path / "x.jsonl", data)
    assert [dict(item.fields) for item in items if isinstance(item, Record)] == read_jsonl(LINES)
    assert len(items) == 3


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"id":"x","te', "not JSON"),
        (b"garbage", "not JSON"),
        (bytes(range(128, 256)), "not UTF-8"),
        (b"\x00\x01\x02", "not JSON"),
        (b'{"id":"x","a":NaN}', "NaN is no JSON number"),
        (b'{"id":"x","a":[-Infinity]}', "-Infinity is no JSON number"),
        (b'{"id":"x","a":"\\ud800"}', "surrogates not allowed"),
        (b'{"id":"x","\\uDFFF":1}', "surrogates not allowed"),
        (b'{"id":"x"}{"id":"y"}', "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"id":"x","a":' + b"9" * 5000 + b"}", "digits"),
        (b'{"id":"x","a":{"b":[-1e999]}}', "-1e999 is beyond the range of numbers"),
        (b'{"id":"x","a":' + b"9" * 400 + b".0}", "beyond the range of numbers"),
        (b'{"id":"x","a":' + b"[" * 100 + b"]" * 100 + b"}", "nested too deeply"),
        (b'{"id":"x","offset":1e306}', "'offset' must be at most"),
        (b'{"audio_filepath":"x.wav","offset":' + b"9" * 4299 + b"}", "finite number"),
        (b'{"id":"x","audio_filepath":"x\\u0000.tar#y.flac"}', "NUL"),
        (b"null", "null"),
        (b'["x"]', "not a JSON object but an array"),
        (b'{"id":"x.y"}', "must consist of letters"),
        (b'{"id":"x","duration":true}', "'duration' must be a number"),
        (b'{"text":"x"}', "no 'id'"),
    ],
)
def test_a_line_that_holds_no_record(line: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    items = read(path, LINES + b"\n" + line + b"\n" + b'{"id":"z"}\n')
    assert [type(item) for item in items] == [Record, Record, Record, Reject, Record]
    reject = items[3]
    assert isinstance(reject, Reject)
    assert reject.error.startswith(f"{path}:5: ")  # the blank line counts
    assert why in reject.error
    assert reject.stage == "test"
    assert len(json.loads(output.reject_line(reject))) == 4


def test_escaped_text_is_text(tmp_path: Path) -> None:
    [record] = read(tmp_path / "x.jsonl", b'{"id":"x","a":"\\ud83d\\ude00 \\\\ud800 \\u00e9"}')
    assert isinstance(record, Record)
    assert record.fields["a"] == "😀 \\ud800 é"


def test_numbers_pass_untouched(tmp_path: Path) -> None:
    line = '{"id":"x","big":123456789012345678901234567890,"f":1.0,"e":1e-07,"z":-0.0}'
    [record] = read(tmp_path / "x.jsonl", line.encode())
    assert isinstance(record, Record)
    assert to_json(record.fields) == line


def test_what_is_nested_as_deeply_as_may_be_comes_out_again(tmp_path: Path) -> None:
    line = '{"id":"x","a":' + '{"b":' * 49 + "[" * 50 + "]" * 50 + "}" * 50
    [record] = read(tmp_path / "x.jsonl", line.encode())
    assert isinstance(record, Record)
    assert to_json(record.fields) == line
    brackets = '{"id":"x","text":"' + "[" * 500 + '"}'
    assert isinstance(read(tmp_path / "x.jsonl", brackets.encode())[0], Record)


@pytest.mark.parametrize(
    ("value", "way"), [({"id": "x"}, "jq -c ."), ([{"id": "x"}], "jq -c '.[]'")]
)
@pytest.mark.parametrize("indent", [2, 4])
def test_json_of_many_lines_is_one_sentence(
    value: object, way: str, indent: int, tmp_path: Path
) -> None:
    """What `jq .` makes, and others that write for people."""
    with pytest.raises(LanserError, match="must be one line") as caught:
        read(tmp_path / "x.jsonl", json.dumps(value, indent=indent).encode() + b"\n")
    assert str(caught.value).startswith(f"{tmp_path / 'x.jsonl'}: ")
    assert str(caught.value).endswith(way)


def test_a_line_of_five_megabytes(tmp_path: Path) -> None:
    long = b'{"id":"long","payload":"' + b"x" * 5_000_000 + b'"}\n'
    items = read(tmp_path / "x.jsonl", long + b"y" * 5_000_000 + b"\n" + LINES)
    assert ids(items) == ["long", None, "a", "b", "c"]


def test_a_line_that_never_ends_is_one_reject_and_held_by_its_beginning(tmp_path: Path) -> None:
    packed = zstandard.compress(LINES + b'{"id":"' + b"x" * 200_000_000 + b"\n" + LINES)
    assert len(packed) < 30_000
    tracemalloc.start()
    try:
        items = read(tmp_path / "x.jsonl.zst", packed)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ids(items) == ["a", "b", "c", None, "a", "b", "c"]
    bad = items[3]
    assert isinstance(bad, Reject) and ":4: not JSON: a line may have 16 MB" in bad.error
    assert len(str(bad.record)) < 200
    assert peak < 100_000_000


def test_several_inputs_in_order(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("b.jsonl", "a.jsonl.gz")]
    paths[0].write_bytes(b'{"id":"1"}')  # no newline: must not run into the next file
    paths[1].write_bytes(gzip.compress(b'{"id":"2"}\n'))
    assert ids(list(read_records([str(path) for path in paths], "test"))) == ["1", "2"]


def test_inputs_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LanserError, match=r"no\.jsonl: there is no such file"):
        list(read_records([str(tmp_path / "no.jsonl")], "test"))
    with pytest.raises(LanserError, match=r"no\.jsonl: there is no such file"):
        jsonl.check_files(["-", str(tmp_path / "no.jsonl")])
    with pytest.raises(LanserError, match="is a folder: name the file of records"):
        list(read_records([str(tmp_path)], "test"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_name_that_says_nothing_is_told_by_its_first_bytes(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "records"
    assert ids(read(path, pack(LINES))) == ["a", "b", "c"]
    assert not jsonl.is_jsonl(str(path))
    assert jsonl.begins_like_jsonl(str(path)) is (pack is bytes)


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [False, True])
def test_standard_input(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = Terminal if terminal else io.TextIOWrapper
    monkeypatch.setattr(sys, "stdin", kind(io.BytesIO(LINES + b"x\n")))
    items = list(read_records(["-"], "test"))
    assert ids(items) == ["a", "b", "c", None]
    assert isinstance(items[3], Reject)
    assert items[3].error.startswith("standard input:4: ")
    assert ("reading JSONL from the terminal" in capsys.readouterr().err) is terminal


@pytest.mark.parametrize("name", ["a.wav", "a.jsonl.bz2", "jsonl", "a.tar", "a.json5"])
def test_names_that_are_not_jsonl(name: str) -> None:
    assert not jsonl.is_jsonl(name)


def test_duplicates_become_rejects() -> None:
    names = ["a", "b", "a", "c", "b", "a"]
    bad = Reject("a", "test", "bad", None)
    items = list(unique([Record({"id": name}) for name in names] + [bad], "test"))
    assert [type(item) for item in items] == [
        Record,
        Record,
        Reject,
        Record,
        Reject,
        Reject,
        Reject,
    ]
    assert ids(items) == [*names, "a"]
    assert isinstance(items[2], Reject)
    assert "duplicate id 'a'" in items[2].error
    assert items[-1] is bad


def test_digests() -> None:
    seen = digests.StringSet()
    assert [seen.add(name) for name in ("a", "\ud800", "a", "\ud800")] == [True, True, False, False]
    assert "a" in seen and "b" not in seen
    assert len(seen) == 2


def test_a_set_of_many_strings_is_a_set() -> None:
    ours, known = digests.StringSet(), set[str]()
    for number in range(5000):
        name = f"u{number % 3000}"
        assert ours.add(name) is (name not in known)
        known.add(name)
    assert len(ours) == len(known) == 3000
    assert all(name in ours for name in known) and "u3000" not in ours


# ---------------------------------------------------------------- windows


@given(st.lists(st.integers(), max_size=30), st.integers(1, 9))
def test_windows(items: list[int], size: int) -> None:
    cut = list(windows(items, size))
    assert list(chain(*cut)) == items
    assert all(len(window) == size for window in cut[:-1])
    assert all(cut)


# ---------------------------------------------------------------- the pipe


def test_order_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stage(window: Sequence[Record]) -> list[Outcome]:
        fates: dict[int, Callable[[Record], Outcome]] = {
            0: lambda record: Reject.of(record, "test", "a fourth"),
            1: lambda record: Dropped(record.id, "odd"),
        }
        return [
            fates.get(record.fields["number"] % 4, lambda record: record)(record)
            for record in window
        ]

    items = [*records(9), Reject(None, "test", "torn", "{"), Dropped("x", "left out")]
    out, rejects = tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"
    pipe = Pipe("test", out, rejects=rejects, window=2)
    assert pipe.run(items, one_process(stage)).exit_code == EXIT_REJECTED
    assert [value["number"] for value in read_jsonl(out)] == [2, 3, 6, 7]
    assert [value["id"] for value in read_jsonl(rejects)] == ["r000", "r004", "r008", None]
    assert "test: 11 in, 4 out, 4 rejected, 1 dropped (left out), 2 dropped (odd)" in (
        capsys.readouterr().err
    )
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl", "rejects.jsonl"]


def test_rejects_stay_in_the_order_of_the_input(tmp_path: Path) -> None:
    def stage(window: Sequence[Record]) -> list[Outcome]:
        return [Reject.of(record, "test", "no") for record in window]

    items: list[Outcome] = []
    for record in records(7):
        items += [record, Reject(f"line-{len(items)}", "test", "torn", None)]
    rejects = tmp_path / "rejects.jsonl"
    for window in (1, 2, 3, 5, 100):
        pipe = Pipe("test", tmp_path / "out", rejects=rejects, window=window)
        assert pipe.run(items, one_process(stage)).exit_code == EXIT_REJECTED
        assert [value["id"] for value in read_jsonl(rejects)] == ids(items)


def test_a_flood_of_bad_lines_is_not_held_in_memory(tmp_path: Path) -> None:
    read = 0

    def flood() -> Iterator[Outcome]:
        nonlocal read
        yield from records(1)
        for _ in range(1000):
            read += 1
            yield Reject(None, "test", "bad", None)

    class Watching(Pipe):
        def _file(self, outcome: Outcome, lines: list[str], *, late: bool = False) -> bool:
            if isinstance(outcome, Reject):
                behind.append(read - self.tally.rejected)
            return super()._file(outcome, lines, late=late)

    behind: list[int] = []
    pipe = Watching("test", tmp_path / "out", rejects=tmp_path / "rejects", window=10)
    assert pipe.run(flood(), one_process(copied)).exit_code == EXIT_REJECTED
    assert pipe.tally.rejected == 1000
    assert max(behind) <= 10


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert Pipe("test", out).run([], one_process(copied)).exit_code == 0
    assert out.read_bytes() == b""


CHATTER = """
import os
from lanser_cli.records import Record
from lanser_cli.pipe import Pipe
from lanser_cli.stage import one_process
from lanser_cli.output import result_line

def stage(window):
    print("chatter from Python")
    os.write(1, b"chatter from C\\n")
    return window

print("before")
Pipe("test", None).run([Record({"id": "a"}), Record({"id": "b"})], one_process(stage))
print("between")
with result_line() as write:
    print("more chatter")
    write({"run": "x"})
print("after")
"""


def test_stdout_is_for_records_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHATTER],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **ENVIRONMENT},
    )
    assert done.stdout.splitlines() == [
        *("before", '{"id":"a"}', '{"id":"b"}', "between", '{"run":"x"}', "after"),
    ]
    said = done.stderr.splitlines()
    assert sorted(said)[:2] == ["chatter from C", "chatter from Python"]
    assert "more chatter" in said


def test_what_a_stage_makes_that_json_cannot_say(tmp_path: Path) -> None:
    def stage(window: Sequence[Record]) -> list[Outcome]:
        return [record.with_fields(score=float("nan")) for record in window]

    rejects = tmp_path / "rejects"
    pipe = Pipe("test", tmp_path / "out", rejects=rejects)
    assert pipe.run(records(2), one_process(stage)).exit_code == EXIT_REJECTED
    [one, _] = read_jsonl(rejects)
    assert one["id"] == "r000"
    assert "cannot be written as JSON" in one["error"]
    assert "nan" in one["record"]


def test_a_run_that_fails_leaves_a_part_only(tmp_path: Path) -> None:
    def stage(window: Sequence[Record]) -> list[Outcome]:
        if window[0].id == "r004":
            raise LanserError("the model is gone")
        return list(window)

    out = tmp_path / "out.jsonl"
    with pytest.raises(LanserError, match="the model is gone"):
        Pipe("test", out, window=2).run(records(9), one_process(stage))
    assert not out.exists()
    assert ids([Record(value) for value in read_jsonl(tmp_path / "out.jsonl.part")]) == [
        *("r000", "r001", "r002", "r003"),
    ]
    assert (
        Pipe("test", out, resume=True, window=2).run(records(9), one_process(copied)).exit_code == 0
    )
    assert len(read_jsonl(out)) == 9


def test_without_resume_an_old_part_is_not_kept(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    (tmp_path / "out.jsonl.part").write_text('{"id":"r000","number":"old"}\n')
    assert Pipe("test", out).run(records(2), one_process(copied)).exit_code == 0
    assert [value["number"] for value in read_jsonl(out)] == [0, 1]


def test_resume_does_again_only_windows_that_miss_something(tmp_path: Path) -> None:
    seen: list[str] = []

    def stage(window: Sequence[Record]) -> list[Outcome]:
        seen.extend(record.id for record in window)
        return list(window)

    out = tmp_path / "out.jsonl"
    lines = [to_json(item.fields) for item in records(7) if isinstance(item, Record)]
    (tmp_path / "out.jsonl.part").write_text("\n".join(lines[:5]) + '\n{"id":"r0')
    pipe = Pipe("test", out, resume=True, window=3)
    assert pipe.run(records(9), one_process(stage)).exit_code == 0
    assert seen == ["r003", "r004", "r005", "r006", "r007", "r008"]
    assert (pipe.tally.already_done, pipe.tally.done) == (5, 4)


FATES = st.sampled_from(["good", "good", "good", "refused", "dropped", "torn", "twice"])


@given(st.lists(FATES, max_size=14), st.integers(1, 5), st.data())
@settings(max_examples=120, deadline=None)
def test_resume_gives_the_same_bytes_from_any_cut(
    fates: list[str], window: int, data: st.DataObject
) -> None:
    items: list[Outcome] = []
    for number, fate in enumerate(fates):
        if fate == "torn":
            items.append(Reject(None, "test", "torn", "{"))
        else:
            name = "r000" if fate == "twice" else f"r{number:03d}"
            items.append(Record({"id": name, "fate": fate, "text": "é\n" * number}))
    items = list(unique(items, "test"))

    def stage(records: Sequence[Record]) -> list[Outcome]:
        makers: dict[str, Callable[[Record], Outcome]] = {
            "refused": lambda record: Reject.of(record, "test", "no"),
            "dropped": lambda record: Dropped(record.id, "why"),
        }
        # What a stage makes of a record may depend on its whole window.
        made = [record.with_fields(among=len(records)) for record in records]
        return [makers.get(record.fields["fate"], lambda record: record)(record) for record in made]

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)  # the disk's pace is not the point
        out, rejects = Path(folder, "out.jsonl"), Path(folder, "rejects.jsonl")

        def run(*, resume: bool) -> Tally:
            pipe = Pipe("test", out, rejects=rejects, resume=resume, window=window)
            pipe.run(items, one_process(stage))
            tally = pipe.tally
            assert tally.read == len(items)
            assert tally.read == (
                tally.done + tally.rejected + tally.already_done + tally.dropped.total()
            )
            return tally

        first = run(resume=False)
        whole, refused = out.read_bytes(), rejects.read_bytes()
        assert whole.count(b"\n") == first.done
        assert refused.count(b"\n") == first.rejected
        out.unlink()
        rejects.unlink()
        cut = data.draw(st.integers(0, len(whole)))
        reject_cut = data.draw(st.integers(0, len(refused)))
        Path(folder, "out.jsonl.part").write_bytes(whole[:cut])
        Path(folder, "rejects.jsonl.part").write_bytes(refused[:reject_cut])
        again = run(resume=True)
        assert out.read_bytes() == whole
        assert again.rejected == first.rejected
        assert rejects.read_bytes() == refused
        assert sorted(os.listdir(folder)) == ["out.jsonl", "rejects.jsonl"]


def test_a_refused_line_does_not_hide_a_good_record_of_its_id(tmp_path: Path) -> None:
    """Killed between the two windows; the bad line's id is not done by having been refused."""
    bad = Reject("r000", "test", "in.jsonl:1: 'offset' must be a number", {"id": "r000"})
    items: list[Outcome] = [bad, Record({"id": "r000", "text": "good"})]
    out, rejects = tmp_path / "out", tmp_path / "rejects"
    (tmp_path / "out.part").touch()
    (tmp_path / "rejects.part").write_text(output.reject_line(bad) + "\n")
    pipe = Pipe("test", out, rejects=rejects, resume=True, window=1)
    assert pipe.run(items, one_process(copied)).exit_code == EXIT_REJECTED
    assert ids([Record(value) for value in read_jsonl(out)]) == ["r000"]


def test_an_id_called_none_is_not_a_missing_id(tmp_path: Path) -> None:
    items: list[Outcome] = [Reject(None, "test", "torn", "{"), Record({"id": "None"})]
    out, rejects = tmp_path / "out", tmp_path / "rejects"
    (tmp_path / "out.part").touch()
    (tmp_path / "rejects.part").write_text(
        '{"id":null,"stage":"test","error":"torn","record":"{"}\n'
    )
    pipe = Pipe("test", out, rejects=rejects, resume=True)
    assert pipe.run(items, one_process(copied)).exit_code == EXIT_REJECTED
    assert ids([Record(value) for value in read_jsonl(out)]) == ["None"]
    assert len(read_jsonl(rejects)) == 1


def test_an_id_that_is_no_unicode_is_filed(tmp_path: Path) -> None:
    rejects = tmp_path / "rejects"
    items: list[Outcome] = [Reject("\ud800", "test", "bad \udcff", {"id": "\ud800"})]
    pipe = Pipe("test", tmp_path / "out", rejects=rejects, resume=True)
    assert pipe.run(items, one_process(copied)).exit_code == EXIT_REJECTED
    assert read_jsonl(rejects)[0]["id"] == "\\ud800"


def test_resume_goes_on_behind_a_record_that_json_cannot_hold(tmp_path: Path) -> None:
    odd = [Record({"id": "inf", "x": float("inf")}), Record({"id": "half", "x": "\ud800"})]
    items = [*records(3), *odd, *records(9)[3:]]

    def interrupted() -> Iterator[Outcome]:
        yield from items[:8]
        raise KeyboardInterrupt

    out, rejects = tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"
    with pytest.raises(KeyboardInterrupt):
        Pipe("test", out, rejects=rejects, window=2).run(interrupted(), one_process(copied))
    again = Pipe("test", out, rejects=rejects, resume=True, window=2)
    assert again.run(items, one_process(copied)).exit_code == EXIT_REJECTED
    assert [value["id"] for value in read_jsonl(out)] == ids(records(9))
    assert [value["id"] for value in read_jsonl(rejects)] == ["inf", "half"]


def test_resume_of_what_is_whole_reads_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(LINES)

    def untouched() -> object:
        raise AssertionError("read")
        yield

    assert Pipe("test", out, resume=True).run(untouched(), one_process(copied)).exit_code == 0
    assert out.read_bytes() == LINES


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--resume needs -o"):
        Pipe("test", None, resume=True)
    with pytest.raises(LanserError, match="there is no folder"):
        Pipe("test", tmp_path / "no" / "out")
    with pytest.raises(LanserError, match="there is no folder"):
        Pipe("test", None, rejects=tmp_path / "no" / "rejects")
    for options in ({"output": tmp_path}, {"output": None, "rejects": tmp_path}):
        with pytest.raises(UsageError, match="not a plain file but a folder"):
            Pipe("test", **options)
    for name in ("out.jsonl.bz2", "out.jsonl.xz"):  # what is in it would be no such thing
        with pytest.raises(UsageError, match=r"packed are \.gz and \.zst"):
            Pipe("test", tmp_path / name)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("name", "unpack"),
    [("out.jsonl.gz", gzip.decompress), ("out.jsonl.zst", zstandard.decompress)],
)
def test_packed_output(name: str, unpack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    out = tmp_path / name
    packed = []
    for _ in range(2):
        assert Pipe("test", out).run(records(50), one_process(copied)).exit_code == 0
        packed.append(out.read_bytes())
    assert packed[0] == packed[1]  # no time of day in it
    assert ids(list(read_records([str(out)], "test"))) == ids(records(50))
    assert len(packed[0]) < 800
    assert os.listdir(tmp_path) == [name]
    assert b"r049" in unpack_all(unpack, packed[0])


def unpack_all(unpack: Callable[[bytes], bytes], data: bytes) -> bytes:
    if unpack is zstandard.decompress:  # the frame of a stream does not tell its size
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return unpack(data)


def test_a_flipped_bit_in_what_was_packed_is_noticed(tmp_path: Path) -> None:
    """Whichever it is: its beginning, its text, its checksum."""
    out = tmp_path / "out.jsonl.zst"
    Pipe("test", out).run(records(20), one_process(copied))
    packed = out.read_bytes()
    whole = read(out, packed)
    noticed = 0
    for place in range(len(packed)):
        spoilt = bytearray(packed)
        spoilt[place] ^= 1 << place % 8
        try:
            assert read(out, bytes(spoilt)) == whole  # such as a bit that zstd does not use
        except LanserError as error:
            assert "broken or cut-off" in str(error)
            noticed += 1
    assert noticed > 0.9 * len(packed) > 90


def test_write_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    output.write_whole(path, "old")
    output.write_whole(path, "né")
    assert path.read_bytes() == "né".encode()
    assert os.listdir(tmp_path) == ["x.json"]


def test_rejects_without_a_file_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Ledger("s") as ledger:
        ledger.reject(Reject("a", "s", "why", 1))
        ledger.reject(Reject(None, "s", "b\udcff", 2))
    assert capsys.readouterr().err == "rejected: a: why\nrejected: b\\udcff\n"


def test_rejects_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    with Ledger("s", path) as ledger:
        ledger.reject(Reject("a", "s", "why", {"x": float("nan")}))
    assert read_jsonl(path) == [{"id": "a", "stage": "s", "error": "why", "record": "{'x': nan}"}]
    whole = path.read_bytes()
    with Ledger("s", path):
        pass  # nothing was read, as by a run that is refused
    assert path.read_bytes() == whole
    with Ledger("s", path) as ledger:
        ledger.read = ledger.done = 1
    assert path.read_bytes() == b""


FULL = """
import resource, signal, sys
from pathlib import Path
from lanser_cli.records import Record
from lanser_cli.pipe import Pipe
from lanser_cli.stage import one_process
if sys.argv[2] == "small":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
items = [Record({"id": f"r{number:03d}"}) for number in range(200)]
try:
    Pipe("test", Path(sys.argv[1]), resume=True, window=8).run(items, one_process(list))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def test_a_file_that_finds_no_room(tmp_path: Path) -> None:
    def run(room: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", FULL, str(tmp_path / "out.jsonl"), room],
            capture_output=True,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )

    full = run("small")
    assert full.returncode == 1
    assert full.stderr.splitlines() == [
        f"LanserError: {tmp_path / 'out.jsonl'}: cannot be written: File too large"
    ]
    assert os.listdir(tmp_path) != []
    assert not (tmp_path / "out.jsonl").exists()
    assert run("large").returncode == 0
    assert len(read_jsonl(tmp_path / "out.jsonl")) == 200
    assert os.listdir(tmp_path) == ["out.jsonl"]
