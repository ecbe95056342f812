"""Models of a hub and of folders: loaded quietly, and which files are loaded under a name."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest

from lanser_cli.asr import transcribe
from lanser_cli.entailment import entail_label
from lanser_cli.entailment.entail_label import LabelSettings
from lanser_cli.models.hub import loading, snapshot

FIELD = "--model (its files)"


def test_tries_that_are_made_again_are_silent(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.utils import logging as of_hub

    library = logging.getLogger("huggingface_hub")
    monkeypatch.setattr(library, "propagate", True)
    of_hub.set_verbosity_warning()
    logger = of_hub.get_logger("huggingface_hub.utils._http")
    logger.warning("Retrying in 1s [Retry 1/5].")
    with loading("x", ""):
        logger.warning("Retrying in 2s [Retry 2/5].")
    assert [record.getMessage() for record in caplog.records] == ["Retrying in 1s [Retry 1/5]."]


def save(folder: Path, labels: str = "{}") -> Path:
    """The least that is looked at: settings, and weights of a megabyte."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(labels)
    (folder / "model.safetensors").write_bytes(bytes(1 << 20))
    return folder


def test_a_folder_counts_by_what_its_files_hold_and_not_by_its_name_its_time_or_results_in_it(
    tmp_path: Path,
) -> None:
    model = save(tmp_path / "model")
    found = snapshot(str(model))
    other = Path(shutil.copytree(model, tmp_path / "other"))
    os.utime(other / "config.json", (1, 1))
    (other / "out.jsonl.part").write_text("{}")
    assert snapshot(str(other)) == found
    for name, data in (("config.json", b'{"id2label": {}}'), ("model.safetensors", b"1" * 2**20)):
        (other / name).write_bytes(data)
        assert snapshot(str(other)) != found
        shutil.copy(model / name, other)
    assert transcribe._snapshot(f"hf:{model}") == {FIELD: found}
    assert entail_label._snapshots(LabelSettings([str(model)])) == {FIELD: found}


def test_a_model_of_a_hub_counts_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the cache of huggingface_hub, where the last word of the hub is in `refs/main`."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cache = tmp_path / "models--maker--nli"
    for letter in "ab":
        save(cache / "snapshots" / (40 * letter))
        (cache / "refs").mkdir(exist_ok=True)
        (cache / "refs" / "main").write_text(40 * letter)
        assert snapshot("maker/nli") == 12 * letter
    settings = LabelSettings(["maker/nli"], top_k_first=2, first_model="gliclass:maker/nli")
    assert entail_label._snapshots(settings) == {
        FIELD: 12 * "b",
        "--first-model (its files)": 12 * "b",
    }
    assert transcribe._snapshot("faster:maker/nli") == {FIELD: 12 * "b"}
    assert snapshot("maker/none") is None


def test_what_is_of_no_hub_is_not_looked_for_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (transcribe, entail_label):
        monkeypatch.setattr(module, "snapshot", lambda name: pytest.fail(name))
    for model in ("embedded", "whisper:base.en", "whisper:some/x.pt", "faster:large-v3"):
        assert transcribe._snapshot(model) == {}
    for model in ("embedded", "llm:qwen@http://localhost:1"):
        assert entail_label._snapshots(LabelSettings([model])) == {}
