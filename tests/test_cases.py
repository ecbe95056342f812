"""Inputs from the field on which lanser once failed, each with what its user would expect.

The cases are not in the repository; their classes are tested with inputs of its own elsewhere.
`pytest -v tests/test_cases.py` is the list of them, with what is expected.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import ENVIRONMENT, ROOT, read_jsonl
from quick import Done, Quick

from lanser_cli.audio import sound
from lanser_cli.records import Record
from lanser_cli.shards import reader

CASES = ROOT.parent / "shared" / "cases"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CASES.is_dir(), reason="the cases (../shared/cases) are not here"),
]


@dataclass(frozen=True)
class Case:
    """A copy of a case's folder, and a way to run commands in it."""

    folder: Path
    start: Callable[..., Quick]
    whisper: Path
    nli: Path

    def lanser(self, *words: object, **options: object) -> Done:
        done = self.start(*words, cwd=self.folder, **options).wait()
        assert "Traceback" not in done.err and "--verbose" not in done.err, done.err
        return done

    def transcribe(self, *words: object, **options: object) -> Done:
        """By a model that says the same of all that is sound."""
        model = ("--model", f"whisper:{self.whisper}", "--device", "cpu")
        return self.lanser("transcribe", *words, *model, **options)

    def label(self, *words: object, **options: object) -> Done:
        """By a model that knows nothing."""
        labels = ("--labels", "happy,sad", "--device", "cpu")
        return self.lanser("entail-label", *words, "--model", self.nli, *labels, **options)

    def shell(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A script of bash, in which `lanser` is an interpreter of its own."""
        lanser = f'lanser() {{ "{sys.executable}" -m lanser_cli "$@"; }}\n'
        environment = {**os.environ, **ENVIRONMENT, **variables}
        return subprocess.run(
            ["bash", "-c", lanser + script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )


Check = Callable[[Case], None]
CHECKS: dict[str, tuple[str, Check]] = {}


def expect(name: str, what: str) -> Callable[[Check], Check]:
    """The check of a case, and what it expects, in words."""

    def add(check: Check) -> Check:
        CHECKS[name] = (what, check)
        return check

    return add


def counts(done: Done) -> dict[str, int]:
    """The closing line as numbers; they must add up."""
    found = dict.fromkeys(("in", "out", "used", "rejected", "dropped"), 0)
    closing = [line for line in done.err.splitlines() if re.match(r"[a-z-]+: \d+ in, ", line)]
    for number, what in re.findall(r"(\d+) (in|out|used|rejected|dropped)", closing[-1]):
        found[what] += int(number)
    assert found["in"] == sum(found.values()) - found["in"], closing
    return found


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases (../shared/cases) are not here")
def test_every_case_is_here() -> None:
    assert sorted(path.name for path in CASES.iterdir() if path.is_dir()) == sorted(CHECKS)


# ---------------------------------------------------------------- tables


@expect("csv-dialects", "UTF-16, sep=; 0,5 and trailing commas are read, line ends in headers too")
def _(case: Case) -> None:
    for name in ("utf16", "header", "trailing", "sep", "euro"):
        done = case.lanser("manifest", "csv", f"{name}.csv")
        [record] = read_jsonl(done.out)
        assert done.code == 0 and counts(done)["in"] == 1, name
        assert "happy" in record.values(), name
    assert record["offset"] == 0.2


@expect("csv-spaces", "cells are stripped, so that no speaker is in two splits")
def _(case: Case) -> None:
    assert case.lanser("manifest", "csv", "t.csv", "-o", "t.jsonl").code == 0
    records = read_jsonl(case.folder / "t.jsonl")
    assert {record["label"] for record in records} == {"happy", "sad"}
    assert {record["speaker"] for record in records} == {f"spk{n}" for n in range(4)}
    split = ("--split", "train=0.5,test=0.5", "--seed", "4")
    assert case.lanser("shard", "t.jsonl", *split, "-o", "out").code == 0
    packed = list(reader.records_of([str(case.folder / "out")], "test"))
    sides = {(record.fields["speaker"], record.fields["split"]) for record in packed}
    assert len(sides) == 4
    [certificate] = read_jsonl(case.lanser("audit", "out", "--no-audio").out)
    assert certificate["passed"]


# ---------------------------------------------------------------- nothing is passed over in silence


@expect("dotted-keys", "a key ends at its last dot: 3 in, 3 out")
def _(case: Case) -> None:
    done = case.lanser("shard", "dots.tar", "-o", "out")
    assert (done.code, counts(done)["out"]) == (0, 3)
    assert counts(case.lanser("shard", "dotsonly.tar", "-o", "only"))["in"] > 0


@expect("hard-links", "a hard link is the file that it names")
def _(case: Case) -> None:
    done = case.transcribe("hard.tar")
    assert done.code == 0
    assert [record["id"] for record in read_jsonl(done.out)] == ["000", "001", "002"]


@expect("hidden-files", "passed over by transcribe as by manifest")
def _(case: Case) -> None:
    for done in (case.transcribe("corpus"), case.lanser("manifest", "folder", "corpus")):
        assert (done.code, counts(done)["in"], len(read_jsonl(done.out))) == (0, 1, 1)


@expect("linked-folders", "followed once")
def _(case: Case) -> None:
    (case.folder / "corpus" / "sad").symlink_to("../elsewhere")
    (case.folder / "only").mkdir()
    (case.folder / "only" / "data").symlink_to("../elsewhere")
    found = read_jsonl(case.lanser("manifest", "folder", "corpus").out)
    assert sorted(record["label"] for record in found) == ["angry", "sad"]
    assert len(read_jsonl(case.transcribe("corpus").out)) == 2
    assert len(read_jsonl(case.transcribe("only").out)) == 1


@expect("suffixes-passed-over", "all five files are tried")
def _(case: Case) -> None:
    for done in (case.transcribe("in"), case.lanser("manifest", "folder", "in")):
        seen = counts(done)
        assert seen["in"] >= 4, done.err
        assert seen["in"] == 5 or "e" in done.err  # one has no suffix


@expect("tar-data-behind-end-mark-lost", "both records of two tars in a row, or a reject for one")
def _(case: Case) -> None:
    done = case.lanser("shard", "cat.tar", "-o", "out")
    assert done.code == 1 and "3 in, 0 out, 3 rejected" in done.err
    assert "behind the end mark" in done.err and "'u1.wav' is there 2 times" in done.err
    done = case.lanser("shard", "zeroed", "-o", "zero")
    seen = counts(done)
    assert done.code == 3 and seen["rejected"] and "not a whole tar" in done.err


@expect(
    "tar-duplicate-names-wrong-sound", "a name that is there twice gives nobody the other's sound"
)
def _(case: Case) -> None:
    done = case.lanser("shard", "AB.tar", "-o", "out")
    assert done.code in (1, 3) and " times, and which is meant cannot be known" in done.err
    for record in reader.records_of([str(case.folder / "AB.tar")], "test"):
        if isinstance(record, Record):
            hertz = np.abs(np.fft.rfft(sound.load(record))).argmax()
            assert (record.label == "A") == (hertz < 1000)


# ---------------------------------------------------------------- what an input is


@expect("same-name-in-several-folders", "ids are made from enough of the path to differ")
def _(case: Case) -> None:
    ids = [record["id"] for record in read_jsonl(case.transcribe("DC", "JE").out)]
    assert len(set(ids)) == 2
    found = sorted(str(path.relative_to(case.folder)) for path in case.folder.glob("*/*.wav"))
    assert [record["id"] for record in read_jsonl(case.transcribe(*found).out)] == ids


@expect("process-substitution", "is JSONL, as its first byte says, and so is r.txt")
def _(case: Case) -> None:
    run = case.shell("lanser shard <(cat r.jsonl) -o out && lanser transcribe <(cat r.jsonl) -q")
    assert run.returncode == 0, run.stderr
    assert [value.get("samples", 1) for value in map(json.loads, run.stdout.splitlines())] == [1, 1]
    shutil.copy(case.folder / "r.jsonl", case.folder / "r.txt")
    assert len(read_jsonl(case.transcribe("r.txt").out)) == 1


@expect("fifo-and-stdin-paths", "a FIFO and a - as a path are rejects; no other record is touched")
def _(case: Case) -> None:
    os.mkfifo(case.folder / "fifo.wav")
    about = b'{"id":"b","audio_filepath":"fifo.wav","label":"x"}\n'
    done = case.lanser("shard", "-", "-o", "fifo", input=about)
    assert done.code == 1 and "fifo.wav" in done.err
    gen = subprocess.run([sys.executable, "gen.py"], cwd=case.folder, capture_output=True).stdout
    lines = b"".join(gen.splitlines(keepends=True)[:200])
    done = case.lanser("shard", "-", "-o", "out", "--workers", 1, input=lines)
    assert done.code == 3
    assert counts(done) == {"in": 200, "out": 199, "used": 0, "rejected": 1, "dropped": 0}


@expect("slurm-resubmit", "the slice of a task that is resubmitted alone, or a refusal")
def _(case: Case) -> None:
    (case.folder / "parts").mkdir()
    task = {"ID": "3", "MIN": "3", "MAX": "3", "COUNT": "1"}
    variables = {f"SLURM_ARRAY_TASK_{name}": value for name, value in task.items()}
    out = case.folder / "parts" / "3.jsonl"
    done = case.label("in.jsonl", "--part", "slurm", "--resume", "-o", out, env=variables)
    assert done.code == 2 and "say --part slurm/N" in done.err and not out.exists()
    done = case.label("in.jsonl", "--part", "3/4", "--resume", "-o", out)
    assert [record["id"] for record in read_jsonl(out)] == ["u3", "u7"]


# ---------------------------------------------------------------- what is no speech, no label


@expect("silence-says-dog", "no text and the flag empty, whatever the engine")
def _(case: Case) -> None:
    done = case.transcribe("silence.wav", "antiphase.flac")
    silence, antiphase = read_jsonl(done.out)
    assert (silence["text"], silence["asr"]["flags"]) == ("", ["empty"])
    heard = sound.load(Record({**antiphase, "audio_filepath": str(case.folder / "antiphase.flac")}))
    assert antiphase["text"] and np.sqrt(np.mean(heard**2)) > 0.03  # a mix that does not cancel


@expect("markers", "a text that is only a marker abstains; stock phrases are flagged")
def _(case: Case) -> None:
    done = case.lanser("entail-label", "m.jsonl", "-t", "ekman6")
    by_id = {record["id"]: record for record in read_jsonl(done.out)}
    for name in ("m0", "m1", "m2", "m3", "m4", "m5", "m9", "m10"):
        assert by_id[name]["emotion"] is None, name
    for name in ("m7", "m8"):
        assert by_id[name]["entailment"]["doubt"] == "hallucination"


@expect("labels-the-model-cannot-read", "a usage error that names them")
def _(case: Case) -> None:
    for labels in ("радость,грусть", "幸福,悲伤,愤怒", "😀,😢"):
        done = case.lanser("entail-label", "en.jsonl", "--labels", labels)
        assert (done.code, done.out) == (2, b"")
        assert labels.partition(",")[0] in done.err


# ---------------------------------------------------------------- one record and the run


@expect("odd-rate", "a reject that names the rate; the next file is transcribed")
def _(case: Case) -> None:
    done = case.transcribe("r10000019.wav", "r1000003.wav", "good.wav")
    assert done.code == 3
    assert [record["id"] for record in read_jsonl(done.out)] == ["good"]
    assert "10000019" in done.err and "1000003" in done.err


@expect("one-record-kills-run-jsonl", "one reject, two records packed, exit 3; ten times")
def _(case: Case) -> None:
    paths = sorted(case.folder.glob("*.jsonl"))
    assert len(paths) == 10
    for path in paths:
        done = case.lanser("shard", path.name, "-o", f"out-{path.stem}", "--workers", 1)
        assert (done.code, read_jsonl(done.out)[0]["samples"]) == (3, 2), (path, done.err)
        assert counts(done)["rejected"] == 1


@expect("hang-after-error-shard", "it ends, with one reject")
def _(case: Case) -> None:
    script = (case.folder / "mk.py").read_text().replace("600", "60")
    subprocess.run([sys.executable, "-c", script], cwd=case.folder, check=True)
    done = case.lanser("shard", "in.jsonl", "-o", "out", "--max-count", 100, "--workers", 2)
    assert done.code == 3 and counts(done)["out"] == 120 and counts(done)["rejected"] == 1


@expect("resume-never-finishes", "--resume ends, and once more has nothing to do")
def _(case: Case) -> None:
    out, part = case.folder / "out.jsonl", case.folder / "out.jsonl.part"
    model = ("--model", case.nli, "--device", "cpu", "-t", "ekman6")
    line = ("entail-label", "in.jsonl", *model, "-o", out)
    running = case.start(*line, cwd=case.folder, window=4)
    running.send(signal.SIGKILL, once=lambda: part.exists() and part.stat().st_size > 1000)
    assert case.lanser(*line, "--resume").code == 3
    assert out.exists() and not part.exists()
    done = case.lanser(*line, "--resume")
    assert done.code == 0 and "nothing to do" in done.err


# ---------------------------------------------------------------- outputs


@expect("dev-stdout", "a link to standard output is written to, and stays")
def _(case: Case) -> None:
    (case.folder / "dev").mkdir()
    link = case.folder / "dev" / "stdout"
    link.symlink_to("/proc/self/fd/1")
    done = case.label("t.jsonl", "-q", "-o", "dev/stdout")
    assert done.code == 0 and len(read_jsonl(done.out)) == 2
    assert link.is_symlink()


@expect("out-is-rejects", "exit 2 before anything is read")
def _(case: Case) -> None:
    for out, rejects in (("same.jsonl", "same.jsonl"), ("z.jsonl", "z.jsonl.part")):
        done = case.label("in.jsonl", "-o", out, "--rejects", rejects)
        assert (done.code, done.out) == (2, b"") and "--rejects" in done.err
        assert not (case.folder / out).exists()


@expect("output-destroys", "no input, link or other output is overwritten")
def _(case: Case) -> None:
    source, part = case.folder / "in.jsonl", case.folder / "out.jsonl.part"
    shutil.copyfile(source, part)
    assert case.label("out.jsonl.part", "-o", "out.jsonl").code == 2
    assert part.read_bytes() == source.read_bytes()
    (case.folder / "f" / "x").mkdir(parents=True)
    shutil.copyfile(case.folder / "good.wav", case.folder / "f" / "x" / "good.wav")
    link = case.folder / "mystdout"
    link.symlink_to("/proc/self/fd/1")
    done = case.lanser("manifest", "folder", "f", "-o", "mystdout")
    assert len(read_jsonl(done.out)) == 1 and link.is_symlink()
    done = case.lanser("manifest", "folder", "f", "-o", "s.jsonl", "--rejects", "s.jsonl")
    assert done.code == 2
    (case.folder / "victim").write_text("victim")
    (case.folder / "p.jsonl.part").symlink_to("victim")
    assert case.lanser("manifest", "folder", "f", "-o", "p.jsonl").code == 1
    assert (case.folder / "victim").read_text() == "victim"


@expect("two-writers-one-output", "the second is refused and told who writes; the first is whole")
def _(case: Case) -> None:
    pipe, out = case.folder / "pipe", case.folder / "out.jsonl"
    os.mkfifo(pipe)
    running = case.start(
        *("entail-label", "pipe", "--model", case.nli, "-t", "ekman6", "--device", "cpu"),
        *("-o", out),
        cwd=case.folder,
    )
    with pipe.open("w") as stream:
        stream.write('{"id": "a", "text": "one"}\n')
        stream.flush()
        while not out.with_name("out.jsonl.part").exists():
            assert running.process.exitcode is None
        other = case.label("-", "-o", out, input=b'{"id": "b", "text": "two"}\n')
        assert other.code == 1 and f"process {running.process.pid} on " in other.err
    assert running.wait().code == 0
    assert [record["id"] for record in read_jsonl(out)] == ["a"]


@expect("names-that-are-not-utf8", "refused before any work")
def _(case: Case) -> None:
    name = os.fsdecode(b"b\xff.jsonl")
    shutil.copy(case.folder / "in.jsonl", case.folder / name)
    done = case.lanser("shard", name, "-o", "out")
    assert done.code == 2 and "is not UTF-8: rename" in done.err
    assert not (case.folder / "out").exists()


# ---------------------------------------------------------------- odd machines


@expect("no-directory-fsync", "a file system without fsync of folders will do")
def _(case: Case) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    line = f"lanser entail-label t.jsonl --labels happy,sad --model '{case.nli}' -o o.jsonl"
    gcc = "gcc -shared -fPIC -o nodirsync.so nodirsync.c -ldl && LD_PRELOAD=./nodirsync.so "
    run = case.shell(f"{gcc} {line}")
    assert run.returncode == 0, run.stderr
    assert len(read_jsonl(case.folder / "o.jsonl")) == 2


@expect("uid-without-passwd", "works as for any user")
def _(case: Case) -> None:
    user = "unshare -U --map-user=12345 --map-group=12345"
    if subprocess.run([*user.split(), "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    line = f"-m lanser_cli entail-label t.jsonl --labels happy,sad --model '{case.nli}'"
    run = case.shell(f"unset USER LOGNAME LNAME USERNAME; {user} '{sys.executable}' {line}")
    assert run.returncode == 0, run.stderr
    assert len(read_jsonl(run.stdout)) == 2


@pytest.mark.parametrize("name", CHECKS, ids=lambda name: f"{name}: {CHECKS[name][0]}")
def test_a_case_from_the_field_gives_what_its_user_expects(
    name: str, quick: Callable[..., Quick], tmp_path: Path, tiny_whisper: Path, tiny_nli: Path
) -> None:
    folder = tmp_path / "case"
    shutil.copytree(CASES / name, folder, copy_function=shutil.copyfile)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    CHECKS[name][1](Case(folder, quick, tiny_whisper, tiny_nli))
