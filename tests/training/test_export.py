"""`lanser export`: one file that answers as `predict` does, in other programs."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import EKMAN, ROOT

from lanser_cli.app import main
from lanser_cli.audio import silence
from lanser_cli.choices import Normalising
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.models.front_end import FrontEnd
from lanser_cli.models.portable import sounding
from lanser_cli.training.predict import make_predictor
from lanser_cli.training.runs import RunFolder

RATE = 16_000


def write_run(path: Path, architecture: Architecture, *seeds: int) -> Path:
    """A run with a fold for each seed; its networks are untrained, but sure of themselves."""
    top = RunFolder(path)
    top.create(resume=False)
    top.write_config("finetune", architecture)
    for seed in seeds:
        torch.manual_seed(seed)
        model = SpeechClassifier(architecture)
        torch.nn.init.normal_(model.backbone.fc.weight, std=1.0)
        fold = RunFolder(path / f"fold-{seed}")
        fold.create(resume=False)
        fold.write_config("finetune", architecture)
        fold.write_model(model)
    return path


def architecture(normalise: Normalising, *, trim: bool = False) -> Architecture:
    return Architecture("resnet18-slim", EKMAN, 1.0, FrontEnd(normalise=normalise), trim)


def noises() -> list[torch.Tensor]:
    """Of 0.4, 1, 1.2 and 3.1 s, with silence around the last."""
    draw = np.random.default_rng(0)
    found = [0.1 * draw.standard_normal(round(RATE * s)) for s in (0.4, 1.0, 1.2, 3.1)]
    found[3][:9000] = found[3][-5000:] = 0
    return [torch.from_numpy(one.astype(np.float32)) for one in found]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It leaves silence out and normalises each crop: all that an export may have to do."""
    path = tmp_path_factory.mktemp("export") / "run"
    return write_run(path, architecture("utterance", trim=True), 1)


def check(answer: object, run: Path) -> None:
    """In one batch with noise behind the shorter ones, and each alone, they are answered alike."""
    sounds = noises()
    wanted, _ = make_predictor("cpu", run=run).answers(sounds)
    assert (wanted.amax(0) - wanted.amin(0)).max() > 0.02, "the answers depend on the sound"
    lengths = torch.tensor([len(one) for one in sounds])
    batch = 0.3 * torch.randn(len(sounds), int(lengths.max()) + 777)
    for row, sound in zip(batch, sounds, strict=True):
        row[: len(sound)] = sound
    assert (answer(batch, lengths) - wanted).abs().max() < 1e-5
    for sound, theirs in zip(sounds, wanted, strict=True):
        alone = answer(sound[None], torch.tensor([len(sound)]))
        assert (alone[0] - theirs).abs().max() < 1e-5


@pytest.mark.slow
def test_onnx_runtime_answers_as_predict_does(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / "run.onnx"
    assert main(["export", str(run), "--to", "onnx", "-o", str(path)]) == 0
    [line] = capfd.readouterr().out.splitlines()
    made = json.loads(line)
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```json export\n(.*?)```", page, re.DOTALL)
    assert list(json.loads(example)) == list(made) and made["models"] == 1
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["labels"]) == list(EKMAN) and about["sample_rate"] == "16000"
    assert [one.name for one in session.get_inputs()] == ["sound", "lengths"]

    def answer(sound: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        given = {"sound": sound.numpy(), "lengths": lengths.numpy()}
        return torch.from_numpy(session.run(["probabilities"], given)[0])

    check(answer, run)
    assert [one.name for one in tmp_path.iterdir()] == ["run.onnx"]
    assert b"site-packages" not in path.read_bytes()


@pytest.mark.slow
def test_a_program_of_torch_answers_as_all_folds_vote(tmp_path: Path) -> None:
    run, path = tmp_path / "run", tmp_path / "run.pt2"
    write_run(run, architecture("none"), 1, 2)
    assert main(["export", str(run), "--to", "torch", "-o", str(path)]) == 0
    extra = {"lanser.json": ""}
    answer = torch.export.load(path, extra_files=extra).module()
    assert json.loads(extra["lanser.json"])["labels"] == list(EKMAN)
    with torch.no_grad():
        check(answer, run)


def test_silence_is_left_out_row_by_row() -> None:
    draw = np.random.default_rng(1)
    rows, lengths = draw.standard_normal((40, 8000)).astype(np.float32), []
    for number, row in enumerate(rows):
        lengths.append(int(draw.integers(1, 8001)))
        row[: draw.integers(0, 5000)] *= 10 ** draw.uniform(-4, 0)
        row[draw.integers(2000, 8000) :] *= 10 ** draw.uniform(-4, 0)
        row[:] *= number > 0  # the first is silent
    begin, end = sounding(torch.from_numpy(rows), torch.tensor(lengths))
    for row, length, *found in zip(rows, lengths, begin.tolist(), end.tolist(), strict=True):
        wanted = silence.sounding(row[:length])
        assert found == [wanted.start, min(wanted.stop, length)]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--to", "onnx", "-o", "x.onnx"], "trained with --normalise speaker"),
        (["--to", "onnx", "-o", "x.pt2"], "needs -o NAME.onnx"),
        (["--to", "torch"], "export needs -o FILE (see --help)"),
        (["--to", "torch", "-o", "there.pt2"], "is there already"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    words: list[str],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = write_run(tmp_path / "run", architecture("speaker"), 1)
    monkeypatch.chdir(tmp_path)
    Path("there.pt2").touch()
    assert main(["export", str(run), *words]) == 2
    assert why in capsys.readouterr().err


def test_without_the_extra_the_pip_command_is_said(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", str(run), "--to", "onnx", "-o", str(tmp_path / "x.onnx")]) == 1
    assert "pip install 'lanser[export]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
