"""The sweep: every way to label is tried, and the best one's command line does what it says."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from conftest import Lanser, read_jsonl, save_nli, write_jsonl
from llm_server import served

from lanser_cli.entailment.calibration import SAMPLE

LABELS = ("joy", "anger", "fear")


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    items = [
        {"id": f"n{n}", "text": f"{name} again {n % 7} times", "label": name}
        for n, name in enumerate(LABELS * 12)
    ]
    items += [{"id": "other", "text": "so bored", "label": "boredom"}, {"id": "none", "text": "x"}]
    items.append({"id": "mute", "text": "", "label": "joy"})
    return write_jsonl(tmp_path_factory.mktemp("gold") / "gold.jsonl", items)


def test_every_way_is_ranked_and_the_winner_can_be_run(
    lanser: Lanser, gold: Path, tiny_nli: Path, tmp_path: Path
) -> None:
    other = save_nli(tmp_path / "other", ("NEUTRAL", "ENTAILMENT"))
    line = ["entail-label", "--sweep", gold, "--labels", ",".join(LABELS), "--device", "cpu"]
    line += ["--model", tiny_nli, "--model", other, "--template", "I am {adjective}."]
    result = lanser(*line, "--template", "{}")
    found = read_jsonl(result.stdout)
    assert len(found) == 2 * 3 * 3  # models; two templates and both; calibrations
    assert [item["rank"] for item in found] == list(range(1, 19))
    uars = [item["uar"]["value"] for item in found]
    assert uars == sorted(uars, reverse=True) and uars[0] > uars[-1]
    for item in found:
        assert item["n"] == 36
        for name in ("uar", "wa", "weighted_f1"):
            low, high = item[name]["low"], item[name]["high"]  # none where all get one label
            assert low is None or 0 <= low <= item[name]["value"] <= high <= 1
    said = result.stderr.decode()
    assert "entail-label: the taxonomy has no such label: 1 boredom\n" in said
    best, lines = found[0], said.splitlines()
    assert lines[-2].strip() == best["command"]
    assert lines[-1] == (
        "entail-label: 39 in, 36 used, 0 rejected, 1 dropped (no label), 1 dropped (no text), "
        "1 dropped (the taxonomy has no such label)"
    )

    words = shlex.split(best["command"])
    assert words[0] == "lanser"
    whole = read_jsonl(gold)[:36]
    path = write_jsonl(tmp_path / "in.jsonl", whole)
    labelled = read_jsonl(lanser(*words[1:], "--device", "cpu", path).stdout)
    recalls = [
        sum(item["emotion"] == name for item in labelled if item["label"] == name) / 12
        for name in LABELS
    ]
    assert sum(recalls) / 3 == pytest.approx(best["uar"]["value"], abs=1e-6)


@pytest.mark.slow
def test_its_command_does_the_same_in_less_precision_and_beyond_the_sample_of_a_prior(
    lanser: Lanser, tmp_path: Path
) -> None:
    """Close calls are decided in float32, and a batch prior is of the same thousand texts."""
    model = save_nli(tmp_path / "close", ("ENTAILMENT", "OTHER", "NO"), seed=1, spread=0.3)
    items = [
        {"id": f"n{n}", "text": f"{n} again {n % 7}", "label": LABELS[n % 3]}
        for n in range(SAMPLE + 200)
    ]
    gold = write_jsonl(tmp_path / "gold.jsonl", items)
    line = ("entail-label", "--sweep", gold, "--labels", ",".join(LABELS), "--device", "cpu")
    found = read_jsonl(lanser(*line, "--model", model, "--precision", "int8").stdout)
    assert {item["calibration"] for item in found} == {"none", "null", "batch"}
    for item in found:
        if item["calibration"] == "none":  # takes its time, and the others do what it does
            continue
        words = shlex.split(item["command"])[1:]
        labelled = read_jsonl(lanser(*words, "--device", "cpu", gold).stdout)
        right = sum(one["emotion"] == one["label"] for one in labelled) / len(items)
        assert right == pytest.approx(item["wa"]["value"], abs=1e-6), item["calibration"]


def test_the_ranking_goes_to_a_file_too(
    lanser: Lanser, gold: Path, tiny_nli: Path, tmp_path: Path
) -> None:
    line = ("entail-label", "--sweep", gold, "--labels", ",".join(LABELS), "--model", tiny_nli)
    line += ("--template", "{}", "--device", "cpu", "--precision", "float32", "--context", "1")
    ranks = tmp_path / "ranks.jsonl"
    result = lanser(*line, "-o", ranks)
    found = read_jsonl(ranks)
    assert result.stdout == b"" and len(found) == 3
    assert all("--precision float32 --context 1" in item["command"] for item in found)
    assert b"--context: no record has a 'dialogue'" in result.stderr
    assert b"overwrite it with --force" in lanser(*line, "-o", ranks, check=2).stderr
    assert b"would overwrite the input" in lanser(*line, "-o", gold, "--force", check=2).stderr


def test_rejects_go_to_a_file_if_one_is_named(
    lanser: Lanser, gold: Path, tiny_nli: Path, tmp_path: Path
) -> None:
    path, rejects = tmp_path / "gold.jsonl", tmp_path / "rejects.jsonl"
    path.write_bytes(gold.read_bytes() + b"no JSON\n")
    line = ("entail-label", "--sweep", path, "--labels", ",".join(LABELS), "--model", tiny_nli)
    line += ("--template", "{}", "--rejects", rejects, "--device", "cpu")
    result = lanser(*line, check=3)
    assert len(read_jsonl(result.stdout)) == 3
    assert [item["record"] for item in read_jsonl(rejects)] == ["no JSON"]
    assert b"40 in, 36 used, 1 rejected" in result.stderr
    assert b"rejected: " not in result.stderr


def test_the_command_of_a_model_on_another_machine_may_ask_it(
    lanser: Lanser, tmp_path: Path
) -> None:
    items = [{"id": name, "text": f"{name} again", "label": name} for name in LABELS]
    gold = write_jsonl(tmp_path / "gold.jsonl", items)
    with served() as server:
        line = ("entail-label", "--sweep", gold, "--labels", ",".join(LABELS))
        more = ("--template", "{}", "--model", server.model, "--allow-remote")
        found = read_jsonl(lanser(*line, *more).stdout)
    assert all("--allow-remote" in shlex.split(item["command"]) for item in found)


def test_a_model_on_a_server_that_is_asked_to_choose_is_ranked_beside_another(
    lanser: Lanser, tiny_nli: Path, tmp_path: Path
) -> None:
    items = [{"id": name, "text": f"{name} again", "label": name} for name in LABELS]
    gold = write_jsonl(tmp_path / "gold.jsonl", items)
    with served() as server:
        line = ("entail-label", "--sweep", gold, "--labels", ",".join(LABELS), "--template", "{}")
        more = ("--model", server.model, "--model", tiny_nli, "--llm-mode", "choice")
        found = read_jsonl(lanser(*line, *more).stdout)
    assert len(found) == 6
    chosen = {item["model"] for item in found if "--llm-mode choice" in item["command"]}
    assert chosen == {server.model}


def test_nothing_to_compare_with(lanser: Lanser, gold: Path, tiny_nli: Path) -> None:
    line = ("entail-label", "--sweep", gold, "--model", tiny_nli, "--device", "cpu")
    result = lanser(*line, "--labels", "calm,bored", check=1)
    assert "no record has a text and a label among calm, bored" in result.stderr.decode()
    assert "36" not in result.stdout.decode()
