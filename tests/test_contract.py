"""What every verb promises, whatever it does: section by section of the pipe contract."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import EKMAN, ENVIRONMENT, Lanser, read_jsonl, write_jsonl
from quick import Done, Quick

from lanser_cli.app import VERBS
from lanser_cli.pipe import Pipe
from lanser_cli.records import Record
from lanser_cli.stage import one_process

COUNT = 24
SMALL_WINDOW = 5
SLIM = ("--model", "resnet18-slim", "--device", "cpu", "--crop", "0.5", "--batch-size", "8")


@dataclass(frozen=True)
class Things:
    """What good runs need."""

    records: Path
    table: Path
    parts: Path
    run: Path
    nli: Path
    whisper: Path


@dataclass(frozen=True)
class Verb:
    """How a verb is called.

    Attributes:
        takes: `records` (JSONL or `-`), `files` (JSONL that is read twice, so not `-`), `table` (a
            file that must be named), `run` (a run folder), `parts` (a folder of them), or
            `nothing`.
        makes: `records` (JSONL by `-o` or on stdout), `folder` (or another file, by `-o`), or
            `lines` on stdout.
        suffix: of the file.
        options: words besides the inputs, but without `-o`.
        learns: whether it needs all its records at once, to compute something from them.
    """

    takes: str
    makes: str
    options: Callable[[Things], tuple[object, ...]] = lambda things: ()
    learns: bool = False
    suffix: str = ""

    def input(self, things: Things) -> list[Path]:
        named = dict.fromkeys(("records", "files"), things.records)
        named |= {"table": things.table, "run": things.run}
        named["parts"] = things.parts
        return [named[self.takes]] if self.takes in named else []


TABLE = {
    "manifest": Verb("table", "records"),
    "transcribe": Verb(
        *("records", "records"),
        lambda things: ("--model", f"whisper:{things.whisper}", "--device", "cpu"),
    ),
    "entail-label": Verb(
        *("records", "records"),
        lambda things: ("--model", things.nli, "--labels", "joy,anger,fear", "--device", "cpu"),
    ),
    "agree": Verb("files", "records", lambda things: (f"{things.records}:prediction",)),
    "why": Verb("records", "lines", lambda things: ("--device", "cpu")),
    "pick": Verb("records", "records", lambda things: ("-n", str(COUNT))),
    "listen": Verb("records", "folder", learns=True, suffix=".html"),
    "taxonomies": Verb("nothing", "lines"),
    "shard": Verb("records", "folder", lambda things: ("--max-count", "7")),
    "audit": Verb("records", "lines", lambda things: ("--workers", "1"), learns=True),
    "pretrain": Verb("records", "folder", lambda things: (*SLIM, "--epochs", "1"), learns=True),
    "finetune": Verb(
        *("records", "folder"),
        lambda things: (*SLIM, "--epochs", "1", "--folds", "2"),
        learns=True,
    ),
    "efficiency": Verb(
        *("records", "folder"),
        lambda things: (
            *("--init", things.run, "--device", "cpu", "--steps", "1", "--folds", "2"),
            *("--fractions", "0.5,1", "--seeds", "1"),
        ),
        learns=True,
    ),
    "baseline": Verb(
        *("records", "folder"), lambda things: ("--folds", "2", "--workers", "1"), learns=True
    ),
    "text-only": Verb(
        *("records", "folder"), lambda things: ("--folds", "2", "--device", "cpu"), learns=True
    ),
    "predict": Verb(
        *("records", "records"), lambda things: ("--run", things.run, "--device", "cpu")
    ),
    "doubt": Verb(
        "files", "records", lambda things: ("--scores", f"{things.records}:emotion_scores")
    ),
    "export": Verb("run", "folder", lambda things: ("--to", "torch"), suffix=".pt2"),
    "eval": Verb("records", "lines", learns=True),
    "compare": Verb("records", "lines", lambda things: (things.records,), learns=True),
    "probe-prosody": Verb(
        *("records", "lines"),
        lambda things: ("--run", things.run, "--folds", "2", "--device", "cpu"),
        learns=True,
    ),
    "plan": Verb("nothing", "lines", lambda things: ("--hours", "10")),
    "parts": Verb("parts", "lines", lambda things: ("--of", "2")),
    "doctor": Verb("nothing", "lines"),
}
FILTERS = [name for name, verb in TABLE.items() if verb.makes == "records"]
READERS = [name for name, verb in TABLE.items() if verb.takes == "records"]
LEARNERS = [name for name, verb in TABLE.items() if verb.learns]
TRAINERS = ["pretrain", "finetune"]


# ---------------------------------------------------------------- what the tests stand on


@pytest.fixture(scope="module")
def things(
    clips: Path,
    tiny_run: Path,
    tiny_nli: Path,
    tiny_whisper: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Things:
    folder = tmp_path_factory.mktemp("things")
    sounds = sorted(clips.glob("*.wav"))
    values = [
        {
            "zeta": index,
            "id": f"utterance-{index:02d}",
            "audio_filepath": str(sounds[index % len(sounds)]),
            "mine": {"ünïcode": "日本", "big": 12345678901234567890123, "none": None},
            "speaker": f"s{index % 4}",
            "label": EKMAN[index // 4 % 2],
            "split": ("train", "test")[index % 4 // 2],  # which share nothing, for audit
            "text": f"sentence {index} of these",
            "emotion": EKMAN[index % 2],
            "emotion_scores": {EKMAN[index % 2]: 0.8, EKMAN[1 - index % 2]: 0.2},
            "entailment": {
                **{"model": str(tiny_nli), "precision": "float32", "taxonomy": "ekman6"},
                **{"templates": ["This person feels {}."], "calibration": "none", "margin": 1.3863},
            },
            "prediction": EKMAN[index % 3 % 2],
            "alpha": [1.0, 2],
        }
        for index in range(COUNT)
    ]
    columns = ["zeta", "id", "audio_filepath", "speaker", "label", "alpha"]
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(values)
    records = write_jsonl(folder / "records.jsonl", values)
    parts = folder / "parts"
    parts.mkdir()
    for number in (1, 2):
        Pipe("test", parts / f"{number}.jsonl", inputs=[records], part=f"{number}/2").run(
            (Record(value) for value in values), one_process(list)
        )
    return Things(records, folder / "table.csv", parts, tiny_run, tiny_nli, tiny_whisper)


@pytest.fixture(scope="module")
def good(
    lanser: Lanser, things: Things, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Done, Path]]:
    """One good run of a verb with `--verbose`, and where `-o` went."""

    @cache
    def run(name: str) -> tuple[Done, Path]:
        verb = TABLE[name]
        made = tmp_path_factory.mktemp(name) / f"made{verb.suffix}"
        output = ("-o", made) if verb.makes == "folder" else ()
        words = before(name), *verb.input(things), *verb.options(things), *output, "--verbose"
        done = lanser(name, *(word for word in words if word != ()), check=None)
        return Done(done.returncode, done.stdout, done.stderr.decode()), made

    return run


def before(name: str) -> object:
    """The word between a verb and its inputs."""
    return {"manifest": "csv", "why": "utterance-05"}.get(name, ())


def words(
    name: str, things: Things, *, inputs: list[object] | None = None, out: Path | None = None
) -> list[object]:
    """A command line for a verb. `out`: what `-o` says, if this verb needs one."""
    verb = TABLE[name]
    line: list[object] = [word for word in (name, before(name)) if word != ()]
    line += verb.input(things) if inputs is None else inputs
    line += verb.options(things)
    if verb.makes == "folder":
        assert out is not None
        line += ["-o", out.with_suffix(verb.suffix)]
    return line


def sentence(done: Done, *mentions: object) -> None:
    """There is one line on stderr, it names what it is about, and stdout is empty."""
    assert done.out == b""
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("lanser: error: ")
    for mention in mentions:
        assert str(mention) in lines[0]


def counts(done: Done, name: str) -> dict[str, int]:
    """The closing line of a filter or of shard, as numbers; `dropped` is a sum over reasons."""
    closing = [line for line in done.err.splitlines() if line.startswith(f"{name}: ")][-1]
    found = re.findall(r"(\d+) (in|out|rejected|dropped|already done)", closing)
    numbers = dict.fromkeys(("in", "out", "rejected", "dropped", "already done"), 0)
    for number, what in found:
        numbers[what] += int(number)
    return numbers


def settled(value: dict[str, Any]) -> dict[str, Any]:
    """A result line without the paths in it."""
    return {
        key: item
        for key, item in value.items()
        if key not in ("run", "input", "reference", "shards", "output", "command")
    }


def test_every_verb_is_in_the_table() -> None:
    assert list(TABLE) == list(VERBS)


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize("name", TABLE)
def test_help(name: str, quick: Callable[..., Quick]) -> None:
    done = quick(name, "--help").wait()
    assert (done.code, done.err) == (0, "")
    assert f"lanser {name}" in done.out.decode()


def test_alone_it_says_all_verbs_whole(quick: Callable[..., Quick]) -> None:
    done = quick().wait()
    assert (done.code, done.err) == (0, "")
    listed = done.out.decode().partition("Commands:\n")[2]
    assert [line.split()[0] for line in listed.splitlines()] == list(VERBS)
    assert "..." not in listed
    assert quick("help").wait().out == done.out
    assert quick("help", "shard").wait().out == quick("shard", "--help").wait().out


@pytest.mark.parametrize("name", TABLE)
def test_wrong_flag(name: str, quick: Callable[..., Quick]) -> None:
    done = quick(name, "--no-such-flag").wait()
    assert done.code == 2
    sentence(done, "--no-such-flag")


def test_wrong_verb(quick: Callable[..., Quick]) -> None:
    done = quick("transcibe").wait()
    assert done.code == 2
    sentence(done, "transcibe")


@pytest.mark.parametrize("name", TABLE)
def test_missing_input(
    name: str, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    missing = "nonesuch" if TABLE[name].takes == "nothing" else tmp_path / "missing.jsonl"
    out = tmp_path / "out"
    done = quick(*words(name, things, inputs=[missing], out=out)).wait()
    assert done.code in (1, 2)
    sentence(done, missing)
    assert not out.exists()


@pytest.mark.parametrize("name", TABLE)
def test_a_name_that_is_not_utf8_is_refused_before_any_work(
    name: str, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    shutil.copy(things.records, odd)
    done = quick(name, odd).wait()
    assert done.code == 2
    sentence(done, "caf\\udce9' is not UTF-8: rename")


@pytest.mark.parametrize("name", FILTERS)
def test_no_folder_for_the_output(
    name: str, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    out = tmp_path / "nowhere" / "out.jsonl"
    done = quick(*words(name, things), "-o", out).wait()
    assert done.code == 1
    sentence(done, tmp_path / "nowhere")


# ---------------------------------------------------------------- records in, records out


@pytest.mark.parametrize("name", TABLE)
def test_good_run_writes_strict_jsonl_and_nothing_human(
    name: str, good: Callable[[str], tuple[Done, Path]]
) -> None:
    done, _ = good(name)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert done.out.endswith(b"\n")
    lines = read_jsonl(done.out)
    if TABLE[name].makes == "records":
        assert len(lines) == COUNT
    elif TABLE[name].takes != "nothing":
        assert len(lines) == 1
    if TABLE[name].makes == "records" or name == "shard":
        assert counts(done, name) == {
            **{"in": COUNT, "out": COUNT, "rejected": 0},
            **{"dropped": 0, "already done": 0},
        }


@pytest.mark.parametrize("name", FILTERS)
def test_order_and_foreign_keys(
    name: str, good: Callable[[str], tuple[Done, Path]], things: Things
) -> None:
    done, _ = good(name)
    answers = read_jsonl(done.out)
    questions = read_jsonl(things.records)
    assert [value["id"] for value in answers] == [value["id"] for value in questions]
    if name == "manifest":  # its input is a table, where all is text
        columns = ["zeta", "speaker", "label", "alpha"]
        for answer, question in zip(answers, questions, strict=True):
            assert [key for key in answer if key in columns] == columns
            assert answer["zeta"] == str(question["zeta"])
        return
    foreign = ("zeta", "mine", "alpha")
    for answer, question in zip(answers, questions, strict=True):
        assert [key for key in answer if key in question] == list(question)
        assert {key: answer[key] for key in foreign} == {key: question[key] for key in foreign}


@pytest.mark.parametrize("name", [name for name in TABLE if name not in READERS])
def test_quiet_is_quiet(
    name: str, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    """Of the others the next test shows it."""
    done = quick(*words(name, things, out=tmp_path / "made"), "--quiet").wait()
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("name", READERS)
def test_standard_input_is_as_good_as_a_file_and_quiet_is_quiet(
    name: str,
    quick: Callable[..., Quick],
    good: Callable[[str], tuple[Done, Path]],
    things: Things,
    tmp_path: Path,
) -> None:
    made = tmp_path / "made"
    line = words(name, things, inputs=["-"], out=made)
    done = quick(*line, "--quiet", input=things.records.read_bytes()).wait()
    assert (done.code, done.err) == (0, "")
    expected, expected_made = good(name)
    if TABLE[name].makes == "records":
        assert done.out == expected.out
        return
    assert [settled(value) for value in read_jsonl(done.out)] == [
        settled(value) for value in read_jsonl(expected.out)
    ]
    for pattern in ("*.tar", "model.safetensors", "predictions.jsonl"):
        for path in expected_made.rglob(pattern):
            other = made / path.relative_to(expected_made)
            assert other.read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize(
    "name", [name for name in TABLE if TABLE[name].takes != "nothing" and name != "agree"]
)  # which has two inputs, and one with records is enough
def test_empty_input(
    name: str, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    verb, out = TABLE[name], tmp_path / "made"
    header = things.table.read_text(encoding="utf-8").splitlines()[0]
    (tmp_path / "empty.csv").write_text(header + "\n", encoding="utf-8")
    (tmp_path / "empty.jsonl").touch()
    empty: dict[str, object] = {"table": tmp_path / "empty.csv", "files": tmp_path / "empty.jsonl"}
    inputs = [empty.get(verb.takes, "-")]
    done = quick(*words(name, things, inputs=inputs, out=out)).wait()
    if verb.makes == "records":
        assert (done.code, done.out) == (0, b"")
        assert counts(done, name)["in"] == 0
    else:
        assert done.code == 1
        sentence(done)
        assert not (out / "config.json").exists()
        assert not (out / "index.json").exists()


# ---------------------------------------------------------------- nothing is lost silently


def spoilt(things: Things, verb: Verb, folder: Path) -> tuple[Path, list[str]]:
    """An input with records between lines that are none, and the ids that are good in it."""
    if verb.takes == "table":
        lines = things.table.read_text(encoding="utf-8").splitlines()
        head, good_lines = lines[0], lines[1:]
        broken = ["too,few", good_lines[0], "9,no-file,nowhere.wav,s1,joy,x"]
    else:
        head = ""
        good_lines = things.records.read_text(encoding="utf-8").splitlines()
        value = json.loads(good_lines[0])
        broken = [
            '{"id": "torn", "audio_file',
            '["no object"]',
            json.dumps({**value, "id": "dot.ted"}),
            json.dumps({**value, "id": "typed", "duration": "long"}),
            good_lines[0],
            json.dumps({**value, "id": "nan"}).replace("[1.0, 2]", "NaN"),
            json.dumps({**value, "id": "half-a-pair", "text": "\ud800"}),
            json.dumps({**value, "id": "flags", "asr": {"flags": True}}),
            json.dumps({**value, "id": "scores", "emotion_scores": {"joy": "much"}}),
            json.dumps({**value, "id": "beyond", "emotion_scores": {"joy": 10**400}}),
            json.dumps({**value, "id": "infinite", "mine": 0.5}).replace("0.5", "1e999"),
            json.dumps({**value, "id": "ages", "offset": 1e306}),
            json.dumps({**value, "id": "null", "audio_filepath": "a\0.tar#b.wav"}),
            json.dumps({**value, "id": "deep"})[:-1] + ',"a":' + "[" * 900 + "]" * 900 + "}",
        ]
        if verb.makes == "records" or verb is TABLE["shard"]:
            broken.append('{"id":"sound-and-text","label":"joy"}')
            broken.append('{"id":"gone","label":"joy","audio_filepath":"/nowhere.wav"}')
    for place, line in enumerate(broken, start=1):
        good_lines.insert(2 * place, line)
    path = folder / ("spoilt.csv" if head else "spoilt.jsonl")
    text = "\n".join([head, *good_lines] if head else good_lines)
    path.write_text(text + "\n", encoding="utf-8")
    return path, broken


@pytest.mark.parametrize("name", FILTERS + ["shard"])
def test_bad_records_are_rejected_and_the_rest_is_done(
    name: str, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    verb, out, rejects = TABLE[name], tmp_path / "made", tmp_path / "rejects.jsonl"
    path, broken = spoilt(things, verb, tmp_path)
    line = words(name, things, inputs=[path], out=out)
    done = quick(*line, "--rejects", rejects, window=SMALL_WINDOW).wait()
    assert done.code == 3, done.err
    assert "Traceback" not in done.err
    refused = read_jsonl(rejects)
    for value in refused:
        assert list(value) == ["id", "stage", "error", "record"]
        assert value["stage"] == name
        assert value["error"]
        assert value["record"] is not None
    assert len(refused) == len(broken)
    numbers = counts(done, name)
    assert numbers["in"] == COUNT + len(broken)
    assert numbers["in"] == numbers["out"] + numbers["rejected"] + numbers["dropped"]
    assert numbers["rejected"] == len(refused)
    good_ids = [value["id"] for value in read_jsonl(things.records)]
    if name == "shard":
        assert read_jsonl(done.out)[0]["samples"] == COUNT
    else:
        assert [value["id"] for value in read_jsonl(done.out)] == good_ids
    if verb.takes != "table":
        by_id = {value["id"]: value["error"] for value in refused}
        assert f"{path}:3: not JSON" in refused[0]["error"]
        assert refused[0]["record"] == broken[0]
        assert "'duration' must be a number" in by_id["typed"]
        assert "duplicate id" in by_id[good_ids[0]]
        assert any("NaN" in value["error"] for value in refused)


@pytest.mark.parametrize("name", LEARNERS)
def test_verbs_that_need_all_records_reject_too(
    name: str, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    path, broken = spoilt(things, TABLE[name], tmp_path)
    done = quick(*words(name, things, inputs=[path], out=tmp_path / "made")).wait()
    assert done.code == 3, done.err
    said = [line for line in done.err.splitlines() if line.startswith("rejected: ")]
    assert len(said) == len(broken)
    assert any(f"{path}:3: not JSON" in line for line in said)
    assert len(read_jsonl(done.out)) == 1
    if name in ("eval", "compare"):
        assert read_jsonl(done.out)[0]["n"] == COUNT
    else:
        counts = f"{COUNT + len(broken)} in, {COUNT} used, {len(broken)} rejected"
        assert f"{name}: {counts}" in done.err


def test_eval_writes_rejects(quick: Callable[..., Quick], things: Things, tmp_path: Path) -> None:
    path, broken = spoilt(things, TABLE["eval"], tmp_path)
    done = quick("eval", path, "--rejects", tmp_path / "rejects.jsonl").wait()
    assert done.code == 3
    refused = read_jsonl(tmp_path / "rejects.jsonl")
    assert [list(value) for value in refused] == [["id", "stage", "error", "record"]] * len(broken)
    assert {value["stage"] for value in refused} == {"eval"}


def test_without_a_file_rejects_are_said(quick: Callable[..., Quick], things: Things) -> None:
    line = words("entail-label", things, inputs=["-"])
    done = quick(*line, "--quiet", input=b'{"id":"a"}\nx\n').wait()
    assert (done.code, done.out) == (3, b"")
    said = done.err.splitlines()
    assert [line.partition(": ")[0] for line in said] == ["rejected", "rejected"]
    assert "a: has no 'text'" in said[0]
    assert "standard input:2: not JSON" in said[1]


# ---------------------------------------------------------------- whoever reads, writes, and kills


@pytest.mark.parametrize("name", FILTERS)
def test_a_reader_that_goes_away(
    name: str, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    long = "x" * 16_000  # so that a few records are more than a pipe holds
    if name == "manifest":
        lines = things.table.read_text(encoding="utf-8").splitlines()
        path = tmp_path / "long.csv"
        rows = [f"{lines[0]},long", *(f"{line},{long}" for line in lines[1:])]
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    else:
        values = [{**value, "long": long} for value in read_jsonl(things.records)]
        path = write_jsonl(tmp_path / "long.jsonl", values)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    running = quick(*words(name, things, inputs=[path]), stdout=pipe)
    with pipe.open("rb") as stream:
        first = stream.readline()
    done = running.wait()
    assert json.loads(first)["long"] == long
    assert (done.code, done.err) == (141, "")


@pytest.mark.parametrize("name", ["transcribe", "entail-label", "predict"])
def test_a_slow_writer_has_its_answer_before_it_writes_on(
    name: str, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    os.mkfifo(ours)
    os.mkfifo(theirs)
    running = quick(*words(name, things, inputs=[ours]), stdout=theirs)
    lines = things.records.read_bytes().splitlines(keepends=True)
    with theirs.open("rb") as answers, ours.open("wb", buffering=0) as questions:
        for line in lines[:3]:
            questions.write(line)
            assert json.loads(answers.readline())["id"] == json.loads(line)["id"]
        questions.write(b"".join(lines[3:]))
        questions.close()
        assert len(answers.readlines()) == len(lines) - 3
    assert running.wait().code == 0


@pytest.mark.slow
def test_head_in_a_shell(lanser: Lanser, things: Things) -> None:
    """The same once more with real pipes, a real interpreter, and its way of ending."""
    import subprocess
    import sys

    values = [{**value, "long": "x" * 16_000} for value in read_jsonl(things.records)]
    path = write_jsonl(things.records.with_name("long.jsonl"), values)
    command = [sys.executable, "-m", "lanser_cli", *words("entail-label", things, inputs=["-"])]
    command.append("--quiet")  # of the load
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT},
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(path.read_bytes())
        process.stdin.flush()  # and more may come: it is read while the command ends
        assert json.loads(process.stdout.readline())["id"] == "utterance-00"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


@pytest.mark.parametrize("name", FILTERS)
def test_resume_from_any_cut(
    name: str, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    path, _ = spoilt(things, TABLE[name], tmp_path)
    out, rejects = tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"
    line = [*words(name, things, inputs=[path]), "-o", out, "--rejects", rejects]
    assert quick(*line, window=SMALL_WINDOW).wait().code == 3
    whole, refused = out.read_bytes(), rejects.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    reject_ends = [place + 1 for place, byte in enumerate(refused) if byte == ord("\n")]
    for cut, reject_cut in (
        (ends[6], reject_ends[1]),  # within a window, between two lines
        (ends[2] - 7, reject_ends[0] - 7),  # torn lines
        (ends[-1] - 1, reject_ends[-1] - 1),  # all but the last newlines
    ):
        out.unlink()
        rejects.unlink()
        (tmp_path / "out.jsonl.part").write_bytes(whole[:cut])
        (tmp_path / "rejects.jsonl.part").write_bytes(refused[:reject_cut])
        done = quick(*line, "--resume", window=SMALL_WINDOW).wait()
        assert done.code == 3, done.err
        assert out.read_bytes() == whole
        assert rejects.read_bytes() == refused
        numbers = counts(done, name)
        assert numbers["already done"] == whole[:cut].count(b"\n")
        assert numbers["in"] == sum(
            numbers[key] for key in ("out", "rejected", "dropped", "already done")
        )
        assert not list(tmp_path.glob("*.part"))
    done = quick(*line, "--resume").wait()
    assert done.code == 0
    assert "nothing to do" in done.err
    assert out.read_bytes() == whole


@pytest.mark.parametrize("name", FILTERS)
def test_resume_needs_a_file(name: str, quick: Callable[..., Quick], things: Things) -> None:
    done = quick(*words(name, things), "--resume").wait()
    assert done.code == 2
    sentence(done, "-o")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_resumed(
    how: signal.Signals, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    values = [
        {**value, "id": f"{value['id']}-{copy}"}
        for copy in range(4)
        for value in read_jsonl(things.records)
    ]
    path = write_jsonl(tmp_path / "many.jsonl", values)
    whole, out, part = (tmp_path / name for name in ("whole", "out", "out.part"))
    line = words("predict", things, inputs=[path])
    done = quick(*line, "-o", out, window=4).send(
        how, once=lambda: part.exists() and part.read_bytes().count(b"\n") > 8
    )
    if how is signal.SIGINT:
        assert (done.code, done.out) == (130, b"")
        assert done.err.splitlines() == ["interrupted"]
    else:
        assert done.code == -signal.SIGKILL
    assert not out.exists()
    assert part.exists()
    resumed = quick(*line, "-o", out, "--resume", window=4).wait()
    assert resumed.code == 0
    assert 8 < counts(resumed, "predict")["already done"] < len(values)
    assert quick(*line, "-o", whole, window=4).wait().code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out", "out.meta.json"]


def test_shard_resumes(
    quick: Callable[..., Quick],
    good: Callable[[str], tuple[Done, Path]],
    things: Things,
    tmp_path: Path,
) -> None:
    _, whole = good("shard")
    index = json.loads((whole / "index.json").read_text())
    names = [shard["file"] for shard in index["shards"]]
    assert len(names) == 4
    for kept in (0, 2, 4):
        made = tmp_path / str(kept)
        made.mkdir()
        for name in names[:kept]:
            shutil.copy(whole / name, made / name)
        shutil.copy(whole / "index.json", made / "index.json.part")  # it says what made them
        if kept < 4:
            torn = (whole / names[kept]).read_bytes()
            (made / f"{names[kept]}.part").write_bytes(torn[:1000])
        refused = quick(*words("shard", things, out=made)).wait() if kept else None
        if refused is not None:
            assert refused.code == 2
            sentence(refused, "--resume")
        done = quick(*words("shard", things, out=made), "--resume").wait()
        assert done.code == 0, done.err
        assert sorted(path.name for path in made.iterdir()) == ["index.json", *names]
        for name in names:
            assert (made / name).read_bytes() == (whole / name).read_bytes()
        resumed = json.loads((made / "index.json").read_text())
        assert {**resumed, "argv": None} == {**index, "argv": None}
        assert counts(done, "shard")["already done"] == min(7 * kept, COUNT)


_CLOCK = re.compile(rb', "(utterances_per_s|waiting)": [0-9.e-]+')


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINERS)
def test_training_resumes_exactly(
    name: str, quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    whole, made = tmp_path / "whole", tmp_path / "made"
    more = ("--epochs", "6", "--checkpoint-every", "1")
    assert quick(*words(name, things, out=whole), *more).wait().code == 0
    line = [*words(name, things, out=made), *more]
    killed = quick(*line).send(
        signal.SIGKILL, once=lambda: any(made.rglob("checkpoints/step-*.pt"))
    )
    assert killed.code == -signal.SIGKILL
    assert not list(made.glob("model.safetensors"))
    again = quick(*line).wait()
    assert again.code == 2
    sentence(again, made, "--resume")
    resumed = quick(*line, "--resume").wait()
    assert resumed.code == 0, resumed.err
    paths = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert paths == sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    compared = 0
    for path in paths:
        if path.name in ("model.safetensors", "metrics.jsonl", "predictions.jsonl"):
            ours, theirs = ((folder / path).read_bytes() for folder in (made, whole))
            if path.name == "metrics.jsonl":  # less what a clock measured
                ours, theirs = (_CLOCK.sub(b"", text) for text in (ours, theirs))
            assert ours == theirs, path
            compared += 1
    assert compared == (2 if name == "pretrain" else 5)


def test_training_is_interrupted(
    quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    line = [*words("pretrain", things, out=made), "--epochs", "50", "--checkpoint-every", "1"]
    done = quick(*line).send(signal.SIGINT, once=lambda: any(made.glob("checkpoints/step-*.pt")))
    assert (done.code, done.out) == (130, b"")
    assert re.fullmatch(
        r"pretrain: stopped at step \d+ of \d+; go on with --resume", done.err.splitlines()[-1]
    )
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", FILTERS + ["shard"])
def test_parts_add_up(
    name: str,
    quick: Callable[..., Quick],
    good: Callable[[str], tuple[Done, Path]],
    things: Things,
    tmp_path: Path,
) -> None:
    whole, _ = good(name)
    running = [
        quick(*words(name, things, out=tmp_path / f"made-{number}"), "--part", f"{number}/3")
        for number in (1, 2, 3)
    ]
    parts = [command.wait() for command in running]
    assert [part.code for part in parts] == [0, 0, 0]
    if name == "shard":
        results = [read_jsonl(part.out)[0] for part in parts]
        assert [result["samples"] for result in results] == [8, 8, 8]
        assert sum(result["seconds"] for result in results) == pytest.approx(
            read_jsonl(whole.out)[0]["seconds"]
        )
        return
    lines = without_scores(whole.out)
    for number, part in enumerate(parts):
        assert without_scores(part.out) == lines[number::3]


def without_scores(data: bytes) -> list[dict[str, Any]]:
    """Records less the numbers whose last digit depends on what else is in a batch."""
    values = read_jsonl(data)
    for value in values:
        value.get("asr", {}).pop("avg_logprob", None)
        value.get("entailment", {}).pop("margin", None)
        for key in ("emotion_score", "emotion_scores", "scores"):
            value.pop(key, None)
    return values


@pytest.mark.parametrize("part", ["0/3", "4/3", "one/2", "3", "slurm"])
def test_bad_part(part: str, quick: Callable[..., Quick], things: Things) -> None:
    done = quick(*words("predict", things), "--part", part).wait()
    assert done.code == 2
    sentence(done, "--part")


def test_a_broken_input_leaves_no_half_file(
    quick: Callable[..., Quick], things: Things, tmp_path: Path
) -> None:
    import gzip

    packed = gzip.compress(things.records.read_bytes())
    path, out = tmp_path / "cut.jsonl.gz", tmp_path / "out.jsonl"
    path.write_bytes(packed[: len(packed) // 2])
    done = quick(*words("predict", things, inputs=[path]), "-o", out, window=2).wait()
    assert done.code == 1
    sentence(done, path, "cut-off")
    assert not out.exists()
    path.write_bytes(packed)
    resumed = quick(*words("predict", things, inputs=[path]), "-o", out, "--resume", window=2)
    refused = resumed.wait()
    assert refused.code == 2 and "another input" in refused.err  # it was mended
    assert quick(*words("predict", things, inputs=[path]), "-o", out).wait().code == 0
    assert len(read_jsonl(out)) == COUNT


@pytest.mark.parametrize("name", FILTERS)
def test_packed_output(
    name: str,
    quick: Callable[..., Quick],
    good: Callable[[str], tuple[Done, Path]],
    things: Things,
    tmp_path: Path,
) -> None:
    import gzip

    out = tmp_path / "out.jsonl.gz"
    done = quick(*words(name, things), "-o", out).wait()
    assert (done.code, done.out) == (0, b"")
    assert gzip.decompress(out.read_bytes()) == good(name)[0].out
    made = sorted(path.name for path in tmp_path.glob("out*"))
    assert made == ["out.jsonl.gz", "out.jsonl.gz.meta.json"]


@pytest.mark.parametrize("name", FILTERS + ["taxonomies"])
def test_full_disk(name: str, quick: Callable[..., Quick], things: Things) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = quick(*words(name, things), stdout=Path("/dev/full")).wait()
    assert done.code == 1
    sentence(done, "standard output", "No space left")


def test_existing_run_is_not_overwritten(
    good: Callable[[str], tuple[Done, Path]], quick: Callable[..., Quick], things: Things
) -> None:
    for name in TRAINERS:
        _, made = good(name)
        done = quick(*words(name, things, out=made)).wait()
        assert done.code == 2
        sentence(done, made)
