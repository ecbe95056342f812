"""What the verbs write does not change unnoticed: one small output each, and pinned numbers."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import EKMAN, ROOT, Lanser, read_jsonl, write_jsonl
from goldens import Golden, Numbers, settled

from lanser_cli.app import VERBS

COUNT = 24
SLIM = ("--model", "resnet18-slim", "--crop", "0.5", "--batch-size", "8", "--epochs", "1")
CPU = ("--device", "cpu", "--precision", "float32")


def sentences() -> list[list[str]]:
    """Emotion and text of each line of the example sentences."""
    lines = (ROOT / "examples" / "sentences.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def desk(clips: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the command lines below name."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(clips, folder / "clips")
    for path in (folder / "clips").iterdir():
        os.utime(path, (0, 0))  # a run's identity has the times of its files
    (folder / "run").symlink_to(tiny_run)
    (folder / "speech").mkdir()
    for name in ("utt-0001", "utt-0078", "utt-0177"):
        shutil.copy(ROOT / "examples" / "speech" / "unlabeled" / f"{name}.ogg", folder / "speech")
    said = sentences()
    values = [
        {
            "id": f"u{index:02d}",
            "audio_filepath": f"clips/clip-{index % 12:02d}.wav",
            "duration": round(0.6 + 0.05 * (index % 12), 3),
            "speaker": f"s{index % 8}",
            "label": EKMAN[index // 8 % 2],
            "text": said[12 * index][1],
            "emotion": EKMAN[index // 2 % 2],
            "emotion_scores": {EKMAN[index // 2 % 2]: 0.75, EKMAN[2]: 0.25},
            "prediction": EKMAN[index % 3],
            "mine": {"ünïcode": "日本"},
        }
        for index in range(COUNT)
    ]
    write_jsonl(folder / "records.jsonl", values)
    write_jsonl(folder / "few.jsonl", values[:6])
    better = [value | {"prediction": value["label"]} for value in values[:12]] + values[12:]
    write_jsonl(folder / "better.jsonl", better)
    write_jsonl(folder / "left.jsonl", values[:6])
    shares = [(n % 9) / 10 for n in range(COUNT)]
    scored = [
        value | {"scores": {EKMAN[0]: share, EKMAN[1]: 1 - share}}
        for value, share in zip(values, shares, strict=True)
    ]
    write_jsonl(folder / "scored.jsonl", scored)
    write_jsonl(folder / "right.jsonl", values[5:10] + values[12:14])
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(
            stream, ["audio_filepath", "speaker", "label", "page"], extrasaction="ignore"
        )
        writer.writeheader()
        writer.writerows({**value, "page": "7"} for value in values[:6])
    return folder


@dataclass(frozen=True)
class Made:
    """What a command line makes in the folder `desk`.

    Attributes:
        words: of the command line.
        numbers: what is kept of the numbers it computes.
        files: what it writes besides its standard output, by the same rule.
        settings: files whose numbers are the user's.
    """

    words: tuple[str, ...]
    numbers: Numbers = "exact"
    files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


MADE = {
    "manifest": Made(("csv", "table.csv")),
    "transcribe": Made(("speech", *CPU), "rounded"),
    "entail-label": Made(("few.jsonl", "--taxonomy", "ekman6", *CPU), "rounded"),
    "agree": Made(
        ("few.jsonl", "few.jsonl:prediction", "few.jsonl:label", "--summary", "voters.json"),
        "rounded",
        files=("voters.json",),
    ),
    "pick": Made(("records.jsonl", "-n", "6")),
    "taxonomies": Made(()),
    "shard": Made(
        ("few.jsonl", "-o", "shards", "--max-count", "4"), settings=("shards/index.json",)
    ),
    "audit": Made(
        ("left.jsonl", "right.jsonl", "-o", "audit.json", "--workers", "1"),
        files=("audit.json",),
    ),
    "pretrain": Made(
        ("records.jsonl", "-o", "pretrained", *SLIM, *CPU),
        "trained",
        files=("pretrained/metrics.jsonl",),
        settings=("pretrained/config.json",),
    ),
    "finetune": Made(
        ("records.jsonl", "-o", "finetuned", *SLIM, *CPU, "--folds", "2"),
        "trained",
        files=("finetuned/fold-1/metrics.jsonl", "finetuned/predictions.jsonl"),
        settings=("finetuned/config.json",),
    ),
    "efficiency": Made(
        ("records.jsonl", "--init", "run", "--allow-seen", "-o", "curve", "--fractions", "0.5,1")
        + ("--seeds", "1", "--steps", "2", "--folds", "2", "--batch-size", "8", *CPU),
        "trained",
        files=("curve/points.jsonl",),
    ),
    "baseline": Made(
        ("records.jsonl", "-o", "baseline", "--folds", "2", "--workers", "1"),
        "trained",
        files=("baseline/svm/config.json",),
    ),
    "text-only": Made(
        ("records.jsonl", "-o", "words", "--folds", "2", "--device", "cpu"),
        "trained",
        files=("words/logistic/config.json",),
    ),
    "predict": Made(("few.jsonl", "--run", "run", "--device", "cpu"), "rounded"),
    "doubt": Made(("scored.jsonl",), "rounded"),
    "eval": Made(("records.jsonl",), "rounded"),
    "compare": Made(("records.jsonl", "better.jsonl"), "rounded"),
    "probe-prosody": Made(
        ("records.jsonl", "--run", "run", "--folds", "2", "--device", "cpu"), "trained"
    ),
}


def test_every_verb_has_a_golden_file() -> None:
    # This machine; what test_export, test_page, test_job, test_plan and test_why hold.
    others = ("doctor", "export", "listen", "parts", "plan", "why")
    assert list(MADE) == [verb for verb in VERBS if verb not in others]


@pytest.mark.parametrize("verb", MADE)
def test_output(verb: str, lanser: Lanser, desk: Path, golden: Golden) -> None:
    made = MADE[verb]
    done = lanser(verb, *made.words, cwd=desk, check=1 if verb == "audit" else 0)
    golden(f"{verb}.jsonl", settled(done.stdout.decode(), desk, made.numbers))
    for names, numbers in ((made.files, made.numbers), (made.settings, "exact")):
        for name in names:
            text = (desk / name).read_text(encoding="utf-8")
            golden(f"{verb}.{Path(name).name}", settled(text, desk, numbers))


def test_prosody_by_regression(lanser: Lanser, desk: Path, golden: Golden) -> None:
    """A last digit of a feature may choose another penalty, and so a second digit of R2."""
    [made] = read_jsonl(lanser("probe-prosody", *MADE["probe-prosody"].words, cwd=desk).stdout)
    found = {name: [value["r2"]] for name, value in made["median"].items()}
    golden.near("prosody.json", found, tolerance=0.05)


def test_versions_folders_and_packed_sound_are_hidden(tmp_path: Path) -> None:
    text = f'{{"at": "{tmp_path}/x.wav", "versions": {{"torch": "2.1"}}, "bytes":123,"sha256":"'
    assert settled(text + 64 * "0" + '"}', tmp_path) == (
        '{"at": "FOLDER/x.wav", "versions": {}, "bytes":"…","sha256":"…"}'
    )


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [
        ("exact", '{"loss": [0.12349, -1.5e-05, 3], "lr": 0.0005, "file": "x-0.25.wav"}'),
        ("rounded", '{"loss": [0.123, 0.0, 3], "lr": 0.001, "file": "x-0.25.wav"}'),
        ("trained", '{"loss": ["…", "…", 3], "lr": 0.0005, "file": "x-0.25.wav"}'),
    ],
)
def test_what_is_kept_of_numbers(numbers: Numbers, kept: str, tmp_path: Path) -> None:
    text = '{"loss": [0.12349, -1.5e-05, 3], "lr": 0.0005, "file": "x-0.25.wav"}'
    assert settled(text, tmp_path, numbers) == kept


def test_a_change_is_seen(golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goldens.FOLDER", tmp_path)
    Golden(renew=True)("x", "a\n")
    Golden(renew=True).near("y", {"a": [1.0, 2.0]}, 0.0)
    Golden(renew=False)("x", "a\n")
    Golden(renew=False).near("y", {"a": [1.0, 2.01]}, 0.02)
    with pytest.raises(AssertionError, match="make golden"):
        Golden(renew=False)("x", "b\n")
    with pytest.raises(AssertionError, match="a: .* is not near"):
        Golden(renew=False).near("y", {"a": [1.0, 2.03]}, 0.02)


def test_logits_of_each_architecture(golden: Golden) -> None:
    """Untrained, from seed 0: the layers, their order and the front-end are what they were."""
    import torch

    from lanser_cli.models.classifier import ARCHITECTURES, Architecture, SpeechClassifier

    time = np.arange(16_000) / 16_000
    wave = torch.tensor(0.3 * np.sin(2 * np.pi * (200 + 100 * time) * time), dtype=torch.float32)
    found = {}
    for name in ARCHITECTURES:
        torch.manual_seed(0)
        model = SpeechClassifier(Architecture(name, EKMAN, crop_seconds=1.0)).eval()
        with torch.inference_mode():
            found[name] = model(wave.unsqueeze(0))[0].tolist()
    golden.near("logits.json", found, tolerance=1e-3)


def test_labels_of_the_embedded_model(lanser: Lanser, golden: Golden) -> None:
    """Forty sentences, spread over the example ones, as the default labels them."""
    said = sentences()[3::7][:40]
    records = [{"id": f"s{index}", "text": text} for index, (_, text) in enumerate(said)]
    given = "".join(json.dumps(record) + "\n" for record in records)
    done = lanser("entail-label", "--taxonomy", "ekman6", "--device", "cpu", input=given.encode())
    labels = [record["emotion"] for record in read_jsonl(done.stdout)]
    rows = [f"{label}\t{text}\n" for label, (_, text) in zip(labels, said, strict=True)]
    assert len(rows) == 40
    golden("sentences.tsv", "".join(rows))


QUICKSTART_ACCURACY, TOLERANCE = 0.980, 0.01
"""Of the quickstart's weak labels, had every word been heard; three of 300 may change."""


@pytest.mark.slow
def test_weak_labels_of_the_quickstart_as_written(lanser: Lanser, tmp_path: Path) -> None:
    """The recipe's second step, on what was written instead of what was heard."""
    written = ROOT / "examples" / "speech" / "written.jsonl"
    texts = [{"id": value["id"], "text": value["written"]} for value in read_jsonl(written)]
    weak = tmp_path / "weak.jsonl"
    line = ("--taxonomy", "ekman6", "-o", weak)
    lanser("entail-label", write_jsonl(tmp_path / "texts.jsonl", texts), *line)
    against = ("--reference", written, "--truth", "written_for", "--answer", "emotion")
    [made] = read_jsonl(lanser("eval", weak, *against).stdout)
    assert made["n"] == 300
    assert made["wa"]["value"] == pytest.approx(QUICKSTART_ACCURACY, abs=TOLERANCE)


def test_the_sounds_are_what_they_were(desk: Path) -> None:
    """A golden file cannot say that its input has changed; this does."""
    wave, rate = soundfile.read(desk / "clips" / "clip-03.wav", dtype="int16")
    assert (rate, len(wave), int(np.abs(wave.astype(int)).sum())) == (16_000, 12_000, 35_413_746)
