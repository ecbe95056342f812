"""Prosodic targets against sounds whose prosody is known, and probes against made-up features."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from lanser_cli.errors import LanserError
from lanser_cli.prosody.probes import compare, probe, protocol, shuffled
from lanser_cli.prosody.targets import F0_MAX, F0_MIN, FRAME, TARGETS, analyse, measure

RATE = 16_000
FEMALE = ("08", "09", "13", "14", "16")
MALE = ("03", "10", "11", "12", "15")


def tone(f0, seconds: float = 1.0, harmonics: int = 8, amplitude: float = 0.1):
    """A harmonic complex, its partials falling as 1/k. `f0` in Hz: a number or `[samples]`."""
    track = np.broadcast_to(f0, round(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(track) / RATE
    partials = [np.sin(k * phase + k) / k for k in range(1, harmonics + 1)]
    return (amplitude * np.sum(partials, axis=0)).astype(np.float32)


def semitones(hertz: float) -> float:
    return 12 * math.log2(hertz / 100)


def noise(seconds: float, amplitude: float = 0.1, seed: int = 0):
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (amplitude * samples).astype(np.float32)


def undefined(values: dict[str, float]) -> set[str]:
    return {name for name, value in values.items() if math.isnan(value)}


# ---------------------------------------------------------------- F0


@pytest.mark.parametrize("hertz", [65.0, 80.0, 110.0, 155.5, 220.0, 300.0, 440.0])
@pytest.mark.parametrize("harmonics", [1, 2, 8])
def test_f0_of_a_constant_tone_is_within_one_percent_everywhere(hertz, harmonics):
    sound = tone(hertz, harmonics=harmonics)
    f0 = analyse(sound).f0
    assert np.isfinite(f0).all()
    assert np.abs(f0 / hertz - 1).max() < 0.01
    values = measure(sound)
    assert values["f0_mean"] == pytest.approx(semitones(hertz), abs=0.17)
    assert values["f0_sd"] < 0.1
    assert abs(values["f0_slope"]) < 0.05
    assert values["voiced_ratio"] == 1.0


def test_a_missing_fundamental_is_still_the_pitch():
    time = np.arange(RATE) / RATE
    sound = sum(np.sin(2 * np.pi * 120 * k * time + k) for k in (2, 3, 4, 5)) * 0.05
    assert np.abs(analyse(sound.astype(np.float32)).f0 / 120 - 1).max() < 0.01


def test_f0_follows_a_glide_and_gives_its_slope():
    seconds = 2.0
    time = np.arange(round(seconds * RATE)) / RATE
    sound = tone(100 * 2 ** (time / 2), seconds)  # an octave in two seconds
    f0 = analyse(sound).f0
    middle = (np.arange(len(f0)) * 160 + FRAME / 2) / RATE
    assert np.abs(f0 / (100 * 2 ** (middle / 2)) - 1).max() < 0.01
    assert measure(sound)["f0_slope"] == pytest.approx(6.0, rel=0.01)


def test_f0_follows_a_vibrato():
    time = np.arange(2 * RATE) / RATE
    depth = 1.0  # semitones either way
    sound = tone(180 * 2 ** (depth * np.sin(2 * np.pi * 3 * time) / 12), 2.0)
    values = measure(sound)
    assert values["f0_mean"] == pytest.approx(semitones(180), abs=0.17)
    # The sd of a sine is its depth / sqrt 2; the 40 ms window flattens it a little.
    assert values["f0_sd"] == pytest.approx(depth / math.sqrt(2), rel=0.05)


def test_f0_of_a_frame_agrees_with_a_slow_autocorrelation():
    draw = random.Random(1)
    for _ in range(6):
        hertz = draw.uniform(90, 350)
        frame = tone(hertz, FRAME / RATE) + noise(FRAME / RATE, 0.003, draw.randrange(99))
        assert analyse(frame).f0[0] == pytest.approx(_oracle(frame.tolist()), rel=0.01)


def _oracle(frame: list[float]) -> float:
    """The shortest lag whose normalised cross-correlation is nearly the best, to the sample.

    Another normalisation than the code's (by the energy of both parts, no window), no FFT.
    """
    mean = sum(frame) / len(frame)
    x = [value - mean for value in frame]
    found = []
    for lag in range(math.ceil(RATE / F0_MAX), math.floor(RATE / F0_MIN) + 1):
        a, b = x[: len(x) - lag], x[lag:]
        top = sum(p * q for p, q in zip(a, b, strict=True))
        found.append((top / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b)), lag))
    best = max(value for value, _ in found)
    inner = [
        (RATE / (lag + 0.5 * (left - right) / (left - 2 * here + right)))
        for (left, _), (here, lag), (right, _) in zip(found, found[1:], found[2:], strict=False)
        if here >= left and here > right and here > best - 0.05
    ]
    return inner[0]


def test_gain_changes_the_energy_by_its_decibels_and_nothing_else():
    time = np.arange(2 * RATE) / RATE
    sound = tone(100 * 2 ** (time / 3), 2.0) * (1.1 + np.sin(2 * np.pi * 3 * time))
    sound = (sound + noise(2.0, 0.002)).astype(np.float32)
    once, twice = measure(sound), measure(2 * sound)
    assert twice["energy_mean"] - once["energy_mean"] == pytest.approx(20 * math.log10(2), abs=1e-9)
    for name in set(TARGETS) - {"energy_mean"}:
        assert twice[name] == pytest.approx(once[name], rel=1e-9), name
    np.testing.assert_allclose(analyse(0.01 * sound).f0, analyse(sound).f0, rtol=1e-5)


def test_silence_around_an_utterance_changes_only_its_duration():
    sound = tone(150, 1.0)
    quiet = noise(1.0, 0.0001)
    values, padded = measure(sound), measure(np.concatenate([quiet, sound, quiet]))
    assert padded["duration"] == 3.0
    assert padded["f0_mean"] == pytest.approx(values["f0_mean"], abs=0.05)
    assert padded["energy_mean"] == pytest.approx(values["energy_mean"], abs=0.5)
    assert padded["voiced_ratio"] > 0.95
    assert padded["speaking_rate"] == pytest.approx(1.0, abs=0.1)


def test_a_stray_pitch_beyond_an_octave_is_not_intonation():
    gap = np.zeros(1600, np.float32)
    sound = np.concatenate([tone(120, 0.5), gap, tone(430, 0.1), gap, tone(120, 0.5)])
    assert np.nanmax(analyse(sound).f0) > 400  # it is heard, but left out
    assert measure(sound)["f0_sd"] < 0.1
    assert measure(sound)["f0_mean"] == pytest.approx(semitones(120), abs=0.05)


def test_a_constant_offset_is_no_sound_and_no_harm():
    assert undefined(measure(np.full(RATE, 0.25, np.float32))) == set(TARGETS) - {"duration"}
    values, shifted = measure(tone(150)), measure(tone(150) + np.float32(0.2))
    assert shifted == pytest.approx(values, abs=1e-3)


# ---------------------------------------------------------------- where nothing is defined


@pytest.mark.parametrize("samples", [0, 1, 2, 159, 160, 639])
def test_clips_shorter_than_a_frame_have_only_a_duration(samples):
    values = measure(tone(200, 1.0)[:samples])
    assert tuple(values) == TARGETS
    assert values["duration"] == samples / RATE
    assert undefined(values) == set(TARGETS) - {"duration"}


@pytest.mark.parametrize("samples", [640, 799, 800, 1000, 1279])
def test_few_frames_have_energy_but_no_f0(samples):
    values = measure(tone(200, 1.0)[:samples])
    assert undefined(values) == {"f0_mean", "f0_sd", "f0_slope", "spectral_tilt"}


@pytest.mark.parametrize("value", [0.0, 1e-7])
def test_silence_has_only_a_duration(value):
    sound = np.full(RATE, value, np.float32)
    sound[::2] *= -1
    assert undefined(measure(sound)) == set(TARGETS) - {"duration"}


def test_noise_has_energy_but_hardly_a_voice():
    values = measure(noise(5.0))
    assert values["energy_mean"] == pytest.approx(-20.0, abs=0.5)
    assert values["voiced_ratio"] < 0.02


def test_a_click_in_silence_is_not_an_error():
    sound = np.zeros(RATE, np.float32)
    sound[8000] = 1.0
    assert math.isnan(measure(sound)["f0_mean"])


def test_the_input_is_left_as_it_was():
    sound = tone(200)
    before = sound.copy()
    measure(sound)
    np.testing.assert_array_equal(sound, before)


def test_long_sounds_are_measured_in_blocks_without_a_seam():
    time = np.arange(45 * RATE) / RATE
    sound = tone(120 * 2 ** (np.sin(time) / 4), 45.0)
    whole = analyse(sound).f0
    assert len(whole) > 4096
    late = analyse(sound[4000 * 160 :]).f0
    np.testing.assert_allclose(whole[4000:], late, rtol=1e-9)


# ---------------------------------------------------------------- energy, tilt, rate


def test_energy_of_a_full_scale_sine_is_minus_three_decibels():
    values = measure(np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32))
    assert values["energy_mean"] == pytest.approx(-3.01, abs=0.02)
    assert values["energy_sd"] < 0.05


def test_spectral_tilt_is_the_ratio_of_the_two_bands():
    time = np.arange(RATE) / RATE
    for ratio in (3.0, 20.0):
        high = 10 ** (-ratio / 20) * np.sin(2 * np.pi * 2000 * time)
        sound = 0.1 * (np.sin(2 * np.pi * 200 * time) + high)
        assert measure(sound.astype(np.float32))["spectral_tilt"] == pytest.approx(ratio, abs=0.1)


@pytest.mark.parametrize("rate", [2.0, 4.0, 6.0])
def test_speaking_rate_of_a_tone_swelling_so_many_times_a_second(rate):
    time = np.arange(4 * RATE) / RATE
    swell = 0.55 - 0.45 * np.cos(2 * np.pi * rate * time)
    values = measure((tone(150, 4.0) * swell).astype(np.float32))
    assert values["speaking_rate"] == pytest.approx(rate, rel=0.05)


def test_swelling_noise_has_no_syllables():
    time = np.arange(4 * RATE) / RATE
    swell = 0.55 - 0.45 * np.cos(2 * np.pi * 4 * time)
    assert measure((noise(4.0) * swell).astype(np.float32))["speaking_rate"] < 0.5


# ---------------------------------------------------------------- real speech


@pytest.fixture(scope="module")
def emodb(data):
    """(speaker, emotion letter, targets) of the clips of three sentences."""
    import soundfile

    clips = [
        p for p in sorted(data("emodb").rglob("*.flac")) if p.stem[2:5] in ("a02", "a05", "b01")
    ]
    return [(p.stem[:2], p.stem[5], measure(soundfile.read(p, dtype="float32")[0])) for p in clips]


def test_women_speak_higher_than_men(emodb):
    def mean(speakers):
        return np.mean([values["f0_mean"] for who, _, values in emodb if who in speakers])

    assert mean(FEMALE) > mean(MALE) + 4


def test_anger_is_higher_livelier_and_brighter_than_sadness(emodb):
    # Not louder: every EmoDB file is scaled to the same peak, which takes its level away.
    def mean(emotion, name):
        return np.mean([values[name] for _, what, values in emodb if what == emotion])

    for name in ("f0_mean", "f0_sd", "speaking_rate"):
        assert mean("W", name) > mean("T", name), name
    assert mean("W", "spectral_tilt") < mean("T", "spectral_tilt")


def test_anger_is_louder_than_sadness_where_the_level_was_kept(data):
    import soundfile

    def mean(emotion):
        clips = sorted(data("ravdess").glob(f"Actor_0[1-4]/03-01-{emotion}-*.flac"))
        return np.mean([measure(soundfile.read(p)[0])["energy_mean"] for p in clips])

    assert mean("05") > mean("04") + 6


def test_every_target_of_real_speech_is_plausible(emodb):
    for _, _, values in emodb:
        assert not undefined(values)
        assert semitones(70) < values["f0_mean"] < semitones(420)
        assert 0.3 < values["voiced_ratio"] <= 1
        assert 1 < values["speaking_rate"] < 9


# ---------------------------------------------------------------- probes


def corpus(n: int = 240, d: int = 12, speakers: int = 8, seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), [f"s{i % speakers}" for i in range(n)], rng


def test_a_linear_target_is_read_off_and_an_independent_one_is_not():
    x, groups, rng = corpus()
    scores = probe(x, {"in": x @ rng.standard_normal(12), "out": rng.standard_normal(240)}, groups)
    assert list(scores) == ["in", "out"]
    assert scores["in"].r2 > 0.95
    assert scores["out"].r2 < 0.05
    for score in scores.values():
        assert score.low <= score.r2 <= score.high <= 1
        assert score.n == 240


def test_r2_is_the_share_of_the_variance_that_is_in_the_features():
    x, groups, rng = corpus(n=2000)
    scores = probe(x, {"half": x[:, 0] + rng.standard_normal(2000)}, groups)
    assert scores["half"].r2 == pytest.approx(0.5, abs=0.05)
    assert scores["half"].low < 0.5 < scores["half"].high
    assert scores["half"].high - scores["half"].low < 0.2


def test_scale_and_offset_of_features_and_targets_do_not_matter():
    x, groups, rng = corpus()
    y = x[:, 0] + 0.5 * rng.standard_normal(240)
    plain = probe(x, {"y": y}, groups)["y"]
    odd = probe(x * np.logspace(-4, 4, 12) + 1000, {"y": 100 * y - 7}, groups)["y"]
    assert odd.r2 == pytest.approx(plain.r2, abs=1e-6)
    assert odd.low == pytest.approx(plain.low, abs=1e-6)


def test_knowing_the_speaker_is_not_rewarded():
    # The target differs by speaker only and the features name the speaker: within speakers
    # that would be a perfect score, on unseen speakers it is worth nothing.
    groups = [f"s{i % 10}" for i in range(300)]
    rng = np.random.default_rng(3)
    who = np.arange(300) % 10
    y = rng.standard_normal(10)[who] + 0.1 * rng.standard_normal(300)
    assert probe(np.eye(10)[who], {"y": y}, groups)["y"].r2 < 0.01
    assert probe(np.eye(10)[who], {"y": y}, None)["y"].r2 > 0.9


def test_the_interval_is_wider_where_speakers_err_together():
    x, groups, rng = corpus(n=1000, speakers=20)
    offset = 2 * rng.standard_normal(20)[np.arange(1000) % 20]
    y = {"y": 2 * x[:, 0] + offset}
    by_speaker, by_utterance = probe(x, y, groups)["y"], probe(x, y, None)["y"]
    assert by_speaker.high - by_speaker.low > 1.5 * (by_utterance.high - by_utterance.low)


def test_no_speaker_is_in_training_and_test():
    from lanser_cli.prosody.probes import _splits

    speakers = np.array([f"s{i % 7}" for i in range(100)])
    tested = []
    for train, test in _splits(speakers, 5, 0):
        assert not set(speakers[train]) & set(speakers[test])
        tested.extend(test)
    assert sorted(tested) == list(range(100))


def test_an_utterance_without_the_target_is_left_out_for_that_target_only():
    x, groups, _ = corpus()
    y, holed = x[:, 0].copy(), x[:, 1].copy()
    holed[::3] = np.nan
    scores = probe(x, {"whole": y, "holed": holed, "other": x[:, 2]}, groups)
    assert list(scores) == ["whole", "holed", "other"]
    assert (scores["whole"].n, scores["holed"].n) == (240, 160)
    kept = np.isfinite(holed)
    alone = probe(x[kept], {"holed": holed[kept]}, np.array(groups)[kept].tolist())
    assert scores["holed"] == alone["holed"]


def test_targets_do_not_influence_one_another():
    x, groups, rng = corpus()
    a, b = x[:, 0] + rng.standard_normal(240), rng.standard_normal(240)
    together, alone = probe(x, {"a": a, "b": b}, groups), probe(x, {"b": b}, groups)
    assert together["b"].r2 == pytest.approx(alone["b"].r2, abs=1e-9)


@pytest.mark.parametrize("nothing", [np.full(240, np.nan), np.full(240, 3.0)])
def test_nothing_to_score_is_nan_and_harms_no_other_target(nothing):
    x, groups, _ = corpus()
    scores = probe(x, {"no": nothing, "yes": x[:, 0]}, groups)
    assert math.isnan(scores["no"].r2) and math.isnan(scores["no"].low)
    assert scores["yes"].r2 > 0.95


@pytest.mark.parametrize("n", [0, 1, 5, 9, 10, 11])
def test_few_utterances_are_no_error(n):
    x, groups, _ = corpus(n, speakers=3)
    score = probe(x, {"y": x[:, 0]}, groups)["y"]
    assert score.n == n
    assert math.isnan(score.r2) == (n < 10)


def test_more_features_than_utterances():
    x, groups, rng = corpus(60, 500)
    scores = probe(x, {"y": x[:, :50].sum(axis=1), "out": rng.standard_normal(60)}, groups)
    assert scores["out"].r2 < 0.15
    assert all(np.isfinite([s.r2, s.low, s.high]).all() for s in scores.values())


def test_a_dead_feature_and_float16_features_do_no_harm():
    x, groups, _ = corpus()
    dead = np.concatenate([x, np.zeros((240, 3))], axis=1).astype(np.float16)
    assert probe(dead, {"y": x[:, 0]}, groups)["y"].r2 > 0.95


@pytest.mark.parametrize("groups", [None, ["same"] * 240, [f"s{i % 8}" for i in range(240)]])
def test_the_seed_decides_everything_that_is_drawn(groups):
    x, _, rng = corpus()
    y = {"y": x[:, 0] + rng.standard_normal(240)}
    first = probe(x, y, groups, seed=1)
    assert first == probe(x, y, groups, seed=1)
    assert first != probe(x, y, groups, seed=2)


def test_compare_and_the_shuffled_control():
    x, groups, rng = corpus()
    targets = {"y": x[:, 0] + 0.3 * rng.standard_normal(240)}
    table = compare(
        {"real": x, "other": rng.standard_normal((240, 4)), "shuffled": shuffled(x, 0)},
        targets,
        groups,
    )
    assert list(table) == ["real", "other", "shuffled"]
    assert table["real"] == probe(x, targets, groups)
    assert table["real"]["y"].low > 0.8
    assert table["other"]["y"].r2 < 0.05 and table["shuffled"]["y"].r2 < 0.05


def test_shuffled_deals_out_the_same_rows():
    x, _, _ = corpus()
    dealt = shuffled(x, 5)
    np.testing.assert_array_equal(np.sort(dealt[:, 0]), np.sort(x[:, 0]))
    np.testing.assert_array_equal(dealt, shuffled(x, 5))
    assert (dealt != x).any() and (dealt != shuffled(x, 6)).any()


def test_protocol_says_how_speakers_were_kept_apart():
    assert protocol(["a", "b", "c"], 5) == "3 folds, no speaker in two of them"
    assert "one speaker only" in protocol(["a"] * 9, 5)
    assert "speakers unknown" in protocol(None)


def test_bad_input_is_refused():
    x, groups, _ = corpus()
    broken = x.copy()
    broken[7, 3] = np.nan
    with pytest.raises(LanserError, match="1 of 240 utterances"):
        probe(broken, {"y": x[:, 0]}, groups)
    with pytest.raises(ValueError, match="target 'y'"):
        probe(x, {"y": x[:9, 0]}, groups)
    with pytest.raises(ValueError, match="speakers"):
        probe(x, {"y": x[:, 0]}, groups[:9])
    with pytest.raises(ValueError, match="folds"):
        probe(x, {"y": x[:, 0]}, groups, folds=1)


def test_importing_the_room_is_light():
    import subprocess
    import sys

    code = (
        "import sys, lanser_cli.prosody; "
        "print([m for m in ('torch', 'sklearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
