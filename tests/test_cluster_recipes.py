"""The recipes for schedulers: they say what they do and need, and run where their tool is."""

from __future__ import annotations

import ast
import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import door
import pytest
import yaml
from conftest import ROOT, Lanser, read_jsonl

RECIPES = ROOT / "recipes"
FOLDERS = ("slurm", "parallel", "cron", "snakemake", "k8s")


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    folder = tmp_path / "speech"
    folder.mkdir()
    for clip in sorted((ROOT / "examples/speech/unlabeled").glob("*.ogg"))[:7]:
        shutil.copy2(clip, folder / clip.name)
    (folder / "broken.wav").write_bytes(b"RIFF, but no more of it")
    return folder


def run(
    folder: Path, *command: object, code: int = 0, **environment: object
) -> subprocess.CompletedProcess[str]:
    """Run a command with this Python's `lanser` on the path."""
    bin_folder = folder / "bin"
    if not bin_folder.exists():
        bin_folder.mkdir()
        door.put_client(bin_folder / "lanser")
    path = f"{bin_folder}:{os.environ['PATH']}"
    settings = {name: str(value) for name, value in environment.items()}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, "PATH": path, **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return done


def models(tiny_whisper: Path, tiny_nli: Path) -> dict[str, object]:
    return {"ASR": f"whisper:{tiny_whisper}", "NLI": tiny_nli, "TAXONOMY": "ekman6"}


@pytest.mark.parametrize(
    "path",
    sorted(path for folder in FOLDERS for path in (RECIPES / folder).iterdir()),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_a_recipe_says_what_it_does_what_it_needs_and_what_it_costs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    head = text[: text.index("\n\n")] if path.suffix != ".yaml" else text
    for word in ("What it does: ", "Needs: ", "Costs: "):
        assert f"# {word}" in head, word
    assert "set -euo pipefail" in text or "-euo\n" in text
    assert os.access(path, os.X_OK) == text.startswith("#!"), path


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("parallel") is None, reason="no GNU parallel here")
def test_parallel_makes_what_one_process_makes(
    speech: Path, tiny_whisper: Path, tiny_nli: Path, lanser: Lanser, tmp_path: Path
) -> None:
    settings = models(tiny_whisper, tiny_nli)
    out, whole = tmp_path / "my labels; $HOME", tmp_path / "whole"
    whole.mkdir()
    words = whole / "words.jsonl"
    lanser("transcribe", speech, "--model", settings["ASR"], "-o", words, check=3)
    lanser("entail-label", words, "--model", tiny_nli, "-t", "ekman6", "-o", whole / "weak.jsonl")
    for _ in range(2):  # the second time there is nothing to do
        run(
            *(tmp_path, RECIPES / "parallel/label.sh"),
            **{"SPEECH": speech, "OUT": out, "PARTS": 3, **settings},
        )
        for name in ("words.jsonl", "weak.jsonl"):
            assert (out / name).read_bytes() == (whole / name).read_bytes()


SSH = """\
#!/bin/bash
while [ "$1" != far ]; do shift; done
shift
[ "$1" != -- ] || shift
exec env -i HOME="$HOME" PATH="$PATH" SHELL=/bin/bash bash -c "$*"
"""


@pytest.mark.skipif(shutil.which("parallel") is None, reason="no GNU parallel here")
def test_parallel_hands_variables_to_other_machines_but_no_key(
    speech: Path, tmp_path: Path
) -> None:
    """By an `ssh` that stays here, and a `lanser` that says what it was given."""
    (tmp_path / "bin").mkdir()
    said = f"echo \"$LANSER_TRANSCRIBE_LANG|$LANSER_LLM_KEY|$*\" >> '{tmp_path}/said'"
    for name, text in {"ssh": SSH, "lanser": f"#!/bin/bash\n{said}\n"}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    run(
        *(tmp_path, RECIPES / "parallel/label.sh"),
        **{"SPEECH": speech, "OUT": "out", "PARTS": 1, "HOSTS": "far", "PARALLEL_HOME": tmp_path},
        **{"LANSER_TRANSCRIBE_LANG": "it's", "LANSER_LLM_KEY": "secret"},
    )
    lines = (tmp_path / "said").read_text().splitlines()
    assert [line.split()[0] for line in lines if "--part" in line] == [
        "it's||transcribe",
        "it's||entail-label",
    ]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock here")
