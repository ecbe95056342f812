"""The experiments whose answer is known: data as stated, and tables that are what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
from conftest import ROOT, read_jsonl, write_jsonl
from scipy.stats import binomtest, chi2_contingency, ttest_1samp
from test_docs import blocks, shell

from lanser_cli.lock import claimed_file
from lanser_cli.prosody.targets import measure


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


words = script("recipes/words_for_voices.py")
points = script("recipes/store_points.py")
results = script("docs/make_results.py")
EMOTIONS = tuple(words.SAYS)

# ---------------------------------------------------------------- words for voices


@pytest.fixture(scope="module")
def nemo(tmp_path_factory) -> Path:
    """Names of nEMO's kind: 2 speakers, 6 emotions, 25 clips of each."""
    folder = tmp_path_factory.mktemp("nemo")
    for speaker in ("EB0", "WR0"):
        for emotion in words.VOICES:
            for number in range(1, 26):
                (folder / f"{speaker}_{emotion}_{number}.wav").touch()
    return folder


@pytest.fixture(scope="module")
def sentences(tmp_path_factory) -> Path:
    """Sentences in GoEmotions' form, 120 for each label that says an emotion, and some to skip."""
    rows = [
        f"{label} number {number}\t{words.GOEMOTIONS.index(label)}\tid"
        for labels in words.SAYS.values()
        for label in labels
        for number in range(120)
    ]
    rows += ["two labels\t2,14\tid", "of no emotion\t7\tid", "torn\t2\tid", "torn\t14\tid"]
    path = tmp_path_factory.mktemp("text") / "go.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


def given(capsys, nemo: Path, sentences: Path, *options: str) -> list[dict]:
    assert words.main([str(nemo), "--sentences", str(sentences), *options]) == 0
    return read_jsonl(capsys.readouterr().out.encode())


@pytest.mark.parametrize(("p", "value"), [("chance", 1 / 6), ("0.5", 0.5), ("1", 1.0)])
def test_words_say_the_emotion_of_the_voice_with_the_probability_named(
    p, value, nemo, sentences, capsys
):
    made = given(capsys, nemo, sentences, "--p", p)
    assert len(made) == 300
    right = sum(one["label"] == one["text_emotion"] for one in made)
    low, high = binomtest(right, len(made)).proportion_ci(0.999)
    assert low <= value <= high
    for one in made:  # the keys say what the name and the sentence say
        assert words.VOICES[one["id"].split("_")[1]] == one["label"]
        assert one["text"].split()[0] in words.SAYS[one["text_emotion"]]


def test_no_sentence_is_used_twice_where_there_are_enough(nemo, sentences, capsys):
    for p in ("chance", "1"):
        made = given(capsys, nemo, sentences, "--p", p)
        assert len({one["text"] for one in made}) == len(made)


def test_scarce_sentences_are_all_used_before_one_is_used_again(nemo, sentences, capsys, tmp_path):
    few = tmp_path / "few.tsv"
    few.write_text("".join(line + "\n" for line in sentences.read_text().splitlines()[::9]))
    made = given(capsys, nemo, few, "--p", "1")
    counts = Counter(one["text"] for one in made if one["label"] == "neutral")
    assert sum(counts.values()) == 50 and 0 < len(counts) < 50
    assert max(counts.values()) - min(counts.values()) == 1


def test_what_has_no_emotion_or_two_is_no_sentence(sentences):
    found = {text for texts in words.read_sentences([sentences]).values() for text in texts}
    assert not found & {"two labels", "of no emotion", "torn"}
    assert len(found) == 120 * sum(map(len, words.SAYS.values()))


def test_the_same_seed_gives_the_same_records(nemo, sentences, capsys):
    once = given(capsys, nemo, sentences, "--p", "0.5", "--seed", "3")
    assert given(capsys, nemo, sentences, "--p", "0.5", "--seed", "3") == once
    assert given(capsys, nemo, sentences, "--p", "0.5", "--seed", "4") != once


def test_a_part_of_the_clips_has_as_many_of_each_speaker_and_emotion(nemo, sentences, capsys):
    made = given(capsys, nemo, sentences, "--clips", "60")
    counts = Counter((one["speaker"], one["label"]) for one in made)
    assert set(counts.values()) == {5} and len(counts) == 12


def test_a_folder_without_clips_is_refused(tmp_path, sentences, capsys):
    assert words.main([str(tmp_path), "--sentences", str(sentences)]) == 1
    assert "no clip such as EB0_anger_1.wav" in capsys.readouterr().err


