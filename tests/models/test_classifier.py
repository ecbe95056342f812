"""The front-end and the network."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
import torch
from conftest import EKMAN, tone

from lanser_cli.digests import file_sha256
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.models.architectures import ARCHITECTURES, architectures_in_words
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.models.front_end import MASK_DRAWS, FrontEnd, LogMel, masked
from lanser_cli.training import runs
from lanser_cli.training.predict import per_utterance
from lanser_cli.training.runs import RunFolder
from lanser_cli.training.start import Start


def test_log_mel_puts_a_tone_into_the_right_band():
    front_end = LogMel(FrontEnd(mels=64)).eval()
    image = front_end(torch.from_numpy(tone(1.0, 1000.0))[None])
    assert image.shape[:3] == (1, 1, 64) and 99 <= image.shape[3] <= 101
    # HTK mel scale: 2595 log10(1 + f/700), 64 bands between 50 and 8000 Hz
    mel = 2595 * np.log10(1 + np.array([50, 1000, 8000]) / 700)
    expected = (mel[1] - mel[0]) / (mel[2] - mel[0]) * 65 - 1
    assert abs(int(image[0, 0, :, 50].argmax()) - expected) <= 1


def test_louder_speech_stays_louder():
    front_end = LogMel(FrontEnd()).eval()
    quiet = torch.from_numpy(tone(0.5))[None]
    difference = front_end(2 * quiet) - front_end(quiet)
    loud_bins = front_end(quiet) > -5
    scale = torch.sqrt(front_end.norm.running_var[0] + front_end.norm.eps)
    assert (difference * scale)[loud_bins].median() == pytest.approx(2 * np.log(2), abs=0.01)


def test_masks_in_training_only():
    front_end = LogMel(FrontEnd())
    sound = torch.from_numpy(tone(2.0))[None].repeat(4, 1)
    front_end.eval()
    assert torch.equal(front_end(sound)[0], front_end(sound)[1])
    front_end.train()
    image = front_end(sound)
    assert not torch.equal(image[0], image[1])


def test_masks_lie_where_the_draws_say():
    """Two bands and two stretches, as torchaudio's masks of one draw each would lie."""
    draws = torch.rand(3, MASK_DRAWS)
    image = masked(torch.ones(3, 64, 200), draws)
    for row, numbers in zip(image, draws.view(3, 2, 2, 2).tolist(), strict=True):
        expected = torch.ones(64, 200)
        for (width, place), (length, at) in numbers:
            low = int(place * (64 - 8 * width))
            expected[low : low + int(8 * width)] = 0
            start = int(at * (200 - 30 * length))
            expected[:, start : start + int(30 * length)] = 0
        assert torch.equal(row, expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shapes(name):
    model = SpeechClassifier(Architecture(name, EKMAN, crop_seconds=0.5)).eval()
    sound = torch.randn(3, 8_000)
    with torch.inference_mode():
        assert model(sound).shape == (3, 6)
        assert model.heads(sound)[1].shape == (3, model.backbone.num_features)


def test_every_architecture_is_in_the_help():
    assert re.sub(r" \([^)]*\)", "", architectures_in_words()).split(", ") == list(ARCHITECTURES)


def test_unknown_architecture():
    with pytest.raises(UsageError, match="unknown architecture 'resnet19': choose from .*resnet50"):
        SpeechClassifier(Architecture("resnet19", EKMAN))


@pytest.mark.parametrize("samples", [1, 15_999, 16_000, 16_001, 40_000])
def test_crops_cover_the_sound(samples):
    model = SpeechClassifier(Architecture("resnet18-slim", EKMAN, crop_seconds=1.0))
    sound = torch.arange(1, samples + 1, dtype=torch.float32)
    crops = model.crops(sound)
    assert crops.shape[1] == 16_000
    assert set(crops.flatten().tolist()) - {0.0} == set(sound.tolist())


def test_an_answer_does_not_depend_on_the_batch(tiny_run):
    model = runs.load_model(tiny_run)
    sounds = [torch.from_numpy(tone(seconds, 150)) for seconds in (0.4, 1.0, 2.7, 1.6)]
    together = per_utterance(model, sounds, model)
    alone = torch.cat([per_utterance(model, [sound], model) for sound in sounds])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_model_is_rebuilt_from_its_run_folder(tmp_path):
    torch.manual_seed(1)
    architecture = Architecture("resnet18-slim", ("a", "b"), 1.5, FrontEnd(mels=40, hop_ms=12.5))
    model = SpeechClassifier(architecture).eval()
    run = RunFolder(tmp_path / "run")
    run.create(resume=False)
    run.write_config("pretrain", architecture)
    run.write_model(model)
    rebuilt = runs.load_model(run.path)
    assert rebuilt.architecture == architecture
    sound = torch.randn(2, 24_000)
    with torch.inference_mode():
        assert torch.equal(rebuilt(sound), model(sound))


def test_transfer_takes_everything_but_the_classifier(tiny_run):
    torch.manual_seed(9)
    model = SpeechClassifier(Architecture("resnet18-slim", ("x", "y"), 1.0))
    head = model.backbone.fc.weight.clone()
    runs.transfer(model, tiny_run)
    source = runs.load_model(tiny_run).state_dict()
    assert torch.equal(model.backbone.fc.weight, head)
    for name, tensor in model.state_dict().items():
        if not name.startswith("backbone.fc."):
            assert torch.equal(tensor, source[name]), name


@pytest.mark.parametrize("shrink", [0.25, 1.0])
def test_a_start_that_shrinks_lies_between_fresh_weights_and_those_of_the_run(tiny_run, shrink):
    architecture = Architecture("resnet18-slim", ("x", "y"), 1.0)
    model = Start(tiny_run, shrink).network(architecture, seed=9)
    fresh = Start().network(architecture, seed=9).state_dict()
    trained = runs.load_model(tiny_run).state_dict()
    learned = {name for name, _ in model.named_parameters()}
    assert any("running_var" in name for name in trained.keys() - learned)
    for name, tensor in model.state_dict().items():
        if name.startswith("backbone.fc."):
            expected = fresh[name]
        elif name in learned:
            expected = shrink * fresh[name] + (1 - shrink) * trained[name]
        else:
            expected = trained[name]
        torch.testing.assert_close(tensor, expected, msg=name)


def test_transfer_to_another_architecture_is_refused(tiny_run):
    model = SpeechClassifier(Architecture("resnet18", ("x", "y")))
    with pytest.raises(LanserError, match="is a resnet18-slim .* than resnet18"):
        runs.transfer(model, tiny_run)


def test_a_second_run_in_a_folder_is_refused(tiny_run):
    with pytest.raises(UsageError, match="holds a run already: go on with --resume"):
        RunFolder(tiny_run).create(resume=False)


def other_weights() -> bytes:
    from safetensors.torch import save

    return save({"weight": torch.zeros(3)})


@pytest.mark.parametrize(
    "key, value, sentence",
    [
        ("name", "resnet5000", "'architecture.name' must be one of resnet50, "),
        ("labels", [], "'architecture.labels' must be labels, each once"),
        ("labels", ["joy", "joy"], "'architecture.labels' must be labels, each once"),
        ("labels", "joy", "'architecture.labels' must be an array"),
        ("crop_seconds", 1e12, "'architecture.crop_seconds' must be from 0.025 to 600"),
        ("crop_seconds", "3", "'architecture.crop_seconds' must be a finite number"),
        ("trim", 1, "'architecture.trim' must be true or false"),
        ("mels", 10**12, "'architecture.front_end.mels' must be from 1 to 1024"),
        ("hop_ms", 0, "'architecture.front_end.hop_ms' must be from 1 to 1000"),
        ("low_hz", 8000, "'architecture.front_end.low_hz' must be below 'high_hz'"),
        ("normalise", "all", "'architecture.front_end.normalise' must be one of none, "),
        ("colour", "red", "argument 'colour'"),
    ],
)
def test_a_config_that_nothing_can_be_built_from(tiny_run, tmp_path, key, value, sentence):
    config = json.loads((tiny_run / "config.json").read_text())
    own = config["architecture"]
    (own["front_end"] if key in own["front_end"] else own)[key] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        LanserError, match=rf"config\.json: no usable architecture: .*{sentence}"[:99]
    ):
        runs.read_architecture(tmp_path)


