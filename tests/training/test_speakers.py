"""`--normalise speaker`: log-mel free of who speaks, by levels over all of a speaker's sound."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from conftest import EKMAN, Lanser, read_jsonl, tone, write_jsonl

from lanser_cli.audio import sound
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.models.front_end import FrontEnd, LogMel
from lanser_cli.records import Record, Reject
from lanser_cli.training import heard
from lanser_cli.training.draws import blended
from lanser_cli.training.predict import Predictor
from lanser_cli.training.runs import RunFolder
from lanser_cli.training.speakers import Speakers

BY_SPEAKER = Architecture("resnet18-slim", EKMAN, 0.5, FrontEnd(normalise="speaker"))
SHORT = ("--device", "cpu", "--steps", "1", "--crop", "0.5", "--normalise", "speaker")
SLIM = ("--model", "resnet18-slim", *SHORT)


@pytest.fixture(scope="module")
def records(labelled: Path) -> list[Record]:
    return [Record(value) for value in read_jsonl(labelled)]


def measured(records: list[Record], **options) -> Speakers:
    refused: list[Reject] = []
    found = Speakers.measured(records, BY_SPEAKER, "test", refused.append, **options)
    assert not refused
    return found


def frames(record: Record) -> np.ndarray:
    """Log-mel, `[mels, frames]`, by torchaudio alone."""
    mel = torchaudio.transforms.MelSpectrogram(
        16_000, 512, win_length=400, hop_length=160, f_min=50.0, f_max=8000.0, n_mels=64
    )
    return torch.log(mel(torch.from_numpy(sound.load(record))) + 1e-6).double().numpy()


@pytest.mark.slow
def test_levels_are_over_all_frames_of_a_speaker(records: list[Record]) -> None:
    found = measured(records)
    assert sorted(found.levels) == ["s0", "s1", "s2"]
    for name, levels in found.levels.items():
        both = np.concatenate([frames(one) for one in records if one.speaker == name], axis=1)
        assert levels[0] == pytest.approx(both.mean(1), abs=1e-3)
        assert levels[1] == pytest.approx(both.std(1), abs=1e-3)
    again = measured(records, processes=2)
    assert all((again.levels[name] == found.levels[name]).all() for name in found.levels)


def test_log_mel_is_free_of_its_speaker_and_silence_behind_it_counts_for_nothing(
    records: list[Record],
) -> None:
    found, front_end = measured(records), LogMel(BY_SPEAKER.front_end).eval()
    pieces = []
    for record in (one for one in records if one.speaker == "s1"):
        wave, levels = torch.from_numpy(sound.load(record)), found.of(record)[None]
        image = front_end(wave[None], None, levels)[0, 0]
        pieces.append(image)
        longer = front_end(torch.cat([wave, torch.zeros(8000)])[None], None, levels)[0, 0]
        length = image.shape[1]
        assert torch.allclose(longer[:, : length - 3], image[:, :-3], atol=1e-3)
        assert not longer[:, length + 2 :].any()
    both = torch.cat(pieces, dim=1)
    assert both.mean(1).abs().max() < 1e-3 and (both.std(1) - 1).abs().max() < 2e-2


def test_an_answer_depends_neither_on_how_loud_a_speaker_is_nor_on_the_batch(
    records: list[Record], tmp_path: Path
) -> None:
    """A quarter of the level changes nothing, if all of a speaker's clips have it."""
    torch.manual_seed(0)
    draw, model = np.random.default_rng(0), SpeechClassifier(BY_SPEAKER).eval()
    voices: dict[float, list[Record]] = {1.0: [], 0.25: []}
    for record in records:
        wave = sound.load(record) + 0.02 * draw.standard_normal(round(16_000 * record.duration))
        for factor, made in voices.items():
            path = tmp_path / f"{record.id}-{factor}.wav"
            soundfile.write(path, factor * wave, 16_000, subtype="FLOAT")
            made.append(record.with_fields(audio_filepath=str(path)))
    scores = {}
    for factor, made in voices.items():
        predictor = Predictor([model], speakers=measured(made))
        together, alone = (
            np.array([list(one.scores.values()) for part in parts for one in predictor(part)])
            for parts in ([made], [[record] for record in made])
        )
        assert np.abs(together - alone).max() < 1.5e-6, "but for the rounding of the last digit"
        scores[factor] = together
    change, spread = np.abs(scores[1.0] - scores[0.25]).max(), scores[1.0].std(0).max()
    assert change < spread / 20


def test_mixup_mixes_levels_as_it_mixes_sound() -> None:
    levels, share = torch.randn(4, 2, 3), torch.tensor([0.75, 0.1, 1.0, 0.3])
    made = blended(levels, share)
    assert torch.allclose(made[0], 0.75 * levels[0] + 0.25 * levels[1])
    assert torch.allclose(made[1], 0.25 * levels[0] + 0.75 * levels[1])
    assert torch.equal(made[2:], levels[2:])


@pytest.fixture(scope="module")
def pretrained(labelled: Path, tmp_path_factory: pytest.TempPathFactory, lanser: Lanser) -> Path:
    """Of records of which one names no speaker, and one cannot be read."""
    folder = tmp_path_factory.mktemp("speakers")
    values = read_jsonl(labelled)
    del values[3]["speaker"]
    broken = folder / "broken.flac"
    soundfile.write(broken, tone(1.0), 16_000)
    broken.write_bytes(broken.read_bytes()[:6000])
    values[5]["audio_filepath"] = str(broken)
    data = write_jsonl(folder / "data.jsonl", values)
    line = ("pretrain", data, *SLIM, "--rejects", folder / "rejects.jsonl", "-o", folder / "run")
    done = lanser(*line, check=3)
    assert b"pretrain: 12 in, 10 used, 2 rejected" in done.stderr
    errors = {one["id"]: one["error"] for one in read_jsonl(folder / "rejects.jsonl")}
    assert list(errors) == ["clip-03", "clip-05"]
    assert errors["clip-03"].startswith("has no 'speaker', which --normalise speaker needs")
    return folder / "run"