def test_text_is_independent_of_the_voice_at_chance_on_all_of_nemo(shared, capsys):
    text = [str(shared / "text" / f"go_{part}.tsv") for part in ("dev", "test")]
    for p, value in (("chance", 1 / 6), ("0.5", 0.5), ("1", 1.0)):
        assert words.main([str(shared / "nemo"), "--p", p, "--sentences", *text]) == 0
        made = read_jsonl(capsys.readouterr().out.encode())
        assert len(made) == len({one["id"] for one in made}) == 4481
        counts = np.zeros((6, 6), int)
        for one in made:
            counts[EMOTIONS.index(one["label"]), EMOTIONS.index(one["text_emotion"])] += 1
        assert binomtest(int(np.trace(counts)), counts.sum(), value).pvalue > 0.001
        dependent = chi2_contingency(counts + (p == "1")).pvalue < 0.001
        assert dependent == (p != "chance")
        said = {one["text_emotion"]: one["text"] for one in made}
        labels = {line.split("\t")[0].strip(): line.split("\t")[1] for path in text
                  for line in Path(path).read_text().splitlines()}  # fmt: skip
        for emotion, sentence in said.items():
            assert words.GOEMOTIONS[int(labels[sentence])] in words.SAYS[emotion]


def test_the_numbers_of_goemotions_are_those_of_its_list(shared):
    assert (shared / "text" / "go_labels.txt").read_text().split() == words.GOEMOTIONS


# ---------------------------------------------------------------- the small experiments

TINY = {"CROP": "0.5", "PRETRAIN_STEPS": "2", "STEPS": "2"}


