"""Several processes train as one would: the same draws, the same norms, the same weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import ranked
import soundfile
import torch
from conftest import Lanser, read_jsonl, write_jsonl
from quick import Main, Quick, as_ranks
from safetensors.torch import load_file

from lanser_cli.devices import Ranks
from lanser_cli.errors import LanserError, Stopped, UsageError
from lanser_cli.training.ranks import process_group

MEETING = {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
VARIABLES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", *MEETING),
    *("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
)


def place(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> Ranks:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Ranks.from_environment()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Ranks(0, 1, 0)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Ranks(0, 1, 0, launched=True)),
        (
            {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", **MEETING},
            Ranks(5, 8, 1, launched=True),
        ),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_LOCALID": "0"}, Ranks(0, 1, 0)),
        ({"SLURM_PROCID": "0"}, Ranks(0, 1, 0)),
        (
            {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1", **MEETING},
            Ranks(3, 4, 1, launched=True),
        ),
        (
            {"RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "9", **MEETING},
            Ranks(1, 2, 0, launched=True),
        ),
    ],
)
def test_the_place_is_that_of_torchrun_or_of_srun(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: Ranks
) -> None:
    found = place(monkeypatch, variables)
    assert found == expected and found.leads is (expected.rank == 0)


@pytest.mark.parametrize(
    ("variables", "mentions"),
    [
        ({"RANK": "1"}, ["RANK=1, but WORLD_SIZE missing", "torchrun"]),
        ({"WORLD_SIZE": "2", **MEETING}, ["WORLD_SIZE=2, but RANK missing"]),
        ({"RANK": "0", "WORLD_SIZE": "2"}, ["MASTER_ADDR and MASTER_PORT missing"]),
        (
            {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "MASTER_ADDR": "here"},
            ["SLURM_NTASKS=2, but MASTER_PORT missing", "srun after MASTER_ADDR=HOST"],
        ),
        ({"RANK": "one", "WORLD_SIZE": "2", **MEETING}, ["RANK=one", "whole numbers"]),
        ({"RANK": "2", "WORLD_SIZE": "2", **MEETING}, ["less than the number of ranks"]),
    ],
)
def test_half_a_place_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], mentions: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        place(monkeypatch, variables)
    for mention in mentions:
        assert mention in str(caught.value)


def test_a_rank_alone_is_refused_by_command(labelled: Path, tmp_path: Path, lanser: Lanser) -> None:
    line = ("pretrain", labelled, "-o", tmp_path / "run")
    done = lanser(*line, env={"RANK": "1"}, check=2)
    assert b"RANK=1, but WORLD_SIZE missing" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("ended", "done"),
    [
        (None, ["barrier", "destroy"]),
        (Stopped(15, ""), ["barrier", "destroy"]),
        (LanserError("the disk is full"), []),
    ],
)
def test_of_gpus_one_that_fails_alone_does_not_wait_for_the_others(
    monkeypatch: pytest.MonkeyPatch, ended: Exception | None, done: list[str]
) -> None:
    """To take NCCL's group apart takes all ranks of a machine; the others wait for this one."""
    called: list[str] = []
    patience: list[timedelta] = []

    def join(backend: str, *, timeout: timedelta, **_: object) -> None:
        assert backend == "nccl"
        patience.append(timeout)

    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    monkeypatch.setattr("torch.distributed.init_process_group", join)
    monkeypatch.setattr("torch.distributed.barrier", lambda: called.append("barrier"))
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: called.append("destroy"))
    place(monkeypatch, {"RANK": "0", "WORLD_SIZE": "2", **MEETING})
    with (
        pytest.raises(type(ended)) if ended else nullcontext(),
        process_group(torch.device("cuda:0")),
    ):
        if ended is not None:
            raise ended
    assert called == done
    assert patience[0] > timedelta(minutes=30), "one may test a fold alone, or fetch for long"


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSONL of 160 tones in noise, high and low."""
    folder = tmp_path_factory.mktemp("tones")
    draw = np.random.default_rng(0)
    values = []
    for index in range(160):
        label, hertz = (("low", 120), ("high", 300))[index % 2]
        time = np.arange(7_000 + 50 * (index * 7 % 41)) / 16_000
        wave = 0.1 * np.sin(2 * np.pi * hertz * draw.uniform(0.8, 1.25) * time)
        path = folder / f"t{index:03d}.wav"
        soundfile.write(path, wave + 0.02 * draw.standard_normal(len(wave)), 16_000)
        values.append({"id": path.stem, "audio_filepath": str(path), "label": label})
    return write_jsonl(folder / "tones.jsonl", values)


def far(one: Path, other: Path) -> tuple[float, float]:
    """How far the weights of two runs lie apart at most, and their running statistics."""
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    apart = {
        name: float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours
    }
    running = {name for name in apart if "running" in name}
    assert running and len(running) < len(apart)
    return max(apart[name] for name in apart.keys() - running), max(map(apart.get, running))


@pytest.mark.slow
def test_two_ranks_of_eight_train_as_one_of_sixteen(
    tones: Path, tmp_path: Path, quick: Callable[..., Quick]
) -> None:
    """Twenty steps with mixup and masks.

    AdamW makes of the last digit of a gradient near zero a whole step the other way: at a rate of
    1e-3, in one process, to put the rows of a batch in another order moves some weight by 1e-3. So
    the rate is low. Running statistics are of the sound, whatever the rate.
    """
    shared = {"epochs": 2, "precision": "float32", "mixup": 0.4, "lr": 5e-6, "seed": 3}
    for name, places, size in (("alone", [{}], 16), ("two", as_ranks(2), 8)):
        line = [tones, tmp_path / name, json.dumps({**shared, "batch_size": size})]
        said = together(quick, ranked.trains, *line, places=places)
        step = f"{len(places)} x {size} a step"
        assert said.count(f"160 utterances, {step}, 10 steps an epoch, 20") == 1
    weights, statistics = far(tmp_path / "alone", tmp_path / "two")
    print(f"weights {weights:.1e}, running statistics {statistics:.1e}")
    assert weights < 1e-5 and statistics < 1e-4
    lines = [read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("alone", "two")]
    for one, other in zip(*lines, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
        assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], abs=1e-3)


def test_more_ranks_than_utterances_is_one_sentence(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lanser_cli.models.classifier import Architecture, SpeechClassifier
    from lanser_cli.records import Record
    from lanser_cli.training.examples import Example
    from lanser_cli.training.loop import train
    from lanser_cli.training.recipe import Recipe
    from lanser_cli.training.runs import RunFolder

    place(monkeypatch, {"RANK": "0", "WORLD_SIZE": "3", **MEETING})
    model = SpeechClassifier(Architecture("resnet18-slim", ("a", "b"), 0.4))
    examples = [Example(Record({"id": str(n)}), (1.0, 0.0)) for n in range(2)]
    with pytest.raises(UsageError, match="3 processes train on 2 utterances: start at most one"):
        train(model, examples, Recipe(1), RunFolder(tmp_path), torch.device("cpu"))


def together(
    quick: Callable[..., Quick], main: Main, *words: object, places: list[dict[str, str]]
) -> str:
    """Run a function of `ranked` in a process for each place; their stderr."""
    started = [quick(*words, main=main, env=place) for place in places]
    done = [process.wait() for process in started]
    assert [one.code for one in done] == [0] * len(places), done
    return "".join(one.err for one in done)


def test_a_checkpoint_knows_what_any_rank_could_not_read(
    tones: Path, tmp_path: Path, quick: Callable[..., Quick]
) -> None:
    """One rank writes it, and all go on from it."""
    values = read_jsonl(tones)[:20]
    for place in (3, 4):
        values[place]["audio_filepath"] = str(tmp_path / "gone.wav")
    data = write_jsonl(tmp_path / "data.jsonl", values)
    first, second = (
        quick(data, tmp_path / "run", main=ranked.misses, env=place) for place in as_ranks(2)
    )
    done = first.wait()
    assert done.code == second.wait().code == 0, done.err
    *_, last = map(json.loads, done.out.splitlines())
    assert last == [3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_no_file_is_ever_not_finite_whichever_rank_hears_nan(
    tones: Path, tmp_path: Path, quick: Callable[..., Quick], ranks: int
) -> None:
    """NaN at sampled steps of 40, twice or thrice; checkpoints often, seldom, and never."""
    from test_finite import all_finite

    together(quick, ranked.injects, tones, tmp_path / "runs", places=as_ranks(ranks))
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 4 * ranks * 2
    for run in runs:
        thrice = len(run.name.split("-")) == 5
        assert (run / "model.safetensors").exists() is not thrice
        if any(run.rglob("*.pt")) or not thrice:
            assert all_finite(run)
