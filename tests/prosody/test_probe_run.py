"""The probe as a whole, as a user sees it: what it says, refuses, leaves out and writes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import soundfile
import torch
from conftest import EKMAN, ROOT, Lanser, read_jsonl, write_jsonl

from lanser_cli.errors import LanserError
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.prosody import controls, layers, words
from lanser_cli.prosody.held_out import divide, seeds_of
from lanser_cli.prosody.probe_run import held_out
from lanser_cli.prosody.probes import splits
from lanser_cli.prosody.targets import TARGETS
from lanser_cli.records import Record
from lanser_cli.tally import Ledger
from lanser_cli.training import heard
from lanser_cli.training.runs import RunFolder

RATE = 16_000
SMALL = Architecture("resnet18-slim", ("anger", "joy"), crop_seconds=1.0)


def voice(seed: int, base: float):
    """Two seconds of a buzz whose pitch, level and rate are drawn."""
    draw = np.random.default_rng(seed)
    time = np.arange(2 * RATE) / RATE
    f0 = base * 2 ** (draw.uniform(-0.4, 0.4) + 0.1 * draw.standard_normal() * time)
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    buzz = sum(np.sin(k * phase + k) / k for k in range(1, 9))
    swell = 0.55 - 0.45 * np.cos(2 * np.pi * draw.uniform(2, 5) * time)
    sound = draw.uniform(0.02, 0.1) * buzz * swell + 0.0005 * draw.standard_normal(len(time))
    return sound.astype(np.float32)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """48 clips by 8 speakers, each sentence in both labels, some with a weak label that differs."""
    folder = tmp_path_factory.mktemp("voices")
    values = []
    for number in range(48):
        speaker = number % 8
        path = folder / f"clip-{number:02d}.wav"
        soundfile.write(path, voice(number, (110.0, 220.0)[speaker % 2]), RATE)
        values.append(
            {
                "id": path.stem,
                "audio_filepath": str(path),
                "speaker": f"s{speaker}",
                "sex": ("male", "female")[speaker % 2],
                "label": ("anger", "joy")[number // 8 % 2],
                "sentence": f"{number // 16 % 3}",
                "text": f"sentence number {number // 16 % 3}",
                "emotion": ("joy", "anger")[number % 2],
            }
        )
    return values


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("runs") / "pretrained", "pretrain")


def save(path: Path, verb: str, seed: int = 0, **details) -> Path:
    torch.manual_seed(seed)
    run = RunFolder(path)
    run.create(resume=False)
    run.write_config(verb, SMALL, **details)
    run.write_model(SpeechClassifier(SMALL))
    return path


def with_folds(path: Path, *tested: list[str]) -> Path:
    """A run of finetune whose networks were tested on these speakers."""
    run = RunFolder(path)
    run.create(resume=False)
    run.write_config("finetune", SMALL)
    for number, speakers in enumerate(tested, start=1):
        save(path / f"fold-{number}", "finetune", seed=number, test_speakers=speakers)
    return path


def probe(lanser: Lanser, records: Path, run: Path, *more: object, check: int = 0):
    return lanser("probe-prosody", records, "--run", run, "--device", "cpu", *more, check=check)


def test_the_whole_report(lanser: Lanser, speech, pretrained: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    records = write_jsonl(tmp_path / "x.jsonl", speech)
    done = probe(lanser, records, pretrained, "-o", tmp_path / "out", "--folds", "4")
    [line] = read_jsonl(done.stdout)
    numbers = json.loads((tmp_path / "out/probe.json").read_text())
    assert {key: numbers[key] for key in line} == line
    assert list(line["median"]) == [
        *("trained", "untrained", "log-mel statistics", "transcript", "label", "sex", "speaker"),
        "shuffled",
    ]
    assert (line["utterances"], line["speakers"], line["networks"]) == (48, 8, 1)
    assert line["verdict"] in ("shown", "not shown")
    assert line["left_out"] == ["pause_ratio: nothing that differs"]
    assert line["held_out"] == "not known" and b"names no speakers that it was" in done.stderr
    assert set(numbers["targets"]) <= set(TARGETS) and "f0_mean" in numbers["targets"]
    assert list(numbers["layers"]) == ["stem", *(f"block {s}.{b}" for s in "1234" for b in "12")]
    assert set(line["duration"] or {}) <= set(line["median"])
    assert numbers["missing"]["f0_mean"] == 0
    judged, by_unit = line["verdicts"]["within"], numbers["by_unit"]["within"]
    pairs = zip(by_unit["trained"].values(), by_unit[judged["control"]].values(), strict=True)
    mean = fmean(mine - other for mine, other in pairs)
    assert judged["difference"]["value"] == pytest.approx(mean, abs=2e-6)
    assert set(by_unit["trained"]) == {record["speaker"] for record in speech}
    for name in ("controls.png", "layers.svg", "report.html"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
    page = (tmp_path / "out/report.html").read_text()
    formats = (ROOT / "docs/formats.md").read_text()
    table = formats.split("### `probe.json`")[1].split("## ")[0]
    documented = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.M))))
    assert documented == set(numbers) - {"schema", "argv", "versions", "figures"}
    [example] = re.findall(r"^```json verdict\n(.*?)^```$", table, re.M | re.S)
    assert list(json.loads(example)) == list(line["verdicts"]["within"])
    assert "hardest control" in page and "Emotion within fixed sentences" in page


@pytest.mark.slow
def test_what_only_the_words_say_is_chance_within_a_sentence(
    lanser: Lanser, speech, pretrained: Path, tmp_path: Path
) -> None:
    done = probe(lanser, write_jsonl(tmp_path / "x.jsonl", speech), pretrained)
    fixed = read_jsonl(done.stdout)[0]["fixed_sentence"]
    assert (fixed["utterances"], fixed["sentences"], fixed["chance"]) == (48, 3, 0.5)
    assert fixed["uar"]["sentence"]["value"] == 0.5
    assert fixed["verdict"] == "not shown"  # the labels were dealt out without the sound


@pytest.mark.slow
def test_without_transcripts_labels_and_sex_their_columns_are_left_out_and_said(
    lanser: Lanser, speech, pretrained: Path, tmp_path: Path
) -> None:
    kept = ("id", "audio_filepath", "speaker")
    bare = [{key: value[key] for key in kept} for value in speech]
    done = probe(lanser, write_jsonl(tmp_path / "x.jsonl", bare), pretrained)
    [line] = read_jsonl(done.stdout)
    assert list(line["median"]) == [
        *("trained", "untrained", "log-mel statistics", "speaker", "shuffled")
    ]
    names = [words.split(":")[0] for words in line["left_out"]]
    assert names == ["transcript", "label", "sex", "pause_ratio"]
    assert b"left out: transcript: 48 records have no text" in done.stderr
    assert line["fixed_sentence"] is None and line["words_against_voice"] is None


@pytest.mark.slow
def test_every_fold_is_probed_on_the_speakers_it_was_not_trained_on(
    lanser: Lanser, speech, tmp_path: Path
) -> None:
    run = with_folds(tmp_path / "run", ["s0", "s1", "s2"], ["s3", "s4", "s5"])
    done = probe(lanser, write_jsonl(tmp_path / "x.jsonl", speech), run)
    [line] = read_jsonl(done.stdout)
    assert (line["networks"], line["speakers"], line["utterances"]) == (2, 6, 36)
    assert line["folds"] == 6 and line["held_out"] == "by the run"
    assert b"12 dropped (speaker not held out)" in done.stderr


@pytest.mark.slow
def test_of_several_runs_the_mean_is_judged(
    lanser: Lanser, speech, pretrained: Path, tmp_path: Path
) -> None:
    records = write_jsonl(tmp_path / "x.jsonl", speech)
    other = save(tmp_path / "other", "pretrain", seed=1)

    def found(*runs: Path) -> dict:
        out = tmp_path / f"out-{len(runs)}-{runs[0].name}"
        named = [word for run in runs for word in ("--run", run)]
        line = ("probe-prosody", records, *named, "--device", "cpu", "--folds", "4", "-o", out)
        lanser(*line)
        return json.loads((out / "probe.json").read_text())

    one, two, both = found(pretrained), found(other), found(pretrained, other)
    assert both["runs"] == [str(pretrained), str(other)]
    assert (both["networks"], both["folds"], both["utterances"]) == (2, 8, 48)
    for column in ("trained", "untrained", "label"):
        for way in ("r2", "within", "spearman"):
            *each, mean = (each["targets"]["f0_mean"][column][way] for each in (one, two, both))
            assert mean == pytest.approx(fmean(each), abs=2e-6), (way, column)
    *single, mean = (each["by_unit"]["fixed_sentence"]["trained"] for each in (one, two, both))
    for speaker, value in mean.items():
        assert value == pytest.approx(fmean(each[speaker] for each in single), abs=2e-6)
    assert one["layers"] != two["layers"]
    judged, by_unit = both["verdicts"]["within"], both["by_unit"]["within"]
    pairs = zip(by_unit["trained"].values(), by_unit[judged["control"]].values(), strict=True)
    truth = [mine - other for mine, other in pairs]
    assert judged["difference"]["value"] == pytest.approx(fmean(truth), abs=2e-6)


def test_seeds_of_a_run_are_probed_by_themselves_on_speakers_that_all_held_out(
    speech, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(resume=False)
    run.write_config("finetune", SMALL)
    with_folds(tmp_path / "run" / "seed-0", ["s0", "s1", "s2"], ["s3", "s4", "s5"])
    with_folds(tmp_path / "run" / "seed-1", ["s1", "s2", "s3"], ["s4", "s5", "s6"])
    networks = seeds_of(tmp_path / "run")
    assert [[folder.name for folder in one] for one in networks] == [["fold-1", "fold-2"]] * 2
    with Ledger("probe-prosody") as ledger:
        records = [Record(one) for one in speech]
        kept = held_out(networks, records, ledger, 3, "speaker")
        assert {record.speaker for record in kept} == {"s1", "s2", "s3", "s4", "s5"}
        assert ledger.dropped == {"speaker not held out": 18}
        with_folds(tmp_path / "elsewhere", ["s7", "s0"], ["s6", "x"])
        apart = [*networks, *seeds_of(tmp_path / "elsewhere")]
        with pytest.raises(LanserError, match="no speaker was held out in all of these runs"):
            held_out(apart, records, ledger, 3, "speaker")


def test_runs_that_have_no_mean_are_refused(
    lanser: Lanser, speech, pretrained: Path, tmp_path: Path
) -> None:
    records = write_jsonl(tmp_path / "x.jsonl", speech)
    twice = probe(lanser, records, pretrained, "--run", f"{pretrained}/", check=2)
    assert b"a run is named twice" in twice.stderr
    deep = RunFolder(tmp_path / "deep")
    deep.create(resume=False)
    other = replace(SMALL, name="resnet18")
    deep.write_config("pretrain", other)
    deep.write_model(SpeechClassifier(other))
    unlike = probe(lanser, records, pretrained, "--run", tmp_path / "deep", check=2)
    assert b"their layers are not the same, so probe them one by one" in unlike.stderr


def test_a_run_that_was_tested_on_none_of_the_speakers_is_refused(
    lanser: Lanser, speech, tmp_path: Path
) -> None:
    run = with_folds(tmp_path / "run", ["x"], ["y"])
    done = probe(lanser, write_jsonl(tmp_path / "x.jsonl", speech), run, check=1)
    assert b"tested on a speaker of these records" in done.stderr


def test_a_speaker_that_was_tested_and_trained_on_is_not_held_out(speech, tmp_path: Path) -> None:
    records = [Record(one) for one in speech]
    run = with_folds(tmp_path / "run", ["s0", "s1", "s2"])
    marks = ((heard.marks(one), None) for one in records if one.speaker in ("s2", "s3"))
    heard.write(run / "fold-1", heard.heard(marks), None)
    [networks] = seeds_of(run)
    [part] = divide(networks, records)
    assert {records[row].speaker for row in part.rows} == {"s0", "s1"} and not part.heard
    # One that names none whom it was tested on is probed on all, and says how many it has heard.
    before = save(tmp_path / "before", "pretrain")
    assert not divide([before], records)[0].known
    heard.write(before, heard.read(run / "fold-1"), None)
    [part] = divide([before], records)
    assert (len(part.rows), part.known, part.heard) == (48, True, 12)


def test_a_fold_of_one_speaker_is_refused_with_the_reason(
    lanser: Lanser, speech, tmp_path: Path
) -> None:
    run = with_folds(tmp_path / "run", ["s0", "s1", "s2"], ["s3"])
    done = probe(lanser, write_jsonl(tmp_path / "x.jsonl", speech), run, check=1)
    assert b"all utterances to probe one network on are by 's3'" in done.stderr


def test_one_utterance_of_each_speaker_is_refused_with_the_reason(
    lanser: Lanser, speech, tmp_path: Path
) -> None:
    before = save(tmp_path / "before", "pretrain")
    done = probe(lanser, write_jsonl(tmp_path / "x.jsonl", speech[:8]), before, check=1)
    assert b"each speaker has one utterance" in done.stderr


@pytest.mark.slow
def test_five_speakers_have_values_and_no_verdict(
    lanser: Lanser, speech, pretrained: Path, tmp_path: Path
) -> None:
    few = [value for value in speech if value["speaker"] < "s5"]
    done = probe(lanser, write_jsonl(tmp_path / "x.jsonl", few), pretrained, "--folds", "2")
    [line] = read_jsonl(done.stdout)
    assert line["verdict"] == "no verdict"
    assert line["verdicts"]["within"]["difference"]["low"] is None
    assert line["median"]["trained"]["r2"] is not None
    assert b"No verdict" in done.stderr


@pytest.mark.slow
def test_silent_and_short_clips_are_counted_and_harm_nothing(
    lanser: Lanser, speech, pretrained: Path, tmp_path: Path
) -> None:
    odd = []
    for number, samples in enumerate((RATE, 320, 1)):
        path = tmp_path / f"odd-{number}.wav"
        soundfile.write(path, np.zeros(samples, np.float32), RATE)
        odd.append({**speech[number], "id": path.stem, "audio_filepath": str(path)})
    records = write_jsonl(tmp_path / "x.jsonl", [*speech, *odd])
    [line] = read_jsonl(probe(lanser, records, pretrained).stdout)
    assert line["utterances"] == 51
    assert line["missing"]["f0_mean"] == line["missing"]["intensity_mean"] == 3


@pytest.mark.slow
def test_targets_that_no_utterance_has_are_said_to_be_left_out(
    lanser: Lanser, speech, pretrained: Path, tmp_path: Path
) -> None:
    draw, hiss = np.random.default_rng(0), []
    for number, one in enumerate(speech[:24]):
        path = tmp_path / f"hiss-{number:02d}.wav"
        soundfile.write(path, draw.uniform(0.01, 0.1) * draw.standard_normal(RATE), RATE)
        hiss.append({**one, "audio_filepath": str(path)})
    done = probe(lanser, write_jsonl(tmp_path / "x.jsonl", hiss), pretrained)
    [line] = read_jsonl(done.stdout)
    probed = set(TARGETS) - {words.split(":")[0] for words in line["left_out"]}
    assert "f0_mean" not in probed and probed == set(line["missing"])
    assert b"left out: f0_mean: nothing that differs" in done.stderr


def test_a_run_without_its_weights_is_one_error(lanser: Lanser, speech, tmp_path: Path) -> None:
    run = save(tmp_path / "run", "pretrain")
    (run / "model.safetensors").unlink()
    done = probe(lanser, write_jsonl(tmp_path / "x.jsonl", speech), run, check=1)
    assert b"the run is not finished" in done.stderr


# ---------------------------------------------------------------- layers


def test_what_is_behind_the_sound_is_not_pooled() -> None:
    """The frames of a short clip say what they say in a crop that holds nothing else."""
    model = SpeechClassifier(SMALL).eval()
    sound = torch.from_numpy(voice(0, 150.0)[: RATE // 2])
    found = layers.embed(model, [sound])
    with torch.inference_mode():
        maps = model.backbone.maxpool(
            model.backbone.act1(
                model.backbone.bn1(model.backbone.conv1(model.front_end(sound[None])))
            )
        )
    alone = maps.mean(dim=(2, 3))[0].numpy()
    padded = layers.embed(model, [torch.cat([sound, torch.zeros(RATE // 2 - 1)])])["stem"][0]
    assert np.abs(found["stem"][0] - alone).mean() < 0.2 * np.abs(padded - alone).mean()


def test_the_last_layer_of_a_full_crop_is_the_pooled_representation() -> None:
    model = SpeechClassifier(SMALL).eval()
    sound = torch.from_numpy(voice(1, 150.0)[:RATE])
    with torch.inference_mode():
        pooled = model.heads(sound[None])[1][0].numpy()
    np.testing.assert_allclose(layers.embed(model, [sound])["block 4.2"][0], pooled, atol=1e-5)


def test_every_branch_of_an_untrained_network_is_live() -> None:
    model = SpeechClassifier(SMALL)
    dead = layers.embed(model.eval(), [torch.from_numpy(voice(2, 150.0))])
    live = layers.untrained(SMALL, model.front_end, 0)
    scales = [
        float(block.bn2.weight.detach().abs().min())
        for stage in ("layer1", "layer4")
        for block in getattr(live.backbone, stage)
    ]
    assert min(scales) == 1.0
    found = layers.embed(live, [torch.from_numpy(voice(2, 150.0))])
    assert not np.allclose(found["block 1.1"], dead["block 1.1"], rtol=0.1)
    other = layers.untrained(SMALL, model.front_end, 1)
    assert not torch.equal(live.backbone.conv1.weight, other.backbone.conv1.weight)


def test_records_with_an_empty_text_are_counted_among_those_without() -> None:
    values = [
        {"id": f"u{n}", "speaker": "s", "text": text} for n, text in enumerate(("a", "", None))
    ]
    assert "transcript: 2 records have no text" in controls.known([Record(v) for v in values])[1]


def test_weak_labels_that_stand_for_human_ones_are_said() -> None:
    values = [{"id": f"u{n}", "speaker": "s", "label": "joy", "emotion": "fear"} for n in range(3)]
    assert not any("weak" in line for line in controls.known([Record(v) for v in values])[1])
    del values[1]["label"]
    found, missing = controls.known([Record(v) for v in values])
    assert "label" in found
    assert "human label: 1 records have none: weak ones stand for it" in missing


def test_log_mel_statistics_are_those_of_the_front_end() -> None:
    model = SpeechClassifier(SMALL).eval()
    sound = torch.from_numpy(voice(3, 150.0))
    [found] = controls.log_mel_statistics(model, [sound])
    with torch.inference_mode():
        bands = model.front_end(sound[None])[0, 0].numpy()
    np.testing.assert_allclose(found[:64], bands.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(found[64:128], bands.std(axis=1), atol=1e-5)
    np.testing.assert_allclose(
        found[128:192], np.abs(bands[:, 1:] - bands[:, :-1]).mean(1), atol=1e-5
    )
    np.testing.assert_allclose(found[320:384], np.median(bands, axis=1), atol=1e-5)


def test_log_mel_statistics_are_of_what_the_network_is_given() -> None:
    model = SpeechClassifier(replace(SMALL, trim=True)).eval()
    sound = torch.from_numpy(voice(4, 150.0))
    edged = torch.cat([torch.zeros(RATE), sound, torch.zeros(RATE)])
    assert len(model.trimmed(edged)) < len(sound) + RATE // 2
    bare, found = controls.log_mel_statistics(model, [model.trimmed(edged), edged])
    np.testing.assert_array_equal(found, bare)
    [short] = controls.log_mel_statistics(model, [sound[:1]])
    assert np.isfinite(short).all() and len(short) == len(bare)


# ---------------------------------------------------------------- words


def spoken(**same) -> list[Record]:
    """Six speakers, two sentences, three labels, each twice."""
    return [
        Record(
            {"id": f"{s}-{w}-{e}-{n}", "speaker": f"s{s}", "sentence": f"{w}", "label": e, **same}
        )
        for s in range(6)
        for w in range(2)
        for e in EKMAN[:3]
        for n in range(2)
    ]


def test_emotion_that_is_in_the_features_is_found_within_a_sentence() -> None:
    records = spoken()
    speakers = [str(record.speaker) for record in records]
    draw = np.random.default_rng(0)
    hears = controls.one_hot([str(record.label) for record in records])
    noise = draw.standard_normal((len(records), 4))
    columns = {"trained": [{"": hears + 0.1 * noise[:, :3]}], "untrained": [{"": noise}]}
    folds = splits(speakers, [np.arange(len(records))], 3)
    recalls = words.recalls(records, columns, speakers, folds)
    found = words.fixed_sentence(records, [recalls], speakers)
    assert found is not None
    assert found.about["uar"]["trained"]["value"] == 1.0 and found.about["verdict"] == "shown"
    assert found.about["uar"]["sentence"]["value"] == pytest.approx(1 / 3)
    assert found.by_unit["trained"] == dict.fromkeys(speakers, 1.0)


def test_a_sentence_that_is_not_spoken_in_every_label_does_not_count() -> None:
    records = [r for r in spoken() if r.fields["sentence"] == "0" or r.label != "anger"]
    speakers = [str(record.speaker) for record in records]
    noise = np.random.default_rng(0).standard_normal((len(records), 4))
    columns = {"trained": [{"": noise}], "untrained": [{"": noise}]}
    folds = splits(speakers, [np.arange(len(records))], 3)
    found = words.fixed_sentence(
        records, [words.recalls(records, columns, speakers, folds)], speakers
    )
    assert found is not None
    assert (found.about["utterances"], found.about["sentences"]) == (36, 1)


def test_answers_that_follow_the_voice_and_the_words_are_counted() -> None:
    records = [record.with_fields(emotion="fear") for record in spoken()]
    voices = [str(record.label) for record in records]
    speakers = [str(record.speaker) for record in records]
    found = words.against_voice(records, [voices], speakers, EKMAN)
    assert found is not None and found["utterances"] == sum(v != "fear" for v in voices)
    assert (found["voice"]["value"], found["words"]["value"]) == (1.0, 0.0)
    fear = ["fear"] * len(records)
    other = words.against_voice(records, [fear], speakers, EKMAN)
    assert other is not None and (other["voice"]["value"], other["words"]["value"]) == (0.0, 1.0)
    both = words.against_voice(records, [voices, fear], speakers, EKMAN)
    assert both is not None and (both["voice"]["value"], both["words"]["value"]) == (0.5, 0.5)
    assert words.against_voice(spoken(), [voices], speakers, EKMAN) is None  # no words say one


def test_words_and_voice_are_compared_where_the_networks_know_both_alone() -> None:
    records = [
        Record({"id": f"{s}-{voice}-{said}", "speaker": f"s{s}", "label": voice, "emotion": said})
        for s in range(6)
        for voice, said in (("anger", "joy"), ("anger", None), (None, "joy"), ("rage", "joy"))
    ]
    speakers = [str(record.speaker) for record in records]
    anger = ["anger"] * len(records)  # joy is known, though never answered
    found = words.against_voice(records, [anger], speakers, {"anger", "joy"})
    assert found is not None and (found["utterances"], found["speakers"]) == (6, 6)
    assert (found["voice"]["value"], found["words"]["value"]) == (1.0, 0.0)
    assert words.against_voice(records, [anger], speakers, {"anger", "fear"}) is None
    half = ["anger"] * 12 + ["joy"] * 12
    share = words.against_voice(records, [half], speakers, {"anger", "joy"})
    assert share is not None
    assert share["words"] == {"value": 0.5, "low": 0.0, "high": 1.0}  # no share lies beyond


@pytest.mark.slow
def test_a_duration_that_is_the_same_within_each_speaker_ends_no_probe(
    lanser: Lanser, speech, pretrained: Path, tmp_path: Path
) -> None:
    cut = [{**one, "duration": 1.0 + int(one["speaker"][-1]) / 8} for one in speech]
    done = probe(lanser, write_jsonl(tmp_path / "x.jsonl", cut), pretrained, "--folds", "4")
    trained = read_jsonl(done.stdout)[0]["duration"]["trained"]
    assert trained["r2"] is not None and trained["within"] is None


@pytest.mark.slow
def test_several_names_of_one_voice_are_one_speaker(
    lanser: Lanser, speech: list[dict], pretrained: Path, tmp_path: Path
) -> None:
    """By voice there are too few for a verdict, whatever the eight names suggest."""
    values = [value | {"voice": f"v{int(value['speaker'][-1]) % 4}"} for value in speech]
    records = write_jsonl(tmp_path / "x.jsonl", [*values, {**values[0], "id": "x", "voice": None}])
    line = ("--folds", "4", "--by", "voice", "--device", "cpu")
    done = lanser("probe-prosody", records, "--run", pretrained, *line)
    [found] = read_jsonl(done.stdout)
    assert (found["speakers"], found["verdict"]) == (4, "no verdict")
    assert b"no voice" in done.stderr.splitlines()[-1]
