"""The recipes of slurm/ on a real Slurm: what is killed is submitted again, and nothing differs."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import cluster
import door
import pytest
from conftest import ROOT, Lanser, read_jsonl

PARTS = 4
CLIPS = 40


@pytest.mark.slow
@pytest.mark.skipif(cluster.missing() is not None, reason=str(cluster.missing()))
def test_an_array_with_a_killed_task_ends_in_the_bytes_of_one_process(
    tiny_whisper: Path, tiny_nli: Path, lanser: Lanser, tmp_path: Path
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
    lanser("transcribe", speech, *hearing, "-o", words, check=3)
    lanser("entail-label", words, *judging, "-o", weak)
    lanser("shard", weak, "-o", alone / "shards")

    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    door.put_client(bin_folder / "lanser")
    settings = {
        **{"SPEECH": str(speech), "OUT": str(out), "PARTS": str(PARTS), "GPU": ""},
        **{"ASR": f"whisper:{tiny_whisper}", "NLI": str(tiny_nli), "TAXONOMY": "ekman6"},
    }
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        cluster.slurm(Path(folder)) as environment,
    ):
        environment = {**os.environ, **environment, **settings}
        environment["PATH"] = f"{bin_folder}:{environment['PATH']}"

        def run(*command: str) -> str:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stderr
            return done.stdout + done.stderr

        def over() -> bool:
            return run("squeue", "--noheader") == ""

        def parts(stage: str) -> dict[str, str]:
            [found] = read_jsonl(
                lanser("parts", out / stage, "--of", PARTS, "-q", check=None).stdout
            )
            return found

        submitted = run(str(ROOT / "recipes/slurm/submit.sh"))
        jobs = re.findall(r"^(\d+): ", submitted, re.MULTILINE)
        assert len(jobs) == 5, submitted  # two arrays, their mergers, shard
        cluster.until((out / "transcribe/2.jsonl.part").exists, "task 2 begins")
        run("scancel", "--signal=KILL", "--full", f"{jobs[0]}_2")
        cluster.until(over, "the queue is empty")
        logs = "".join(path.read_text() for path in sorted((out / "log").iterdir()))
        assert "this task takes slice 3/4" in logs, logs
        found = parts("transcribe")
        assert (found["whole"], found["unfinished"], found["array"]) == ("1,3-4", "2", "2"), logs
        assert "not merged before all parts are whole" in logs
        assert not (out / "words.jsonl").exists()

        run(str(ROOT / "recipes/slurm/submit.sh"))
        cluster.until(over, "the queue is empty")
        logs = "".join(path.read_text() for path in sorted((out / "log").iterdir()))
        assert parts("transcribe")["whole"] == parts("entail-label")["whole"] == "1-4", logs
        for path in (words, weak, *sorted((alone / "shards").glob("*.tar"))):
            assert (out / path.relative_to(alone)).read_bytes() == path.read_bytes(), path
        assert len(read_jsonl(weak)) == CLIPS
        done = run(str(ROOT / "recipes/slurm/submit.sh"))
        assert not re.search(r"^\d+: ", done, re.MULTILINE), done
