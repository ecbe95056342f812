"""Outputs destroy nothing, are written by one process, and are resumed by the same run alone."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, read_jsonl, write_jsonl
from quick import Quick

from lanser_cli import app, output
from lanser_cli.errors import EXIT_REJECTED, EXIT_USAGE, LanserError, UsageError
from lanser_cli.jsonl import open_input
from lanser_cli.lock import FileLock, FolderLock
from lanser_cli.origin import of_files
from lanser_cli.output import JsonlFile, reject_line, write_whole
from lanser_cli.pipe import Pipe
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.stage import one_process, unique
from lanser_cli.tally import Ledger

RECORDS = [{"id": f"r{number}", "text": f"text {number}"} for number in range(6)]
CALM = {"--model": "calm"}


def run(out: Path | None, settings: dict[str, object] | None = None, **options: object) -> Pipe:
    """Pass the records through a pipe of windows of two."""
    pipe = Pipe("test", out, window=2, **options)  # type: ignore[arg-type]
    pipe.run((Record(value) for value in RECORDS), one_process(list), settings)
    return pipe


def killed(out: Path, settings: dict[str, object] | None = None, **options: object) -> None:
    """The same, but it dies in its second window."""

    def some() -> Iterator[Outcome]:
        yield from (Record(value) for value in RECORDS[:3])
        raise KeyboardInterrupt

    pipe = Pipe("test", out, window=2, **options)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        pipe.run(some(), one_process(list), settings)
    assert len(read_jsonl(out.with_name(f"{out.name}.part"))) == 2


def table(folder: Path) -> Path:
    """A small corpus as a table: the quickest input for a whole command."""
    path = folder / "table.csv"
    path.write_text("audio_filepath,label\n" + "nowhere.wav,joy\n" * 2, encoding="utf-8")
    return path


# ---------------------------------------------------------------- what made it


def test_what_made_an_output_is_beside_it(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", RECORDS)
    out = tmp_path / "out.jsonl"
    run(out, CALM, inputs=[source], part="1/2")
    about = json.loads((tmp_path / "out.jsonl.meta.json").read_text())
    assert list(about) == ["schema", "verb", "argv", "versions", "identity", "slice"]
    assert (about["verb"], about["identity"]["--model"]) == ("test", "calm")
    assert list(about["identity"]) == ["--model", "--part", "input"]
    assert sorted(os.listdir(tmp_path)) == ["in.jsonl", "out.jsonl", "out.jsonl.meta.json"]


_DEEP = b"[" * 100_000


@pytest.mark.parametrize("line", [_DEEP, b"\xff", b"[]"])
def test_what_is_damaged_in_an_unfinished_output_is_made_anew(line: bytes, tmp_path: Path) -> None:
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    killed(out, CALM)
    with part.open("ab") as stream:
        stream.write(line + b"\n")
    (tmp_path / "out.jsonl.part.meta.json").write_bytes(_DEEP)
    run(out, CALM, resume=True)
    assert read_jsonl(out) == RECORDS


@pytest.mark.parametrize("finished", [True, False])
def test_resume_with_other_settings_names_the_first_that_differs(
    finished: bool, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    made = {"--model": "calm", "--taxonomy": "ekman6"}
    (run if finished else killed)(out, made)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    why = "--resume: .*out.jsonl was made with another --taxonomy, ekman6 and not cowen27"
    with pytest.raises(UsageError, match=why):
        run(out, made | {"--taxonomy": "cowen27", "--more": 1}, resume=True)
    with pytest.raises(UsageError, match="another --part, all and not 1/3"):
        run(out, made, resume=True, part="1/3")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    tally = run(out, made, resume=True).tally
    assert (tally.already_done, tally.done) == ((0, 0) if finished else (2, 4))
    assert read_jsonl(out) == RECORDS


def test_resume_minds_the_files_of_a_model_but_of_an_output_that_does_not_name_them(
    tmp_path: Path,
) -> None:
    """An older lanser did not; nor does a hub that is not there any more."""
    out, field = tmp_path / "out.jsonl", "--model (its files)"
    killed(out, CALM | {field: "abc"})
    with pytest.raises(UsageError, match=r"made with another --model \(its files\), abc and not d"):
        run(out, CALM | {field: "def"}, resume=True)
    assert run(out, CALM, resume=True).tally.already_done == 2
    assert run(out, CALM | {field: "def"}, resume=True).tally.read == 0


@pytest.mark.parametrize("finished", [True, False])
def test_resume_on_another_input_is_refused_and_on_a_copy_of_it_is_not(
    finished: bool, tmp_path: Path
) -> None:
    source, out = write_jsonl(tmp_path / "in.jsonl", RECORDS), tmp_path / "out.jsonl"
    (run if finished else killed)(out, CALM, inputs=[source])
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(source.read_bytes().replace(b"text 5", b"text 6"))  # of the same length
    with pytest.raises(UsageError, match="was made with another input"):
        run(out, CALM, inputs=[copy], resume=True)
    copy.write_bytes(source.read_bytes())
    assert run(out, CALM, inputs=[copy], resume=True).tally.exit_code == 0


def test_a_folder_is_another_input_when_its_sound_changes_but_not_for_results_in_it(
    tmp_path: Path,
) -> None:
    speech = tmp_path / "speech"
    speech.mkdir()
    (speech / "a.wav").write_bytes(b"sound")
    (speech / "index.json").write_text('{"clips": 1}')  # of somebody else's, not of shards
    out = speech / "out.jsonl"
    killed(out, CALM, inputs=[speech])
    (speech / "b.wav").write_bytes(b"more")
    with pytest.raises(UsageError, match="was made with another input"):
        run(out, CALM, inputs=[speech], resume=True)
    (speech / "b.wav").unlink()
    assert run(out, CALM, inputs=[f"{tmp_path}/./speech"], resume=True).tally.already_done == 2


def test_resume_says_that_an_output_was_begun_with_another_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, about = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part.meta.json"
    killed(out, CALM)
    made = json.loads(about.read_text())
    about.write_text(json.dumps(made | {"versions": made["versions"] | {"lanser": "0.0.1"}}))
    run(out, CALM, resume=True)
    said = "out.jsonl: begun with another lanser, 0.0.1 and not"
    assert said in capsys.readouterr().err


def test_sound_in_a_linked_folder_counts_and_a_circle_of_links_has_an_end(tmp_path: Path) -> None:
    speech, more = tmp_path / "speech", tmp_path / "more"
    speech.mkdir()
    more.mkdir()
    (speech / "linked").symlink_to(more)
    (more / "back").symlink_to(speech)
    before = of_files([speech])
    (more / "a.wav").write_bytes(b"sound")
    assert of_files([speech]) != before


def test_a_label_map_that_was_changed_is_another_setting(tmp_path: Path) -> None:
    words = tmp_path / "map.json"
    line = ("manifest", "csv", table(tmp_path), "--label-map", words, "-o", tmp_path / "out.jsonl")
    words.write_text('{"joy": "happy"}')
    assert app.main([*map(str, line)]) == EXIT_REJECTED
    words.write_text('{"joy": "glad"}')
    assert app.main([*map(str, line), "--resume"]) == EXIT_USAGE


def test_a_stream_that_lacks_what_was_done_is_another_input(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    killed(out, CALM, inputs=["-"])
    pipe = Pipe("test", out, inputs=["-"], resume=True)
    with pytest.raises(
        UsageError, match=r"out.jsonl.part holds 1 records that this input does not"
    ):
        pipe.run([Record(RECORDS[0])], one_process(list), CALM)
    assert not out.exists()
    assert run(out, CALM, inputs=["-"], resume=True).tally.already_done == 2


def test_that_nobody_knows_whether_a_whole_output_is_of_a_stream_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    plain = write_jsonl(tmp_path / "in.jsonl", RECORDS)
    for source, said in (("-", ", if it is of this stream, which is not read"), (plain, "")):
        run(out, CALM, inputs=[source])
        capsys.readouterr()
        run(out, CALM, inputs=[source], resume=True)
        assert capsys.readouterr().err.endswith(f"is whole already; nothing to do{said}\n")


def test_a_stream_that_begins_otherwise_spoils_no_unfinished_output(tmp_path: Path) -> None:
    """Work is not done in vain either: the first record that is new says that it is another."""
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    killed(out, CALM, inputs=["-"])
    before = part.read_bytes()
    others = [Record({"id": f"other{number}"}) for number in range(3)]
    back = [Record(value) for value in reversed(RECORDS)]
    for items, window in ((others, 2), (back, 2), (back, len(back))):
        pipe = Pipe("test", out, inputs=["-"], resume=True, window=window)
        with pytest.raises(UsageError, match="does not give at its beginning"):
            pipe.run(items, one_process(list), CALM)
        assert part.read_bytes() == before
    run(out, CALM, inputs=["-"], resume=True)
    assert read_jsonl(out) == RECORDS


def test_what_is_done_stays_done_when_it_would_be_refused_today(tmp_path: Path) -> None:
    """Such as a clip of the window at work, which was there when the run was killed."""
    out = tmp_path / "out.jsonl"
    killed(out, CALM)

    def stage(window: Sequence[Record]) -> list[Outcome]:
        gone = [Reject.of(record, "test", "there is no such file") for record in window[:1]]
        return [*gone, *window[1:]]

    pipe = Pipe("test", out, resume=True, window=4)
    pipe.run([Record(value) for value in RECORDS[:4]], one_process(stage), CALM)
    assert read_jsonl(out) == RECORDS[:4]
    assert (pipe.tally.already_done, pipe.tally.done, pipe.tally.rejected) == (2, 2, 0)


def test_a_record_is_not_lost_to_the_reject_of_its_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full when the records were to be written that are there twice."""
    out, rejects = tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"
    twice = [Record(value) for value in RECORDS * 2]
    write = JsonlFile.write

    def full(file: JsonlFile, lines: Sequence[str]) -> None:
        if file.path == out:
            raise LanserError("no space left")
        write(file, lines)

    with monkeypatch.context() as patch, pytest.raises(LanserError, match="no space"):
        patch.setattr(JsonlFile, "write", full)
        Pipe("test", out, rejects=rejects).run(unique(twice, "test"), one_process(list))
    pipe = Pipe("test", out, rejects=rejects, resume=True)
    pipe.run(unique(twice, "test"), one_process(list))
    assert (read_jsonl(out), len(read_jsonl(rejects))) == (RECORDS, len(RECORDS))


