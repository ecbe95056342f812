"""Sound that cannot be read in training is counted, and too much of it ends a run."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.errors import LanserError
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.records import Record
from lanser_cli.training.checkpoints import Checkpoints
from lanser_cli.training.examples import Example
from lanser_cli.training.loop import train
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.runs import RunFolder
from lanser_cli.training.unread import Unread

OPTIONS = ("--model", "resnet18-slim", "--device", "cpu", "--crop", "0.5", "--epochs", "2")


@pytest.fixture
def forty(tmp_path: Path) -> list[dict]:
    """Half a second of noise in forty files."""
    draw, values = np.random.default_rng(0), []
    for index in range(40):
        path = tmp_path / f"{index:02d}.flac"
        soundfile.write(path, draw.uniform(-0.5, 0.5, 8_000), 16_000)
        values.append({"id": path.stem, "audio_filepath": str(path), "emotion": "ab"[index % 2]})
    return values


def damage(value: dict) -> None:
    """Cut a file in its middle, which its header does not tell."""
    path = Path(value["audio_filepath"])
    path.write_bytes(path.read_bytes()[:8_000])


@pytest.mark.parametrize("workers", [0, 1])
def test_two_of_forty_are_rejected_and_the_rest_used(
    forty: list[dict], tmp_path: Path, lanser: Lanser, workers: int
) -> None:
    for value in forty[3:5]:
        damage(value)
    data, rejects = write_jsonl(tmp_path / "data.jsonl", forty), tmp_path / "rejects.jsonl"
    line = ("pretrain", data, *OPTIONS, "--workers", workers, "--rejects", rejects)
    done = lanser(*line, "-o", tmp_path / "run", check=3)
    assert b"pretrain: 2 of 40 utterances cannot be read and were left out" in done.stderr
    assert b"pretrain: 40 in, 38 used, 2 rejected" in done.stderr
    assert [reject["id"] for reject in read_jsonl(rejects)] == ["03", "04"]
    launched = {"RANK": "0", "WORLD_SIZE": "1"}  # torchrun takes 3 for a failure, and Kubernetes
    lanser(*line, "-o", tmp_path / "run", "--resume", env=launched, check=0)  # begins anew for ever


def test_a_reject_has_its_own_weak_label_and_not_that_of_a_control(
    forty: list[dict], tmp_path: Path, lanser: Lanser
) -> None:
    damage(forty[3])
    data = write_jsonl(tmp_path / "data.jsonl", [one | {"label": one["id"][0]} for one in forty])
    line = ("pretrain", data, *OPTIONS[:-1], "1", "--control", "gold", "-o", tmp_path / "run")
    lanser(*line, "--rejects", tmp_path / "rejects.jsonl", check=3)
    [reject] = read_jsonl(tmp_path / "rejects.jsonl")
    assert (reject["record"]["emotion"], reject["record"]["label"]) == ("b", "0")


def test_three_of_forty_end_the_run(forty: list[dict], tmp_path: Path, lanser: Lanser) -> None:
    for value in forty[3:6]:
        damage(value)
    data = write_jsonl(tmp_path / "data.jsonl", forty)
    done = lanser("pretrain", data, *OPTIONS, "-o", tmp_path / "run", check=1)
    said = done.stderr.decode()
    assert "left out of training: 03: " in said
    assert "utterances asked for so far cannot be read, more than 5%: look at" in said
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_finetune_rejects_what_it_could_not_train_on_and_again_when_resumed(
    forty: list[dict], tmp_path: Path, lanser: Lanser
) -> None:
    for value in forty[3:5]:
        damage(value)
    values = [one | {"label": one["emotion"], "speaker": one["id"]} for one in forty]
    data, rejects = write_jsonl(tmp_path / "data.jsonl", values), tmp_path / "rejects.jsonl"
    line = ("finetune", data, *OPTIONS, "--test", "speaker=38,39", "--rejects", rejects)
    for more in ((), ("--resume",)):
        done = lanser(*line, *more, "-o", tmp_path / "run", check=3)
        assert b"finetune: 40 in, 38 used, 2 rejected" in done.stderr
        filed = {reject["id"]: reject["error"] for reject in read_jsonl(rejects)}
        assert list(filed) == ["03", "04"]
        assert all(f"{name}.flac: " in error for name, error in filed.items())


def test_shards_that_vanish_end_the_run_which_goes_on_when_they_are_back(
    forty: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar, gone = tmp_path / "shard.tar", tmp_path / "gone.tar"
    with tarfile.open(tar, "w") as stream:
        for value in forty:
            stream.add(value["audio_filepath"], f"{value['id']}.flac")
    records = [Record({"id": v["id"], "audio_filepath": f"{tar}#{v['id']}.flac"}) for v in forty]
    examples = [Example(one, ((1.0, 0.0), (0.0, 1.0))[n % 2]) for n, one in enumerate(records)]
    recipe = Recipe(1, batch_size=8, checkpoint_every=1, precision="float32")
    save = Checkpoints.save

    def save_and_lose(self: Checkpoints, state: dict) -> None:
        save(self, state)
        if not gone.exists():
            tar.rename(gone)

    def made(name: str, *, resume: bool = False) -> bytes:
        torch.manual_seed(0)
        model = SpeechClassifier(Architecture("resnet18-slim", ("a", "b"), 0.2))
        run = RunFolder(tmp_path / name)
        run.create(resume=resume)
        train(model, examples, recipe, run, torch.device("cpu"), resume=resume)
        return (tmp_path / name / "model.safetensors").read_bytes()

    whole = made("whole")
    with monkeypatch.context() as patch, pytest.raises(LanserError, match="8 of 16 utterances"):
        patch.setattr(Checkpoints, "save", save_and_lose)
        made("lost")
    assert not (tmp_path / "lost" / "model.safetensors").exists()
    gone.rename(tar)
    assert made("lost", resume=True) == whole


def test_what_is_too_much_is_not_left_to_chance() -> None:
    unread = Unread("x", 1_000)
    unread.add(16, 8)  # half of a first batch, but a twentieth of an epoch are 50
    unread.add(1_000, 40)
    unread.add(984, 50)
    with pytest.raises(LanserError, match="x: 101 of 2016 utterances asked for so far"):
        unread.add(16, 3)
