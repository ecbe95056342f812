"""The documentation is true: its examples are parsed, its commands are run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import door
import numpy as np
import pytest
import soundfile
from conftest import ENVIRONMENT, ROOT, read_jsonl, write_jsonl

from lanser_cli.app import VERBS
from lanser_cli.entailment.calibration import Prior
from lanser_cli.entailment.crosswalk import load_crosswalk
from lanser_cli.entailment.taxonomy import Taxonomy, load_taxonomy
from lanser_cli.evaluation import certificate
from lanser_cli.records import _TYPES, Record, Reject

PAGES = [
    *("README.md", "examples/README.md", "recipes/README.md"),
    *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")),
]


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_cli_reference_is_what_help_says():
    made = subprocess.run(
        [sys.executable, "-c", "import sys; sys.path.insert(0, 'docs'); import make_cli; "
         "print(make_cli.reference(), end='')"],
        cwd=ROOT, capture_output=True, env={**os.environ, **ENVIRONMENT}, check=True,
    )  # fmt: skip
    assert (ROOT / "docs/cli.md").read_text() == made.stdout.decode(), "run: make docs"


def test_every_verb_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for verb in VERBS:
        assert f"`{verb}`" in readme, verb


def test_record_examples_are_records():
    examples = [json.loads(block) for block in blocks("docs/formats.md", "json")]
    *records, rejected = examples
    assert len(records) >= 3
    for example in records:
        assert Record.parse(example).fields == example
        # an example shows each key in its documented place
    reject = Reject(None, "", "", None).as_json()
    assert list(rejected) == list(reject)


def test_the_key_table_is_the_code():
    text = (ROOT / "docs/formats.md").read_text()
    table = text.split("## Records")[1].split("After `manifest`")[0]
    keys = dict(
        re.findall(r"^\| `(\w+)` \| (string|whole number|number|object)", table, re.MULTILINE)
    )
    types = {(str,): "string", (int, float): "number", (int,): "whole number", (dict,): "object"}
    assert keys == {key: types[kind] for key, kind in _TYPES.items()}


def test_index_example_has_the_keys_of_an_index(labelled, tmp_path, lanser):
    lanser("shard", labelled, "-o", tmp_path / "shards")
    made = json.loads((tmp_path / "shards" / "index.json").read_text())
    [example] = map(json.loads, blocks("docs/formats.md", "json index"))
    assert list(example) == list(made)
    assert list(example["shards"][0]) == list(made["shards"][0])
    assert example["schema"] == made["schema"]


def test_example_of_what_made_a_file_has_its_keys(tmp_path, lanser):
    source = write_jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": ""}])
    lanser("entail-label", source, "-t", "ekman6", "-o", tmp_path / "out.jsonl")
    [example] = map(json.loads, blocks("docs/formats.md", "json meta"))
    made = json.loads((tmp_path / "out.jsonl.meta.json").read_text())
    assert list(example) == list(made)
    some = [name for name in made["identity"] if name in example["identity"]]
    assert some == list(example["identity"])


def test_examples_of_parts_have_their_keys(tmp_path, lanser):
    source = write_jsonl(tmp_path / "in.jsonl", [{"id": "a", "text": ""}, {"id": "b"}])
    for number in (1, 2):
        out = tmp_path / f"{number}.jsonl"
        lanser("entail-label", source, "--part", f"{number}/2", "-o", out, check=None)
    [example] = map(json.loads, blocks("docs/formats.md", "json slice"))
    made = json.loads((tmp_path / "2.jsonl.meta.json").read_text())["slice"]
    assert list(example) == list(made) and made == {"in": 1, "left_out": "0"}
    [example] = map(json.loads, blocks("docs/formats.md", "json parts"))
    [made] = read_jsonl(lanser("parts", tmp_path, "--of", "2").stdout)
    assert list(example) == list(made)


def test_audit_example_has_the_keys_of_a_certificate(tmp_path, lanser):
    one = {"id": "a", "sentence": "01", "split": "train"}
    sets = write_jsonl(tmp_path / "x.jsonl", [one, {**one, "id": "b", "split": "test"}])
    path = tmp_path / "audit.json"
    lanser("audit", sets, "--allow", "sentence", "-o", path)
    made = json.loads(path.read_text())
    [example] = map(json.loads, blocks("docs/formats.md", "json audit"))
    assert list(example) == list(made)
    assert list(example["sides"][0]) == list(made["sides"][0])
    by_name = {check["check"]: check for check in made["checks"]}
    for check in example["checks"]:
        assert list(check) == list(by_name[check["check"]])
        assert check["allowed"] == by_name[check["check"]]["allowed"]
    shown, found = (c["checks"][k] for c, k in ((example, 0), (made, 2)))
    assert list(shown["examples"][0]) == list(found["examples"][0])
    assert example["schema"] == made["schema"]
    assert example["max_bit_errors"] == made["max_bit_errors"]
    cited = certificate.cite(path).about
    page = (ROOT / "docs/formats.md").read_text().split("With\n  `--audit FILE`")[1][:400]
    for key in cited:
        assert f"`{key}`" in page, key


def test_compare_example_has_the_keys_of_a_comparison(tmp_path, lanser):
    values = [{"id": str(n), "label": "ab"[n % 2], "prediction": "ab"[n % 3 % 2]} for n in range(9)]
    path = write_jsonl(tmp_path / "x.jsonl", values)
    [made] = read_jsonl(lanser("compare", path, path).stdout)
    [example] = map(json.loads, blocks("docs/formats.md", "json compare"))
    assert list(example) == list(made)
    for score in ("uar", "wa", "macro_f1"):
        assert list(example[score]) == list(made[score])


def test_metrics_example():
    [example] = map(json.loads, blocks("docs/formats.md", "json metrics"))
    golden = (ROOT / "tests" / "golden" / "pretrain.metrics.jsonl").read_text()
    for line in golden.splitlines():  # whose trained numbers are masked
        assert re.findall(r'"(\w+)":', line) == list(example)


def test_prior_example_is_a_prior(tmp_path, tiny_nli, lanser):
    [example] = blocks("docs/formats.md", "json prior")
    path = tmp_path / "prior.json"
    path.write_text(example)
    assert Prior.load(path).texts == 1000
    texts = write_jsonl(tmp_path / "in.jsonl", [{"id": x, "text": f"so {x}"} for x in "ab"])
    line = ("entail-label", texts, "--model", tiny_nli, "--labels", "joy,anger", "--device", "cpu")
    lanser(*line, "--calibrate", "batch", "--prior", tmp_path / "made.json")
    made = json.loads((tmp_path / "made.json").read_text())
    example = json.loads(example)
    assert list(example) == list(made)
    [shown], [found] = example["log_odds"], made["log_odds"]
    assert shown.count("/") == found.count("/") == 2


def test_taxonomy_and_crosswalk_examples(tmp_path):
    [example] = blocks("docs/formats.md", "json taxonomy")
    path = tmp_path / "mine.json"
    path.write_text(example)
    assert Taxonomy.from_file(path).adjectives == ("joyful", "calm")
    [example] = blocks("docs/formats.md", "json crosswalk")
    path.write_text(example)
    assert load_crosswalk(str(path), load_taxonomy("meld7")).target == load_taxonomy("iemocap4")


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            if "://" not in target:
                assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"


def test_every_recipe_is_on_the_page_of_recipes():
    page = (ROOT / "recipes/README.md").read_text()
    kinds = ("*.sh", "*.sbatch", "*.yaml", "Snakefile", "ray_*.py")
    for path in (path for kind in kinds for path in ROOT.glob(f"recipes/**/{kind}")):
        assert f"]({path.relative_to(ROOT / 'recipes')})" in page, path


@pytest.fixture(scope="session")
def small_checkout(tmp_path_factory) -> Path:
    """A checkout whose example corpus is small, so that its commands run in seconds."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("recipes", "lanser_cli"):
        (folder / name).symlink_to(ROOT / name)
    speech = folder / "examples" / "speech"
    (speech / "unlabeled").mkdir(parents=True)
    (speech / "labeled").mkdir()
    written = read_jsonl(ROOT / "examples/speech/written.jsonl")[:16]
    for line in written:
        name = f"unlabeled/{line['id']}.ogg"
        shutil.copy(ROOT / "examples/speech" / name, speech / name)
    write_jsonl(speech / "written.jsonl", written)
    corpus = read_jsonl(ROOT / "examples/speech/labeled/corpus.jsonl")[::5]
    for line in corpus:
        name = f"labeled/{line['audio_filepath']}"
        shutil.copy(ROOT / "examples/speech" / name, speech / name)
    write_jsonl(speech / "labeled" / "corpus.jsonl", corpus)
    shutil.copy(ROOT / "examples" / "emotions.json", folder / "examples")
    columns = ("audio_filepath", "label", "speaker", "voice")
    rows = [",".join(columns)]
    for line in corpus:
        line["audio_filepath"] = f"examples/speech/labeled/{line['audio_filepath']}"
        rows.append(",".join(line[column] for column in columns))
    (folder / "tables").mkdir()  # of tests alone: no page may count on it
    (folder / "tables/corpus.csv").write_text("\n".join(rows) + "\n")
    return folder


def shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a reader of the page would, with this Python's `lanser` on the path."""
    bin_folder = folder / ".bin"
    if not bin_folder.exists():
        bin_folder.mkdir()
        door.put_client(bin_folder / "lanser")
        for name, arguments in (
            ("python", ""),
            ("torchrun", "-m torch.distributed.run"),
        ):
            (bin_folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
            (bin_folder / name).chmod(0o755)
    path = f"{bin_folder}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=1200,
    )


def offline(folder: Path) -> dict[str, str]:
    """An environment that has no model in a cache and reaches no network, wherever it runs."""
    empty = str(folder / "empty")
    nowhere = "http://127.0.0.1:9"
    caches = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE"), empty)
    return {**caches, "HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere, "https_proxy": nowhere}


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    ["README.md", *(f"docs/{name}.md" for name in ("labelling", "models", "scale"))]
    + ["examples/README.md"],
)
def test_commands_of_a_page_run(page, small_checkout):
    """Blocks marked `sh` run as they stand, one after the other, in one folder."""
    script = "\n".join(blocks(page, "sh"))
    result = shell(script, small_checkout)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.slow
def test_the_first_pipe_needs_no_network_and_gives_what_the_page_shows(small_checkout):
    """But for scores, case and stops: the recogniser's 8 bits are not those of every processor."""
    [shown] = blocks("README.md", "console")
    command, *rows = re.sub(r"\n> +", " ", shown.removeprefix("$ ")).splitlines()
    pipe = command.split(" | head")[0]
    assert pipe == "lanser transcribe examples/speech/unlabeled | lanser entail-label -t ekman6"
    result = shell(pipe, small_checkout, **offline(small_checkout))
    assert result.returncode == 0, result.stderr[-3000:]

    def letters(words: str) -> str:
        return re.sub("[^a-z]", "", words.lower())

    made = map(json.loads, result.stdout.splitlines()[: len(rows)])
    wanted = [(emotion, letters(text)) for emotion, _, text in (row.split("\t") for row in rows)]
    assert [(one["emotion"], letters(one["text"])) for one in made] == wanted