def test_what_was_refused_once_comes_behind_no_later_record_when_resumed(tmp_path: Path) -> None:
    """A server was away for one record, and the run was killed while its window was written."""
    out = tmp_path / "out.jsonl"
    killed(out, CALM)
    done = [json.loads(line) for line in (tmp_path / "out.jsonl.part").read_text().splitlines()]
    write_jsonl(tmp_path / "out.jsonl.part", done[1:])
    pipe = run(out, CALM, rejects=tmp_path / "rejects.jsonl", resume=True)
    assert read_jsonl(out) == RECORDS[1:]
    [reject] = read_jsonl(tmp_path / "rejects.jsonl")
    assert (reject["id"], pipe.tally.rejected) == (RECORDS[0]["id"], 1)
    assert "later records are out" in reject["error"]


def test_rejects_of_another_run_are_not_taken_for_those_of_a_new_one(tmp_path: Path) -> None:
    """A job that always says --resume begins where a killed one of another output left rejects."""
    rejects = tmp_path / "rejects.jsonl"
    left = Reject.of(Record(RECORDS[0]), "other", "there is no such file")
    (tmp_path / "rejects.jsonl.part").write_text(reject_line(left) + "\n", encoding="utf-8")
    run(tmp_path / "out.jsonl", CALM, rejects=rejects, resume=True)
    assert read_jsonl(tmp_path / "out.jsonl") == RECORDS
    assert read_jsonl(rejects) == []


