"""The doctor tells what works, and fails where something that ships does not."""

from __future__ import annotations

import json
import os
import pty
from collections.abc import Callable
from pathlib import Path

import pytest
from quick import Quick

import lanser_cli.entailment
from lanser_cli.asr.engines import embedded
from lanser_cli.errors import LanserError
from lanser_cli.machine import doctor


def statuses() -> dict[str, str]:
    return {finding.name: finding.status for finding in doctor.examine()}


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at all but at the models that ship, which takes a second."""
    for name in ("_transcribes", "_labels"):
        monkeypatch.setattr(doctor, name, lambda: iter(()))


def test_what_ships_works_here(lanser) -> None:
    found = [json.loads(line) for line in lanser("doctor").stdout.splitlines()]
    by_name = {one["name"]: one for one in found}
    assert by_name["transcribe, without a download"]["status"] == "works"
    assert by_name["entail-label, without a download"]["status"] == "works"
    assert "broken" not in {one["status"] for one in found}
    assert "torch" in by_name["versions"]["found"] and "device cpu" in by_name
    assert by_name["extra plots"]["status"] == "works"
    assert all(one["advice"] for one in found if one["status"] == "note")


def test_damaged_weights_and_a_broken_driver_are_found(
    lanser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise LanserError("the weights cannot be read")

    def driver(*_: object) -> None:
        raise RuntimeError("CUDA error: unknown error")

    monkeypatch.setattr(embedded, "load", damaged)
    monkeypatch.setattr("torch.get_num_threads", driver)
    found = statuses()
    assert found["devices"] == "broken"
    assert found["transcribe, without a download"] == "broken"
    assert found["entail-label, without a download"] == "works"  # and the rest is looked at


def test_a_gpu_that_has_a_name_and_computes_nothing_is_broken(
    no_model: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that PyTorch is not built for; here there is none, whatever is said."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "Old 2000")
    monkeypatch.setattr("lanser_cli.training.recipe.bfloat16_pays", lambda device: False)
    found = {one.name: one for one in doctor.examine()}
    assert found["device cpu"].status == "works"
    assert found["device cuda:0"].status == "broken"
    assert found["device cuda:0"].found.startswith("Old 2000: ")


def test_a_model_that_answers_wrongly_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanser_cli.entailment, "label", lambda records, *_: records)
    assert statuses()["entail-label, without a download"] == "broken"


def test_a_missing_extra_has_its_command(no_model: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda wanted: wanted.name != "av")
    [video] = [one for one in doctor.examine() if one.name == "extra video"]
    assert (video.status, video.found) == ("note", "not there: av")
    assert "pip install 'lanser[video]'" in video.advice


def test_load_above_the_cores_is_noted(no_model: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    assert statuses()["cores"] == "note"


def test_a_full_disk_and_a_folder_without_locks_are_noted(
    no_model: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE", 1e30)
    assert statuses()["this folder"] == "note"

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(doctor.fcntl, "flock", no_locks)
    [here] = [one for one in doctor.examine() if one.name == "this folder"]
    assert here.status == "note" and "No locks available" in here.found


@pytest.mark.slow
def test_on_a_terminal_it_is_a_list(quick: Callable[..., Quick]) -> None:
    ours, theirs = pty.openpty()
    done = quick("doctor", stdout=Path(os.ttyname(theirs))).wait()
    os.close(theirs)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.code == 0
    assert text.startswith("works   versions: lanser ") and "{" not in text
