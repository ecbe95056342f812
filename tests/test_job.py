"""The parts of a job: whatever becomes of its tasks, they end in the bytes of one whole run."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import soundfile
from conftest import Lanser, read_jsonl, tone, write_jsonl
from quick import Quick

from lanser_cli import app, lock
from lanser_cli.digests import file_sha256
from lanser_cli.jsonl import read_records
from lanser_cli.parts import numbers_in, ranges
from lanser_cli.pipe import Pipe
from lanser_cli.records import Dropped, Outcome, Record, Reject
from lanser_cli.stage import one_process, unique

Look = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def look(capfd: pytest.CaptureFixture[str]) -> Look:
    """`lanser parts ...`: its exit code, its line of JSON if it has printed one, and its words."""

    def run(*arguments: object) -> tuple[int, dict[str, Any], str]:
        capfd.readouterr()
        code = app.main(["parts", *map(str, arguments)])
        said = capfd.readouterr()
        lines = read_jsonl(said.out.encode())
        return code, lines[0] if lines else {}, said.err

    return run


RECORDS = [{"id": f"r{number:02d}", "n": number} for number in range(20)]


def odd(window: Sequence[Record]) -> list[Outcome]:
    """A stage that rejects every fifth record, and drops every seventh."""
    return [
        Reject.of(record, "test", "five")
        if record.fields["n"] % 5 == 0
        else Dropped(record.id, "seven")
        if record.fields["n"] % 7 == 0
        else record.with_fields(twice=2 * record.fields["n"])
        for record in window
    ]


def make(output: Path, source: Path, part: str | None = None, **more: Any) -> None:
    """Run the stage over a file, as a task of a job does."""
    output.parent.mkdir(exist_ok=True)
    settings = {"--model": more.pop("model", "odd")}
    items = unique(read_records([str(source)], "test"), "test")
    pipe = Pipe("test", output, inputs=[source], part=part, window=3, **more)
    pipe.run(items, one_process(odd), settings)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Records, one of them twice, and a line that is none."""
    path = write_jsonl(tmp_path / "in.jsonl", [*RECORDS, RECORDS[3]])
    path.write_text(path.read_text() + "no record\n" + '{"id":"last","n":22}\n', encoding="utf-8")
    return path


@pytest.fixture
def parts(source: Path, tmp_path: Path) -> Path:
    """A folder with the four parts of a job."""
    folder = tmp_path / "parts"
    for number in range(1, 5):
        make(folder / f"{number}.jsonl", source, f"{number}/4")
    return folder


def spoil(parts: Path, number: int) -> None:
    """Leave a part as a task that was killed does."""
    path = parts / f"{number}.jsonl"
    path.rename(f"{path}.part")
    path.with_name(f"{path.name}.meta.json").rename(f"{path}.part.meta.json")


# ---------------------------------------------------------------- what there is


def test_whole_parts_are_whole(parts: Path, look: Look) -> None:
    code, found, said = look(parts, "--of", "4")
    assert code == 0 and said == "parts: 4 of 4 whole\n"
    assert found == {
        **{"folder": str(parts), "of": 4, "whole": "1-4", "array": "", "merged": None},
        **dict.fromkeys(("running", "unfinished", "other", "twice", "missing"), ""),
    }


def test_what_is_to_be_submitted_again_is_said(parts: Path, source: Path, look: Look) -> None:
    spoil(parts, 2)
    for path in parts.glob("3.jsonl*"):
        path.unlink()
    code, found, said = look(parts, "--of", "4")
    assert code == 1
    assert said == "parts: 2 of 4 whole; unfinished 2; missing 3: submit again --array=2-3\n"
    assert (found["whole"], found["unfinished"], found["missing"]) == ("1,4", "2", "3")
    assert found["array"] == "2-3"
    with_lock = lock.FileLock(parts / "2.jsonl")
    assert look(parts, "--of", "4")[1]["running"] == "2"
    assert look(parts, "--of", "4")[1]["array"] == "3"
    with_lock.release()
    assert look(parts, "--of", "4")[1]["unfinished"] == "2"