def test_an_output_that_nobody_knows_is_taken_on_trust_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    write_jsonl(tmp_path / "out.jsonl.part", RECORDS[:2])
    assert run(out, CALM, resume=True).tally.already_done == 2
    assert "nothing beside it says what made it" in capsys.readouterr().err


def test_an_empty_file_that_no_run_has_made_is_not_taken_for_a_whole_output(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out.jsonl"
    out.touch()  # as mktemp does
    assert run(out, CALM, resume=True).tally.done == len(RECORDS)
    assert read_jsonl(out) == RECORDS
    nothing = Pipe("test", tmp_path / "none.jsonl")
    nothing.run([], one_process(list), CALM)
    assert run(tmp_path / "none.jsonl", CALM, resume=True).tally.read == 0


def test_a_killed_run_over_an_older_output_is_what_is_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(out, {"--model": "older"})
    killed(out, CALM)
    with pytest.raises(UsageError, match="another --model, calm and not older"):
        run(out, {"--model": "older"}, resume=True)
    tally = run(out, CALM, resume=True).tally
    assert (tally.already_done, tally.done) == (2, 4)


def test_killed_between_its_two_renames_a_run_is_whole(tmp_path: Path) -> None:
    out, about = tmp_path / "out.jsonl", tmp_path / "out.jsonl.meta.json"
    run(out, CALM)
    about.rename(tmp_path / "out.jsonl.part.meta.json")
    run(out, {"--model": "older"}, resume=False)
    run(out, CALM)
    os.replace(about, tmp_path / "out.jsonl.part.meta.json")
    with pytest.raises(UsageError, match="another --model, calm and not older"):
        run(out, {"--model": "older"}, resume=True)
    assert run(out, CALM, resume=True).tally.read == 0


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.jsonl.zst"])
def test_killed_before_it_appears_a_packed_output_is_not_made_anew(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, victim = tmp_path / name, tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f"{name}.part.packing").symlink_to(victim)
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if target == out:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        run(out)
    assert run(out, resume=True).tally.already_done == len(RECORDS)
    assert sorted(os.listdir(tmp_path)) == [name, "victim"]
    with open_input(str(out)) as stream:
        assert read_jsonl(stream.read()) == RECORDS
    assert victim.read_text() == "precious"


def test_every_setting_of_a_filter_counts_but_those_that_change_no_record() -> None:
    from lanser_cli.asr.transcribe import TranscribeSettings
    from lanser_cli.entailment import load_task
    from lanser_cli.entailment.entail_label import LabelSettings, made_with
    from lanser_cli.origin import options

    indifferent = {"cache_limit", "allow_remote", "no_text"}
    others = {"int": 7, "float": 0.25, "bool": True, "int | None": 7}
    task = load_task("ekman6")
    for name in (field for field in fields(LabelSettings) if field.type in others):
        plain = LabelSettings(models=["large"])
        changed = replace(plain, **{name.name: others[str(name.type)]})
        assert (made_with(task, changed) == made_with(task, plain)) is (name.name in indifferent)
    for other in (load_task("cowen27"), load_task("ekman6", templates=["I am {adjective}."])):
        assert made_with(other, LabelSettings()) != made_with(task, LabelSettings())
    assert made_with(task, LabelSettings(calibrate="null")) != made_with(task, LabelSettings())
    assert "--vad-threshold" in options(TranscribeSettings("embedded"))


def test_the_weights_that_ship_count_by_what_they_hold_and_not_by_when_they_were_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lanser_cli.entailment import entail_label, load_task

    monkeypatch.setattr(entail_label, "EMBEDDED_FOLDER", tmp_path)
    weights, task = tmp_path / "model.safetensors", load_task("ekman6")
    identities = []
    for data, time in ((bytes(1 << 20), 1), (bytes(1 << 20), 2), (b"\1" * (1 << 20), 2)):
        weights.write_bytes(data)
        os.utime(weights, (time, time))
        identities.append(entail_label.made_with(task, entail_label.LabelSettings())["--model"])
    assert identities[0] == identities[1] != identities[2]


def test_resumed_labels_are_those_of_one_taxonomy_and_one_model(
    quick: Callable[..., Quick], tiny_nli: Path, tmp_path: Path
) -> None:
    source, out = write_jsonl(tmp_path / "in.jsonl", RECORDS), tmp_path / "out.jsonl"
    model = Path(shutil.copytree(tiny_nli, tmp_path / "model"))
    line = ("entail-label", source, "--model", model, "--device", "cpu", "-o", out)
    assert quick(*line, "-t", "ekman6").wait().code == 0
    out.rename(tmp_path / "out.jsonl.part")
    (tmp_path / "out.jsonl.meta.json").rename(tmp_path / "out.jsonl.part.meta.json")
    refused = quick(*line, "-t", "cowen27", "--resume").wait()
    assert refused.code == 2
    assert f"--resume: {out} was made with another --taxonomy, ekman6 (" in refused.err
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 0.1}))
    refused = quick(*line, "-t", "ekman6", "--resume").wait()
    assert (refused.code, "was made with another --model (its files), " in refused.err) == (2, True)
    shutil.copy(tiny_nli / "config.json", model)
    assert quick(*line, "-t", "ekman6", "--resume").wait().code == 0
    assert len(read_jsonl(out)) == 6


