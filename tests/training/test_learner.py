"""The arithmetic of a step: what decays, what counts how much, and what pieces add up to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Lanser, read_jsonl
from sklearn.utils.class_weight import compute_class_weight

from lanser_cli.devices import Ranks
from lanser_cli.errors import LanserError, RecordError, UsageError
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.models.front_end import freed, levels_of
from lanser_cli.records import Record
from lanser_cli.training.draws import Draws
from lanser_cli.training.examples import (
    Example,
    WeakUtterance,
    emphasis,
    human_examples,
    weak_examples,
)
from lanser_cli.training.learner import Learner
from lanser_cli.training.recipe import Recipe

CPU = torch.device("cpu")


def learner(recipe: Recipe, pieces: int = 1) -> tuple[SpeechClassifier, Learner]:
    torch.manual_seed(0)
    model = SpeechClassifier(Architecture("resnet18-slim", ("a", "b"), crop_seconds=0.2))
    return model, Learner(model, recipe, CPU, Ranks(), "train", pieces)


def batch(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(1)
    sound = 0.1 * torch.randn(len(weight), 3200, generator=drawn)
    return sound, torch.eye(2)[torch.arange(len(weight)) % 2], weight


def draws(count: int) -> Draws:
    return Draws.of(0, [(0, index, True) for index in range(count)], 0.0)


def test_norms_and_biases_do_not_decay() -> None:
    model, found = learner(Recipe(1, weight_decay=0.5, precision="float32"))
    before = {name: value.clone() for name, value in model.named_parameters()}
    nothing = torch.zeros(4)  # no utterance counts, so no gradient moves anything
    found.step(1, batch(torch.ones(4)), nothing, draws(4), 0.1, ["x"] * 4)
    for name, value in model.named_parameters():
        expected = before[name] * (0.95 if value.dim() > 1 else 1.0)
        assert torch.allclose(value, expected), name
    assert {value.dim() for value in model.parameters()} == {1, 2, 4}


def test_pieces_add_up_to_the_whole_step() -> None:
    """With frozen norms, whose statistics would be those of a piece."""
    changed = []
    for pieces in (1, 2, 3):
        model, found = learner(Recipe(1, freeze=True, precision="float32"), pieces)
        weight = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
        made = found.step(1, batch(weight), torch.ones(6), draws(6), 0.01, ["x"] * 6)
        assert made.finite and made.heard == 5
        changed.append((made.loss, made.norm, model.backbone.fc.weight.detach().clone()))
    for loss, norm, weights in changed[1:]:
        assert loss == pytest.approx(changed[0][0], rel=1e-5)
        assert norm == pytest.approx(changed[0][1], rel=1e-4)
        assert torch.allclose(weights, changed[0][2], atol=1e-5)


def test_float16_shrinks_its_scale_and_goes_on() -> None:
    model, found = learner(Recipe(1, precision="float16"))
    scale = found.state()["scaler"]["scale"]
    assert scale > 1
    made = [
        found.step(n, batch(torch.ones(4)), torch.ones(4) * size, draws(4), 1e-3, ["x"] * 4)
        for n, size in enumerate((1e8, 1.0, 1.0), start=1)
    ]
    assert not made[0].finite and found.guard.skipped == 0
    assert found.state()["scaler"]["scale"] < scale
    assert made[2].finite and np.isfinite(made[2].loss)
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def test_sound_that_is_not_finite_is_no_matter_of_float16s_scale() -> None:
    _, found = learner(Recipe(1, precision="float16"))
    sound, target, weight = batch(torch.ones(4))
    bad = torch.full_like(sound, float("nan")), target, weight
    for n in (1, 2):
        assert not found.step(n, bad, torch.ones(4), draws(4), 1e-3, ["x"] * 4).finite
        assert found.guard.skipped == n
    with pytest.raises(LanserError, match="no finite gradient at step 3, .* as 2 before it"):
        found.step(3, bad, torch.ones(4), draws(4), 1e-3, ["x"] * 4)


def test_class_weights_are_those_of_scikit_learn() -> None:
    labels = ["a"] * 6 + ["b"] * 3 + ["c"]
    records = [Record({"id": str(n), "label": label}) for n, label in enumerate(labels)]
    examples = human_examples(records, ("a", "b", "c"))
    balanced = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels)
    expected = dict(zip("abc", balanced, strict=True))
    assert emphasis(examples, "balanced") == pytest.approx([expected[one] for one in labels])
    assert emphasis(examples, "none") == [1.0] * 10
    root = np.sqrt([expected[one] for one in labels])
    assert emphasis(examples, "sqrt") == pytest.approx(root / root.mean())


def test_soft_targets_are_probabilities() -> None:
    record = Record({"id": "x", "emotion": "a", "emotion_scores": {"a": 2.0, "b": -1.5}})
    with pytest.raises(RecordError, match="'b' is -1.5, and soft targets need probabilities"):
        WeakUtterance.of(record, "soft")
    assert WeakUtterance.of(record, "hard").probabilities == ()


def test_the_score_of_a_weak_label_counts() -> None:
    values = [{"id": "x", "emotion": "a", "emotion_score": 0.9}, {"id": "y", "emotion": "b"}]
    held = [WeakUtterance.of(Record(value), "hard") for value in values]
    assert [one.weight for one in weak_examples(held, ("a", "b"))] == [1.0, 1.0]
    assert weak_examples(held[:1], ("a", "b"), by_score=True)[0].weight == 0.9
    with pytest.raises(LanserError, match="--score-weighted: record 'y' has no 'emotion_score'"):
        weak_examples(held, ("a", "b"), by_score=True)
    for score in (-0.5, 2.0):  # such as log-probabilities
        odd = WeakUtterance.of(Record({"id": "z", "emotion": "a", "emotion_score": score}), "hard")
        with pytest.raises(LanserError, match=f"record 'z' has {score:g} as 'emotion_score'"):
            weak_examples([odd], ("a", "b"), by_score=True)
    weights = emphasis([Example(held[0], (1.0, 0.0), w) for w in (0.2, 0.6)], "none")
    assert weights == pytest.approx([0.5, 1.5])


def test_normalised_log_mel_has_neither_level_nor_deviation() -> None:
    logmel = 3 * torch.randn(2, 5, 50) + 7
    heard = torch.ones(2, 1, 50, dtype=torch.bool)
    heard[1, :, 30:] = False
    made = freed(logmel, heard, levels_of(logmel, heard))
    for row, count in ((0, 50), (1, 30)):
        sound = made[row, :, :count]
        assert torch.allclose(sound.mean(1), torch.zeros(5), atol=1e-5)
        assert torch.allclose(sound.std(1, correction=0), torch.ones(5), atol=1e-4)
    assert not made[1, :, 30:].any()


def test_threads_and_algorithms_are_set_for_a_while() -> None:
    threads = torch.get_num_threads()
    with Recipe(1, threads=2, deterministic=True).arithmetic():
        assert torch.get_num_threads() == 2 and torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_compiling_is_for_a_gpu() -> None:
    with pytest.raises(UsageError, match="--compile is for a GPU"):
        learner(Recipe(1, compile=True))


def test_all_options_at_once(labelled: Path, tmp_path: Path, lanser: Lanser) -> None:
    """They train together, the config names them, and finetune and predict hear alike."""
    run, tuned = tmp_path / "run", tmp_path / "tuned"
    shared = ("--device", "cpu", "--epochs", 1, "--crop", 0.4, "--batch-size", 4)
    more = ("--accumulate", 2, "--class-weights", "sqrt", "--weight-decay", 0.01)
    more += ("--label-smoothing", 0.0, "--gain-db", 6, "--noise-db", "10..40", "--tempo", 0.1)
    more += ("--threads", 1, "--deterministic", "--precision", "float32", *shared)
    line = ("--model", "resnet18-slim", "--trim", "--normalise", "utterance")
    lanser("pretrain", labelled, *line, "--score-weighted", *more, "-o", run)
    [config] = read_jsonl(_flat(run / "config.json"))
    assert config["place"] == {"device": "cpu", "gpu": None, "threads": 1, "ranks": 1}
    assert config["recipe"]["noise_db"] == "10..40" and config["recipe"]["accumulate"] == 2
    assert config["architecture"]["trim"] is True
    assert config["architecture"]["front_end"]["normalise"] == "utterance"
    lanser("finetune", labelled, "--init", run, "--allow-seen", "--folds", 2, *more, "-o", tuned)
    [config] = read_jsonl(_flat(tuned / "config.json"))
    assert config["architecture"]["trim"] is True
    answers = read_jsonl(lanser("predict", labelled, "--run", tuned).stdout)
    assert len(answers) == 12


def test_a_missing_extra_names_the_command(labelled: Path, tmp_path: Path, lanser: Lanser) -> None:
    line = ("pretrain", labelled, "--model", "resnet18-slim", "--device", "cpu", "--epochs", 1)
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        done = lanser(*line, "--tensorboard", "-o", tmp_path / "run", check=1)
        assert b"run  pip install 'lanser[tensorboard]'" in done.stderr
        assert not (tmp_path / "run").exists()
    else:
        lanser(*line, "--tensorboard", "-o", tmp_path / "run")
        assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def _flat(path: Path) -> str:
    return path.read_text(encoding="utf-8").replace("\n", " ")
