"""No file of a run folder ever holds NaN or infinity, at whatever step it comes up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import tone
from safetensors.torch import load_file

from lanser_cli.errors import LanserError, UsageError
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.records import Record
from lanser_cli.training import learner, loop
from lanser_cli.training.examples import Example
from lanser_cli.training.finite import MOST_SKIPPED, FiniteGuard, check_finite
from lanser_cli.training.predict import Predictor
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.runs import RunFolder

STEPS = 8


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder = tmp_path_factory.mktemp("tones")
    found = []
    for index in range(4):
        path = folder / f"{index}.wav"
        soundfile.write(path, tone(0.2, 150 + 100 * index), 16_000)
        record = Record({"id": str(index), "audio_filepath": str(path)})
        found.append(Example(record, (1.0, 0.0) if index % 2 else (0.0, 1.0)))
    return found


def train(
    examples: list[Example], folder: Path, bad: set[int], every: int, *, resume: bool = False
) -> None:
    """Eight steps; those in `bad` (from 1) hear NaN."""
    torch.manual_seed(0)
    model = SpeechClassifier(Architecture("resnet18-slim", ("a", "b"), crop_seconds=0.15))
    run = RunFolder(folder)
    run.create(resume=True)
    steps = iter(range(1, STEPS + 1))
    plain = learner.mixed

    def mixed(waveform: torch.Tensor, *rest: object) -> object:
        if next(steps) in bad:
            waveform = torch.full_like(waveform, float("nan"))
        return plain(waveform, *rest)  # type: ignore[arg-type]

    recipe = Recipe(STEPS, batch_size=4, mixup=0.0, precision="float32", checkpoint_every=every)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "mixed", mixed)
        loop.train(model, examples, recipe, run, torch.device("cpu"), resume=resume)


def tensors(folder: Path) -> Iterator[torch.Tensor]:
    for path in folder.rglob("*"):
        if path.suffix == ".safetensors":
            yield from load_file(path).values()
        elif path.suffix == ".pt":
            state = torch.load(path, weights_only=True)
            yield from state["model"].values()
            for moments in state["optimizer"]["state"].values():
                yield from moments.values()
        elif path.name == "metrics.jsonl":
            for line in path.read_text().splitlines():
                yield torch.tensor(list(json.loads(line).values()))


def all_finite(folder: Path) -> bool:
    found = list(tensors(folder))
    assert found
    return all(bool(torch.isfinite(one.double()).all()) for one in found)


@pytest.mark.parametrize(("bad", "every"), [({1}, 1), ({4}, 4), ({STEPS}, 500), ({2, 3}, 1)])
def test_a_step_or_two_are_skipped_and_counted(
    examples: list[Example],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    bad: set[int],
    every: int,
) -> None:
    train(examples, tmp_path / "run", bad, every)
    said = capsys.readouterr().err
    for step in bad:
        assert f"no finite gradient at step {step}, which is skipped" in said
    assert all_finite(tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["skipped"] == len(bad)


@pytest.mark.parametrize("every", [1, 500])
def test_the_third_ends_the_run_and_names_the_sound(
    examples: list[Example], tmp_path: Path, every: int
) -> None:
    with pytest.raises(LanserError, match=r"step 6.*as 2 before it.*--lr.*the sound of .*\d, \d"):
        train(examples, tmp_path / "run", {2, 4, 6}, every)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    if every == 1:
        assert all_finite(tmp_path / "run")


def test_a_skipped_step_changes_neither_weights_nor_statistics() -> None:
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    guard = FiniteGuard(model, "train")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    guard.before_step()
    model(torch.full((4, 3), float("nan")))
    assert not torch.isfinite(model[0].running_mean).all()
    guard.undo_step(1, ["a"])
    assert guard.skipped == 1 < MOST_SKIPPED
    after = model.state_dict()
    for name in ("0.running_mean", "0.running_var", "1.weight"):
        assert torch.equal(after[name], before[name])


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    model = SpeechClassifier(Architecture("resnet18-slim", ("a", "b")))
    with torch.no_grad():
        next(model.parameters()).fill_(float("inf"))
    run = RunFolder(tmp_path / "run")
    run.create(resume=False)
    with pytest.raises(LanserError, match="backbone.conv1.* is not finite, so nothing is written"):
        run.write_model(model)
    assert not list((tmp_path / "run").glob("model*"))
    with pytest.raises(LanserError, match="optimizer.state.3.exp_avg is not finite"):
        check_finite({"optimizer": {"state": {3: {"exp_avg": torch.tensor(float("nan"))}}}}, "run")


def test_a_setting_without_an_end_is_refused() -> None:
    for name in ("lr", "weight_decay", "mixup", "gain_db"):
        with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} inf"):
            Recipe(3, **{name: float("inf")})  # type: ignore[arg-type]


def test_an_answer_that_is_not_finite_is_one_error_that_names_the_weights() -> None:
    model = SpeechClassifier(Architecture("resnet18-slim", ("a", "b"), crop_seconds=0.15)).eval()
    with torch.no_grad():
        model.backbone.fc.weight.fill_(3e38)
    with pytest.raises(LanserError, match="answers are not finite, .* weights are too large"):
        Predictor([model]).answers([torch.from_numpy(tone(0.2))])