def test_where_there_are_no_locks_it_is_said_that_a_part_may_run(
    parts: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(parts, 2)
    (parts / ".2.jsonl.lock").write_text("process 7 on node7\n")

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    _, found, said = look(parts, "--of", "4")
    assert found["unfinished"] == "2"
    assert f"{parts}: this file system has no locks: start no second process on it" in said


def test_a_part_made_otherwise_is_found_and_says_how(
    parts: Path, source: Path, tmp_path: Path, look: Look
) -> None:
    make(parts / "2.jsonl", source, "2/4", model="other")
    other = write_jsonl(tmp_path / "other.jsonl", RECORDS[:5])
    make(parts / "3.jsonl", other, "3/4")
    code, found, said = look(parts, "--of", "4", "--quiet")
    assert code == 1 and (found["other"], found["array"]) == ("2-3", "2-3")
    assert f"{parts}/2.jsonl: made with another --model, other and not odd as most" in said
    assert f"{parts}/3.jsonl: made with another input, " in said


def test_parts_that_other_versions_made_are_said_and_merged(
    parts: Path, tmp_path: Path, look: Look
) -> None:
    path = parts / "3.jsonl.meta.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "versions": {**about["versions"], "numpy": "1.0"}}))
    code, found, said = look(parts, "--of", "4", "--merge", tmp_path / "out.jsonl")
    assert (code, found["whole"]) == (0, "1-4")
    assert f"{parts}: parts 3 were made with another numpy, 1.0 and not " in said


def test_of_another_number_of_parts_or_another_stage_is_said(
    parts: Path, source: Path, look: Look
) -> None:
    make(parts / "whole.jsonl", source)  # of no part
    code, found, said = look(parts, "--of", "5")
    assert code == 1 and found["missing"] == "1-5"
    assert f"{parts}: 4 outputs are of 4 parts, not of 5: passed over" in said
    about = json.loads((parts / "1.jsonl.meta.json").read_text())
    (parts / "1.jsonl.meta.json").write_text(json.dumps({**about, "verb": "predict"}))
    code, found, said = look(parts, "--of", "4")
    assert (code, found) == (2, {})
    assert "holds parts of predict and test: give each stage a folder of its own" in said


@pytest.mark.parametrize("count", [0, 1_000_001])
def test_no_job_has_so_many_parts(count: int, parts: Path, look: Look) -> None:
    assert look(parts, "--of", count)[::2] == (
        2,
        f"lanser: error: --of {count}: a job has from 1 to 1,000,000 parts\n",
    )


# ---------------------------------------------------------------- merged


@pytest.mark.parametrize("name", ["merged.jsonl", "merged.jsonl.gz", "merged.jsonl.zst"])
def test_merged_parts_are_the_bytes_of_the_whole_run(
    name: str, source: Path, tmp_path: Path, look: Look
) -> None:
    """Also where parts are packed, and records were rejected and dropped."""
    make(tmp_path / "whole" / name, source)
    for number in range(1, 4):
        make(tmp_path / "parts" / f"{number}{name[6:]}", source, f"{number}/3")
    merged = tmp_path / name
    code, found, said = look(tmp_path / "parts", "--of", "3", "--merge", merged)
    assert code == 0, said
    assert merged.read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert found["merged"] == {"file": str(merged), "records": 15, "left_out": 8}
    made, whole = (
        json.loads((folder / f"{name}.meta.json").read_text())
        for folder in (tmp_path, tmp_path / "whole")
    )
    assert made["identity"] == whole["identity"] and made["verb"] == whole["verb"]
    before = merged.stat()
    make(merged, source, resume=True)  # a whole run finds it made already
    assert merged.stat() == before


def test_what_was_merged_of_other_parts_is_not_whole(
    parts: Path, tmp_path: Path, look: Look
) -> None:
    """A part was made again, and has a record less."""
    merged = tmp_path / "merged.jsonl"
    assert look(parts, "--of", "4", "--merge", merged)[0] == 0
    code, _, said = look(parts, "--of", "4", "--merge", merged)
    assert code == 0 and "is whole already" in said
    path, about = parts / "2.jsonl", json.loads((parts / "2.jsonl.meta.json").read_text())
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    left_out = [*numbers_in(about["slice"]["left_out"])]
    last = max(set(range(about["slice"]["in"])) - set(left_out))
    about["slice"]["left_out"] = ranges(sorted([*left_out, last]))
    (parts / "2.jsonl.meta.json").write_text(json.dumps(about))
    code, _, said = look(parts, "--of", "4", "--merge", merged)
    assert code == 2 and "is there already, and no merger of these parts" in said
    before = merged.read_bytes()
    assert look(parts, "--of", "4", "--merge", merged, "--force")[0] == 0
    assert merged.read_bytes().count(b"\n") == before.count(b"\n") - 1


def test_what_is_merged_to_standard_output_is_records_alone(
    parts: Path,
    source: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever a file of that name holds."""
    make(tmp_path / "all.jsonl", source)
    monkeypatch.chdir(tmp_path)
    Path("-").write_text("precious", encoding="utf-8")
    capfd.readouterr()
    assert app.main(["parts", str(parts), "--of", "4", "--merge", "-"]) == 0
    assert capfd.readouterr().out == (tmp_path / "all.jsonl").read_text(encoding="utf-8")
    assert Path("-").read_text(encoding="utf-8") == "precious"


def test_a_part_that_was_resumed_knows_where_its_lines_stood(
    source: Path, tmp_path: Path, look: Look
) -> None:
    """Cut at any line, with rejects to a file or not."""
    whole, part = tmp_path / "whole" / "1.jsonl", tmp_path / "parts" / "1.jsonl"
    make(whole, source, "1/2")
    make(tmp_path / "parts" / "2.jsonl", source, "2/2")
    make(tmp_path / "all.jsonl", source)
    lines = whole.read_bytes().splitlines(keepends=True)
    for kept in range(len(lines)):
        part.with_name("1.jsonl.part").write_bytes(b"".join(lines[:kept]) + lines[kept][:5])
        make(part, source, "1/2", resume=True)
        slices = (
            json.loads(Path(f"{one}.meta.json").read_text())["slice"] for one in (part, whole)
        )
        assert next(slices) == next(slices)
        part.unlink()
    make(part, source, "1/2", resume=True)
    merged = tmp_path / "merged.jsonl"
    assert look(part.parent, "--of", "2", "--merge", merged)[0] == 0
    assert merged.read_bytes() == (tmp_path / "all.jsonl").read_bytes()


def test_nothing_is_merged_while_parts_are_missing(parts: Path, tmp_path: Path, look: Look) -> None:
    spoil(parts, 2)
    code, found, said = look(parts, "--of", "4", "--merge", tmp_path / "out.jsonl")
    assert (code, found) == (1, {})
    assert "not merged before all parts are whole: 3 of 4 whole; unfinished 2: submit" in said
    assert not (tmp_path / "out.jsonl").exists()


def test_two_files_of_one_part_are_not_merged(
    parts: Path, source: Path, tmp_path: Path, look: Look
) -> None:
    make(parts / "again.jsonl", source, "2/4")
    code, _, said = look(parts, "--of", "4", "--merge", tmp_path / "out.jsonl")
    assert code == 1
    assert f"part 2 is there twice, as {parts}/2.jsonl and {parts}/again.jsonl: remove one" in said
    assert "3 of 4 whole; twice 2" in said and "submit" not in said


def test_a_file_that_is_there_is_replaced_only_when_asked(
    parts: Path, source: Path, tmp_path: Path, look: Look
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("mine\n")
    code, _, said = look(parts, "--of", "4", "--merge", out)
    assert code == 2 and "overwrite it with --force" in said and out.read_text() == "mine\n"
    assert look(parts, "--of", "4", "--merge", out, "--force")[0] == 0
    before = out.stat()
    code, _, said = look(parts, "--of", "4", "--merge", out)
    assert code == 0 and "whole already; nothing to do" in said and out.stat() == before
    for name in ("3.jsonl", "3.jsonl.meta.json"):
        held = (parts / name).read_bytes()
        code, _, said = look(parts, "--of", "4", "--merge", parts / name, "--force")
        assert code == 2 and "would overwrite the input" in said
        assert (parts / name).read_bytes() == held


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b'{"id":"more"}\n')


def forget(path: Path) -> None:
    about = json.loads(Path(f"{path}.meta.json").read_text())
    del about["slice"]
    Path(f"{path}.meta.json").write_text(json.dumps(about))


def read_less(path: Path) -> None:
    about = json.loads(Path(f"{path}.meta.json").read_text())
    about["slice"]["in"] -= 1
    Path(f"{path}.meta.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (cut, "2.jsonl: its last records are gone: remove it and submit part 2 again"),
        (lengthen, "2.jsonl: holds more than it was made with: remove it and submit"),
        (forget, "2.jsonl.meta.json: says not where its records stood"),
        (read_less, "part 2 read 5 items, but its share of the 22 of all parts is 6"),
    ],
)
def test_a_part_that_is_not_as_it_was_made_is_not_merged(
    harm: Callable[[Path], None], why: str, parts: Path, tmp_path: Path, look: Look
) -> None:
    harm(parts / "2.jsonl")
    code, found, said = look(parts, "--of", "4", "--merge", tmp_path / "out.jsonl")
    assert (code, found) == (1, {}) and why in said
    assert not (tmp_path / "out.jsonl").exists()


def test_more_parts_than_a_process_may_open_at_first(
    parts: Path, source: Path, tmp_path: Path, look: Look
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(40)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 12, hard))
        few = tmp_path / "few"
        for number in range(1, 15):
            make(few / f"{number}.jsonl", source, f"{number}/14")
        code, found, said = look(few, "--of", "14", "--merge", tmp_path / "out.jsonl")
        assert code == 0 and found["merged"]["records"] == 15, said
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in held:
            os.close(one)


# ---------------------------------------------------------------- schedules

ROWS = 30
HALVES = ((3, 50), (50, 100))
"""So that two processes share them."""


@pytest.fixture(scope="module")
def corpus(lanser: Lanser, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A table that is quick to read, some of its rows no clips, and the digest of all its records.

    The clip is long enough that a command can be killed at its work.
    """
    folder = tmp_path_factory.mktemp("corpus")
    soundfile.write(folder / "a.wav", tone(0.2), 16_000)
    rows = [f"clip-{n:02d},{'a' if n % 6 else 'nowhere'}.wav,joy" for n in range(ROWS)]
    table = folder / "table.csv"
    table.write_text("\n".join(["id,audio_filepath,label", *rows]) + "\n", encoding="utf-8")
    lanser("manifest", "csv", table, "-o", folder / "whole.jsonl", check=3)
    return table, file_sha256(folder / "whole.jsonl")


def run_schedule(
    draw: random.Random, table: Path, folder: Path, start: Callable[..., Quick], look: Look
) -> Path:
    """Submit an array whose tasks are lost, doubled and killed, then its rest, until all is whole.

    Two tasks run at a time, as on two nodes.
    """
    count = draw.randint(2, 4)
    folder.mkdir()
    array = [task for task in range(1, count + 1) for _ in range(draw.choice((0, 1, 1, 1, 2)))]
    for _ in range(20):
        draw.shuffle(array)
        for pair in zip_longest(array[::2], array[1::2]):
            running = []
            for task in filter(None, pair):
                line = ["manifest", "csv", table, "-o", folder / f"{task}.jsonl", "--resume"]
                env = {"SLURM_ARRAY_TASK_ID": str(task)}
                running.append(start(*line, "--part", f"slurm/{count}", env=env, window=2))
            for command in running:
                if draw.random() < 0.4:
                    time.sleep(draw.uniform(0, 0.15))
                    command.process.kill()
            for command in running:
                done = command.wait()
                assert done.code in (0, 3, -signal.SIGKILL) or "is writing it" in done.err, done.err
        code, found, _ = look(folder, "--of", count, "--merge", folder / "merged.jsonl")
        if code == 0:
            return folder / "merged.jsonl"
        code, found, _ = look(folder, "--of", count)
        assert code == 1 and found["running"] == found["other"] == found["twice"] == ""
        array = list(numbers_in(found["array"]))
    raise AssertionError("it comes to no end")


@pytest.mark.parametrize(
    "seeds",
    [range(3), *(pytest.param(range(*ends), marks=pytest.mark.slow) for ends in HALVES)],
    ids=str,
)
def test_all_of_100_schedules_end_in_one_checksum(
    seeds: range,
    corpus: tuple[Path, str],
    quick: Callable[..., Quick],
    look: Look,
    tmp_path: Path,
) -> None:
    table, digest = corpus
    for seed in seeds:
        merged = run_schedule(random.Random(seed), table, tmp_path / str(seed), quick, look)
        assert file_sha256(merged) == digest, f"seed {seed}"