def test_a_set_of_shards_is_of_one_codec_split_and_selection(
    quick: Callable[..., Quick], labelled: Path, tmp_path: Path
) -> None:
    made = tmp_path / "shards"
    line = ("shard", labelled, "--max-count", "5", "-o", made)
    assert quick(*line).wait().code == 0
    index = made / "index.json"
    whole = index.read_bytes()
    for finished in (True, False):
        for option, value in (("--codec", "opus"), ("--split", "train=1"), ("--min-score", "0.5")):
            refused = quick(*line, "--resume", option, value).wait()
            assert refused.code == 2
            assert f"--resume: {made} was made with another {option}, " in refused.err
        if finished:
            index.rename(made / "index.json.part")
            (made / "speech-000002.tar").unlink()
    assert quick(*line, "--resume").wait().code == 0
    assert json.loads(index.read_text())["shards"] == json.loads(whole)["shards"]


def test_shards_of_which_nobody_knows_what_made_them_are_not_gone_on_with(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a workflow has removed the index, because the labels are new."""
    line = ["shard", str(labelled), "-o", str(tmp_path / "shards"), "--workers", "1"]
    assert app.main(line) == 0
    (tmp_path / "shards/index.json").unlink()
    assert app.main([*line, "--resume"]) == 2
    assert "holds shards, and nothing in it says what made them" in capsys.readouterr().err
    assert (tmp_path / "shards/speech-000000.tar").exists()


def test_shard_mixes_taxonomies_only_when_told(
    quick: Callable[..., Quick], labelled: Path, tmp_path: Path
) -> None:
    records = read_jsonl(labelled)
    for number, record in enumerate(records):
        record["entailment"] = {"taxonomy": ("ekman6", "cowen27")[number > 7]}
    line = ("shard", write_jsonl(tmp_path / "in.jsonl", records), "-o", tmp_path / "shards")
    refused = quick(*line).wait()
    assert refused.code == 2
    assert "'clip-08' is of the taxonomy cowen27, and those before are of ekman6" in refused.err
    assert not list((tmp_path / "shards").glob("index*"))
    assert quick(*line, "--mix-taxonomies").wait().code == 0


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "", ".hidden", "a/b"])
def test_shards_lie_in_their_folder(
    name: str, quick: Callable[..., Quick], labelled: Path, tmp_path: Path
) -> None:
    done = quick("shard", labelled, "-o", tmp_path / "shards", "--name", name).wait()
    assert done.code == 2
    assert "--name" in done.err
    assert not (tmp_path / "shards").exists()


# ---------------------------------------------------------------- one writer


def test_a_second_process_is_refused_by_host_and_number(
    quick: Callable[..., Quick], tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    lock = FileLock(out)
    line = ("manifest", "csv", table(tmp_path), "-o", out)
    refused = quick(*line).wait()
    assert refused.code == 1
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    assert f"{out}: {holder} is writing it: wait for its end, or name another" in refused.err
    assert not (tmp_path / "out.jsonl.part").exists()
    lock.release()
    assert quick(*line).wait().code == 3
    assert not list(tmp_path.glob(".*"))


def test_rejects_have_one_writer_too(tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    with Ledger("test", rejects), pytest.raises(LanserError, match="is writing it"):
        run(tmp_path / "out.jsonl", rejects=rejects)
    run(tmp_path / "out.jsonl", rejects=rejects)


@pytest.mark.parametrize("host", ["elsewhere", socket.gethostname()])
def test_a_lock_that_a_killed_run_left_stops_nobody(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another machine it is said: there may be locks that are not seen from here."""
    (tmp_path / ".out.jsonl.lock").write_text(f"process 1 on {host}\n")
    run(tmp_path / "out.jsonl")
    assert os.listdir(tmp_path) == ["out.jsonl"]
    said = f"{tmp_path}/out.jsonl: process 1 on elsewhere has left its lock here: if it runs still"
    assert (said in capsys.readouterr().err) == (host == "elsewhere")
    folder = FolderLock(tmp_path)
    assert (tmp_path / ".lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    folder.release()
    assert (tmp_path / ".lock").read_text() == "", "so that nothing is said of an orderly end"


def test_a_process_of_the_same_number_in_another_container_is_in_nobodys_way(
    tmp_path: Path,
) -> None:
    """Such as a pod of the same job, in this moment, or one that was killed in it."""
    (tmp_path / f".lanser-{os.getpid()}").touch()
    run(tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").exists()


# ---------------------------------------------------------------- nothing is destroyed


@pytest.mark.parametrize(
    ("out", "rejects"),
    [("a.jsonl", "a.jsonl"), ("a.jsonl", "a.jsonl.part"), ("a.jsonl.part", "./a.jsonl")],
)
def test_two_outputs_in_one_place_are_refused(out: str, rejects: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("precious")
    with pytest.raises(
        UsageError, match=r"--rejects .*: this or its unfinished file is that of -o"
    ):
        Pipe("test", tmp_path / out, rejects=tmp_path / rejects)
    assert (tmp_path / "a.jsonl").read_text() == "precious"


def test_an_output_that_is_there_is_overwritten_only_when_told(
    quick: Callable[..., Quick], tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    line = ("manifest", "folder", _corpus(tmp_path) / "corpus", "-o", out)
    out.touch()  # as mktemp does
    assert quick(*line).wait().code == 0
    made = out.read_bytes()
    refused = quick(*line).wait()
    assert (refused.code, refused.out) == (2, b"")
    assert f"{out}: is there already: overwrite it with --force, go on with --resume" in refused.err
    out.write_bytes(b"precious")
    assert quick(*line, "--force").wait().code == 0
    assert out.read_bytes() == made


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.part", "link.jsonl"])
def test_an_output_that_is_an_input_is_refused(
    name: str, quick: Callable[..., Quick], tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / name.replace("link", "out"), RECORDS)
    before = source.read_bytes()
    (tmp_path / "link.jsonl").symlink_to("out.jsonl")
    done = quick("entail-label", tmp_path / name, "-o", tmp_path / "out.jsonl").wait()
    assert (done.code, done.out) == (2, b"")
    assert f"would overwrite the input {tmp_path / name}" in done.err
    assert source.read_bytes() == before


def test_standard_input_from_the_output_is_refused(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "out.jsonl", RECORDS)
    with source.open() as stream:
        done = subprocess.run(
            [sys.executable, "-m", "lanser_cli", "entail-label", "-o", source],
            stdin=stream,
            capture_output=True,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
    assert done.returncode == 2
    assert "would overwrite the input -" in done.stderr
    assert read_jsonl(source) == RECORDS


@pytest.mark.parametrize("verb", ["eval", "audit"])
def test_rejects_that_are_an_input_are_refused(
    verb: str, quick: Callable[..., Quick], tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", RECORDS)
    done = quick(verb, source, "--rejects", source).wait()
    assert done.code == 2
    assert read_jsonl(source) == RECORDS


@pytest.mark.parametrize("option", ["-o", "--rejects"])
def test_references_to_score_against_are_an_input(
    option: str, quick: Callable[..., Quick], tmp_path: Path
) -> None:
    said = write_jsonl(tmp_path / "said.jsonl", RECORDS)
    more = ("--force",) if option == "-o" else ()
    done = quick("transcribe", _corpus(tmp_path), "--score", said, option, said, *more).wait()
    assert done.code == 2 and f"would overwrite the input {said}" in done.err
    assert read_jsonl(said) == RECORDS


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    store, link = tmp_path / "store", tmp_path / "out.jsonl"
    store.mkdir()
    (store / "data.jsonl").write_text("older")
    os.chmod(store / "data.jsonl", 0o640)
    link.symlink_to("store/data.jsonl")
    run(link)
    assert link.is_symlink()
    assert read_jsonl(store / "data.jsonl") == RECORDS
    assert (store / "data.jsonl").stat().st_mode & 0o777 == 0o640
    write_whole(link, "{}\n")
    assert link.is_symlink() and (store / "data.jsonl").read_text() == "{}\n"


def test_a_link_that_someone_put_in_the_place_of_the_unfinished_file_is_not_followed(
    tmp_path: Path,
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "out.jsonl.part").symlink_to(victim)
    with pytest.raises(LanserError, match="is a link, which would be followed: remove it"):
        run(tmp_path / "out.jsonl")
    write_whole(tmp_path / "out.jsonl", "text")
    assert (tmp_path / "out.jsonl").read_text() == "text"
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("where", ["stdout", "fd/1"])
def test_a_link_to_standard_output_is_written_to_and_stays(where: str, tmp_path: Path) -> None:
    """A copy of /dev/stdout, so that no fault here can spoil the machine's own."""
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    (tmp_path / "fd").symlink_to("/proc/self/fd")
    captured = tmp_path / "captured"
    captured.write_text("before\n")
    with captured.open("a") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "lanser_cli", "manifest", "folder", tmp_path / "corpus"]
            + ["-o", tmp_path / where, "--rejects", "/dev/null"],
            stdout=stream,
            stderr=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
            cwd=_corpus(tmp_path),
        )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "stdout").is_symlink()
    first, record = captured.read_text().splitlines()
    assert (first, json.loads(record)["label"]) == ("before", "joy")


def test_a_dash_is_standard_output(quick: Callable[..., Quick], tmp_path: Path) -> None:
    """As everywhere: no file of that name, of which the next command of a pipe gets nothing."""
    corpus = _corpus(tmp_path) / "corpus"
    done = quick("manifest", "folder", corpus, "-o", "-", cwd=tmp_path).wait()
    assert [line["label"] for line in read_jsonl(done.out)] == ["joy"]
    assert not (tmp_path / "-").exists()
    refused = quick("manifest", "folder", corpus, "-o", "-", "--resume", cwd=tmp_path).wait()
    assert (refused.code, refused.out) == (2, b"")


def _corpus(folder: Path) -> Path:
    import numpy as np
    import soundfile

    (folder / "corpus" / "joy").mkdir(parents=True)
    soundfile.write(folder / "corpus" / "joy" / "a.wav", np.zeros(1600), 16_000)
    return folder


def test_a_pipe_is_written_to(quick: Callable[..., Quick], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    running = quick("manifest", "folder", _corpus(tmp_path) / "corpus", "-o", pipe)
    with pipe.open() as stream:
        assert [json.loads(line)["label"] for line in stream] == ["joy"]
    assert running.wait().code == 0
    assert pipe.is_fifo()


# ---------------------------------------------------------------- odd places


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from lanser_cli.output import commit

    before = os.umask(0o027)
    try:
        save_file({}, tmp_path / "weights.part")  # which nobody else may read
        commit(tmp_path / "weights.part", tmp_path / "weights")
    finally:
        os.umask(before)
    assert (tmp_path / "weights").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_a_folder_will_do(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def files_only(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    run(tmp_path / "out.jsonl")
    assert read_jsonl(tmp_path / "out.jsonl") == RECORDS


def test_a_file_system_without_locks_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    run(tmp_path / "out.jsonl")
    assert read_jsonl(tmp_path / "out.jsonl") == RECORDS
    assert "has no locks" in capsys.readouterr().err


def test_audit_finds_an_output_that_cannot_be_made_before_the_work(
    quick: Callable[..., Quick], tmp_path: Path
) -> None:
    for out in (tmp_path, Path("/proc/nowhere/audit.json"), Path("/sys/audit.json")):
        done = quick("audit", tmp_path / "missing.jsonl", "-o", out).wait()
        assert done.code in (1, 2)
        assert str(out) in done.err and "missing.jsonl" not in done.err


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_descriptors_are_no_place_for_files_or_messages(closed: int, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    line = f'exec {sys.executable} -m lanser_cli manifest folder "$0" -o "$1" {closed}>&-'
    done = subprocess.run(
        ["sh", "-c", line, _corpus(tmp_path) / "corpus", out],
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    assert done.returncode == 0, done.stderr
    assert [value["label"] for value in read_jsonl(out)] == ["joy"]
    assert done.stdout == ""


def test_records_for_a_closed_standard_output_are_an_error(tmp_path: Path) -> None:
    line = f'exec {sys.executable} -m lanser_cli manifest folder "$0" >&-'
    done = subprocess.run(
        ["sh", "-c", line, _corpus(tmp_path) / "corpus"],
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("lanser: error: standard output: cannot be written")


@pytest.mark.slow
def test_a_user_without_a_name_can_do_all(tiny_nli: Path, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", RECORDS)
    line = [sys.executable, "-m", "lanser_cli", "entail-label", source, "--model", tiny_nli]
    environment = {**os.environ, **ENVIRONMENT}
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME", "HOME"):
        environment.pop(name, None)
    other = ["unshare", "-U", "--map-user=12345", "--map-group=12345"]
    if subprocess.run([*other, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    done = subprocess.run(
        [*other, *line, "--labels", "happy,sad", "--device", "cpu"],
        capture_output=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert len(read_jsonl(done.stdout)) == 6
    assert os.listdir(tmp_path) == ["in.jsonl"]


def test_rejects_go_on_where_they_are_called_otherwise_when_resumed(tmp_path: Path) -> None:
    """A first run kept its list beside the output; nothing of it is left or made again."""
    out, rejects = tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"

    def stage(window: Sequence[Record]) -> list[Outcome]:
        return [Reject.of(window[0], "test", "first of its window"), *window[1:]]

    def some() -> Iterator[Outcome]:
        yield from (Record(value) for value in RECORDS[:3])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pipe("test", out, window=2).run(some(), one_process(stage), CALM)
    asked: list[str] = []

    def well(window: Sequence[Record]) -> list[Outcome]:
        asked.extend(record.id for record in window)
        return list(window)

    pipe = Pipe("test", out, window=2, rejects=rejects, resume=True)
    pipe.run((Record(value) for value in RECORDS), one_process(well), CALM)
    assert [one["id"] for one in read_jsonl(rejects)] == ["r0"] and "r0" not in asked
    assert read_jsonl(out) == RECORDS[1:]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("out.jsonl", "out.jsonl.meta.json", "rejects.jsonl"),
    ]


def test_two_that_write_the_same_small_file_at_once_spoil_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tasks of an array that all find no prior."""
    path = tmp_path / "prior.json"

    def between(partial: Path, final: Path) -> None:
        monkeypatch.undo()
        write_whole(path, "second")
        output.commit(partial, final)

    monkeypatch.setattr(output, "commit", between)
    write_whole(path, "first")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]
    monkeypatch.setattr(output, "commit", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_whole(path, "third")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_rejects_never_overwrite_what_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [{"id": f"a{n}", "label": "ab"[n % 2], "prediction": "a"} for n in range(8)]
    path = str(write_jsonl(tmp_path / "answers.jsonl", answers))
    truth = str(write_jsonl(tmp_path / "truth.jsonl", answers))
    whole = Path(truth).read_bytes()
    for line in (
        ["eval", path, "--reference", truth, "--rejects", truth],
        ["compare", "--pair", f"{path},{truth}", "--rejects", truth],
        ["pretrain", path, "--labels", truth, "--rejects", truth, "-o", str(tmp_path / "run")],
    ):
        assert app.main(line) == 2
        assert "--rejects" in (said := capsys.readouterr().err) and "would overwrite" in said
        assert Path(truth).read_bytes() == whole


def test_a_run_that_reads_nothing_leaves_the_rejects_of_the_one_before(tmp_path: Path) -> None:
    out, rejects = tmp_path / "shards", tmp_path / "rejects.jsonl"
    rejects.write_text('{"id": "a"}\n')
    out.mkdir()
    (out / "index.json").write_text("{}")
    words = ["shard", str(table(tmp_path)), "-o", str(out), "--rejects", str(rejects)]
    assert app.main(words) != 0
    assert rejects.read_text() == '{"id": "a"}\n'
    assert not (tmp_path / "rejects.jsonl.part").exists()
