"""Several seeds, folds and speakers of one run: against scikit-learn and a jackknife by hand."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
from conftest import ROOT, read_jsonl, write_jsonl
from scipy.stats import t as student
from sklearn.metrics import balanced_accuracy_score, f1_score

from lanser_cli.errors import LanserError
from lanser_cli.evaluation.metrics import measure
from lanser_cli.evaluation.seeds import measure_run
from lanser_cli.records import Record
from lanser_cli.training.identity import SIDES

SEEDS = ("0", "1", "2")


def answered(speakers=6, clips=12, seeds=SEEDS):
    """Records that each seed answers, right more often for later speakers; in three folds."""
    draw = np.random.default_rng(1)
    made = []
    for number in range(speakers * clips):
        speaker, label = number // clips, "abc"[draw.integers(3)]
        answers = {
            seed: label if draw.random() < 0.4 + 0.08 * speaker else "abc"[draw.integers(3)]
            for seed in seeds
        }
        fields = {"id": str(number), "label": label, "predictions": answers}
        made.append(Record({**fields, "speaker": f"s{speaker}", "test_fold": str(speaker // 2)}))
    return made


def uar(records, seed):
    truth, answers = zip(*[(r.label, r.fields["predictions"][seed]) for r in records], strict=True)
    return balanced_accuracy_score(truth, answers)


def test_the_score_is_the_mean_over_seeds_and_its_spread_is_apart():
    records = answered()
    result = measure_run(records)
    each = [uar(records, seed) for seed in SEEDS]
    assert result.n == len(records) and tuple(result.seeds) == SEEDS
    assert [one["uar"] for one in result.seeds.values()] == pytest.approx(each, abs=1e-6)
    assert result.uar.value == pytest.approx(fmean(each), abs=1e-6)
    assert result.sd == pytest.approx(stdev(each), abs=2e-6)
    f1 = [
        f1_score([r.label for r in records], [r.fields["predictions"][s] for r in records],
                 average="macro")
        for s in SEEDS
    ]  # fmt: skip
    assert result.macro_f1.value == pytest.approx(fmean(f1), abs=1e-6)
    assert sum(map(sum, result.confusion)) == 3 * len(records)
    assert result.summary()["seeds"] == 3


def test_the_interval_is_students_over_speakers_of_the_mean_over_seeds():
    records = answered()
    result = measure_run(records)
    names = sorted({record.speaker for record in records})

    def score(kept):
        return fmean(uar(kept, seed) for seed in SEEDS)

    whole = score(records)
    pseudo = [
        6 * whole - 5 * score([r for r in records if r.speaker != name]) for name in names
    ]  # leaving a speaker out of all seeds at once
    reach = student.ppf(0.975, 5) * stdev(pseudo) / np.sqrt(6)
    assert (result.unit, result.units) == ("speaker", 6)
    assert result.uar.low == pytest.approx(whole - reach, abs=2e-6)
    assert result.uar.high == pytest.approx(whole + reach, abs=2e-6)
    for name in names:
        mine = [record for record in records if record.speaker == name]
        assert result.by_unit[name] == pytest.approx(score(mine), abs=1e-6)


def test_pooled_uar_and_the_mean_of_folds_are_both_scikit_learns():
    records = answered()
    result = measure_run(records)
    folds = {name: [r for r in records if r.fields["test_fold"] == name] for name in "012"}
    for name, mine in folds.items():
        assert result.folds[name]["n"] == len(mine)
        expected = fmean(uar(mine, seed) for seed in SEEDS)
        assert result.folds[name]["uar"] == pytest.approx(expected, abs=1e-6)
    means = [fmean(uar(mine, seed) for mine in folds.values()) for seed in SEEDS]
    assert result.folds_uar == pytest.approx(fmean(means), abs=1e-6)
    assert abs(result.folds_uar - result.uar.value) > 1e-4, "they are two things"


def test_folds_stand_in_the_order_of_their_numbers():
    names = ("10", "2", "a", "1", "b", "9")
    records = [one.with_fields(test_fold=names[int(one.speaker[1:])]) for one in answered()]
    assert list(measure_run(records).folds) == ["1", "2", "9", "10", "a", "b"]


def test_one_seed_is_measured_as_ever_with_its_folds_and_speakers():
    records = [
        record.with_fields(prediction=record.fields["predictions"]["0"], predictions=None)
        for record in answered()
    ]
    found, plain = measure_run(records), measure(records)
    assert (found.uar, found.wa, found.confusion) == (plain.uar, plain.wa, plain.confusion)
    assert found.seeds == {} and found.sd is None and len(found.folds) == 3
    assert len(found.by_unit) == 6


def test_records_without_speaker_are_each_their_own_unit():
    records = [record.with_fields(speaker=None) for record in answered()]
    result = measure_run(records)
    assert (result.unit, result.units, result.by_unit) == ("record", len(records), {})
    assert result.uar.low < result.uar.value < result.uar.high


def test_a_seed_that_did_not_answer_a_record_is_named():
    records = answered()
    records[3] = records[3].with_fields(predictions={"0": "a", "1": "b"})
    with pytest.raises(LanserError, match="'3' has no answer of seed 2"):
        measure_run(records)


def test_answers_of_more_seeds_than_those_of_the_first_record_are_not_left_out():
    short, whole = answered(seeds=SEEDS[:2])[:3], answered()[3:]
    with pytest.raises(LanserError, match="'0' has no answer of seed 2 .* and '3' has"):
        measure_run([*short, *whole])
    plain = [one.with_answer(prediction="a") for one in short]
    with pytest.raises(LanserError, match="'0' has no answer of seed 0 .* and '3' has"):
        measure_run([*plain, *whole])


def test_records_of_no_speaker_are_told_apart_by_each_of_many_seeds():
    """Sixty powers of as many cells as a confusion has outgrow 64 bits."""
    records = []
    for n in range(70):
        label = "abcdefg"[n % 7]
        given = {str(seed): label for seed in range(60)}
        if n > 6:
            given["0"] = "a"
        records.append(Record({"id": str(n), "label": label, "predictions": given}))
    result = measure_run(records)
    assert result.wa.value == pytest.approx(
        fmean(one["wa"] for one in result.seeds.values()), abs=1e-6
    )
    assert result.wa.value < 1


def test_the_example_in_the_documentation_is_measured():
    text = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    example = Record.parse(json.loads(text.split("```json predictions\n")[1].split("```")[0]))
    result = measure_run([example, example.with_fields(id="x", label="fearful")])
    assert [one["uar"] for one in result.seeds.values()] == [0.5, 0.5]


# ---------------------------------------------------------------- runs seed-N in one folder


def save_runs(arm: Path, seeds=SEEDS, right=0) -> None:
    """What each seed answered, a run folder each, as of jobs of their own; the last in disorder.

    The first `right` of each ten answers are put right.
    """
    for seed in seeds:
        run = arm / f"seed-{seed}"
        run.mkdir(parents=True)
        (run / "config.json").write_text((ROOT / "tests/golden/finetune.config.json").read_text())
        rows = [
            {**r.fields, "prediction": r.label if n % 10 < right else r.fields["predictions"][seed]}
            for n, r in enumerate(answered(seeds=seeds))
        ]
        kept = [{key: row[key] for key in row if key != "predictions"} for row in rows]
        write_jsonl(run / "predictions.jsonl", kept[:: -1 if seed == seeds[-1] else 1])


def test_runs_in_one_folder_are_compared_as_their_answers_pooled_with_the_seed_before_the_id(
    lanser, tmp_path
):
    arms = "scratch", "weak"
    for right, arm in enumerate(arms):
        save_runs(tmp_path / arm, right=right)
        pooled = [
            one | {"id": f"{seed}-{one['id']}"}
            for seed in SEEDS
            for one in read_jsonl(tmp_path / arm / f"seed-{seed}" / "predictions.jsonl")
        ]
        write_jsonl(tmp_path / f"{arm}.jsonl", pooled)
    done = lanser("compare", *arms, "--pair", "scratch,scratch/seed-0", cwd=tmp_path)
    of_folders, of_one = read_jsonl(done.stdout)
    files = lanser("compare", *(f"{a}.jsonl" for a in arms), "--pair", "weak.jsonl,scratch.jsonl",
                   cwd=tmp_path)  # fmt: skip
    of_files, _ = read_jsonl(files.stdout)
    assert of_folders == of_files | {"reference": "scratch", "other": "weak"}
    assert (of_folders["n"], of_folders["units"]) == (3 * 72, 6)
    assert of_folders["uar"]["difference"] != 0
    assert of_one["other"] == "scratch/seed-0", "one run stands for each seed"


def test_runs_that_were_made_otherwise_are_no_seeds_of_one(lanser, tmp_path):
    save_runs(tmp_path / "a")
    path = tmp_path / "a" / "seed-1" / "config.json"
    config = json.loads(path.read_text())
    steps = config["identity"]["--steps"]
    seeds = [(name, "7", 0) for name in ("--seed", "--seed of folds", "--subset-seed", SIDES)]
    for name, other, code in (*seeds, ("--steps", "9", 1), ("--fraction", "0.3", 1)):
        path.write_text(json.dumps(config | {"identity": config["identity"] | {name: other}}))
        refused = lanser("compare", "a", "a/seed-0", cwd=tmp_path, check=code).stderr.decode()
        said = "a/seed-0 and a/seed-1 are no seeds of one run: they were made with another " + name
        assert (said in refused) == bool(code)
    assert steps != "9"


def test_what_one_seed_has_heard_is_said_in_the_report(lanser, tmp_path):
    for arm in "ab":
        save_runs(tmp_path / arm)
    path = tmp_path / "b" / "seed-2" / "predictions.jsonl"
    write_jsonl(path, [one | {"heard": True} for one in read_jsonl(path)])
    lanser("compare", "a", "b", "-o", "report", cwd=tmp_path)
    assert "trained on 72 of 72 records" in (tmp_path / "report" / "report.html").read_text()


def test_folders_of_unlike_seeds_or_records_are_refused_in_a_sentence(lanser, tmp_path):
    save_runs(tmp_path / "a")
    save_runs(tmp_path / "b", ("0", "2"))
    refused = lanser("compare", "a", "b", cwd=tmp_path, check=1).stderr.decode()
    assert "a has seeds 0, 1, 2 and b has seeds 0, 2: compare runs of the same seeds" in refused
    path = tmp_path / "b" / "seed-2" / "predictions.jsonl"
    write_jsonl(path, read_jsonl(path)[1:])
    refused = lanser("compare", "b", "b", cwd=tmp_path, check=1).stderr.decode()
    assert "is in b/seed-0 but not in b/seed-2: compare answers to the same records" in refused
    several = {"predictions": {"0": "joy", "1": "joy"}}
    write_jsonl(path, [one | several for one in read_jsonl(path)])
    refused = lanser("compare", "b", "b", cwd=tmp_path, check=1).stderr.decode()
    assert "b/seed-2: has several seeds itself: name it alone" in refused
    path.unlink()
    refused = lanser("compare", "b", "b", cwd=tmp_path, check=1).stderr.decode()
    assert "b/seed-2: no predictions.jsonl in this run" in refused
