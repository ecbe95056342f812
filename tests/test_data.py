"""Records to batches: targets, crops, and the same number of steps on every rank."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
from conftest import tone
from hypothesis import given, settings
from hypothesis import strategies as st

from lanser_cli.data import (
    Crops,
    Example,
    StepSampler,
    human_label_set,
    loader,
    one_hot,
    weak_examples,
    weak_label_set,
)
from lanser_cli.errors import LanserError
from lanser_cli.records import Record


def record(**fields) -> Record:
    return Record({"id": "a", **fields})


def test_hard_and_soft_targets():
    records = [
        record(emotion="joy", emotion_scores={"anger": 0.1, "joy": 0.6}),
        record(emotion="anger", emotion_scores={"anger": 0.7, "joy": 0.3}),
        record(emotion=None, text="nothing understood"),
    ]
    hard = weak_examples(records, ("anger", "joy"))
    assert [example.target for example in hard] == [(0.0, 1.0), (1.0, 0.0)]
    soft = weak_examples(records, ("anger", "joy"), soft=True)
    # --top-k kept part of the scores: they are made to sum to one again
    assert soft[0].target == pytest.approx((1 / 7, 6 / 7))
    assert soft[1].target == pytest.approx((0.7, 0.3))


def test_weak_labels_keep_the_taxonomy_order_and_only_those_that_occur():
    scores = {"surprise": 0.1, "joy": 0.5, "anger": 0.4}
    records = [
        record(emotion="anger", emotion_scores=scores),
        record(emotion="joy", emotion_scores=scores),
    ]
    assert weak_label_set(records) == ("joy", "anger")
    assert weak_label_set([record(emotion="b"), record(emotion="a")]) == ("a", "b")


@pytest.mark.parametrize("choose, key", [(weak_label_set, "emotion"), (human_label_set, "label")])
def test_one_label_is_nothing_to_learn(choose, key):
    with pytest.raises(LanserError, match=f"at least two different .*{key}.*found only 'joy'"):
        choose([record(**{key: "joy"}), record(**{key: "joy"})])


def test_unknown_label_is_named():
    with pytest.raises(LanserError, match="'rage' is not one of the model's: anger, joy"):
        one_hot("rage", ("anger", "joy"))


@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 9),
    ranks=st.integers(1, 7),
    epochs=st.integers(1, 3),
)
@settings(max_examples=300, deadline=None)
def test_every_rank_makes_the_same_steps_and_nothing_is_left_out(count, batch_size, ranks, epochs):
    plans = [
        list(StepSampler(count, batch_size, epochs, seed=3, rank=rank, ranks=ranks))
        for rank in range(ranks)
    ]
    assert len({len(plan) for plan in plans}) == 1
    assert len({tuple(len(batch) for batch in plan) for plan in plans}) == 1
    for epoch in range(epochs):
        seen = Counter(
            index for plan in plans for batch in plan for e, index in batch if e == epoch
        )
        assert set(seen) == set(range(count))
        assert sum(seen.values()) - count < ranks  # at most one a rank is dealt twice


@given(count=st.integers(1, 40), batch_size=st.integers(1, 9), start=st.integers(0, 30))
@settings(deadline=None)
def test_a_sampler_goes_on_where_it_was_stopped(count, batch_size, start):
    whole = list(StepSampler(count, batch_size, 3, seed=1))
    start = min(start, len(whole))
    resumed = StepSampler(count, batch_size, 3, seed=1, start=start)
    assert len(resumed) == len(whole) - start
    assert list(resumed) == whole[start:]


def test_epochs_are_shuffled_differently_and_seeds_matter():
    def order(seed):
        return [key for batch in StepSampler(20, 20, 2, seed=seed) for key in batch]

    first, second = order(0)[:20], order(0)[20:]
    assert [index for _, index in first] != [index for _, index in second]
    assert order(0) != order(1)


@pytest.fixture
def examples(tmp_path):
    made = []
    for index, seconds in enumerate((0.5, 2.0)):
        path = tmp_path / f"{index}.wav"
        soundfile.write(path, tone(seconds), 16_000)
        made.append(Example(Record({"id": f"u{index}", "audio_filepath": str(path)}), (1.0, 0.0)))
    missing = Record({"id": "gone", "audio_filepath": str(tmp_path / "gone.wav")})
    return [*made, Example(missing, (0.0, 1.0))]


def test_crops_have_one_length_and_depend_on_seed_epoch_and_index(examples):
    crops = Crops(examples, 16_000, seed=5)
    short, _, weight = crops[0, 0]
    assert short.shape == (16_000,) and weight == 1.0
    assert (short != 0).sum() <= 8_000, "a shorter sound is filled up with silence"
    again = Crops(examples, 16_000, seed=5, keep=True)
    assert torch.equal(again[3, 1][0], crops[3, 1][0])
    assert not torch.equal(crops[3, 1][0], crops[4, 1][0])
    assert not torch.equal(crops[3, 1][0], Crops(examples, 16_000, seed=6)[3, 1][0])


def test_a_crop_is_a_piece_of_the_sound(examples):
    sound, _ = soundfile.read(examples[1].record.audio_filepath, dtype="float32")
    crop = Crops(examples, 4_000, seed=0)[0, 1][0].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(sound, 4_000)
    assert np.abs(windows - crop).max(axis=1).min() < 2 / 32767


def test_unreadable_sound_weighs_nothing_and_is_said_once(examples, capsys):
    crops = Crops(examples, 8_000, seed=0)
    for epoch in range(3):
        waveform, _, weight = crops[epoch, 2]
        assert weight == 0.0 and not waveform.any()
    assert capsys.readouterr().err.count("left out of training: gone") == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_the_number_of_workers(examples, workers):
    sampler = StepSampler(len(examples), 2, 2, seed=0)
    batches = list(loader(Crops(examples, 8_000, seed=0), sampler, workers))
    assert [batch[0].shape for batch in batches] == [(2, 8_000), (1, 8_000)] * 2
    reference = list(loader(Crops(examples, 8_000, seed=0), sampler, 0))
    for ours, theirs in zip(batches, reference, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
