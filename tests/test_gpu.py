"""The commands on a GPU; without one these tests are skipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Lanser, read_jsonl

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

SPEECH = ROOT / "examples/speech"
TRAIN = ("--batch-size", 4, "--device", "cuda", "-q")
SMALL = ("--model", "resnet18-slim", "--crop", 1)


@pytest.fixture(scope="module")
def heard(lanser: Lanser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Transcripts of the example speech, by device."""
    folder = tmp_path_factory.mktemp("heard")
    found = {device: folder / f"{device}.jsonl" for device in ("cpu", "cuda")}
    for device, path in found.items():
        precision = ("--precision", "float32") if device == "cpu" else ()  # by default int8
        words = ("-o", path, "--device", device, *precision, "-q")
        lanser("transcribe", SPEECH / "unlabeled", *words)
    return found


def test_a_gpu_hears_what_a_cpu_does(heard: dict[str, Path]) -> None:
    texts = [[line["text"] for line in read_jsonl(path)] for path in heard.values()]
    same = [ours == theirs for ours, theirs in zip(*texts, strict=True)]
    assert len(same) > 10 and np.mean(same) >= 0.9, "in float16 a few may be others"


def test_two_processes_on_gpus_write_what_one_writes(
    heard: dict[str, Path], lanser: Lanser, tmp_path: Path
) -> None:
    """As `--device all` does; here both on the first, for want of a second."""
    out = tmp_path / "both.jsonl"
    lanser("transcribe", SPEECH / "unlabeled", "-o", out, "--device", "cuda:0,cuda:0", "-q")
    assert out.read_bytes() == heard["cuda"].read_bytes()


def test_a_gpu_labels_as_a_cpu_does(heard: dict[str, Path], lanser: Lanser) -> None:
    def labelled(device: str, precision: str) -> list[dict]:
        words = ("--device", device, "--precision", precision, "-q")
        return read_jsonl(lanser("entail-label", heard["cpu"], *words).stdout)

    cpu, gpu, rounded = (
        labelled(*where)
        for where in (("cpu", "float32"), ("cuda", "float32"), ("cuda", "bfloat16"))
    )
    for ours, theirs in zip(cpu, gpu, strict=True):
        assert theirs["emotion_scores"] == pytest.approx(ours["emotion_scores"], abs=2e-3)
    same = [ours["emotion"] == theirs["emotion"] for ours, theirs in zip(cpu, rounded, strict=True)]
    assert np.mean(same) >= 0.9


def test_the_chain_ends_in_the_answers_of_a_cpu(
    labelled: Path, lanser: Lanser, tmp_path: Path
) -> None:
    shards, pretrained, tuned = (tmp_path / name for name in ("shards", "pretrained", "tuned"))
    lanser("shard", labelled, "-o", shards, "-q")
    lanser("pretrain", shards, *SMALL, *TRAIN, "--compile", "--steps", 6, "-o", pretrained)
    words = ("--init", pretrained, "--allow-seen", "--folds", 3, "--steps", 4)
    lanser("finetune", labelled, *words, *TRAIN, "-o", tuned)
    assert len(read_jsonl(tuned / "predictions.jsonl")) == 12
    answers = [
        read_jsonl(lanser("predict", labelled, "--run", pretrained, "--device", device).stdout)
        for device in ("cpu", "cuda")
    ]
    for ours, theirs in zip(*answers, strict=True):
        assert theirs["scores"] == pytest.approx(ours["scores"], abs=0.02)


def test_training_goes_by_a_gpu_unless_told_otherwise(
    labelled: Path, lanser: Lanser, tmp_path: Path
) -> None:
    lanser("pretrain", labelled, *SMALL, "--steps", 2, "-o", tmp_path / "run", "-q")
    done = lanser("doctor", check=None)
    assert torch.cuda.get_device_name(0) in (done.stdout + done.stderr).decode()
    config = (tmp_path / "run/config.json").read_text()
    assert torch.cuda.get_device_name(0) in config and "bfloat16" in config
