"""lanser plan: what so many hours of speech take, by rates that anyone can put there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, read_jsonl, write_jsonl

from lanser_cli import app
from lanser_cli.pipe import Pipe
from lanser_cli.records import Record
from lanser_cli.stage import one_process

SHIPPED = json.loads((ROOT / "lanser_cli/machine/rates.json").read_text())


def planned(capfd: pytest.CaptureFixture[str], *words: object) -> dict[str, dict[str, Any]]:
    assert app.main(["plan", *map(str, words)]) == 0
    return {line["stage"]: line for line in read_jsonl(capfd.readouterr().out)}


def test_a_plan_is_the_work_over_the_rate(capfd: pytest.CaptureFixture[str]) -> None:
    """1,000 h in utterances of 4 s: 900,000 of them, by hand from the rates that ship."""
    found = planned(capfd, "--hours", 1000, "--utterance", 4, "--labels", 6, "--cores", 64)
    rates = SHIPPED["cpu"]["rates"]
    for stage, work in (
        ("transcribe", 3_600_000),
        ("entail-label", 900_000 * 6),
        ("shard", 900_000),
        ("pretrain", 900_000 * 10),
    ):
        hours = work / rates[stage]["rate"] / 3600
        assert found[stage]["device_hours"] == pytest.approx(hours)
        assert found[stage]["wall_hours"] == pytest.approx(hours / 32)
        assert found[stage]["cost"] == pytest.approx(hours * SHIPPED["cpu"]["price"])
        assert found[stage]["source"] == rates[stage]["source"]
    assert found["shard"]["files"] == 901
    assert found["transcribe"]["parts"] == 32
    assert found["transcribe"]["commands"] == [
        "mkdir -p words/",
        "lanser transcribe SPEECH/ --model embedded --part slurm/32 --resume "
        "-o words/$SLURM_ARRAY_TASK_ID.jsonl",
        "lanser parts words/ --of 32 --merge words.jsonl",
    ]


def test_a_plan_is_of_what_its_commands_do(capfd: pytest.CaptureFixture[str]) -> None:
    """Tars end at a gibibyte, one processor takes twice as long as two, ranks are started."""
    found = planned(capfd, "--hours", 1000, "--max-count", 100_000, "--gpus", 8)
    assert found["shard"]["files"] == -(-found["shard"]["bytes"] // 1024**3) + 1 > 9
    assert "--max-count 100000" in found["shard"]["commands"][0]
    assert found["pretrain"]["commands"][0].startswith(
        "srun --kill-on-bad-exit --ntasks=8 lanser pretrain shards/"
    )
    found = planned(capfd, "--hours", 10, "--cores", 1)
    for stage in found.values():
        assert stage["wall_hours"] == pytest.approx(2 * stage["device_hours"])
    assert found["pretrain"]["commands"][0].startswith("lanser pretrain shards/")
    few = planned(capfd, "--hours", 0.0025, "--utterance", 3, "--cores", 64)["transcribe"]
    assert few["parts"] == 3
    assert few["wall_hours"] == pytest.approx(few["device_hours"] / 3)


def test_what_nobody_measured_is_not_invented(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = planned(capfd, "--hours", 100_000, "--gpus", 64)
    for stage in ("transcribe", "entail-label", "pretrain"):
        assert found[stage]["device"] == "1 GPU" and "H200" in found[stage]["source"]
    rate = {"model": "whisper:turbo", "rate": 100.0, "source": "ours"}
    mine = {**SHIPPED, "gpu": {**SHIPPED["gpu"], "price": 3.0, "rates": {"transcribe": rate}}}
    rates = write_jsonl(tmp_path / "mine.json", [mine])
    found = planned(capfd, "--hours", 100_000, "--gpus", 8, "--rates", rates)
    assert found["transcribe"]["device_hours"] == pytest.approx(1000)
    assert found["transcribe"]["cost"] == pytest.approx(3000)
    assert found["transcribe"]["parts"] == 48  # 125 h on each of 8, in parts of at most a day
    assert "--model whisper:turbo" in found["transcribe"]["commands"][1]
    for key in ("device_hours", "wall_hours", "cost", "source"):
        assert found["pretrain"][key] is None


def test_the_rates_of_the_documentation_can_be_used(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = (ROOT / "docs/formats.md").read_text()
    path = tmp_path / "rates.json"
    path.write_text(page.split("```json rates\n")[1].split("```")[0])
    found = planned(capfd, "--hours", 1001, "--gpus", 2, "--rates", path)
    assert found["transcribe"]["wall_hours"] == pytest.approx(1)


def test_parts_are_written_twice_and_each_file_has_one_beside_it(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As by the commands of a plan, carried out with few records."""
    one = planned(capfd, "--hours", 1)["entail-label"]
    several = planned(capfd, "--hours", 1, "--cores", 6)["entail-label"]
    assert one["files"] == 2 and several["bytes"] == 2 * one["bytes"]
    records = [{"id": name} for name in "abcd"]
    source, parts = write_jsonl(tmp_path / "in.jsonl", records), tmp_path / "weak"
    parts.mkdir()
    for number in (1, 2, 3):
        pipe = Pipe("test", parts / f"{number}.jsonl", inputs=[source], part=f"{number}/3")
        pipe.run(map(Record, records), one_process(list))
    assert (
        app.main(["parts", str(parts), "--of", "3", "--merge", str(tmp_path / "weak.jsonl")]) == 0
    )
    written = [*parts.iterdir(), *tmp_path.glob("weak.jsonl*")]
    assert several["files"] == len(written)


def test_the_name_of_a_model_is_quoted(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rate = {"model": "whisper:my model.pt", "rate": 100.0, "source": "ours"}
    mine = {**SHIPPED, "cpu": {**SHIPPED["cpu"], "rates": {"transcribe": rate}}}
    found = planned(capfd, "--hours", 1, "--rates", write_jsonl(tmp_path / "mine.json", [mine]))
    assert "--model 'whisper:my model.pt' " in found["transcribe"]["commands"][0]


def test_a_rate_may_name_no_model(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rate = {"rate": 100.0, "source": "ours"}
    mine = {**SHIPPED, "cpu": {**SHIPPED["cpu"], "rates": {"transcribe": rate}}}
    found = planned(capfd, "--hours", 1, "--rates", write_jsonl(tmp_path / "mine.json", [mine]))
    assert "--model MODEL" in found["transcribe"]["commands"][0]


def test_rates_that_are_none_are_refused(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rate = {"model": None, "rate": 0, "source": ""}
    wrong = {**SHIPPED, "cpu": {**SHIPPED["cpu"], "rates": {"shard": rate}}}
    path = write_jsonl(tmp_path / "mine.json", [wrong])
    assert app.main(["plan", "--hours", "1", "--rates", str(path)]) == 1
    assert "cpu.rates.shard.rate" in capfd.readouterr().err
    assert app.main(["plan", "--hours", "0"]) == 2
