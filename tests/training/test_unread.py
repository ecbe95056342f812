"""Sound that cannot be read in training is counted, and too much of it ends a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.errors import LanserError
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


def test_three_of_forty_end_the_run(forty: list[dict], tmp_path: Path, lanser: Lanser) -> None:
    for value in forty[3:6]:
        damage(value)
    data = write_jsonl(tmp_path / "data.jsonl", forty)
    done = lanser("pretrain", data, *OPTIONS, "-o", tmp_path / "run", check=1)
    said = done.stderr.decode()
    assert "left out of training: 03: " in said
    assert "utterances asked for so far cannot be read, more than 5%: look at" in said
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_what_is_too_much_is_not_left_to_chance() -> None:
    unread = Unread("x", 1_000)
    unread.add(16, 8)  # half of a first batch, but a twentieth of an epoch are 50
    unread.add(1_000, 40)
    unread.add(984, 50)
    with pytest.raises(LanserError, match="x: 101 of 2016 utterances asked for so far"):
        unread.add(16, 3)