@pytest.fixture(scope="module")
def tuned(
    labelled: Path, pretrained: Path, tmp_path_factory: pytest.TempPathFactory, lanser: Lanser
) -> Path:
    run = tmp_path_factory.mktemp("tuned") / "run"
    line = ("finetune", labelled, *SHORT, "--init", pretrained, "--allow-seen", "--folds", 3)
    done = lanser(*line, "-o", run)
    assert read_jsonl(done.stdout)[0]["transductive"] is True
    assert b"finetune: transductive: it has used" in done.stderr
    assert len(read_jsonl(run / "predictions.jsonl")) == 12
    return run


def test_every_result_and_report_says_transductive(
    tuned: Path, tmp_path: Path, lanser: Lanser
) -> None:
    done = lanser("eval", tuned, "--perturb", "gain", "-o", tmp_path / "report")
    [line] = read_jsonl(done.stdout)
    assert line["transductive"] is True and b"transductive: it has used" in done.stderr
    assert {one["other"] for one in line["perturbed"].values()}, "changed sound has its own levels"
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["runs"][str(tuned)]["transductive"] is True
    assert "transductive" in (tmp_path / "report/report.html").read_text()
    own = lanser("eval", tuned / "predictions.jsonl")  # which names the run as well
    assert read_jsonl(own.stdout)[0]["transductive"] is True
    plain = shutil.copy(tuned / "predictions.jsonl", tmp_path / "plain.jsonl")
    done = lanser("compare", tuned, plain, "-o", tmp_path / "pair")
    assert read_jsonl(done.stdout)[0]["transductive"] == [str(tuned)]
    assert f"compare: {tuned} is transductive: it has used".encode() in done.stderr
    uneven = f"only {tuned} of the two is transductive, and that may be the whole difference"
    assert uneven.encode() in done.stderr
    assert uneven in (tmp_path / "pair/report.html").read_text()
    done = lanser("compare", tuned, tuned)
    assert b"is transductive" in done.stderr and b"of the two" not in done.stderr


def test_predict_learns_the_levels_of_its_input_first(
    labelled: Path, tuned: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = read_jsonl(labelled)
    del values[4]["speaker"]
    data = write_jsonl(tmp_path / "data.jsonl", values)
    fold = tuned / "fold-1"
    whole = lanser("predict", data, "--run", fold, "--calibrate", "batch", check=3)
    assert (
        b"predict: transductive: " in whole.stderr and b"clip-04: has no 'speaker'" in whole.stderr
    )
    whole = lanser("predict", data, "--run", fold, check=3)
    parts = [lanser("predict", data, "--run", fold, "--part", f"{n}/2", check=None) for n in (1, 2)]
    lines = [part.stdout.splitlines() for part in parts]
    assert sorted(lines[0] + lines[1]) == sorted(whole.stdout.splitlines())
    done = lanser("predict", "-", "--run", fold, input=data.read_bytes(), check=2)
    assert b"--normalise speaker, which reads its input twice: name files" in done.stderr


@pytest.mark.slow
def test_efficiency_says_it_too(
    labelled: Path, pretrained: Path, tmp_path: Path, lanser: Lanser
) -> None:
    line = ("efficiency", labelled, "--init", pretrained, "--allow-seen", "--device", "cpu")
    line += ("--steps", 1, "--folds", 3, "--fractions", "1", "--seeds", 1)
    done = lanser(*line, "-o", tmp_path / "curve")
    assert read_jsonl(done.stdout)[0]["transductive"] is True
    assert "transductive" in (tmp_path / "curve/report.html").read_text()


def test_who_speaks_is_part_of_what_a_run_is(
    labelled: Path, tuned: Path, pretrained: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = [value | {"group": value["speaker"]} for value in read_jsonl(labelled)]
    run = tmp_path / "run"
    line = (*SLIM, "--group", "group", "--folds", 2, "-o", run)
    lanser("finetune", write_jsonl(tmp_path / "a.jsonl", values), *line)
    values[0]["speaker"] = "s9"
    again = write_jsonl(tmp_path / "b.jsonl", values)
    assert b"another data" in lanser("finetune", again, *line, "--resume", check=2).stderr


def test_what_cannot_be_told_who_speaks_is_refused(
    labelled: Path, pretrained: Path, tmp_path: Path, lanser: Lanser
) -> None:
    done = lanser("probe-prosody", labelled, "--run", pretrained, check=2)
    assert b"was trained with --normalise speaker" in done.stderr
    values = [{k: v for k, v in one.items() if k != "speaker"} for one in read_jsonl(labelled)]
    data = write_jsonl(tmp_path / "data.jsonl", values)
    done = lanser("finetune", data, *SLIM, "--test", "id=clip-00", "-o", tmp_path / "x", check=2)
    assert b"--normalise speaker: no record has a 'speaker'" in done.stderr
    other = RunFolder(tmp_path / "other")
    other.create(resume=False)
    architecture = Architecture("resnet18-slim", EKMAN, crop_seconds=0.5)
    other.write_config("pretrain", architecture)
    other.write_model(SpeechClassifier(architecture))
    heard.write(other.path, heard.heard([]), None)
    line = ("finetune", labelled, *SHORT, "--init", other.path, "-o", tmp_path / "y")
    assert b"has --normalise none" in lanser(*line, check=2).stderr
