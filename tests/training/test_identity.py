"""A resumed run is the same run or is refused: nothing of an older run passes for this one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from conftest import Lanser, read_jsonl, write_jsonl
from quick import Quick, as_ranks

from lanser_cli.models.classifier import Architecture
from lanser_cli.models.front_end import FrontEnd
from lanser_cli.records import Record
from lanser_cli.training.folds import Protocol
from lanser_cli.training.identity import HARMLESS, digest_of_data, identity
from lanser_cli.training.recipe import Recipe

OTHER = {
    int: 7,
    float: 0.125,
    str: "other",
    bool: True,
    type(None): "speaker=x",
    "noise_db": "1..2",
    "name": "resnet18",
    "max_seconds": 9.0,
}
SLIM = ("--model", "resnet18-slim", "--device", "cpu", "--crop", "0.5", "--batch-size", "8")


def same(**changed: object) -> dict[str, str]:
    """The identity of a run in which these parts are others."""
    parts: dict[str, object] = {
        "architecture": Architecture("resnet18-slim", ("a", "b")),
        "recipe": Recipe(3),
        "protocol": Protocol(),
        "ranks": 1,
        **changed,
    }
    protocol = parts.pop("protocol")
    more = {field.name: getattr(protocol, field.name) for field in fields(Protocol)}
    return identity(data=[], **parts, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "default", "name"),
    [
        *(("recipe", Recipe(3), field.name) for field in fields(Recipe)),
        *(("protocol", Protocol(), field.name) for field in fields(Protocol)),
        *(
            ("architecture", Architecture("resnet18-slim", ("a", "b")), field.name)
            for field in fields(Architecture)
            if field.name != "front_end"
        ),
    ],
)
def test_every_field_counts_but_those_that_change_nothing(
    part: str, default: object, name: str
) -> None:
    value = getattr(default, name)
    other = OTHER.get(name, ("b", "a") if isinstance(value, tuple) else OTHER.get(type(value)))
    replaced = {name: "emodb-7-loso" if name == "protocol" else other}
    if name in ("epochs", "steps"):  # one is in force
        replaced = {"epochs": None, "steps": 3, name: 7}
        replaced["steps" if name == "epochs" else "epochs"] = None
    changed = same(**{part: replace(default, **replaced)})  # type: ignore[type-var]
    assert (changed == same()) is (part == "recipe" and name in HARMLESS)


@pytest.mark.parametrize("field", [field.name for field in fields(FrontEnd)])
def test_the_front_end_counts(field: str) -> None:
    front_end = replace(FrontEnd(), **{field: 99})
    assert same(architecture=Architecture("resnet18-slim", ("a", "b"), 3.0, front_end)) != same()


def test_the_number_of_ranks_counts() -> None:
    assert same(ranks=2) != same()


@pytest.mark.parametrize("name", ["a.wav", "take #1.wav"])
def test_data_is_ids_spans_targets_and_the_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"sound")
    record = Record({"id": "a", "audio_filepath": str(path), "duration": 1.0})
    digest = digest_of_data([(record, "joy")])
    assert digest == digest_of_data([(record, "joy")])
    for other in (
        [(record, "anger")],
        [(record.with_fields(id="b"), "joy")],
        [(record.with_fields(offset=0.5), "joy")],
        [(record, "joy")] * 2,
    ):
        assert digest_of_data(other) != digest
    new = path.with_name(f"b{name}")
    new.write_bytes(b"other sound")
    moved = record.with_fields(audio_filepath=str(new))
    assert digest_of_data([(moved, "joy")]) != digest


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(done: object, *mentions: str) -> None:
    """Exit 2, and one sentence that has the field, the old and the new value."""
    error = done.stderr.decode()  # type: ignore[attr-defined]
    assert done.returncode == 2, error  # type: ignore[attr-defined]
    [line] = [one for one in error.splitlines() if one.startswith("lanser: error")]
    for mention in ("--resume", *mentions):
        assert mention in line


def test_fine_tuning_is_not_laundered(labelled: Path, tmp_path: Path, lanser: Lanser) -> None:
    run = tmp_path / "run"
    line = ["finetune", labelled, *SLIM, "--epochs", "1", "-o", run]
    lanser(*line, "--test", "speaker=s0")
    before = contents(run)
    for words, mentions in (
        (["--test", "speaker=s1"], ["--test", "speaker=s0", "speaker=s1"]),
        (["--test", "speaker=s0", "--fraction", "0.5"], ["--fraction", "1.0", "0.5"]),
        (["--test", "speaker=s0", "--epochs", "2"], ["--epochs", "1", "2"]),
        (["--test", "speaker=s0", "--group", "id"], ["--group", "speaker", "id"]),
        (["--test", "speaker=s0", "--crop", "0.4"], ["crop_seconds", "0.5", "0.4"]),
    ):
        refused(lanser(*line, *words, "--resume", check=None), *mentions)
        assert contents(run) == before
    values = read_jsonl(labelled)
    values[0]["label"], values[1]["label"] = values[1]["label"], values[0]["label"]
    other = write_jsonl(tmp_path / "other.jsonl", values)
    done = lanser("finetune", other, *line[2:], "--test", "speaker=s0", "--resume", check=None)
    refused(done, "data")
    harmless = ["--workers", "1", "--checkpoint-every", "3", "--resume"]
    lanser(*line, "--test", "speaker=s0", *harmless)
    assert contents(run)["predictions.jsonl"] == before["predictions.jsonl"]


def test_who_is_on_which_side_counts_whatever_key_says_it(
    labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    def divided(name: str, tested: str) -> Path:
        values = [
            one | {"split": "test" if one["speaker"] == tested else "train"}
            for one in read_jsonl(labelled)
        ]
        return write_jsonl(tmp_path / name, values)

    run, corpus = tmp_path / "seed-0", divided("a.jsonl", "s0")
    line = [*SLIM, "--steps", "1", "--test", "split=test"]
    lanser("finetune", corpus, *line, "-o", run)
    before = contents(run)
    other = divided("b.jsonl", "s1")
    refused(lanser("finetune", other, *line, "-o", run, "--resume", check=None), "folds")
    # Nor is it a seed of another run, which has no config of its own yet.
    line += ["--seeds", "2", "-o", tmp_path]
    refused(lanser("finetune", other, *line, "--resume", check=None), "seed-0", "folds")
    assert b"seed-0 holds a run already" in lanser("finetune", other, *line, check=2).stderr
    assert contents(run) == before and not (tmp_path / "config.json").exists()


def test_other_weights_to_start_from_are_another_run(
    labelled: Path, tmp_path: Path, lanser: Lanser, tiny_run: Path
) -> None:
    run = tmp_path / "run"
    line = ["finetune", labelled, "--device", "cpu", "--epochs", "1", "--test", "speaker=s0"]
    lanser(*line, "--init", tiny_run, "-o", run)
    before = contents(run)
    refused(lanser(*line, *SLIM, "--resume", "-o", run, check=None), "architecture")
    again = tmp_path / "again"
    lanser("pretrain", labelled, *SLIM[:4], "--crop", "1", "--epochs", "1", "-o", again)
    refused(lanser(*line, "--init", again, "--resume", "-o", run, check=None), "--init")
    shrunk = [*line, "--init", tiny_run, "--shrink", "0.5"]
    refused(lanser(*shrunk, "--resume", "-o", run, check=None), "--shrink", "0.5")
    assert contents(run) == before
    lanser(*shrunk, "-o", tmp_path / "shrunk")
    less = [*line, "--init", tiny_run, "--resume", "-o", tmp_path / "shrunk"]
    refused(lanser(*less, check=None), "--shrink", "0.5")


def test_two_ranks_do_not_go_on_with_the_run_of_one(
    labelled: Path, tmp_path: Path, lanser: Lanser, quick: Callable[..., Quick]
) -> None:
    """Neither with a finished one nor with one that was cut off."""
    run = tmp_path / "run"
    line = ["pretrain", labelled, *SLIM, "--epochs", "2", "-o", run]
    lanser(*line)
    for missing in (None, "model.safetensors"):
        if missing:
            (run / missing).unlink()
        before = contents(run)
        ranks = [quick(*line, "--resume", env=place) for place in as_ranks(2)]
        done = [rank.wait() for rank in ranks]
        assert [rank.code for rank in done] == [2, 2], done
        assert any("another number of ranks, 1 and not 2" in rank.err for rank in done), done
        assert contents(run) == before


def test_pre_training_is_not_laundered(labelled: Path, tmp_path: Path, lanser: Lanser) -> None:
    run = tmp_path / "run"
    line = ["pretrain", labelled, *SLIM, "--epochs", "1", "-o", run]
    lanser(*line)
    before = contents(run)
    refused(lanser(*line, "--targets", "soft", "--resume", check=None), "--targets", "hard", "soft")
    refused(lanser(*line, "--seed", "1", "--resume", check=None), "--seed", "0", "1")
    assert contents(run) == before
    config = json.loads(before["config.json"])
    assert config["recipe"]["precision"] in ("float32", "bfloat16"), "auto is resolved"
    os.utime(read_jsonl(labelled)[0]["audio_filepath"], (0, 0))
    refused(lanser(*line, "--resume", check=None), "data")