def test_the_nightly_job_labels_each_file_once(
    speech: Path,
    tiny_whisper: Path,
    tiny_nli: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """New files, nothing new, one more file, two at once, a night cut short; a clock set back."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock/date").write_text("#!/bin/sh\necho 20261025-020000\n")
    (tmp_path / "clock/date").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/clock:{os.environ['PATH']}")
    out, script = tmp_path / "labels-of-calls", RECIPES / "cron/nightly.sh"
    settings = {"SPEECH": speech, "OUT": out, **models(tiny_whisper, tiny_nli), "SETTLED": "0"}

    def night(code: int = 0, **more: object) -> str:
        done = run(tmp_path, script, code=code, **{**settings, **more})
        assert code or done.stdout + done.stderr == "" or "rejected" in done.stderr
        return (out / "log").read_text().splitlines()[-1]

    def labelled() -> list[str]:
        return [r["id"] for path in sorted(out.glob("labels/*.jsonl")) for r in read_jsonl(path)]

    assert "labelled 7 of 8 new files: " in night()
    assert night().endswith(" nothing new")
    shutil.copy(speech / "utt-0001.ogg", speech / "another call.ogg")
    assert night(1, NLI="/no/such/model").endswith("; the next run goes on")
    shutil.copy(speech / "utt-0001.ogg", speech / "a-third.ogg")
    with (out / ".nightly.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert night().endswith(" another run is at work: nothing done")
    assert "labelled 1 of 1 new files: " in night()  # what was cut short
    assert "labelled 1 of 1 new files: " in night()
    assert len(labelled()) == len(set(labelled())) == 9
    (tmp_path / "link").symlink_to(speech)
    run(tmp_path, script, **settings | {"SPEECH": "link", "OUT": "of a link"})
    assert "labelled 9 of 10 new files: " in (tmp_path / "of a link/log").read_text()
    assert list(out.glob("nights/*.todo")) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("snakemake") is None, reason="no snakemake here")
def test_snakemake_makes_what_one_process_makes(
    speech: Path, tiny_whisper: Path, tiny_nli: Path, lanser: Lanser, tmp_path: Path
) -> None:
    settings = models(tiny_whisper, tiny_nli)
    words = tmp_path / "words.jsonl"
    lanser("transcribe", speech, "--model", settings["ASR"], "-o", words, check=3)
    config = [f"{name.lower()}={value}" for name, value in settings.items()]
    run(
        *(tmp_path, "snakemake", "-s", RECIPES / "snakemake/Snakefile", "--cores", 2),
        *("--config", f"speech={speech}", "parts=3", *config),
        HOME=tmp_path,
    )
    assert (tmp_path / "transcribe.jsonl").read_bytes() == words.read_bytes()
    assert (tmp_path / "shards/index.json").exists()


def test_other_models_do_not_pass_for_what_an_earlier_submission_made(tmp_path: Path) -> None:
    made = "/data in 16 parts, embedded, embedded, ekman6"
    (tmp_path / "settings").write_text(f"{made}\n")
    given = {"SPEECH": "/data", "OUT": tmp_path, "TAXONOMY": "meld7"}
    said = run(tmp_path, RECIPES / "slurm/submit.sh", code=2, **given).stderr
    assert f"says '{made}', not '{made.replace('ekman6', 'meld7')}': name another OUT" in said


SBATCH = """\
#!/bin/bash
while [[ $1 = -* ]]; do case $1 in --array=*) tasks=${1#*=} ;; esac; shift; done
echo 1
exec > /dev/null 2>> said
[ -n "$tasks" ] || "$@"
for task in $([ -z "$tasks" ] || seq ${tasks/-/ }); do SLURM_ARRAY_TASK_ID=$task "$@"; done
exit 0
"""


@pytest.mark.slow
def test_a_second_submission_minds_what_is_queued_and_what_has_changed(
    speech: Path, tiny_whisper: Path, tiny_nli: Path, tmp_path: Path
) -> None:
    """By an `sbatch` that runs a job at once."""
    (tmp_path / "bin").mkdir()
    door.put_client(tmp_path / "bin/lanser")
    for name, text in {"sbatch": SBATCH, "squeue": "#!/bin/sh\ncat queue\n"}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    out, script = tmp_path / "the labels", RECIPES / "slurm/submit.sh"
    given = {"SPEECH": speech, "OUT": out, "PARTS": 2, **models(tiny_whisper, tiny_nli)}

    def submit(code: int = 0, **more: object) -> list[str]:
        said = run(tmp_path, script, code=code, **{**given, **more}).stderr
        return re.findall("^1: .*|^.*submit.sh: .*", said, re.MULTILINE)

    inside = submit(2, OUT=speech / "out")
    assert "OUT lies in SPEECH" in inside[0] and not (speech / "out").exists()
    assert len(submit()) == 5 and (out / "shards/index.json").exists()
    (tmp_path / "queue").write_text("7\n7\n")
    assert submit(2)[0].endswith("wait for their end, or  scancel 7")
    (tmp_path / "queue").unlink()
    made = (out / "words.jsonl").read_bytes()
    shutil.rmtree(out / "transcribe")  # merged, so that nobody needs it
    assert submit(LANSER_TRANSCRIBE_DEVICE="cuda") == []  # which is not where this is run
    assert submit(PRETRAIN="--seed 1")[-1].endswith("pretrain.sbatch")
    (out / "pretrained").mkdir()
    (out / "pretrained/model.safetensors").touch()
    assert "is trained: PRETRAIN is not looked at again" in submit(PRETRAIN="--seed 1")[0]
    shutil.copy(speech / "utt-0001.ogg", speech / "later.ogg")
    assert "name another OUT; if there are new files in" in submit(2)[0]
    (out / "words.jsonl").unlink()
    (tmp_path / "said").unlink()
    assert len(submit()) == 4  # a new array and its merger, then a look at what is older than these
    assert (out / "words.jsonl").read_bytes() != made
    assert "weak.jsonl was made with another input" in (tmp_path / "said").read_text()
    (out / "words.jsonl").unlink()
    (speech / "later.ogg").unlink()
    (out / "transcribe/2.jsonl").unlink()
    assert "name another OUT" in submit(2)[0]  # by the part that is left


def test_the_snakefile_has_its_rules() -> None:
    """Read as text, since Snakemake need not be here."""
    text = (RECIPES / "snakemake/Snakefile").read_text(encoding="utf-8")
    assert re.findall(r"^rule (\w+):", text, re.MULTILINE) == ["all", "part", "merge", "shard"]
    assert "lanser parts {wildcards.stage} --of {PARTS} --merge {output}" in text


# ---------------------------------------------------------------- Kubernetes


def manifest(name: str) -> dict[str, Any]:
    found = yaml.safe_load((RECIPES / "k8s" / name).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def check_pod(pod: dict[str, Any]) -> str:
    """What the API server refuses: a mount without a volume, one without a kind. Its script."""
    spec = pod["spec"]
    [container] = spec["containers"]
    volumes = {volume["name"]: set(volume) - {"name"} for volume in spec["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert all(len(kinds) == 1 for kinds in volumes.values())
    assert set(container) == {"name", "image", "command", "resources", "volumeMounts"}
    assert container["command"][:-1] == ["bash", "-euo", "pipefail", "-c"]
    script = container["command"][-1]
    subprocess.run(["bash", "-n", "-c", script], check=True)
    return str(script)


def test_the_indexed_job_has_a_pod_for_each_part() -> None:
    job = manifest("transcribe.yaml")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    assert list(spec)[:4] == ["completionMode", "completions", "parallelism", "backoffLimit"]
    assert spec["completionMode"] == "Indexed"
    assert spec["template"]["spec"]["restartPolicy"] in ("Never", "OnFailure")
    assert f"--part k8s/{spec['completions']} " in check_pod(spec["template"])


def test_the_script_of_the_indexed_job_makes_its_part(
    speech: Path, tmp_path: Path, lanser: Lanser, tiny_whisper: Path
) -> None:
    script = check_pod(manifest("transcribe.yaml")["spec"]["template"])
    script = script.replace("/speech", f"{speech} --model whisper:{tiny_whisper}")
    script = script.replace("/out/", f"{tmp_path}/out/").replace("k8s/16", "k8s/2")
    for index in (0, 1):
        run(tmp_path, "bash", "-euo", "pipefail", "-c", script, JOB_COMPLETION_INDEX=index)
    [found] = read_jsonl(lanser("parts", tmp_path / "out/transcribe", "--of", "2").stdout)
    assert found["whole"] == "1-2"  # though the files are called 0 and 1


def test_the_training_job_starts_a_torchrun_on_each_node() -> None:
    job = manifest("pretrain.yaml")
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    replicas = job["spec"]["pytorchReplicaSpecs"]
    assert list(replicas) == ["Master", "Worker"] and replicas["Master"]["replicas"] == 1
    nodes = sum(replica["replicas"] for replica in replicas.values())
    for replica in replicas.values():
        assert set(replica) == {"replicas", "restartPolicy", "template"}
        [container] = replica["template"]["spec"]["containers"]
        assert container["name"] == "pytorch"  # the operator looks for it
        script = check_pod(replica["template"])
        gpus = container["resources"]["limits"]["nvidia.com/gpu"]
        assert f"--nnodes={nodes} " in script and f"--nproc-per-node={gpus} " in script


# ---------------------------------------------------------------- Ray


def test_the_ray_example_is_short() -> None:
    text = (RECIPES / "ray_parts.py").read_text(encoding="utf-8")
    ast.parse(text)
    assert len([line for line in text.splitlines() if line.strip()]) <= 25


RAY = """\
import os

def remote(**_):
    def away(function):
        def work(*words):
            here = os.getcwd()
            os.chdir("/")
            function(*words)
            os.chdir(here)
        work.remote = work
        return work
    return away

get = list
"""


def test_paths_of_the_ray_example_count_from_where_it_was_started(tmp_path: Path) -> None:
    """By a Ray whose workers have another working directory."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/lanser").write_text(f"#!/bin/sh\npwd >> '{tmp_path}/said'\n")
    (tmp_path / "bin/lanser").chmod(0o755)
    (tmp_path / "ray.py").write_text(RAY)
    run(tmp_path, sys.executable, RECIPES / "ray_parts.py", "out", 2, "x", PYTHONPATH=tmp_path)
    assert (tmp_path / "said").read_text() == f"{tmp_path}\n" * 3  # two parts, and the merger


@pytest.mark.slow
def test_the_ray_example_makes_what_one_process_makes(
    speech: Path, tiny_whisper: Path, lanser: Lanser, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="no Ray here")
    words = tmp_path / "whole.jsonl"
    stage = ("transcribe", speech, "--model", f"whisper:{tiny_whisper}")
    lanser(*stage, "-o", words, check=3)
    run(tmp_path, sys.executable, RECIPES / "ray_parts.py", tmp_path / "parts", 2, *stage)
    assert (tmp_path / "parts.jsonl").read_bytes() == words.read_bytes()
