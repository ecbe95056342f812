"""Each verb's page of help: groups, what is required, values, width, and examples that run."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import EKMAN, ROOT, read_jsonl, tone, write_jsonl
from test_docs import shell

from lanser_cli import app, provenance
from lanser_cli.commands import groups
from lanser_cli.pipe import Pipe
from lanser_cli.records import Record
from lanser_cli.stage import one_process

ABSENT = ("whisper:large", "FacebookAI/", "marks.jsonl", "runs/seed-")
"""What examples name that is not here: models, marks, which a person makes, and further seeds."""
ELSEWHERE = ("--to onnx",)
"""What takes a tenth of all their time, and has its tests in training/test_export.py."""


def page(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert app.main([verb, "--help"]) == 0
    return capsys.readouterr().out


def examples(verb: str) -> list[str]:
    command = app.program.commands[verb]
    return command.examples


def test_each_option_is_in_a_group() -> None:
    without = [
        f"{verb} {param.name}"
        for verb, command in app.program.commands.items()
        for param in command.params
        if param.param_type_name == "option" and param.rich_help_panel not in groups.ORDER
    ]
    assert without == []


@pytest.mark.parametrize("verb", app.VERBS)
@pytest.mark.parametrize("columns", [60, 100])
def test_help_is_in_groups_and_as_wide_as_the_terminal(
    verb: str, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = page(verb, capsys)
    _, *sections = re.split(r"^(?=\w[\w ]*:$)", text, flags=re.MULTILINE)
    titles = [section.partition(":")[0] for section in sections]
    assert titles == [title for title in groups.ORDER if title in titles] + ["Examples"]
    assert "Options" not in titles and "Running" in titles
    assert max(len(line) for section in sections[:-1] for line in section.splitlines()) <= columns
    assert not re.search(r"<[a-z]", text)
    assert examples(verb) == [line.strip() for line in sections[-1].splitlines()[1:]]


def test_help_names_choices_and_marks_what_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--calibrate [none|null|batch]" in page("entail-label", capsys)
    assert "--allow [id|speaker|sentence|text|audio|fingerprint]" in page("audit", capsys)
    text = page("pretrain", capsys)
    assert "Usage: lanser pretrain [OPTIONS] [INPUT...]\n" in text
    assert re.search(r"-o, --output RUN +Run folder to make\.  \[required\]\n", text)
    assert text.count("[required]") == 1
    assert "Usage: lanser manifest [OPTIONS] KIND ROOT\n" in page("manifest", capsys)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["pretrain", "x.jsonl"], "pretrain needs -o RUN (see --help)"),
        (["manifest"], "manifest needs KIND and ROOT (see --help)"),
        (["manifest", "csv"], "manifest needs ROOT (see --help)"),
        (["predict"], "predict needs -r RUN (see --help)"),
    ],
)
def test_what_is_required_is_asked_for(
    line: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(line) == 2
    assert capsys.readouterr().err == f"lanser: error: {said}\n"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("manifest", "jsonl", ""), "ROOT"),
        (("transcribe", "a.wav", ""), "INPUT..."),
        (("shard", "a.jsonl", "--output="), "-o PATH"),
        (("why", ""), "ID"),
    ],
)
def test_an_empty_word_is_refused(
    words: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(words) == 2
    said = capsys.readouterr().err
    assert said == f"lanser: error: {name} is empty: write what it is to be\n"


@pytest.mark.parametrize(
    ("line", "mode", "names"),
    [
        ("shard --relabel a b -o c --min-score 0", "--relabel", "-o PATH and --min-score X"),
        ("shard --verify made --no-text -q --workers 2", "--verify", "--no-text"),
        ("shard x.jsonl --verify made", "--verify", "INPUT..."),
        ("listen x.jsonl --score marks.jsonl --force", "--score", "--force"),
        ("entail-label --sweep g.jsonl x --top-k 2", "--sweep", "INPUT... and --top-k N"),
        ("entail-label x --labels a,b -t ekman6", "--labels", "--taxonomy TEXT"),
        ("audit a b --no-audio --workers 2", "--no-audio", "--workers N"),
        ("transcribe a.wav --segment fixed --decoders 1", "--segment", "--decoders N"),
        ("finetune x -o out --test speaker=1 --folds 3", "--test", "--folds N"),
    ],
)
def test_what_a_verb_does_not_read_in_a_mode_is_refused(
    line: str, mode: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, *words = line.split()
    assert app.main([verb, *words]) == 2
    said = f"lanser: error: {verb} {mode} does not read {names}: leave that out\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("line", "names", "beside"),
    [
        ("eval run --no-audio", "--no-audio", "-o"),
        ("eval run --device cpu", "--device TEXT", "--perturb"),
        ("listen x.jsonl -o x.html --precision 0.9", "--precision X", "--score"),
        ("transcribe a.wav --min-seconds 1", "--min-seconds X", "--segment"),
        ("transcribe a.wav --segment none --max-seconds 9", "--max-seconds X", "--segment"),
        ("transcribe a.wav --segment fixed --min-silence 1", "--min-silence X", "--segment vad"),
        (
            "transcribe a.wav --segment fixed --vad-threshold 0.4",
            "--vad-threshold X",
            "--segment vad or --check-speech",
        ),
        ("entail-label x.jsonl --cache-limit 1", "--cache-limit X", "--cache"),
        ("shard x.jsonl -o out --split-by record", "--split-by [speaker|recording|record]",
         "--split"),
        ("finetune x.jsonl -o out --allow-seen", "--allow-seen", "--init"),
        ("finetune x.jsonl -o out --subset-seed 1", "--subset-seed N", "--fraction"),
        ("predict x.jsonl -r run --force", "--force", "-o or --embed"),
        ("compare a b --force", "--force", "-o"),
        ("parts made --of 2 --force", "--force", "--merge"),
    ],
)  # fmt: skip
def test_an_option_that_nothing_reads_without_another_is_refused(
    line: str, names: str, beside: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, *words = line.split()
    assert app.main([verb, *words]) == 2
    said = f"lanser: error: {verb} reads {names} with {beside} alone: leave that out\n"
    assert capsys.readouterr().err == said


def test_a_mode_passes_over_what_a_file_sets_for_the_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, keep = [], provenance.set_command_line
    monkeypatch.setattr(provenance, "set_command_line", lambda it: kept.append(it) or keep(it))
    (tmp_path / "lanser.toml").write_text("[shard]\nmin-score = 0.3\nseed = 1\n")
    words = ["shard", "--verify", str(tmp_path), "--config", str(tmp_path / "lanser.toml")]
    assert app.main(words) == 1
    assert "no index.json in it" in capsys.readouterr().err
    assert words[:3] in kept, "the command that is kept beside an output could be given again"


@pytest.mark.parametrize("verb", app.VERBS)
def test_examples_are_command_lines_of_the_verb(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read by the verbs themselves, to the last option."""
    assert 2 <= len(examples(verb)) <= 3
    for example in examples(verb):
        assert len(example) <= 96
        assert f"lanser {verb}" in example
        for command in re.split(r"[|&;]", re.sub(r"> \S+$", "", example)):
            if command.startswith(("lanser", " lanser")):
                words = shlex.split(command)[1:]
                assert app.main([*words, "--print-config"]) == 0, capsys.readouterr().err


