"""Several seeds over the same folds, in one run folder that can be resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Lanser, read_jsonl, write_jsonl
from sklearn.metrics import balanced_accuracy_score

from lanser_cli import app
from lanser_cli.errors import EXIT_REJECTED
from lanser_cli.records import Record
from lanser_cli.training import finetune

SLIM = ("--model", "resnet18-slim", "--device", "cpu", "--crop", "0.5", "--steps", "2")
LINE = ("--folds", "3", "--seeds", "2", "--seed", "5")


@pytest.fixture(scope="module")
def run(labelled: Path, tmp_path_factory: pytest.TempPathFactory, lanser: Lanser) -> Path:
    folder = tmp_path_factory.mktemp("seeds") / "run"
    done = lanser("finetune", labelled, *SLIM, *LINE, "--validation", "1", "-o", folder)
    [made] = read_jsonl(done.stdout)
    assert made["seeds"] == 2 and made["sd"] is not None and made["n"] == 12
    assert b"fold 1: validation UAR" in done.stderr
    return folder


def files(folder: Path, pattern: str) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob(pattern))}


def test_each_seed_is_a_run_folder_and_the_top_has_all_their_answers(run: Path) -> None:
    assert json.loads((run / "config.json").read_text())["seeds"] == [5, 6]
    pooled = read_jsonl(run / "predictions.jsonl")
    assert [list(one["predictions"]) for one in pooled] == [["5", "6"]] * 12
    assert not any("prediction" in one or "scores" in one for one in pooled)
    for seed in (5, 6):
        config = json.loads((run / f"seed-{seed}" / "config.json").read_text())
        assert config["recipe"]["seed"] == seed and config["protocol"]["seed"] == 5
        own = read_jsonl(run / f"seed-{seed}" / "predictions.jsonl")
        assert [one["prediction"] for one in own] == [
            one["predictions"][str(seed)] for one in pooled
        ]
        assert [one["test_fold"] for one in own] == [one["test_fold"] for one in pooled]
    weights = [files(run / f"seed-{seed}", "model.safetensors") for seed in (5, 6)]
    assert len(weights[0]) == 3
    assert all(weights[0][name] != weights[1][name] for name in weights[0])


def test_a_seed_alone_is_the_same_training(
    run: Path, labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    alone = tmp_path / "alone"
    lanser("finetune", labelled, *SLIM, "--folds", "3", "--seed", "5", "--validation", "1",
           "-o", alone)  # fmt: skip
    assert files(alone, "*.safetensors") == files(run / "seed-5", "*.safetensors")
    assert files(alone, "predictions.jsonl") == files(run / "seed-5", "predictions.jsonl")


def test_eval_reads_a_run_of_several_seeds(run: Path, tmp_path: Path, lanser: Lanser) -> None:
    [found] = read_jsonl(lanser("eval", run, "-o", tmp_path / "report").stdout)
    pooled = read_jsonl(run / "predictions.jsonl")
    for seed in ("5", "6"):
        expected = balanced_accuracy_score(
            [one["label"] for one in pooled], [one["predictions"][seed] for one in pooled]
        )
        assert found["seeds"][seed]["uar"] == pytest.approx(expected, abs=1e-6)
    assert set(found["folds"]) == {"1", "2", "3"} and set(found["by_unit"]) == {"s0", "s1", "s2"}
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["results"][str(run)]["sd"] == found["sd"]
    validation = report["runs"][str(run)]["validation"]
    for fold in "123":
        uars = []
        for path in run.glob(f"seed-*/fold-{fold}/validation.jsonl"):
            truth, answers = zip(
                *[(one["label"], one["prediction"]) for one in read_jsonl(path)], strict=True
            )
            uars.append(balanced_accuracy_score(truth, answers))
        assert len(uars) == 2
        assert validation[fold] == pytest.approx(sum(uars) / 2, abs=1e-6)
    page = (tmp_path / "report/report.html").read_text()
    for words in ("mean of 2 seeds", "validation UAR", ">speaker</th>"):
        assert words in page


def test_a_fold_alone_is_no_run_to_measure_and_it_says_where_its_answers_are(
    run: Path, lanser: Lanser
) -> None:
    error = lanser("eval", run / "seed-5" / "fold-1", check=1).stderr.decode()
    assert f"with those of the others, in {run / 'seed-5' / 'predictions.jsonl'}" in error


def test_validation_speakers_are_neither_trained_nor_tested_on(run: Path) -> None:
    for path in run.glob("seed-*/fold-*/config.json"):
        config = json.loads(path.read_text())
        [apart] = config["validation_speakers"]
        assert apart not in config["test_speakers"]
        records = read_jsonl(path.parent / "validation.jsonl")
        assert {one["speaker"] for one in records} == {apart}


def test_the_seeds_of_a_run_vote_together(
    run: Path, labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    done = lanser("predict", labelled, "--run", run, "--device", "cpu")
    assert len(read_jsonl(done.stdout)) == 12
    done = lanser("finetune", labelled, *SLIM, "--init", run, "-o", tmp_path / "x", check=2)
    assert b"seed-5/fold-1" in done.stderr


def test_half_a_run_does_not_vote(
    run: Path, labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    half = tmp_path / "half"
    shutil.copytree(run, half)
    shutil.rmtree(
        half / "seed-6" / "fold-3"
    )  # as of a run that was killed in its last fold but one
    (half / "seed-6" / "fold-2" / "model.safetensors").unlink()
    for folder, names in (
        (half, "seed-6/fold-2, seed-6/fold-3"),
        (half / "seed-6", "fold-2, fold-3"),
    ):
        for line in (
            ("predict", labelled, "--run", folder),
            ("export", folder, "--to", "torch", "-o", tmp_path / "half.pt2"),
            ("finetune", labelled, *SLIM, "--init", folder, "-o", tmp_path / "x"),
        ):
            said = lanser(*line, check=1).stderr.decode()
            assert f"is not finished: there is no model in {names}: go on with --resume" in said
    lanser("predict", labelled, "--run", half / "seed-6" / "fold-1", "--device", "cpu")
    lanser("predict", labelled, "--run", half / "seed-5", "--device", "cpu")


def test_what_is_predicted_anew_is_measured_and_not_what_was_answered_before(
    run: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    anew = tmp_path / "anew.jsonl"
    lanser("predict", run / "predictions.jsonl", "--run", tiny_run, "--device", "cpu", "-o", anew)
    right = [one["prediction"] == one["label"] for one in read_jsonl(anew)]
    [found] = read_jsonl(lanser("eval", anew).stdout)
    assert found["seeds"] == {} and found["folds"] == {}
    assert found["wa"]["value"] == pytest.approx(sum(right) / 12, abs=1e-6)
    lanser("text-only", run / "predictions.jsonl", "--folds", "3", "--device", "cpu",
           "--crosswalk", "ekman6", "-o", tmp_path / "words")  # fmt: skip
    for name in ("entailment", "logistic"):
        [found] = read_jsonl(lanser("eval", tmp_path / "words" / name).stdout)
        assert found["seeds"] == {}


def test_a_clip_that_is_away_while_one_seed_is_tested_is_rejected_and_left_out_of_all_answers(
    run: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, rejects = tmp_path / "run", tmp_path / "rejects.jsonl"
    shutil.copytree(run, again)
    [lost, *_] = (x for x in read_jsonl(run / "predictions.jsonl") if x["test_fold"] == "3")
    clip, aside = Path(lost["audio_filepath"]), tmp_path / "aside"
    write = finetune._write

    def write_and_move(path: Path, records: Sequence[Record]) -> None:
        write(path, records)
        if path == again / "seed-5" / "fold-1" / "validation.jsonl":
            clip.rename(aside)
        elif path == again / "seed-5" / "predictions.jsonl":
            aside.rename(clip)

    monkeypatch.setattr(finetune, "_write", write_and_move)
    line = ["finetune", labelled, *SLIM, *LINE, "--validation", "1", "-o", again, "--resume"]
    assert app.main([*map(str, line), "--rejects", str(rejects)]) == EXIT_REJECTED
    assert lost["id"] not in [one["id"] for one in read_jsonl(again / "predictions.jsonl")]
    [reject] = read_jsonl(rejects)
    assert (reject["id"], "there is no such file" in reject["error"]) == (lost["id"], True)


def test_a_killed_run_of_several_seeds_is_resumed_to_the_same_bytes(
    run: Path, labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    killed = tmp_path / "run"
    shutil.copytree(run, killed)
    (killed / "predictions.jsonl").unlink()
    (killed / "seed-6" / "predictions.jsonl").unlink()
    shutil.rmtree(killed / "seed-6" / "fold-3")
    (killed / "seed-6" / "fold-2" / "model.safetensors").unlink()
    line = ("finetune", labelled, *SLIM, *LINE, "--validation", "1", "-o", killed)
    lanser(*line, check=2)
    lanser(*line, "--resume")
    for pattern in ("predictions.jsonl", "validation.jsonl", "*.safetensors", "*.npy"):
        assert files(killed, pattern) == files(run, pattern)
    other = lanser(*line, "--seeds", "3", "--resume", check=2)
    assert b"--seeds, 2 and not 3" in other.stderr


def test_a_record_that_cannot_be_read_is_rejected_once(
    labelled: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = read_jsonl(labelled)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(Path(values[0]["audio_filepath"]).read_bytes())
    values[0]["audio_filepath"], values[0]["offset"] = str(broken), 30.0
    corpus = write_jsonl(tmp_path / "corpus.jsonl", values)
    line = (*SLIM, "--folds", "2", "--seeds", "2", "--steps", "1")
    done = lanser("finetune", corpus, *line, "-o", tmp_path / "run", check=None)
    closing = done.stderr.decode().splitlines()[-1]
    assert "12 in, 11 used, 1 rejected" in closing
