"""Records to batches: targets, crops, and the same number of steps on every rank."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import tone
from hypothesis import given, settings
from hypothesis import strategies as st

from lanser_cli.audio import source
from lanser_cli.errors import LanserError
from lanser_cli.records import Record
from lanser_cli.shards import reader
from lanser_cli.shards.pack import pack
from lanser_cli.shards.writer import ShardWriter
from lanser_cli.training.ahead import made_ahead
from lanser_cli.training.batches import Crops, StepSampler, batches
from lanser_cli.training.examples import (
    Example,
    WeakUtterance,
    human_label_set,
    one_hot,
    weak_examples,
    weak_label_set,
)


def record(**fields) -> Record:
    return Record({"id": "a", **fields})


def weak(targets="hard", **fields) -> WeakUtterance:
    return WeakUtterance.of(record(**fields), targets)


def test_hard_and_soft_targets():
    records = [
        {"emotion": "joy", "emotion_scores": {"anger": 0.1, "joy": 0.6}},
        {"emotion": "anger", "emotion_scores": {"anger": 0.7, "joy": 0.3}},
        {"emotion": "joy"},
    ]
    hard = weak_examples([weak(**fields) for fields in records], ("anger", "joy"))
    assert [example.target for example in hard] == [(0.0, 1.0), (1.0, 0.0), (0.0, 1.0)]
    soft = weak_examples([weak("soft", **fields) for fields in records], ("anger", "joy"))
    assert soft[2].target == (0.0, 1.0), "there are no scores to be soft by"
    # --top-k kept part of the scores: they are made to sum to one again
    assert soft[0].target == pytest.approx((1 / 7, 6 / 7))
    assert soft[1].target == pytest.approx((0.7, 0.3))


@pytest.mark.parametrize("targets", ["hard", "soft"])
def test_what_pretraining_holds_of_a_record_is_little(targets):
    scores = {"joy": 0.7, "anger": 0.3}
    fields = {"audio_filepath": "a.tar#a.flac", "emotion": "joy", "duration": 1.5}
    whole = record(**fields, text="so it goes", asr={"flags": []}, emotion_scores=scores)
    held = [WeakUtterance.of(whole, targets) for _ in range(2)]
    assert dict(held[0].fields) == {"id": "a", **fields}
    assert held[0].scored is held[1].scored == ("joy", "anger")
    assert held[0].probabilities == ((0.7, 0.3) if targets == "soft" else ())
    assert len(pickle.dumps(held[0])) < len(pickle.dumps(whole))


def test_weak_labels_keep_the_taxonomy_order_and_only_those_that_occur():
    scores = {"surprise": 0.1, "joy": 0.5, "anger": 0.4}
    records = [weak(emotion=name, emotion_scores=scores) for name in ("anger", "joy")]
    assert weak_label_set(records) == ("joy", "anger")
    assert weak_label_set([weak(emotion="b"), weak(emotion="a")]) == ("a", "b")


@pytest.mark.parametrize("choose, key", [(weak_label_set, "emotion"), (human_label_set, "label")])
def test_one_label_is_nothing_to_learn(choose, key):
    with pytest.raises(LanserError, match=f"at least two different .*{key}.*found only 'joy'"):
        choose([(weak if key == "emotion" else record)(**{key: "joy"})] * 2)


def test_unknown_label_is_named():
    with pytest.raises(LanserError, match="'rage' is not one of the model's: anger, joy"):
        one_hot("rage", ("anger", "joy"))


def plan(count, batch_size, epochs, *, shards=5, **options):
    """What a sampler yields; utterances are spread over a few shards."""
    homes = np.arange(count) * shards // count
    return list(StepSampler(count, batch_size, epochs, seed=3, shards=homes, **options))


@given(
    count=st.integers(1, 60),
    batch_size=st.integers(1, 9),
    ranks=st.integers(1, 9),
    epochs=st.integers(1, 3),
    buffer=st.sampled_from([0, 1, 7, 100]),
    start=st.integers(0, 60),
)
@settings(max_examples=400, deadline=None)
def test_ranks_keep_step_count_each_utterance_once_and_resume(
    count, batch_size, ranks, epochs, buffer, start
):
    plans = [
        plan(count, batch_size, epochs, rank=rank, ranks=ranks, buffer=buffer)
        for rank in range(ranks)
    ]
    assert len({len(one) for one in plans}) == 1, "as many steps on every rank"
    keys = [key for one in plans for batch in one for key in batch]
    assert all(1 <= len(batch) <= batch_size for one in plans for batch in one)
    for epoch in range(epochs):
        counted = [index for e, index, counts in keys if e == epoch and counts]
        assert sorted(counted) == list(range(count))
    counted = [
        sum(counts for one in plans for _, _, counts in one[step]) for step in range(len(plans[0]))
    ]
    assert max(counted) - min(counted) <= 1, "no utterance counts more for being in a short step"
    start = min(start, len(plans[0]))
    for rank, one in enumerate(plans):
        options = {"rank": rank, "ranks": ranks, "buffer": buffer, "start": start}
        assert plan(count, batch_size, epochs, **options) == one[start:]


@given(
    pairs=st.integers(1, 6),
    ranks=st.integers(2, 5),
    count=st.integers(4, 80),
    resampled=st.booleans(),
)
@settings(deadline=None)
def test_ranks_share_what_one_would_hear_in_whole_pairs(pairs, ranks, count, resampled):
    """1 x 16 and 2 x 8: the same utterances a step, next to the same partners."""
    count = max(count, 2 * ranks)
    alone = plan(count, 2 * pairs * ranks, 2, resampled=resampled)
    shared = [
        plan(count, 2 * pairs, 2, resampled=resampled, rank=rank, ranks=ranks)
        for rank in range(ranks)
    ]
    for step, whole in enumerate(alone):
        parts = [one[step] for one in shared]
        if len(whole) >= 2 * ranks:
            assert [key for part in parts for key in part] == whole
            assert all(len(part) % 2 == 0 for part in parts[:-1])


def test_resampling_draws_with_replacement_and_otherwise_on_every_rank():
    def drawn(rank):
        batches = plan(2000, 100, 1, resampled=True, rank=rank, ranks=2)
        return [index for batch in batches for _, index, _ in batch]

    assert drawn(0) != drawn(1)
    # of 1000 draws from 2000, 1 - e^-0.5 of the 2000 are expected to differ: 787
    assert 740 < len(set(drawn(0))) < 830


@pytest.mark.parametrize("buffer, nearby", [(0, False), (500, True)])
def test_shuffling_mixes_and_a_buffer_stays_within_few_shards(buffer, nearby):
    count, shards = 10_000, np.arange(10_000) // 100
    sampler = StepSampler(count, 50, 2, seed=0, buffer=buffer, shards=shards)
    for epoch in range(2):
        order = sampler.order(epoch)
        assert sorted(order) == list(range(count))
        assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 0.25
        batches = [shards[order[start : start + 50]] for start in range(0, count, 50)]
        most = np.mean([np.bincount(batch).max() for batch in batches])
        assert most < (17 if nearby else 5), "not many of a batch are of one shard"
        blocks = [len(set(shards[order[at : at + 500]])) for at in range(0, count, 500)]
        assert (max(blocks) == 5) is nearby
    assert not np.array_equal(sampler.order(0), sampler.order(1))


def test_epochs_are_shuffled_differently_and_seeds_matter():
    def order(seed):
        return [index for batch in StepSampler(20, 20, 2, seed=seed) for _, index, _ in batch]

    assert order(0)[:20] != order(0)[20:]
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


def heard(crops, epoch, index, counts=True):
    waveform, _, weight = crops[[(epoch, index, counts)]]
    return waveform[0], weight.item()


def test_crops_have_one_length_and_depend_on_seed_epoch_and_index(examples):
    crops = Crops(examples, 16_000, seed=5)
    short, weight = heard(crops, 0, 0)
    assert short.shape == (16_000,) and weight == 1.0
    assert (short != 0).sum() <= 8_000, "a shorter sound is filled up with silence"
    once, _ = heard(crops, 3, 1)
    assert torch.equal(heard(Crops(examples, 16_000, seed=5, keep=True), 3, 1)[0], once)
    assert not torch.equal(once, heard(crops, 4, 1)[0])
    assert not torch.equal(once, heard(Crops(examples, 16_000, seed=6), 3, 1)[0])
    again, weight = heard(crops, 3, 1, counts=False)
    assert torch.equal(again, once) and weight == 0.0, "what fills up is heard but does not count"


def test_a_crop_is_of_the_channel_that_its_record_names(tmp_path: Path) -> None:
    sides = tone(1.0, 200), 0.5 * tone(1.0, 330)
    soundfile.write(tmp_path / "call.wav", np.stack(sides, axis=1), 16_000)
    for channel, wanted in enumerate(sides):
        where = {"audio_filepath": str(tmp_path / "call.wav"), "audio_channel": channel}
        held = weak(emotion="joy", **where)
        crops = Crops([Example(held, (1.0, 0.0))], 16_000, seed=0)
        assert crops[[(0, 0, True)]][0][0].numpy() == pytest.approx(wanted, abs=1e-4)


def test_a_crop_is_a_piece_of_the_sound(examples):
    sound, _ = soundfile.read(examples[1].record.audio_filepath, dtype="float32")
    crop = heard(Crops(examples, 4_000, seed=0), 0, 1)[0].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(sound, 4_000)
    assert np.abs(windows - crop).max(axis=1).min() == 0.0


def test_crops_start_anywhere(examples):
    crops = Crops(examples, 31_990, seed=0)
    assert len({heard(crops, epoch, 1)[0].numpy().tobytes() for epoch in range(150)}) == 11


@pytest.mark.parametrize(
    "rate, channels, subtype, suffix",
    [
        (16_000, 1, "PCM_16", "flac"),
        (16_000, 1, "PCM_16", "wav"),
        (16_000, 1, "FLOAT", "wav"),
        (16_000, 2, "PCM_16", "wav"),
        (44_100, 1, "PCM_16", "flac"),
    ],
)
@pytest.mark.parametrize("offset, duration", [(0.0, None), (0.5, 1.0), (1.75, 9.0)])
def test_a_crop_alone_is_decoded_as_the_whole_would_be(
    tmp_path, rate, channels, subtype, suffix, offset, duration
):
    path = tmp_path / f"sound.{suffix}"
    sound = np.stack([tone(2.0, 220, rate)] * channels, axis=1)
    soundfile.write(path, sound, rate, subtype=subtype)
    fields = {"id": "a", "audio_filepath": str(path), "offset": offset, "duration": duration}
    examples = [Example(Record(fields), (1.0, 0.0))]
    for epoch in range(5):
        cut = heard(Crops(examples, 8_000, seed=0), epoch, 0)
        kept = heard(Crops(examples, 8_000, seed=0, keep=True), epoch, 0)
        assert torch.equal(cut[0], kept[0]) and cut[1] == kept[1] == 1.0
        assert cut[0].any()


def packed(examples, folder, max_count):
    records = [example.record.with_fields(label="joy") for example in examples]
    pack(iter(records), ShardWriter(folder, max_count=max_count))
    made = sorted(reader.records_of([str(folder)], "x"), key=lambda record: record.id)
    return [Example(record, (1.0, 0.0)) for record in made]


def test_sound_in_tars_is_that_of_files_though_the_tars_are_many(tmp_path, monkeypatch):
    loose = []
    for index in range(24):
        path = tmp_path / f"{index:02d}.wav"
        soundfile.write(path, tone(0.5, 100 + 10 * index), 16_000)
        fields = {"id": f"u{index:02d}", "audio_filepath": str(path)}
        loose.append(Example(Record(fields), (1.0, 0.0)))
    inside = packed(loose, tmp_path / "shards", max_count=2)
    keys = [(0, index, True) for index in range(24)]
    crops = Crops(inside, 4_000, seed=0)

    def opened(*words):
        raise AssertionError("a tar is listed when the crops are made, not when one is drawn")

    monkeypatch.setattr(source, "index_of", opened)
    assert torch.equal(crops[keys][0], Crops(loose, 4_000, seed=0)[keys][0])
    assert len(set(crops.shards.tolist())) == 12


def test_damaged_sound_weighs_nothing_wherever_the_damage_is(tmp_path, capsys):
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000)
    soundfile.write(path, noise, 16_000)
    path.write_bytes(path.read_bytes()[:20_000])
    crops = Crops([Example(record(audio_filepath=str(path)), (1.0,))], 31_000, seed=0)
    assert heard(crops, 0, 0)[1] == heard(crops, 1, 0)[1] == 0.0
    assert capsys.readouterr().err.count("left out of training: a: ") == 1


def test_unreadable_sound_weighs_nothing_and_is_said_once(examples, capsys):
    crops = Crops(examples, 8_000, seed=0)
    for epoch in range(3):
        waveform, weight = heard(crops, epoch, 2)
        assert weight == 0.0 and not waveform.any()
    assert capsys.readouterr().err.count("left out of training: gone") == 1


@pytest.mark.parametrize(
    ("workers", "ranks", "options"),
    [(1, 1, {}), (3, 1, {}), (2, 2, {"buffer": 2}), (3, 2, {"resampled": True})],
)
def test_batches_do_not_depend_on_the_number_of_workers(examples, workers, ranks, options):
    def loaded(rank, workers):
        # more batches than the ring has slots, so that each is written over
        sampler = StepSampler(3, 2, 20, seed=0, rank=rank, ranks=ranks, **options)
        return list(batches(Crops(examples, 8_000, seed=0), sampler, workers))

    for rank in range(ranks):
        ours, reference = loaded(rank, workers), loaded(rank, 0)
        sizes = [2, 1] if ranks == 1 else [1 + rank]
        assert [batch[0].shape for batch in reference] == [(n, 8_000) for n in sizes] * 20
        for one, other in zip(ours, reference, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_are_children_whatever_the_start_method(examples, monkeypatch):
    """They die with it then: what a fork server starts has that server for its parent."""
    server = multiprocessing.get_context("forkserver")
    monkeypatch.setattr(multiprocessing.context._default_context, "_actual_context", server)
    crops = Crops(examples, 8_000, seed=0)
    loaded = batches(crops, StepSampler(len(crops), 2, 1, seed=0), 1)
    next(loaded)
    parents = [
        int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[1])
        for child in multiprocessing.active_children()
    ]
    assert parents == [os.getpid()]
    loaded.close()


def test_what_workers_share_is_small():
    fields = {"emotion_scores": dict.fromkeys("abcdef", 0.1), "text": "words " * 20}
    records = [
        Record(
            {"id": f"u{n:06d}", "audio_filepath": f"shards/a-000000.tar#u{n:06d}.flac", **fields}
        )
        for n in range(2000)
    ]
    crops = Crops([Example(record, (0.5,) * 6) for record in records], 8_000, seed=0)
    assert len(pickle.dumps(crops)) / 2000 < 150, "bytes an utterance"


def test_where_millions_lie_is_found_in_little_memory():
    """The folders and tars are few, and their names long."""
    folder = "speech/" + 20 * "x" + "/corpus-of-some-year/release-2/shards"
    records = [
        Record({"id": f"u{n}", "audio_filepath": f"{folder}/a-{n // 500:06d}.tar#u{n}.flac"})
        for n in range(5000)
    ]
    examples = [Example(record, (0.5, 0.5)) for record in records]
    tracemalloc.start()
    try:
        crops = Crops(examples, 8_000, seed=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / 5000 < 700, "bytes an utterance"
    assert crops.home(4999) == f"{folder}/a-000009.tar"


def test_the_next_item_is_made_while_one_is_in_use_and_the_first_by_the_caller():
    made, threads = [], []

    def items():
        for number in range(4):
            threads.append(threading.current_thread())
            made.append(number)
            yield number
        raise LanserError("the last")

    seen, another = [], made_ahead(items())
    with pytest.raises(LanserError, match="the last"):
        for item in another:
            seen.append(item)
            deadline = time.monotonic() + 10
            while len(made) < min(4, item + 2) and time.monotonic() < deadline:
                time.sleep(0.001)
            assert len(made) == min(4, item + 2), "one ahead, and no more"
    assert seen == [0, 1, 2, 3] and threads[0] is threading.main_thread()
    assert threading.main_thread() not in threads[1:]
    assert list(made_ahead(iter(()))) == []
