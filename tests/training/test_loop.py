"""The loop: it learns, resumes exactly, keeps a frozen backbone, and runs under torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ranked
import soundfile
import torch
from conftest import ENVIRONMENT, read_jsonl, write_jsonl
from quick import as_ranks

from lanser_cli.commands.finetune import command as finetune
from lanser_cli.commands.training import length
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.records import Record
from lanser_cli.training import loop, runs
from lanser_cli.training.checkpoints import Checkpoints
from lanser_cli.training.examples import human_examples
from lanser_cli.training.learner import Learner
from lanser_cli.training.loop import schedule, train
from lanser_cli.training.predict import Predictor
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.runs import RunFolder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[Record]:
    """48 clips of about half a second: low tones are 'low', high tones are 'high', in noise."""
    folder = tmp_path_factory.mktemp("tones")
    draw = np.random.default_rng(0)
    records = []
    for index in range(48):
        label, hertz = (("low", 120), ("high", 300))[index % 2]
        time = np.arange(7_000 + 50 * (index * 7 % 41)) / 16_000
        wave = 0.1 * np.sin(2 * np.pi * hertz * draw.uniform(0.8, 1.25) * time)
        wave += 0.02 * draw.standard_normal(len(wave))
        path = folder / f"t{index:02d}.wav"
        soundfile.write(path, wave, 16_000)
        fields = {"id": path.stem, "audio_filepath": str(path), "label": label, "emotion": label}
        records.append(Record({**fields, "speaker": f"s{index // 8}"}))
    return records


def fresh(seed: int = 0) -> SpeechClassifier:
    torch.manual_seed(seed)
    return SpeechClassifier(Architecture("resnet18-slim", ("high", "low"), crop_seconds=0.4))


def run_folder(path: Path) -> RunFolder:
    run = RunFolder(path)
    run.create(resume=False)
    run.write_config("pretrain", fresh().architecture)
    return run


def test_it_learns_what_can_be_learnt(corpus, tmp_path):
    recipe = Recipe(epochs=6, batch_size=16, precision="float32")
    run = run_folder(tmp_path / "run")
    examples = human_examples(corpus[:32], ("high", "low"))
    model = train(fresh(), examples, recipe, run, CPU)
    answers = Predictor([model])(corpus[32:])
    right = sum(answer.prediction == answer.label for answer in answers)
    assert right >= 14
    lines = read_jsonl(run.path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [10, 12]
    assert not list((run.path / "checkpoints").iterdir())
    rebuilt = runs.load_model(run.path).state_dict()
    assert all(torch.equal(rebuilt[name], tensor) for name, tensor in model.state_dict().items())


def learnt(lines: list[dict]) -> list[dict]:
    """Lines of metrics without what a clock measured."""
    clock = ("utterances_per_s", "waiting")
    return [{key: line[key] for key in line if key not in clock} for line in lines]


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("cpu", "float32"), ("cuda", "float32"), ("cuda", "bfloat16"), ("cuda", "float16")],
)
def test_a_resumed_run_is_the_uninterrupted_run(kind, precision, corpus, tmp_path, monkeypatch):
    if kind == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    device = torch.device(kind)
    recipe = Recipe(epochs=3, batch_size=16, precision=precision, checkpoint_every=2)
    recipe = replace(recipe, deterministic=kind == "cuda", workers=2 if kind == "cuda" else 0)
    examples = human_examples(corpus, ("high", "low"))
    whole = run_folder(tmp_path / "whole")
    train(fresh(), examples, recipe, whole, device)

    killed = run_folder(tmp_path / "killed")
    save = Checkpoints.save

    def save_and_die(self, state):
        save(self, state)
        if state["step"] == 4:  # in the middle of the second epoch
            raise Killed

    monkeypatch.setattr(Checkpoints, "save", save_and_die)
    with pytest.raises(Killed):
        train(fresh(), examples, recipe, killed, device)
    monkeypatch.setattr(Checkpoints, "save", save)
    train(fresh(seed=99), examples, recipe, killed, device, resume=True)
    weights = [(run.path / "model.safetensors").read_bytes() for run in (killed, whole)]
    assert weights[0] == weights[1]
    lines = [learnt(read_jsonl(run.path / "metrics.jsonl")) for run in (killed, whole)]
    assert lines[0] == lines[1] and lines[0]


def test_a_signal_in_the_last_step_ends_what_follows(corpus, tmp_path, monkeypatch):
    heard, step = [], Learner.step
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))

    def step_while_it_comes(self, number, *given):
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, number, *given)

    monkeypatch.setattr(Learner, "step", step_while_it_comes)
    run = run_folder(tmp_path / "run")
    try:
        examples = human_examples(corpus, ("high", "low"))
        train(fresh(), examples, Recipe(None, batch_size=16, steps=2), run, CPU)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM] and (run.path / "model.safetensors").exists()


@pytest.mark.parametrize("steps", [2, 7])
def test_steps_end_wherever_an_epoch_does(corpus, tmp_path, monkeypatch, steps):
    """Of 3 steps an epoch; resumed from a checkpoint, it is the same run."""
    recipe = Recipe(None, batch_size=16, precision="float32", steps=steps, checkpoint_every=5)
    examples = human_examples(corpus, ("high", "low"))
    run, killed = run_folder(tmp_path / "run"), run_folder(tmp_path / "killed")
    train(fresh(), examples, recipe, run, CPU)
    last = read_jsonl(run.path / "metrics.jsonl")[-1]
    assert (last["step"], last["epoch"]) == (steps, round(steps / 3, 4))
    assert last["lr"] == pytest.approx(recipe.lr * schedule((steps - 1) / steps))
    if steps < 5:
        return
    save = Checkpoints.save

    def save_and_die(self, state):
        save(self, state)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoints, "save", save_and_die)
        train(fresh(), examples, recipe, killed, CPU)
    train(fresh(seed=9), examples, recipe, killed, CPU, resume=True)
    weights = [(folder.path / "model.safetensors").read_bytes() for folder in (killed, run)]
    assert weights[0] == weights[1]
    lines = [learnt(read_jsonl(folder.path / "metrics.jsonl")) for folder in (killed, run)]
    assert lines[0] == lines[1]


def test_steps_and_epochs_of_the_same_length_are_the_same_training(corpus, tmp_path):
    examples = human_examples(corpus, ("high", "low"))
    weights = []
    for number, words in enumerate(({"epochs": 2}, {"epochs": None, "steps": 6})):
        run = run_folder(tmp_path / str(number))
        train(fresh(), examples, Recipe(**words, batch_size=16, precision="float32"), run, CPU)
        weights.append((run.path / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.parametrize(("epochs", "steps", "made"), [(2, 5, 6), (2, 7, 7), (None, 5, 5)])
def test_of_epochs_and_steps_the_longer_says_how_long(corpus, tmp_path, epochs, steps, made):
    run = run_folder(tmp_path)
    examples = human_examples(corpus, ("high", "low"))
    recipe = Recipe(epochs, batch_size=16, steps=steps, precision="float32")
    train(fresh(), examples, recipe, run, CPU)
    assert read_jsonl(run.path / "metrics.jsonl")[-1]["step"] == made


def test_epochs_or_steps_say_how_long():
    with pytest.raises(UsageError, match="--epochs or by --steps"):
        Recipe(None)
    with pytest.raises(UsageError, match="not by both"):
        length(2, 6, (60, 3000))


def test_finetune_makes_3000_steps_at_least_where_nothing_says_how_long(tmp_path, monkeypatch):
    found = []

    def caught(inputs, output, how, recipe, ledger, **more):
        found.append(recipe)
        raise LanserError("enough")

    monkeypatch.setattr("lanser_cli.training.finetune.finetune", caught)
    for words in ({}, {"steps": 5}, {"epochs": 5}):
        with pytest.raises(LanserError, match="enough"):
            finetune(tmp_path / "run", **words)
    assert [(one.epochs, one.steps) for one in found] == [(60, 3000), (None, 5), (5, None)]


def test_resuming_with_other_options_is_refused(corpus, tmp_path, monkeypatch):
    run = run_folder(tmp_path / "run")
    examples = human_examples(corpus, ("high", "low"))
    save = Checkpoints.save

    def save_and_die(self, state):
        save(self, state)
        raise Killed

    monkeypatch.setattr(Checkpoints, "save", save_and_die)
    with pytest.raises(Killed):
        train(fresh(), examples, Recipe(epochs=1, checkpoint_every=1), run, CPU)
    with pytest.raises(UsageError, match="another --epochs, 1 and not 2"):
        train(fresh(), examples, Recipe(epochs=2, checkpoint_every=1), run, CPU, resume=True)


def test_a_frozen_backbone_stays_as_it_is(corpus, tmp_path):
    model = fresh()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    recipe = Recipe(epochs=1, batch_size=16, freeze=True, precision="float32")
    train(model, human_examples(corpus, ("high", "low")), recipe, run_folder(tmp_path), CPU)
    changed = {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert changed == {"backbone.fc.weight", "backbone.fc.bias"}


def test_a_loss_that_explodes_ends_the_run(corpus, tmp_path):
    recipe = Recipe(epochs=3, batch_size=16, lr=1e38, precision="float32")
    with pytest.raises(LanserError, match="no finite gradient at step .*: lower --lr"):
        train(fresh(), human_examples(corpus, ("high", "low")), recipe, run_folder(tmp_path), CPU)


def test_the_schedule_rises_and_falls():
    values = [schedule(step / 100) for step in range(101)]
    assert values[0] < 0.02 and max(values) == values[10] == pytest.approx(1.0)
    assert values[10:] == sorted(values[10:], reverse=True) and values[-1] == pytest.approx(0.0)


@pytest.mark.slow
def test_ranks_agree_under_torchrun(corpus, tmp_path, quick):
    """One run folder, one line on stdout; the same model on as many nodes, and under srun."""
    data = write_jsonl(tmp_path / "data.jsonl", [dict(record.fields) for record in corpus[:45]])
    line = ["pretrain", str(data), "--model", "resnet18-slim", "--crop", "0.4", "--epochs", "1"]
    line += ["--batch-size", "8", "--precision", "float32", "--device", "cpu", "-o"]

    def launch(name, *where):
        command = [sys.executable, "-m", "torch.distributed.run", *where, "-m", "lanser_cli"]
        return subprocess.Popen(
            [*command, *line, str(tmp_path / name)],
            env={**os.environ, **ENVIRONMENT},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    alone = launch("one-node", "--standalone", "--nproc-per-node=2")
    out, err = alone.communicate(timeout=240)
    assert alone.returncode == 0, err.decode()
    assert len(read_jsonl(out)) == 1
    assert b"45 utterances, 2 x 8 a step, 3 steps an epoch, 3 in all, on cpu" in err
    assert err.count(b"pretrain: 45 in, 45 used, 0 rejected") == 1
    meeting = ("--master-addr=127.0.0.1", "--master-port=29543", "--nproc-per-node=1")
    nodes = [launch("nodes", "--nnodes=2", f"--node-rank={node}", *meeting) for node in range(2)]
    said = [node.communicate(timeout=240) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert [len(read_jsonl(out)) for out, _ in said] == [1, 0]
    tasks = [quick(*line, tmp_path / "srun", env=variables) for variables in as_ranks(2)]
    done = [task.wait() for task in tasks]
    assert [task.code for task in done] == [0, 0] and done[0].out and not done[1].out
    weights = {
        (tmp_path / name / "model.safetensors").read_bytes()
        for name in ("one-node", "nodes", "srun")
    }
    assert len(weights) == 1


@pytest.mark.parametrize(
    "other, named",
    [
        (["--epochs", "2"], "another --epochs than rank 0, 2 and not 1"),
        (["--resampled"], "another --resampled than rank 0, True and not False"),
        (["--labels", "swapped.jsonl"], "another labels than rank 0"),
    ],
)
def test_ranks_that_would_hang_or_differ_are_refused(corpus, tmp_path, quick, other, named):
    values = [dict(record.fields) for record in corpus]
    data = write_jsonl(tmp_path / "data.jsonl", values)
    write_jsonl(tmp_path / "swapped.jsonl", [{"id": values[0]["id"], "emotion": "high"}])
    line = ["pretrain", data, "--model", "resnet18-slim", "--crop", "0.4", "--epochs", "1"]
    line += ["--device", "cpu", "-o", tmp_path / "run"]
    ranks = [
        quick(*line, *words, env=variables, cwd=tmp_path)
        for words, variables in zip(([], other), as_ranks(2), strict=True)
    ]
    done = [rank.wait() for rank in ranks]
    assert [rank.code for rank in done] == [2, 2], done
    assert any(f"rank 1 has {named}" in rank.err for rank in done)
    assert any("start every rank with the same options and data" in rank.err for rank in done)


def test_the_mean_over_ranks_is_that_of_all_that_counts(quick):
    ranks = [quick(main=ranked.averages, env=variables) for variables in as_ranks(2)]
    first, second = [rank.wait() for rank in ranks]
    assert float(first.out) == pytest.approx((1 + 2 + 3 + 10) / 4), first.err
    assert (second.code, second.out) == (0, b""), second.err


def test_a_rank_trains_on_its_own_gpu(monkeypatch):
    monkeypatch.setattr("lanser_cli.training.loop.parse_devices", lambda text: ["cuda:0"])
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert loop.choose_device("auto") == torch.device("cuda:3")
    with pytest.raises(UsageError, match="--device cuda:2: of several processes each takes"):
        loop.choose_device("cuda:2")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UsageError, match="rank 3 of this machine has no GPU of its own"):
        loop.choose_device("auto")  # of torchrun, which gives no rank a GPU for itself
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(UsageError, match="rank 3 of this machine has no GPU of its own"):
        loop.choose_device("auto")


def test_bfloat16_pays_where_the_gpu_that_is_asked_about_has_it(monkeypatch):
    """PyTorch answers for its current GPU, which is the first."""
    current = [0]

    @contextmanager
    def made_current(device):
        current.append(device.index)
        yield
        current.pop()

    monkeypatch.setattr("torch.cuda.device", made_current)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: current[-1] == 0)
    found = {index: Recipe(1).on(torch.device("cuda", index)).precision for index in (0, 1)}
    assert found == {0: "bfloat16", 1: "float16"}


def test_many_devices_are_torchruns_business(monkeypatch):
    monkeypatch.setattr("lanser_cli.training.loop.parse_devices", lambda text: ["cuda:0", "cuda:1"])
    with pytest.raises(UsageError, match="started by torchrun"):
        loop.choose_device("all")


def test_pretraining_on_one_split(corpus, tmp_path, lanser):
    values = [
        {**record.fields, "split": "train" if number % 4 else "test"}
        for number, record in enumerate(corpus)
    ]
    data, run = write_jsonl(tmp_path / "data.jsonl", values), tmp_path / "run"
    options = ["--model", "resnet18-slim", "--crop", "0.4", "--epochs", 1, "-o", run]
    nothing = lanser("pretrain", data, "--split", "tran", *options, check=1)
    assert b"nothing to learn from" in nothing.stderr and b"dropped (split test)" in nothing.stderr
    assert b"did you mean 'train'? there are: test, train" in nothing.stderr
    made = lanser("pretrain", data, "--split", "train", *options)
    assert b"48 in, 36 used, 0 rejected, 12 dropped (split test)" in made.stderr
    assert read_jsonl(made.stdout)[0]["utterances"] == 36


@pytest.mark.slow
def test_the_whole_second_half_by_command(corpus, tmp_path, lanser):
    """pretrain -> finetune --init -> eval -> predict -> probe-prosody, each by its command."""
    values = [dict(record.fields) for record in corpus]
    data = write_jsonl(tmp_path / "data.jsonl", values)
    soft = [
        {**value, "emotion_scores": {"high": 0.9, "low": 0.1} if value["emotion"] == "high"
         else {"high": 0.2, "low": 0.8}}
        for value in values
    ]  # fmt: skip
    swapped = write_jsonl(
        tmp_path / "new.jsonl",
        [{"id": v["id"], "emotion": {"low": "high", "high": "low"}[v["emotion"]]} for v in values],
    )
    options = ["--crop", "0.4", "--precision", "float32", "--batch-size", 8, "--epochs"]
    pre = tmp_path / "pre"
    made = lanser(
        *("pretrain", "-", "--model", "resnet18-slim", "--targets", "soft", *options, 3, "-o", pre),
        input=("".join(json.dumps(value) + "\n" for value in soft)).encode(),
    )
    assert read_jsonl(made.stdout)[0]["labels"] == ["high", "low"]
    relabelled = lanser(
        *("pretrain", data, "--labels", swapped, "--model", "resnet18-slim", *options, 1),
        *("-o", tmp_path / "relabelled"),
    )
    assert b"48 of 48 records relabelled" in relabelled.stderr

    tuned = tmp_path / "tuned"
    start = ("--init", pre, "--allow-seen")  # the same tones
    made = lanser("finetune", data, *start, *options, 4, "--folds", 2, "-o", tuned)
    [result] = read_jsonl(made.stdout)
    assert result["n"] == 48 and result["uar"] > 0.8
    predictions = read_jsonl(tuned / "predictions.jsonl")
    assert [p["id"] for p in predictions] == [record.id for record in corpus]
    config = json.loads((tuned / "config.json").read_text())
    assert config["init"] == str(pre) and config["protocol"]["folds"] == 2

    report = tmp_path / "report"
    [evaluated] = read_jsonl(lanser("eval", tuned, "-o", report).stdout)
    assert evaluated["uar"]["value"] == result["uar"]
    page = json.loads((report / "report.json").read_text())
    assert page["results"][str(tuned)]["n"] == 48 and page["schema"] == 1
    assert "data:image/svg+xml;base64" in (report / "report.html").read_text()
    assert (report / "confusion-1.svg").exists()

    answers = read_jsonl(lanser("predict", data, "--run", tuned).stdout)
    assert {"prediction", "scores"} <= answers[0].keys()
    assert sum(answers[0]["scores"].values()) == pytest.approx(1.0, abs=1e-4)
    right = sum(answer["prediction"] == answer["label"] for answer in answers)
    assert right > 40

    done = lanser("probe-prosody", data, "--run", pre, "-o", tmp_path / "probe")
    assert b"was trained on 48 of these 48 records" in done.stderr
    [probe] = read_jsonl(done.stdout)
    # the pitch of a tone is plain to the network; dealt out to other clips it is gone
    table = json.loads((tmp_path / "probe" / "probe.json").read_text())["targets"]["f0_mean"]
    assert table["trained"]["r2"] > 0.5
    assert table["shuffled"]["r2"] < 0.2
    assert probe["held_out"] == "no"


def test_eval_draws_a_label_efficiency_curve(tmp_path, lanser):
    names = []
    for fraction, right in ((0.1, 6), (1.0, 10)):
        run = tmp_path / f"run-{fraction}"
        run.mkdir()
        (run / "config.json").write_text(
            json.dumps({"schema": 1, "protocol": {"fraction": fraction}})
        )
        values = [
            {"id": str(i), "label": "ab"[i % 2], "prediction": "ab"[(i + (i >= right)) % 2]}
            for i in range(12)
        ]
        write_jsonl(run / "predictions.jsonl", values)
        names.append(run)
    made = lanser("eval", *names, "-o", tmp_path / "report")
    assert [line["wa"]["value"] for line in read_jsonl(made.stdout)] == pytest.approx(
        [0.5, 10 / 12], abs=1e-5
    )
    assert (tmp_path / "report" / "label-efficiency.png").exists()


def test_eval_takes_the_truth_from_elsewhere(tmp_path, lanser):
    weak = write_jsonl(
        tmp_path / "weak.jsonl", [{"id": "a", "emotion": "joy"}, {"id": "b", "emotion": "fear"}]
    )
    gold = write_jsonl(
        tmp_path / "gold.jsonl", [{"id": "b", "said": "joy"}, {"id": "a", "said": "joy"}]
    )
    made = lanser("eval", weak, "--reference", gold, "--truth", "said", "--answer", "emotion")
    assert read_jsonl(made.stdout)[0]["wa"]["value"] == 0.5
    wrong = lanser("eval", weak, "--reference", gold, "--truth", "saidd", check=1)
    assert b"no record in it has 'saidd'" in wrong.stderr