@pytest.mark.slow
def test_examples_run_one_after_the_other(tmp_path: Path) -> None:
    """As they stand, on little data, with short trainings set by variables."""
    lay_out(tmp_path)
    short = {
        "LANSER_PRETRAIN_EPOCHS": "1",
        "LANSER_PRETRAIN_MODEL": "resnet18-slim",
        "LANSER_PRETRAIN_CROP": "1",
        "LANSER_FINETUNE_EPOCHS": "1",
        "LANSER_FINETUNE_CROP": "1",
        "LANSER_EFFICIENCY_STEPS": "1",
        "LANSER_EFFICIENCY_SEEDS": "1",
        "LANSER_EFFICIENCY_FRACTIONS": "1",
        "LANSER_EFFICIENCY_FOLDS": "2",
        "LANSER_PROBE_PROSODY_FOLDS": "2",
    }
    failed = {}
    for verb in app.VERBS:
        for example in examples(verb):
            if not any(name in example for name in (*ABSENT, *ELSEWHERE)):
                done = shell(example, tmp_path, **short)
                if done.returncode:
                    failed[example] = (done.returncode, done.stderr[-800:])
    assert failed == {}
    outputs = [path for path in tmp_path.glob("*.jsonl") if not path.stat().st_size]
    assert outputs == []


def lay_out(folder: Path) -> None:
    """What the examples read: speech of the examples, and a tiny RAVDESS."""
    speech = ROOT / "examples" / "speech"
    (folder / "speech").mkdir()
    (folder / "recordings").mkdir()
    truth = read_jsonl(speech / "written.jsonl")[:12]
    for number, line in enumerate(truth):
        clip = speech / "unlabeled" / f"{line['id']}.ogg"
        shutil.copy(clip, folder / "speech" / clip.name)
        if number < 3:
            shutil.copy(clip, folder / "recordings" / clip.name)
    write_jsonl(folder / "truth.jsonl", [line | {"label": line["written_for"]} for line in truth])
    for number, name in enumerate(("small", "large", "answers", "a", "b", "c")):
        label = "prediction" if name == "answers" else "emotion"
        votes = [EKMAN[(n + (n == number)) % 3] for n in range(len(truth))]
        lines = [{"id": one["id"], label: vote} for one, vote in zip(truth, votes, strict=True)]
        write_jsonl(folder / f"{name}.jsonl", lines)
    (folder / "runs" / "weak").mkdir(parents=True)
    even = {label: 1 / len(EKMAN) for label in EKMAN}
    scores = [{"id": one["id"], "scores": even} for one in truth]
    write_jsonl(folder / "runs" / "weak" / "predictions.jsonl", scores)
    shutil.copy(ROOT / "lanser_cli" / "machine" / "rates.json", folder / "mine.json")
    (folder / "parts").mkdir()
    for number in (1, 2):
        Pipe(
            *("test", folder / "parts" / f"{number}.jsonl"),
            inputs=[folder / "truth.jsonl"],
            part=f"{number}/2",
        ).run(map(Record, truth), one_process(list))
    said = [soundfile.read(path)[0] for path in sorted((folder / "speech").iterdir())[:3]]
    soundfile.write(folder / "interview.wav", np.concatenate(said), 16_000)
    corpus = read_jsonl(speech / "labeled" / "corpus.jsonl")
    speakers = {name: f"{n:02d}" for n, name in enumerate(sorted({c["speaker"] for c in corpus}))}
    lines = [
        line
        | {
            "audio_filepath": str(speech / "labeled" / line["audio_filepath"]),
            "speaker": speakers[line["speaker"]],
            "text": f"this is what sentence {line['sentence']} says",
        }
        for line in corpus
        if line["sentence"] == "s1" and int(speakers[line["speaker"]]) < 7
    ]
    write_jsonl(folder / "corpus.jsonl", lines)
    rows = [f"{line['audio_filepath']},{line['label']}" for line in lines[:4]]
    (folder / "clips.csv").write_text("\n".join(["path,emotion", *rows]) + "\n")
    actor = folder / "RAVDESS" / "Actor_01"
    actor.mkdir(parents=True)
    soundfile.write(actor / "03-01-05-01-01-01-01.wav", tone(1.0), 16_000)