def weights(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*.safetensors"))}


@pytest.fixture
def checkout(tmp_path) -> Path:
    for name in ("recipes", "lanser_cli", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def few_of_emodb(shared: Path, checkout: Path) -> None:
    """Two speakers, four emotions, three clips of each, in `emodb`."""
    (checkout / "emodb").mkdir()
    for speaker in ("03", "08"):
        for emotion in "WFTN":
            for clip in sorted((shared / "emodb" / "wav").glob(f"{speaker}*{emotion}?.flac"))[:3]:
                (checkout / "emodb" / clip.name).symlink_to(clip)


@pytest.mark.parametrize("recipe", ["simulate", "real-voices"])
def test_points_without_a_training_are_an_error_and_not_silence(recipe, checkout):
    given = {"SPEECH": "a.jsonl", "CORPUS": "emodb b", "NEMO": "nemo", "TEXT": "text"}
    done = shell(f"recipes/{recipe}.sh points", checkout, **given, WORK="older")
    assert done.returncode == 1 and "points: no training below older/" in done.stderr
    for name in {"simulate": ("SPEECH", "CORPUS"), "real-voices": ("NEMO", "TEXT")}[recipe]:
        other = shell(f"recipes/{recipe}.sh points", checkout, **given | {name: "x"}, WORK="older")
        assert other.returncode == 2 and "name another WORK" in other.stderr


@pytest.mark.parametrize("recipe", ["simulate", "real-voices", "settings"])
def test_the_parts_are_listed_before_any_data_is_named(recipe, tmp_path):
    listed = shell(f"{ROOT}/recipes/{recipe}.sh list", tmp_path)
    assert listed.returncode == 0 and len(listed.stdout.split()) > 9, listed.stderr
    assert shell(f"{ROOT}/recipes/{recipe}.sh", tmp_path).returncode == 1
    assert not (tmp_path / "runs").exists()


LANSER = """\
#!/bin/bash
out=${@: -1}
case $1 in
    manifest) mkdir "$out.busy" && sleep 0.3 && touch "$out" && rmdir "$out.busy" ;;
    finetune) mkdir -p "$out" && touch "$out/predictions.jsonl" ;;
esac
"""


def test_two_parts_that_begin_at_once_make_the_corpus_once(tmp_path):
    """By a `lanser` that no two may write one file with."""
    (tmp_path / ".bin").mkdir()
    (tmp_path / ".bin/lanser").write_text(LANSER)
    (tmp_path / ".bin/lanser").chmod(0o755)
    half = f"{ROOT}/recipes/real-voices.sh tune-scratch"
    both = f"SHARE=1/2 {half} & SHARE=2/2 {half}; wait $!"
    small = {"NEMO": "n", "TEXT": "t", "CORPUS": "emodb e", "FRACTIONS": "1", "SEEDS": "0 1"}
    done = shell(both, tmp_path, **small)
    assert done.returncode == 0, done.stderr
    made = sorted(tmp_path.glob("runs/real-voices/emodb/scratch/1/*/predictions.jsonl"))
    assert [path.parent.name for path in made] == ["seed-0", "seed-1"]


@pytest.mark.parametrize("recipe", ["simulate", "real-voices"])
def test_arms_that_are_there_are_compared_though_others_are_not(recipe, tmp_path):
    """By a `lanser` that says what it was given."""
    (tmp_path / ".bin").mkdir()
    (tmp_path / ".bin/lanser").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / ".bin/lanser").chmod(0o755)
    arms = {"simulate": "x/tuned/{scratch,1-1}", "real-voices": "x/emodb/{scratch,weak-1}/0.1"}
    given = {"SPEECH": "a", "CORPUS": "emodb b", "NEMO": "n", "TEXT": "t", "FRACTIONS": "0.1"}
    both = f"mkdir -p {arms[recipe]}; {ROOT}/recipes/{recipe}.sh compare"
    done = shell(both, tmp_path, **given, WORK="x")
    compared = {
        "simulate": "x/tuned/scratch x/tuned/1-1",
        "real-voices": "x/emodb/scratch/0.1 x/emodb/weak-1/0.1",
    }
    assert done.stdout == f"compare {compared[recipe]} --by speaker\n", done.stderr


@pytest.mark.slow
def test_settings_in_small(shared, checkout):
    few_of_emodb(shared, checkout)
    small = {"CORPUS": "emodb emodb", "SEEDS": "2", "FOLDS": "2", "STEPS": "1"}
    small["OPTIONS"] = "--batch-size 8"
    once = shell("recipes/settings.sh crop-2", checkout, **small)
    assert once.returncode == 0, once.stderr[-3000:]
    [compared] = read_jsonl(once.stdout.encode())
    assert (compared["n"], compared["units"]) == (48, 2)
    found = read_jsonl(checkout / "runs" / "settings" / "results.jsonl")
    assert [(one["arm"], one["seed"]) for one in found] == [
        *(("crop-2", 0), ("crop-2", 1), ("default", 0), ("default", 1))
    ]
    made = results.settings(found)
    assert made.count("| emodb |") == 2 and all(
        f"| emodb | resnet18-slim | 2 | 1 | --batch-size 8 | {arm} | 2 |" in made
        for arm in ("default", "crop-2")
    )
    assert all("--batch-size 8" in one["command"] for one in found)
    twice = results.settings([*found, *({**one, "model": "resnet50"} for one in found)])
    assert twice.count("| emodb |") == 4  # models are kept apart
    wrong = shell("recipes/settings.sh crop-99", checkout, **small)
    assert wrong.returncode == 2 and "no change 'crop-99'" in wrong.stderr
    other = shell("recipes/settings.sh crop-2", checkout, **small, MODEL="resnet18")
    assert other.returncode == 2 and "name another WORK" in other.stderr


@pytest.mark.slow
def test_real_voices_in_small(shared, checkout):
    """Two values of p, one seed: every file is there, and a second call makes nothing anew."""
    few_of_emodb(shared, checkout)
    parts = "label pretrain-weak-1 pretrain-gold pretrain-prior tune-scratch tune-weak-1"
    recipe = f"recipes/real-voices.sh {parts} points compare"
    small = {
        **TINY,
        "CONTROLS": "gold prior",
        "NEMO": str(shared / "nemo"),
        "TEXT": str(shared / "text"),
        "CORPUS": "emodb emodb",
        "P": "chance 1",
        "CLIPS": "54",
        "FRACTIONS": "0.5",
        "SEEDS": "0",
        "FOLDS": "2",
        "BATCH": "8",
        "PRETRAIN_SEEDS": "0 3",
    }
    once = shell(recipe, checkout, **small)
    assert once.returncode == 0, once.stderr[-3000:]
    work = checkout / "runs" / "real-voices"
    config = json.loads((work / "pretrained" / "gold" / "config.json").read_text())
    assert config["control"] == "gold"
    config = json.loads((work / "pretrained" / "gold-seed-3" / "config.json").read_text())
    assert config["control"] == "gold" and config["recipe"]["seed"] == 3
    config = json.loads((work / "pretrained" / "prior" / "config.json").read_text())
    assert config["control"] == "prior"
    right = {
        p: sum(one["emotion"] == one["label"] for one in read_jsonl(work / f"weak-{p}.jsonl"))
        for p in ("chance", "1")
    }
    assert right["1"] > 2 * right["chance"]
    compared = read_jsonl(once.stdout.encode())
    assert [(each["n"], each["units"], each["least_p"]) for each in compared] == [(24, 2, 0.5)] * 2
    assert "points: 3 tested, 3 new, 3 in runs/real-voices/results.jsonl" in once.stderr
    scratch, tuned, other = read_jsonl(work / "results.jsonl")
    assert [one["pretrain_seed"] for one in (scratch, tuned, other)] == [None, 0, 3]
    assert (scratch["arm"], scratch["p"], tuned["arm"], tuned["p"]) == ("scratch", None, "weak", 1)
    assert re.fullmatch(r"embedded \([0-9a-f]{12}\)", tuned["labeller"])
    assert scratch["batch_size"] == tuned["batch_size"] == 8
    assert scratch["n"] == tuned["n"] == 24 and set(tuned["by_unit"]) == {"03", "08"}
    before = weights(work)
    assert len(before) == 12  # three arms with two networks each, and two folds of three
    (work / "emodb" / "gold" / "1").mkdir(parents=True)  # an arm that has another share alone
    again = shell(recipe, checkout, **small)
    assert again.returncode == 0, again.stderr[-3000:]
    assert weights(work) == before
    assert read_jsonl(work / "results.jsonl") == [scratch, tuned, other]
    two = small | {"SEEDS": "0 1", "PRETRAIN_SEEDS": "0"}
    more = shell("recipes/real-voices.sh tune-scratch tune-weak-1 compare", checkout, **two)
    [compared] = read_jsonl(more.stdout.encode())
    assert compared["n"] == 48, "each seed deals its own folds, the same in both arms"
    shrunk = shell("recipes/real-voices.sh tune-weak-1 points", checkout, **small, SHRINK="0.5")
    assert shrunk.returncode == 0, shrunk.stderr[-3000:]
    assert weights(work).keys() > before.keys()
    weak = [one for one in read_jsonl(work / "results.jsonl") if one["arm"] == "weak"]
    assert [one.get("shrink") for one in weak] == [None, None, 0.5, 0.5]
    config = work / "emodb" / "weak-1-seed-3-shrink-0.5" / "0.5" / "seed-0" / "config.json"
    assert json.loads(config.read_text())["identity"]["--shrink"] == "0.5"
    for change in ({"STEPS": "3"}, {"BATCH": "4"}):
        other = shell(recipe, checkout, **small | change)
        assert other.returncode == 2 and "name another WORK" in other.stderr


@pytest.mark.slow
def test_simulation_in_small(shared, checkout):
    """One cell: every file is there, and a second call makes nothing anew."""
    pytest.importorskip("pyworld", reason="pyworld is in the extra dev")
    corpora = checkout / "corpora"
    corpora.mkdir()
    for name, clips in {
        "speech": [next((shared / "ravdess").glob(f"Actor_0{n}/*-01-01-*.flac")) for n in (1, 2)],
        "corpus": [
            path
            for speaker in ("03", "08", "10")
            for path in sorted((shared / "emodb" / "wav").glob(f"{speaker}*N?.flac"))[:2]
        ],
    }.items():
        write_jsonl(
            corpora / f"{name}.jsonl",
            [
                {"audio_filepath": str(path), "speaker": path.name[:2] + path.parent.name[-2:]}
                for path in clips
            ],
        )
    small = {
        **TINY,
        **{"SPEECH": "corpora/speech.jsonl", "CORPUS": "corpora/corpus.jsonl"},
        **{"STRENGTHS": "1", "ACCURACIES": "1", "FRACTION": "0.5", "FOLDS": "2"},
    }
    once = shell("recipes/simulate.sh", checkout, **small)
    assert once.returncode == 0, once.stderr[-3000:]
    work = checkout / "runs" / "simulate"
    said = read_jsonl(work / "said" / "speech.jsonl")
    assert Counter(one["label"] for one in said) == dict.fromkeys(
        script("recipes/simulated_speech.py").EMOTIONS, 6
    )
    probe = json.loads((work / "1-1-0" / "probe" / "probe.json").read_text())
    assert (probe["verdict"], probe["speakers"]) == ("no verdict", 3)
    [compared] = [one for one in read_jsonl(once.stdout.encode()) if "least_p" in one]
    assert (compared["n"], compared["units"]) == (36, 3)
    found = read_jsonl(work / "results.jsonl")
    assert [(one["strength"], "uar" in one) for one in found] == [
        *((None, True), (1, True), (1, False))
    ]
    assert "points: 2 tested, 3 new, 3 in runs/simulate/results.jsonl" in once.stderr
    made = results.simulate(found[:2])
    assert "too few speakers for an interval, 3" in made
    before = weights(work)
    again = shell("recipes/simulate.sh", checkout, **small)
    assert again.returncode == 0 and weights(work) == before
    assert read_jsonl(work / "results.jsonl") == found
    assert {one["batch_size"] for one in found} == {16}  # of the probe's line too
    speech = work / "speech-1-0"
    sound = {path: path.stat().st_mtime_ns for path in speech.glob("*.flac")}
    later = shell("recipes/simulate.sh speech-1-0", checkout, **small | {"ACCURACIES": "chance 1"})
    assert later.returncode == 0, later.stderr
    assert len(read_jsonl(speech / "labels-chance.jsonl")) == len(sound) == 12
    assert sound == {path: path.stat().st_mtime_ns for path in speech.glob("*.flac")}
    for change in ({"STEPS": "3"}, {"BATCH": "4"}):
        other = shell("recipes/simulate.sh", checkout, **small | change)
        assert other.returncode == 2 and "name another WORK" in other.stderr


def test_simulated_labels_are_right_as_often_as_stated():
    simulated = script("recipes/simulated_speech.py")
    made = [{"id": f"{n}", "label": simulated.EMOTIONS[n % 6]} for n in range(600)]
    for accuracy, value in (("chance", 1 / 6), ("0.7", 0.7), ("1", 1.0)):
        labels = simulated.weak_labels(made, accuracy, 0)
        right = sum(a["emotion"] == b["label"] for a, b in zip(labels, made, strict=True))
        low, high = binomtest(right, 600).proportion_ci(0.999)
        assert low <= value <= high


def test_labels_are_added_to_speech_that_is_there_and_none_are_half(tmp_path, monkeypatch):
    simulated = script("recipes/simulated_speech.py")
    made = [{"id": f"{n}", "label": simulated.EMOTIONS[n % 6]} for n in range(30)]
    write_jsonl(tmp_path / "speech.jsonl", made)
    again = ["none.jsonl", "--out", str(tmp_path), "--labels-only", "--seed", "2", "--accuracies"]
    assert simulated.main([*again, "0.7"]) == 0
    assert read_jsonl(tmp_path / "labels-0.7.jsonl") == simulated.weak_labels(made, "0.7", 2)

    def full(*_: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("lanser_cli.output.commit", full)  # all is written but for its name
    with pytest.raises(OSError, match="no space"):
        simulated.main([*again, "1"])
    assert not (tmp_path / "labels-1.jsonl").exists()


def test_at_strength_zero_prosody_is_the_same_for_every_emotion():
    corpus = script("recipes/simulated_speech.py").make_corpus
    still = corpus.Speaker("", "", 1.0, pitch=0.0, loudness=0.0, expression=0.0)
    joy, fear = (corpus.draw_prosody(name, still, random.Random(1)) for name in ("joy", "fear"))
    assert joy == fear


def test_what_cannot_be_said_again_is_one_sentence(tmp_path, capsys):
    pytest.importorskip("pyworld", reason="pyworld is in the extra dev")
    simulated = script("recipes/simulated_speech.py")
    for record, said in (
        ({"audio_filepath": "a.wav", "label": "joy"}, "no record is labelled neutral"),
        ({"audio_filepath": str(tmp_path / "a.wav")}, "a.wav"),
        ({"text": "no sound"}, "has no 'id'"),
    ):
        given = write_jsonl(tmp_path / "in.jsonl", [record])
        assert simulated.main([str(given), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "speech.jsonl").exists()


def test_a_recording_is_said_again_with_the_prosody_wanted(shared):
    pytest.importorskip("pyworld", reason="pyworld is in the extra dev")
    simulated = script("recipes/simulated_speech.py")
    wav = shared / "ravdess" / "Actor_01" / "03-01-01-01-01-01-01.flac"
    samples, _ = soundfile.read(wav)
    plain = simulated.Prosody(rate=1.0, pitch=0.0, range=1.0, loudness=0.0)
    louder = simulated.Prosody(rate=1.0, pitch=0.0, range=1.0, loudness=6.0)
    other = simulated.Prosody(rate=1.25, pitch=4.0, range=0.5, loudness=0.0)
    said = simulated.say(samples, [plain, louder, other], [1, 1, 1])
    before, loud, after = (measure(one.astype(np.float32)) for one in said)
    assert after["f0_mean"] - before["f0_mean"] == pytest.approx(4.0, abs=0.5)
    assert after["f0_variability"] / before["f0_variability"] == pytest.approx(0.5, abs=0.1)
    assert after["speaking_rate"] > before["speaking_rate"]
    assert loud["intensity_mean"] - before["intensity_mean"] == pytest.approx(6.0, abs=1.0)
    assert loud["f0_mean"] == pytest.approx(before["f0_mean"], abs=0.2)
    assert loud["spectral_tilt"] < before["spectral_tilt"] - 1
    assert simulated.say(np.zeros(16000) + 1e-3, [plain], [1]) == []


# ---------------------------------------------------------------- results are data


def test_the_tables_of_the_pages_are_what_the_data_say():
    pages = [page.read_text(encoding="utf-8") for page in results.PAGES]
    named = [name for page in pages for _, name, _ in results.MARKED.findall(page)]
    assert sorted(results.TABLES) == sorted(named)
    for page in pages:
        assert results.rebuilt(page) == page, "run: python docs/make_results.py"


@pytest.mark.parametrize("file", results.FIGURES)
def test_a_figure_is_what_the_data_say(file):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is in the extra plots")
    drawn = (results.FOLDER / f"{file}.svg").read_text(encoding="utf-8")
    if f"Matplotlib v{matplotlib.__version__}," not in drawn:
        pytest.skip("another matplotlib drew the figure, and draws it in other bytes")
    points = results.read(results.FOLDER / f"{file}.jsonl")
    assert results.FIGURES[file](points) == drawn, "run: python docs/make_results.py"


def invented(**fields) -> dict:
    return {
        **{"corpus": "emodb", "model": "m", "crop": 2, "folds": 2, "clips": "all"},
        **{"labeller": "embedded (1)", "batch_size": 16},
        **{"pretrain_steps": 5, "steps": 4, "fraction": 0.1, "n": 9, "seed": 0, "uar": 0.5},
        **fields,
    }


def test_a_table_has_the_gain_with_its_interval_and_says_whether_it_came_out(tmp_path):
    base = {f"s{i}": 0.3 for i in range(6)}
    better = {f"s{i}": 0.4 + 0.02 * i for i in range(6)}
    lines = [
        invented(arm="scratch", p=None, by_unit=base),
        invented(arm="weak", p=1, by_unit=better),
        invented(arm="weak", p="chance", by_unit={f"s{i}": 0.28 + 0.01 * i for i in range(6)}),
        invented(arm="weak", p=1, by_unit=better, seed=7),  # which scratch has not
    ]
    write_jsonl(tmp_path / "real-voices.jsonl", lines)
    page = results.rebuilt("<!-- results: real-voices -->\n<!-- end -->", tmp_path)
    truth = ttest_1samp(np.array(list(better.values())) - 0.3, 0).confidence_interval()
    assert f"+0.150 [{truth.low:+.3f}, {truth.high:+.3f}]" in page
    claims = "a gain at p = 1: came out; no gain at p = chance: not refuted."
    assert f"\n* emodb, 5 and 4 steps, 10% of the labels: {claims}\n" in page
    assert results.rebuilt(page, tmp_path) == page
    page = results.rebuilt("<!-- results: real-voices-decides -->\n<!-- end -->", tmp_path)
    assert "| a gain at p = 1 | 1 | +0.150" in page


def test_all_controls_have_a_table_that_says_what_weak_labels_have_over_each(tmp_path):
    def line(arm: str, p: object, uar: float, **more: object) -> dict:
        units = {f"s{i}": uar + 0.01 * i for i in range(6)}
        return invented(arm=arm, p=p, uar=uar, by_unit=units, **more)

    arms = (("scratch", None, 0.3), ("weak", "chance", 0.31), ("weak", 1, 0.4), ("gold", None, 0.5))
    controls = [(name, 1, 0.32 + 0.01 * i) for i, name in enumerate(("shuffled", "prior"))]
    lines = [line(*arm) for arm in (*arms, *controls)]
    few = results.controls(lines)
    lines += [line("clusters", 1, 0.35), line("sentiment", 1, 0.36)]
    assert few.count("\n") == 2, "they are not all there: no row"
    write_jsonl(tmp_path / "real-voices.jsonl", lines)
    page = results.rebuilt("<!-- results: real-voices-controls -->\n<!-- end -->", tmp_path)
    rows = [row.split(" | ")[1:] for row in page.splitlines() if row.startswith("| emodb")]
    names = ["weak, p = 1", *(f"{name}, p = 1" for name in results.CONTROLS[:-1]), "gold"]
    assert [row[0] for row in rows] == names
    assert rows[2][2:4] == ["0.330", "+0.030 [+0.030, +0.030]"]
    assert rows[2][4] == "+0.070 [+0.070, +0.070] |" and rows[0][4] == " |"
    assert "prior" not in results.real_voices(lines)
    # Of a control of two networks, as of an arm, it is their mean that weak labels are compared to.
    lines += [line("shuffled", 1, 0.12, pretrain_seed=1)]
    assert "| 2 | 0.220 | -0.080 [" in results.controls(lines)
    assert "networks +0.020, -0.180) | +0.180 [+0.180, +0.180] |" in results.controls(lines)


def test_a_start_that_is_shrunk_has_a_table_of_its_own(tmp_path):
    def line(arm: str, p: object, uar: float, seed: int = 0, **more: object) -> dict:
        units = {f"s{i}": uar + 0.01 * i for i in range(6)}
        return invented(arm=arm, p=p, seed=seed, uar=uar, by_unit=units, **more)

    lines = [line("scratch", None, 0.3), line("gold", None, 0.4)]
    lines += [line("scratch", None, 0.9, 1), line("gold", None, 0.9, 1)]  # no seed of the shrunk
    before = results.real_voices(lines)
    lines += [line("gold", None, 0.45, shrink=0.5), line("weak", 1, 0.35, shrink=0.5)]
    assert results.real_voices(lines) == before, "nor does it count among the others"
    write_jsonl(tmp_path / "real-voices.jsonl", lines)
    page = results.rebuilt("<!-- results: real-voices-shrunk -->\n<!-- end -->", tmp_path)
    scores = "| 0.300 | 0.400 | 0.450 | +0.150 [+0.150, +0.150] | +0.050 [+0.050, +0.050] |"
    assert f"| emodb | 0.1 | 4 | gold | 0.5 | 1 {scores}" in page
    assert "| weak, p = 1 | 0.5 | 1 | 0.300 |  | 0.350 | +0.050 [+0.050, +0.050] |  |" in page


def test_a_gain_is_the_mean_over_networks_and_says_that_of_each(tmp_path):
    units = {f"s{i}": 0.01 * i for i in range(6)}

    def line(seed: int, uar: float, arm: str = "weak", p: object = 1, **more: object) -> dict:
        moved = {unit: uar + value for unit, value in units.items()}
        return invented(arm=arm, p=p, seed=seed, uar=uar, by_unit=moved, **more)

    lines = [line(seed, 0.3, "scratch", None, pretrain_seed=None) for seed in (0, 1, 2)]
    lines += [line(seed, 0.3 + 0.1 * (seed + 1), pretrain_seed=0) for seed in (0, 1, 2)]
    lines += [line(0, 0.5, pretrain_seed=4)]  # not so many seeds, and yet half of the mean
    write_jsonl(tmp_path / "real-voices.jsonl", lines)
    for name, before in (("real-voices", "| 3 | 0.300 |"), ("real-voices-decides", "p = 1 | 3 |")):
        page = results.rebuilt(f"<!-- results: {name} -->\n<!-- end -->", tmp_path)
        gain = "+0.200 [+0.200, +0.200] (3 + 1 seeds; networks +0.200, +0.200) |"
        assert f"{before} {gain}" in page
    lines[-1] = line(0, 0.7, pretrain_seed=4)
    made = results.real_voices(lines)
    assert "+0.300 [" in made and "networks +0.200, +0.400" in made


def test_points_of_unlike_settings_are_apart_and_say_so(tmp_path):
    base, better = ({f"s{i}": value + 0.01 * i for i in range(6)} for value in (0.3, 0.4))
    lines = [
        invented(arm=arm, p=p, by_unit=units, **more)
        for more in ({}, {"batch_size": 32}, {"labeller": "other"})
        for arm, p, units in (("scratch", None, base), ("weak", 1, better))
    ]
    write_jsonl(tmp_path / "real-voices.jsonl", lines)
    write_jsonl(
        tmp_path / "simulate.jsonl",
        [
            {"recordings": "all", **invented(strength=s, accuracy=s, by_unit=u, batch_size=size)}
            for size in (16, 32)
            for s, u in ((None, base), (1, better))
        ],
    )
    for name, starts in (
        ("real-voices", ["embedded (1) | 16 ", "embedded (1) | 32 ", "other | 16 "]),
        ("real-voices-decides", ["embedded (1) | 16 ", "embedded (1) | 32 ", "other | 16 "]),
        ("simulate", ["16 ", "32 "]),
        ("simulate-decides", ["16 ", "32 "]),
    ):
        page = results.rebuilt(f"<!-- results: {name} -->\n<!-- end -->", tmp_path)
        assert "| batch size |" in page
        for start in starts:
            assert f"\n| {start}|" in page
    page = results.rebuilt("<!-- results: simulate -->\n<!-- end -->", tmp_path)
    assert "* batch size 32, 10% of the labels: a gain at strength 1 from labels that" in page


def test_a_loss_does_not_refute_that_there_is_no_gain():
    claims = [(("chance",), "no gain at p = chance")]
    for sign, answer in ((-1, "not refuted"), (1, "did not come out")):
        found = {("chance",): [sign * (0.1 + 0.01 * i) for i in range(6)]}
        assert [each[2] for each in results.judged(claims, found)] == [answer]


def test_whether_the_gain_falls_in_p_is_told_by_its_slope_within_speakers():
    ps = np.array([1 / 6, 0.5, 1])
    rises = np.array([[0.02 * i, 0.03, 0.1 + 0.01 * i] for i in range(6)])
    for sign, answer in ((1, "not refuted"), (-1, "did not come out")):
        found = {("weak", p): list(sign * rises[:, n]) for n, p in enumerate(("chance", 0.5, 1))}
        slopes = [np.polyfit(ps, row, 1)[0] for row in sign * rises]
        truth = ttest_1samp(slopes, 0).confidence_interval()
        [line] = results.trend(found)
        said = f"{np.mean(slopes):+.3f} [{truth.low:+.3f}, {truth.high:+.3f}]"
        assert answer in line and said in line
    assert results.trend({key: one for key, one in found.items() if key[1] != 0.5}) == []


def test_a_probe_is_a_line_and_a_row(tmp_path):
    def verdict(value: float, control: str, **more: object) -> dict:
        difference = {"value": value, "low": value - 0.01, "high": value + 0.01}
        return {"verdict": "shown", "control": control, "difference": difference, **more}

    found = {
        **{"utterances": 9, "speakers": 6, "networks": 1, "folds": 2, "probe": "ridge"},
        "median": {"trained": {"within_by_speaker": [0.3, 0.2, 0.4]}},
        "verdicts": {"within": verdict(0.05, "label")},
        "fixed_sentence": verdict(-0.02, "untrained", uar={"trained": {"value": 0.4}}),
        **{"argv": ["lanser", "probe-prosody"], "versions": {}, "layers": {}},
    }
    (tmp_path / "probe.json").write_text(json.dumps(found))
    store = [str(tmp_path / "probe.json"), "--to", str(tmp_path / "probes.jsonl")]
    for _ in range(2):
        assert points.main([*store, "--set", "network=gold", "pretrain_steps=9"]) == 0
    [line] = read_jsonl(tmp_path / "probes.jsonl")
    made = results.probes([line])
    assert "| gold | 9 | 0.300 | +0.050 [+0.040, +0.060] (label) | shown | 0.400 | -0.020" in made


def test_the_verdict_of_several_seeds_is_on_the_mean_of_their_scores():
    draw = np.random.default_rng(0)
    trained = 0.3 + draw.normal(0, 0.02, (2, 8))
    weak, strong = np.full(8, 0.1), 0.25 + draw.normal(0, 0.02, 8)
    trained[1] -= 0.05  # which one seed alone does not show
    seeds = [{"trained": mine, "speaker": weak, "log-mel statistics": strong} for mine in trained]
    probes = [
        {
            "verdicts": {},
            "by_unit": {
                "within": {
                    name: {f"s{i}": value for i, value in enumerate(values)}
                    for name, values in seed.items()
                }
            },
        }
        for seed in seeds
    ]
    truth = ttest_1samp(trained.mean(axis=0) - strong, 0).confidence_interval()
    mean = np.mean(trained.mean(axis=0) - strong)
    assert results.probed(probes, "within") == (
        f"shown, {mean:+.3f} [{truth.low:+.3f}, {truth.high:+.3f}] (log-mel statistics); "
        "shown by 1 of 2 seeds alone"
    )
    probes[0]["by_unit"]["within"]["trained"]["s0"] = None  # without a score there, it is left out
    assert "not shown" not in results.probed(probes[:1], "within")
    assert results.probed([{"uar": 0.5}], "within") == ""


def test_what_a_network_has_over_each_control_is_a_row_of_each():
    draw = np.random.default_rng(1)
    trained, weak, strong = 0.3 + draw.normal(0, 0.02, 8), np.full(8, 0.1), draw.normal(0.2, 0.1, 8)

    def named(**columns: np.ndarray) -> dict:
        return {name: dict(enumerate(values.tolist())) for name, values in columns.items()}

    way = {"within": named(trained=trained, sex=weak, label=strong)}
    way["fixed_sentence"] = named(trained=trained, sentence=weak)
    point = {"strength": 1, "accuracy": 1, "verdicts": {}, "by_unit": way}
    made = results.over_controls([point, {**point, "strength": 0, "by_unit": {}}])
    truth = ttest_1samp(trained - strong, 0).confidence_interval()
    found = f"{np.mean(trained - strong):+.3f} [{truth.low:+.3f}, {truth.high:+.3f}]"
    assert f"| label | {found} |  |" in made and "| sentence |  | +0.2" in made


def test_too_few_speakers_give_no_interval(tmp_path):
    lines = [
        invented(arm="scratch", p=None, by_unit={"a": 0.3, "b": 0.3}),
        invented(arm="weak", p=1, by_unit={"a": 0.4, "b": 0.5}),
    ]
    made = results.real_voices(lines)
    assert "| +0.150 |" in made and "too few speakers for an interval, 2" in made


def test_the_example_of_a_result_has_the_keys_of_a_point(tmp_path, capsys):
    [example] = map(json.loads, blocks("docs/formats.md", "json result"))
    run = tmp_path / "run"
    run.mkdir()
    config = {
        "architecture": {"name": "m"},
        "protocol": {"fraction": 0.1},
        "recipe": {"seed": 0, "batch_size": 16, "steps": 4},
        "argv": ["lanser", "finetune"],
        "versions": {"lanser": "0.1.0"},
    }
    (run / "config.json").write_text(json.dumps(config))
    answers = [
        {"id": f"{i}", "speaker": f"s{i % 2}", "label": "a" if i < 4 else "b", "prediction": "a"}
        for i in range(8)
    ]
    predictions = write_jsonl(run / "predictions.jsonl", answers)
    store = [str(predictions), str(predictions), "--to", str(tmp_path / "made.jsonl"), "--set"]
    store += [f"{k}={example[k]}" for k in list(example)[: list(example).index("model")]]
    for _ in range(2):  # the second time it is there
        assert points.main(store) == 0
    with claimed_file(tmp_path / "made.jsonl", force=True):  # by another, whose lines must not go
        assert points.main(store) == 1
    assert "is writing it: wait for its end" in capsys.readouterr().err
    [made] = read_jsonl(tmp_path / "made.jsonl")
    assert list(made) == list(example)
    assert made["p"] == 0.5 and made["uar"] == 0.5 and made["by_unit"] == {"s0": 0.5, "s1": 0.5}
    assert os.listdir(tmp_path) and not list(tmp_path.glob("*.part"))