def test_python_of_the_readme_runs(capsys):
    for block in blocks("README.md", "python"):
        exec(block, {})
    assert "'anger'" in capsys.readouterr().out


def commands_that_download() -> list[str]:
    return [
        line
        for page in PAGES
        for block in blocks(page, "sh download")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("lanser")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("command", commands_that_download())
def test_commands_that_download_say_so_kindly_offline(command, small_checkout):
    """Blocks marked `sh download` need a model: they say in one sentence what to do."""
    (small_checkout / "weak.jsonl").touch()  # which another command of the page makes
    (small_checkout / "words.jsonl").unlink(missing_ok=True)
    result = shell(command, small_checkout, **offline(small_checkout))
    assert result.returncode == 1, result.stderr
    assert "could not be" in result.stderr and "--model" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_from_scratch_on_ravdess(shared, tmp_path):
    """The measurement of docs/evidence.md with 4 of its 60 epochs: well above chance (0.125)."""
    [script] = blocks("docs/evidence.md", "sh ravdess")
    assert "--epochs 60" in script
    (tmp_path / "RAVDESS").symlink_to(shared / "ravdess")
    result = shell(script.replace("--epochs 60", "--epochs 4"), tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    [made] = read_jsonl(result.stdout)
    assert made["n"] == 240 and made["uar"] > 0.2
    config = json.loads((tmp_path / "runs/ravdess/fold-1/config.json").read_text())
    assert config["test_speakers"] == [f"Actor_{actor:02d}" for actor in (9, 10, 11, 12)]


@pytest.mark.slow
def test_the_first_half_adds_up_on_ravdess(shared, tmp_path):
    """Real speech through the pipe, with one clip that cannot be read: nothing is lost."""
    for actor in ("01", "02"):
        (tmp_path / "speech" / actor).mkdir(parents=True)
        for clip in sorted((shared / "ravdess" / f"Actor_{actor}").glob("*-02-0?.flac"))[:5]:
            (tmp_path / "speech" / actor / clip.name).symlink_to(clip)
    (tmp_path / "speech" / "broken.flac").write_bytes(b"fLaC, but no more of it")
    result = shell(
        "set +o pipefail; lanser transcribe speech --rejects rejects.jsonl"
        " | lanser entail-label --keep-flagged | lanser shard -o shards"
        " && lanser shard --verify shards",
        tmp_path,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    [reject] = read_jsonl(tmp_path / "rejects.jsonl")
    assert reject["id"] == "broken"
    assert "transcribe: 11 in, 10 out, 1 rejected" in result.stderr
    words = re.search(r"entail-label: 10 in, 10 out, 0 rejected", result.stderr)
    packed = re.search(r"shard: 10 in, (\d+) out, 0 rejected(?:, (\d+) dropped)?", result.stderr)
    assert words and packed
    assert int(packed[1]) + int(packed[2] or 0) == 10
    index, verified = read_jsonl(result.stdout)
    assert index["samples"] == int(packed[1]) and verified["whole"]


@pytest.mark.slow
def test_quickstart_recipe_ends_with_its_three_figures(small_checkout):
    once = shell("recipes/quickstart.sh", small_checkout, **SMALL)
    assert once.returncode == 0, once.stderr[-3000:]
    tail = once.stdout
    assert "quickstart/report/report.html" in tail
    for figure in ("weak label = emotion", "UAR of the fine-tuned", "from scratch", "median R2"):
        assert re.search(rf"{figure}.* -?\d\.\d\d\d", tail), tail
    again = shell("recipes/quickstart.sh", small_checkout, **SMALL)
    assert again.stdout == once.stdout, "a second run picks up what is there"


SMALL = {"PRETRAIN_EPOCHS": "1", "FINETUNE_EPOCHS": "1"}


@pytest.mark.slow
def test_quickstart_labels_the_users_own_recordings(small_checkout):
    """A long recording, a video, and a file that is none among them."""
    mine = small_checkout / "mine"
    mine.mkdir()
    clips = sorted((small_checkout / "examples" / "speech" / "unlabeled").glob("*.ogg"))
    sounds = [soundfile.read(clip)[0] for clip in clips]
    long = np.concatenate([sound for sound in sounds for sound in (sound, np.zeros(16_000))])
    assert len(long) > 45 * 16_000
    soundfile.write(mine / "long.wav", long, 16_000)
    with av.open(str(mine / "film.mkv"), "w") as film:
        stream = film.add_stream("pcm_s16le", rate=16_000, layout="mono")
        samples = (sounds[0] * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 16_000
        film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    (mine / "broken.flac").write_bytes(b"fLaC, but no more of it")
    recipe = ROOT / "recipes/quickstart.sh"  # of another folder than the recordings
    result = shell(str(recipe), small_checkout, AUDIO="mine", WORK="own")
    assert result.returncode == 0, result.stderr[-3000:]
    labels = read_jsonl(small_checkout / "own" / "labels.jsonl")
    assert f"Weak labels of {len(labels)} utterances in 2 recordings" in result.stdout
    assert len(labels) > 10 and {Path(one["audio_filepath"]).name for one in labels} == {
        "long.wav",
        "film.mkv",
    }
    assert "      1  rejected, with the reasons in own/unheard.jsonl" in result.stdout


ON_EXAMPLES = {
    "SPEECH": "examples/speech/unlabeled",
    "CORPUS": "csv tables/corpus.csv",
    "WORK": "all",
    "NLI": "embedded",
    "TAXONOMY": "ekman6",
    "MODEL": "resnet18-slim",
    "PRETRAIN": "--steps 1 --crop 1",
    "FINETUNE": "--steps 1 --test voice=slt --crop 1",
    "EFFICIENCY": "--steps 1 --test voice=slt --fractions 1 --seeds 1",
    "BASELINE": "--test voice=slt",
}


@pytest.mark.slow
def test_the_paper_from_a_folder_of_speech_to_the_report(small_checkout):
    """In two goes; not the curve and the probe, which have tests of their own. Then the others."""
    for stages in ({"STOP_STAGE": "manifest"}, {"STAGE": "finetune", "STOP_STAGE": "eval"}):
        done = shell("recipes/lanser.sh", small_checkout, **ON_EXAMPLES, **stages)
        assert done.returncode == 0, done.stderr[-3000:]
    work = small_checkout / "all"
    assert len(json.loads((work / "report/report.json").read_text())["results"]) == 3
    for words, arms in (
        ("taxonomy ekman6 meld7", ("ekman6", "meld7")),
        ("template 'I am {adjective}.' 'I feel {}.'", ("I_am_adjective_", "I_feel_")),
    ):
        done = shell(f"recipes/ablate.sh {words}", small_checkout, **ON_EXAMPLES)
        assert done.returncode == 0, done.stderr[-3000:]
        made = work / f"ablate-{words.split()[0]}"
        assert sorted(path.name for path in made.iterdir()) == sorted([*arms, "report"])
        [difference] = read_jsonl(done.stdout)[-1:]
        assert [Path(difference[key]).parent.name for key in ("reference", "other")] == list(arms)
    again = {**ON_EXAMPLES, "WORK": "curves", "INIT": "all/pretrained"}
    done = shell("recipes/label-efficiency.sh csv=tables/corpus.csv", small_checkout, **again)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (small_checkout / "curves" / "csv" / "report.html").exists()


def test_the_paper_is_shown_and_its_stages_are_checked_before_anything_runs(tmp_path):
    recipe, paper = ROOT / "recipes/lanser.sh", {**ON_EXAMPLES, "STAGE": "eval"}
    shown = shell(f"{recipe} --dry-run", tmp_path, **paper)
    verbs = [line.split()[1] for line in shown.stdout.splitlines()]
    assert verbs == ["eval", "efficiency", "probe-prosody"]
    for change, said in (
        ({"STAGE": "finetun"}, "there are: transcribe entail-label"),
        ({"STOP_STAGE": "shard"}, "STAGE eval comes after STOP_STAGE shard"),
        ({"SPEECH": ".", "WORK": "all"}, "WORK lies in SPEECH"),
        ({"PRETRAIN": "--crop=1 --trim", "FINETUNE": "--crop 1"}, "PRETRAIN has --trim, and"),
    ):
        wrong = shell(str(recipe), tmp_path, **{**paper, **change})
        assert wrong.returncode == 2 and said in wrong.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".bin"]


def test_stages_that_are_not_asked_for_leave_what_is_there(tmp_path):
    half = tmp_path / "all/baseline/svm"
    half.mkdir(parents=True)
    done = shell(f"{ROOT}/recipes/lanser.sh", tmp_path, **ON_EXAMPLES, STAGE="probe-prosody")
    assert done.returncode == 1 and "all/pretrained: there is no such run" in done.stderr
    assert half.is_dir()


@pytest.mark.parametrize("words", ["model embedded gliclass:x", "labels joy,anger joy,sadness"])
def test_an_ablation_may_change_what_it_else_sets_itself(words, tmp_path):
    done = shell(f"{ROOT}/recipes/ablate.sh {words}", tmp_path, WORK="none")
    assert done.returncode == 1
    assert "lanser: error: none/words.jsonl: there is no such file" in done.stderr


@pytest.mark.parametrize("name", ["lanser", "label-efficiency", "ablate"])
def test_a_recipe_says_what_it_does_what_it_needs_and_what_it_costs(name):
    head = (ROOT / f"recipes/{name}.sh").read_text().split("set -euo")[0]
    for word in ("What it does: ", "Needs: ", "Costs: "):
        assert f"# {word}" in head


def test_values_of_an_ablation_that_differ_in_a_mark_alone_have_a_folder_each(tmp_path):
    """By a `lanser` that says what it was given."""
    (tmp_path / ".bin").mkdir()
    (tmp_path / ".bin/lanser").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / ".bin/lanser").chmod(0o755)
    done = shell(f"{ROOT}/recipes/ablate.sh template 'I {{}}.' 'I {{}}!' -", tmp_path, WORK="all")
    made = "all/ablate-template"
    compared = f"compare {made}/I_/tuned {made}/I__/tuned {made}/_/tuned -o"
    assert compared in done.stdout, done.stderr


@pytest.mark.slow
def test_slurm_recipes(small_checkout):
    """Run as Slurm would, where there is none: each task of an array, the merger, one more step."""
    for task in ("1", "2"):
        result = shell(
            "recipes/slurm/part.sbatch parts 2 transcribe examples/speech/unlabeled",
            small_checkout,
            SLURM_ARRAY_TASK_ID=task,
        )
        assert result.returncode == 0, result.stderr[-3000:]
    merge = (
        "recipes/slurm/step.sbatch parts parts --of 2 --merge words-of-parts.jsonl > merged;"
        " lanser entail-label words-of-parts.jsonl -t ekman6 | lanser shard -o shards-of-parts/"
    )
    assert '"samples":16' in shell(merge, small_checkout).stdout
    tars = (
        "for n in 1 2 3; do tar cf t-$n.tar -C examples/speech/unlabeled utt-000$n.ogg; done;"
        " printf '%s\n' t-?.tar > tars.txt; recipes/slurm/tars.sbatch tars.txt 2 'of tars'"
    )
    for task, code in (("1", 0), ("0", 2), ("2", 0)):
        assert shell(tars, small_checkout, SLURM_ARRAY_TASK_ID=task).returncode == code
    weak = sorted((small_checkout / "of tars" / "weak").glob("*.jsonl"))
    assert [read_jsonl(path)[0]["id"] for path in weak] == [f"utt-000{n}" for n in (1, 2, 3)]
    (small_checkout / "OUT").symlink_to("of tars")
    [gather] = re.findall("^sed .*tars.txt .*", (ROOT / "docs/scale.md").read_text(), re.MULTILINE)
    assert shell(gather, small_checkout).returncode == 0
    gathered = small_checkout / "weak.jsonl"
    assert gathered.read_bytes() == b"".join(path.read_bytes() for path in weak)
    weak[1].unlink()
    lost = shell(gather, small_checkout)
    assert lost.returncode != 0 and "OUT/weak/t-2.jsonl" in lost.stderr


def test_make_targets_exist():
    """What the README tells a newcomer to type is what the Makefile has."""
    readme = (ROOT / "README.md").read_text()
    for target in set(re.findall(r"^make ([a-z-]+)", readme, re.MULTILINE)):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("texts", [[], ["TEXT=texts"]])
def test_benchmarks_of_labels_run_where_their_texts_are_named(texts):
    line = ["make", "-n", "bench", "bench-gpu", *texts]
    shown = subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    of_labels = re.findall(r"bench/(?:entail|labels|voters)\.py.*", shown)
    assert len(of_labels) == 4 * len(texts) and all("--text texts" in line for line in of_labels)
    assert "bench/transcribe.py" in shown


@pytest.mark.parametrize("script", sorted(ROOT.glob("recipes/**/*.s*")), ids=lambda path: path.name)
def test_recipes_are_sound_shell(script):
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", script], check=True)


def test_nothing_speaks_of_how_it_was_made():
    """The project speaks of itself alone."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout of git")
    words = re.compile(r"/work/|/tmp/w\b")
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True
    )
    assert len(files.stdout.split()) > 100
    for name in files.stdout.split():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".sh", ".toml", ".json") and name != "tests/test_docs.py":
            assert not words.search(path.read_text(encoding="utf-8")), name
