"""The recipes of slurm/ on a real Slurm: what is killed is submitted again, and nothing differs."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cluster
import door
import pytest
from conftest import ROOT, Lanser, read_jsonl
from quick import Quick

PARTS = 4
CLIPS = 40
RANKS = 2

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(cluster.missing() is not None, reason=str(cluster.missing())),
]

Run = Callable[..., str]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Runs a command where there are a Slurm and `lanser`, with more variables; what it says."""
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        cluster.slurm(Path(folder)) as site,
    ):
        bin_folder = Path(folder, "bin")
        bin_folder.mkdir()
        door.put_client(bin_folder / "lanser")
        environment = {**os.environ, **site, "PATH": f"{bin_folder}:{site['PATH']}"}

        def run(*command: object, **more: object) -> str:
            done = subprocess.run(
                [str(word) for word in command],
                env={**environment, **{name: str(value) for name, value in more.items()}},
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout + done.stderr

        yield run


def wait_for_all(run: Run) -> None:
    cluster.until(lambda: run("squeue", "--noheader") == "", "the queue is empty")


def test_an_array_with_a_killed_task_ends_in_the_bytes_of_one_process(
    run: Run, tiny_whisper: Path, tiny_nli: Path, lanser: Lanser, tmp_path: Path
) -> None:
    """One task dies of -9; the merger refuses; a second submission makes that part alone."""
    speech, out, alone = tmp_path / "speech", tmp_path / "out", tmp_path / "alone"
    speech.mkdir()
    alone.mkdir()
    for clip in sorted((ROOT / "examples/speech/unlabeled").glob("*.ogg"))[:CLIPS]:
        (speech / clip.name).symlink_to(clip)
    (speech / "broken.wav").write_bytes(b"RIFF, but no more of it")
    words, weak = alone / "words.jsonl", alone / "weak.jsonl"
    hearing, judging = ("--model", f"whisper:{tiny_whisper}"), ("--model", tiny_nli, "-t", "ekman6")
    # Each clip by itself: in another batch the last digit of a score may be another.
    lanser("transcribe", speech, *hearing, "--batch-size", 1, "-o", words, check=3)
    lanser("entail-label", words, *judging, "-o", weak)
    lanser("shard", weak, "-o", alone / "shards")

    settings = {
        **{"SPEECH": speech, "OUT": out, "PARTS": PARTS, "GPU": ""},
        **{"ASR": f"whisper:{tiny_whisper}", "NLI": tiny_nli, "TAXONOMY": "ekman6"},
        "LANSER_TRANSCRIBE_BATCH_SIZE": 1,
    }

    def submit() -> list[str]:
        said = run(ROOT / "recipes/slurm/submit.sh", **settings)
        return re.findall(r"^(\d+): ", said, re.MULTILINE)

    def parts(stage: str) -> dict[str, str]:
        [found] = read_jsonl(lanser("parts", out / stage, "--of", PARTS, "-q", check=None).stdout)
        return found

    jobs = submit()
    assert len(jobs) == 5  # two arrays, their mergers, shard
    cluster.until((out / "transcribe/2.jsonl.part").exists, "task 2 begins")
    twice = ("bash", "-c", '"$0" || [ $? -eq 2 ]', ROOT / "recipes/slurm/submit.sh")
    assert f"wait for their end, or  scancel {' '.join(jobs)}" in run(*twice, **settings)
    run("scancel", "--signal=KILL", "--full", f"{jobs[0]}_2")
    wait_for_all(run)
    logs = "".join(path.read_text() for path in sorted((out / "log").iterdir()))
    assert "this task takes slice 3/4" in logs, logs
    found = parts("transcribe")
    assert (found["whole"], found["unfinished"], found["array"]) == ("1,3-4", "2", "2"), logs
    assert "not merged before all parts are whole" in logs
    assert not (out / "words.jsonl").exists()

    submit()
    wait_for_all(run)
    logs = "".join(path.read_text() for path in sorted((out / "log").iterdir()))
    assert parts("transcribe")["whole"] == parts("entail-label")["whole"] == "1-4", logs
    for path in (words, weak, *sorted((alone / "shards").glob("*.tar"))):
        assert (out / path.relative_to(alone)).read_bytes() == path.read_bytes(), path
    assert len(read_jsonl(weak)) == CLIPS
    assert submit() == []


def test_a_training_of_two_ranks_that_is_queued_again_ends_in_the_weights_of_an_undisturbed_one(
    run: Run, labelled: Path, lanser: Lanser, quick: Callable[..., Quick], tmp_path: Path
) -> None:
    """Once it is pre-empted, as `scontrol requeue` does it too; once its time is nearly over."""
    shards, whole, made = tmp_path / "shards", tmp_path / "whole", tmp_path / "made"
    lanser("shard", labelled, "-o", shards)
    options = "--model resnet18-slim --device cpu --crop 0.3 --batch-size 4 --steps 40"
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29542", "SLURM_NTASKS": str(RANKS)}
    undisturbed = [
        quick(*line, env={**meeting, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)})
        for line in [("pretrain", shards, "-o", whole, *options.split())]
        for rank in range(RANKS)
    ]
    for rank in undisturbed:
        assert rank.wait().code == 0

    log = tmp_path / "log"
    job = run(
        *("sbatch", "--parsable", "--gres=none", f"--ntasks-per-node={RANKS}"),
        *("--cpus-per-task=1", f"--output={log}", ROOT / "recipes/slurm/pretrain.sbatch"),
        **{"SHARDS": shards, "RUN": made, "WORKERS": 0, "PRETRAIN": options},
    ).strip()
    metrics = made / "metrics.jsonl"
    cluster.until(lambda: metrics.exists() and logged(metrics) >= 10, "step 10")
    run("scontrol", "requeue", job)
    cluster.until(lambda: len(stops(log)) == 1, "it has saved")
    cluster.until(lambda: logged(metrics) > stops(log)[0], "it goes on")
    run("scancel", "--batch", "--signal=USR1", job)
    wait_for_all(run)
    said = log.read_text()
    assert len(stops(log)) == 2 and stops(log)[0] < stops(log)[1], said
    about = run("scontrol", "show", "job", job)
    assert "Restarts=2" in about and "JobState=COMPLETED" in about, said
    weights = [(folder / "model.safetensors").read_bytes() for folder in (whole, made)]
    assert weights[0] == weights[1]


def logged(metrics: Path) -> int:
    """The last step in a log that is being written."""
    found = re.findall(r'"step": (\d+)', metrics.read_text())
    return int(found[-1]) if found else 0


def stops(log: Path) -> list[int]:
    """The steps at which a job has stopped to go on later."""
    return [int(step) for step in re.findall(r"stopped at step (\d+) of", log.read_text())]