@pytest.mark.parametrize(
    "key, value, sentence",
    [
        ("protocol", {"fraction": 0}, "'protocol.fraction' must be above 0 and at most 1, not 0"),
        ("protocol", [], "'protocol' must be an object, not an array"),
        ("test_speakers", [1], "'test_speakers[0]' must be a string, not 1"),
        ("seen", {"run": "x"}, "'seen.checked' is missing"),
        ("identity", {"data": 7}, "'identity.data' must be a string, not 7"),
        ("init", {}, "'init' must be a string, not an object"),
        ("schema", True, "'schema' must be a whole number, not true or false"),
    ],
)
def test_a_config_of_other_types_names_the_key(tiny_run, tmp_path, key, value, sentence):
    config = json.loads((tiny_run / "config.json").read_text()) | {key: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(LanserError) as caught:
        runs.read_config(tmp_path)
    assert str(caught.value) == f"{tmp_path}/config.json: not the config of a run: {sentence}"


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda run: (run / "config.json").unlink(), "not a run folder: there is no config.json"),
        (lambda run: (run / "config.json").write_text("{"), "not the config of a run"),
        (lambda run: (run / "config.json").write_text('{"schema": 99}'), "newer lanser"),
        (lambda run: (run / "config.json").write_text('{"schema": 1}'), "no usable architecture"),
        (lambda run: (run / "model.safetensors").unlink(), "the run is not finished"),
        (lambda run: (run / "model.safetensors").write_bytes(b"no"), "is damaged .*: copy it"),
        (lambda run: os.truncate(run / "model.safetensors", 5_000_000), "is damaged .*: copy it"),
        (lambda run: (run / "model.safetensors").write_bytes(other_weights()), "does not fit"),
    ],
)
def test_spoilt_run_folders(tiny_run, tmp_path, spoil, sentence):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.json", "model.safetensors"):
        (run / name).write_bytes((tiny_run / name).read_bytes())
    spoil(run)
    with pytest.raises(LanserError, match=sentence):
        runs.load_model(runs.model_folders(run)[0])


def test_a_checkpoint_cannot_run_code(tmp_path):
    """A resume checkpoint is read as tensors and plain values; anything else is refused."""
    import pickle

    class Evil:
        def __reduce__(self):
            return print, ("code ran",)

    run = RunFolder(tmp_path)
    run.create(resume=False)
    partial = tmp_path / "checkpoints" / "evil"
    torch.save({"step": Evil()}, partial)
    partial.rename(partial.with_name(f"step-1-{file_sha256(partial)[:16]}.pt"))
    with pytest.raises((pickle.UnpicklingError, LanserError)):
        run.checkpoints.load(torch.device("cpu"))


def test_the_log_is_cut_to_the_step_resumed_from(tmp_path):
    run = RunFolder(tmp_path)
    for step in (10, 20, 30):
        run.log({"step": step, "loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 40, "lo')
    with (run.path / "metrics.jsonl").open("a") as stream:  # what is damaged is of no step
        stream.write("[" * 100_000 + '}\n{"loss": 1}\n[{}\n{"step": "x"}\n{"step": 1e')
    run.cut_log(20)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 20]
