"""Prosodic targets against sounds whose prosody is known, and against a second opinion."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile

from lanser_cli.prosody.pitch import FRAME, HOP, track
from lanser_cli.prosody.targets import TARGETS, UNITS, measure

RATE = 16_000
VOICE = {*(name for name in TARGETS if name.startswith("f0")), "jitter", "shimmer"}
VOICE |= {"harmonics_to_noise", "spectral_tilt"}
FEMALE = ("08", "09", "13", "14", "16")
MALE = ("03", "10", "11", "12", "15")


def tone(f0, seconds: float = 1.0, harmonics: int = 8, amplitude: float = 0.1):
    """A harmonic complex, its partials falling as 1/k. `f0` in Hz: a number or `[samples]`."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(f0, round(seconds * RATE))) / RATE
    partials = [np.sin(k * phase + k) / k for k in range(1, harmonics + 1)]
    return (amplitude * np.sum(partials, axis=0)).astype(np.float32)


def noise(seconds: float, amplitude: float = 0.1, seed: int = 0):
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (amplitude * samples).astype(np.float32)


def with_noise(sound, decibels: float):
    """White noise `decibels` below the sound."""
    return sound + noise(len(sound) / RATE, sound.std() * 10 ** (-decibels / 20))


def semitones(hertz: float) -> float:
    return 12 * math.log2(hertz / 100)


def hertz(value: float) -> float:
    return 100 * 2 ** (value / 12)


def undefined(values: dict[str, float]) -> set[str]:
    return {name for name, value in values.items() if math.isnan(value)}


# ---------------------------------------------------------------- F0

TONES = [60.0, 65, 80, 110, 155.5, 220, 300, 440, 455, 600, 700, 800, 900]


@pytest.mark.parametrize("f0", TONES)
def test_f0_of_a_tone_is_within_one_percent_and_in_noise_within_three(f0: float) -> None:
    clean, noisy = measure(tone(f0)), measure(with_noise(tone(f0), 10))
    assert hertz(clean["f0_mean"]) == pytest.approx(f0, rel=0.01)
    assert hertz(noisy["f0_mean"]) == pytest.approx(f0, rel=0.03)
    assert clean["f0_variability"] < 0.2 and abs(clean["f0_slope"]) < 0.2


@pytest.mark.slow
def test_no_tone_of_a_hundred_has_a_wrong_f0() -> None:
    found = {f0: measure(tone(f0))["f0_mean"] for f0 in (*np.geomspace(60, 900, 99), 750.0)}
    wrong = [f0 for f0, value in found.items() if not abs(hertz(value) / f0 - 1) < 0.01]
    assert wrong == []


def test_a_missing_fundamental_is_still_the_pitch() -> None:
    time = np.arange(RATE) / RATE
    sound = sum(np.sin(2 * np.pi * 120 * k * time + k) for k in (2, 3, 4, 5)) * 0.05
    assert hertz(measure(sound.astype(np.float32))["f0_mean"]) == pytest.approx(120, rel=0.01)


def test_f0_follows_a_glide_and_gives_its_slope_and_range() -> None:
    time = np.arange(2 * RATE) / RATE
    sound = tone(100 * 2 ** (time / 2), 2.0)  # an octave in two seconds
    f0 = track(sound)
    middle = (np.arange(len(f0)) * HOP + FRAME / 2) / RATE
    assert np.nanmedian(np.abs(f0 / (100 * 2 ** (middle / 2)) - 1)) < 0.01
    values = measure(sound)
    assert values["f0_slope"] == pytest.approx(6.0, rel=0.02)
    assert values["f0_range"] == pytest.approx(0.9 * 12, rel=0.05)  # 5th to 95th percentile


def test_f0_follows_a_vibrato() -> None:
    time = np.arange(2 * RATE) / RATE
    values = measure(tone(180 * 2 ** (np.sin(2 * np.pi * 3 * time) / 12), 2.0))
    assert hertz(values["f0_mean"]) == pytest.approx(180, rel=0.01)
    # The sd of a sine is its depth / sqrt 2; the network's window flattens it a little.
    assert values["f0_variability"] == pytest.approx(1 / math.sqrt(2), rel=0.1)


def test_a_stray_pitch_beyond_an_octave_is_not_intonation() -> None:
    gap = np.zeros(1600, np.float32)
    sound = np.concatenate([tone(120, 0.5), gap, tone(430, 0.1), gap, tone(120, 0.5)])
    assert np.nanmax(track(sound)) > 400  # it is heard, but left out
    assert hertz(measure(sound)["f0_mean"]) == pytest.approx(120, rel=0.01)


def test_a_constant_offset_is_no_sound_and_no_harm() -> None:
    assert undefined(measure(np.full(RATE, 0.25, np.float32))) == set(TARGETS)
    values, shifted = measure(tone(150)), measure(tone(150) + np.float32(0.2))
    for name in ("f0_mean", "intensity_mean", "harmonics_to_noise", "spectral_tilt"):
        assert shifted[name] == pytest.approx(values[name], abs=0.1), name


def test_women_who_act_strong_fear_speak_around_435_hertz(data) -> None:
    women = [f"{number:02d}" for number in range(2, 13, 2)]
    clips = [p for w in women for p in data("ravdess").glob(f"Actor_{w}/03-01-06-02-*.flac")]
    assert len(clips) == 24
    found = [measure(soundfile.read(p, dtype="float32")[0])["f0_mean"] for p in clips]
    assert hertz(float(np.mean(found))) == pytest.approx(435, abs=15)


@pytest.mark.slow
@pytest.mark.parametrize(("corpus", "every"), [("ravdess", 24), ("emodb", 12)])
def test_few_clips_are_a_semitone_from_another_tracker(data, corpus: str, every: int) -> None:
    """librosa's pYIN, on the frames that both take for voiced: it hears voice in room noise."""
    import librosa

    clips = sorted(data(corpus).rglob("*.flac"))[::every]
    off = []
    for path in clips:
        sound = soundfile.read(path, dtype="float32")[0]
        ours = track(sound)[::2]  # every second frame, for pYIN is slow
        theirs, *_ = librosa.pyin(
            sound, sr=RATE, fmin=65, fmax=800, frame_length=1024, hop_length=2 * HOP
        )
        # Its frames are centred at multiples of the hop.
        theirs = theirs[FRAME // 2 // HOP // 2 :][: len(ours)]
        both = np.isfinite(ours) & np.isfinite(theirs)
        off.append(abs(float(12 * np.log2(ours[both] / theirs[both]).mean())) > 1)
    assert len(off) > 25 and np.mean(off) <= 0.05


# ---------------------------------------------------------------- quality of the voice


def pulses(f0: float, jitter: float, shimmer: float, seed: int = 0, seconds: float = 3.0):
    """Damped resonances set off once a period, drawn between the samples.

    `jitter` and `shimmer` are standard deviations. Returns the sound and the truth in per cent.
    """
    draw = np.random.default_rng(seed)
    count = int(seconds * f0)
    periods = RATE / f0 * (1 + jitter * draw.standard_normal(count))
    heights = 1 + shimmer * draw.standard_normal(count)
    sound, ring = np.zeros(round(seconds * RATE) + 800), np.arange(400)
    for place, height in zip(np.cumsum(periods), heights, strict=True):
        begin = math.ceil(place)
        if begin + 400 > len(sound):
            break
        time = (ring + begin - place) / RATE
        for hertz, width, gain in ((500, 80, 1.0), (1500, 120, 0.5), (2500, 160, 0.25)):
            wave = gain * np.exp(-np.pi * width * time) * np.sin(2 * np.pi * hertz * time)
            sound[begin : begin + 400] += height * wave
    truth = [100 * np.abs(np.diff(x)).mean() / x.mean() for x in (periods, heights)]
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32), *truth


@pytest.mark.parametrize("f0", [90, 120, 200])
@pytest.mark.parametrize("amount", [0.005, 0.01, 0.02])
def test_jitter_of_a_source_is_what_was_put_in(f0: float, amount: float) -> None:
    sound, jitter, _ = pulses(f0, amount, 0.0)
    assert measure(sound)["jitter"] == pytest.approx(jitter, rel=0.15)


@pytest.mark.parametrize("f0", [90, 120, 200])
def test_shimmer_of_a_source_grows_as_what_was_put_in(f0: float) -> None:
    """Within a third: a period still rings when the next begins."""
    for amount in (0.05, 0.1):
        sound, _, shimmer = pulses(f0, 0.0, amount)
        assert measure(sound)["shimmer"] == pytest.approx(shimmer, rel=0.35)


def test_a_steady_source_has_neither() -> None:
    values = measure(pulses(120, 0.0, 0.0)[0])
    assert values["jitter"] < 0.1 and values["shimmer"] < 0.2


@pytest.mark.parametrize("f0", [80, 120, 220, 400, 800])
@pytest.mark.parametrize("ratio", [5, 10, 20, 30])
def test_harmonics_to_noise_is_the_ratio_that_was_mixed(f0: float, ratio: float) -> None:
    found = measure(with_noise(tone(f0, 2.0), ratio))["harmonics_to_noise"]
    assert found == pytest.approx(ratio, abs=3 if f0 < 150 else 0.5)


# ---------------------------------------------------------------- where nothing is defined


@pytest.mark.parametrize("samples", [0, 1, 159, 639])
def test_clips_shorter_than_a_frame_have_only_a_duration(samples: int) -> None:
    values = measure(tone(200, 1.0)[:samples])
    assert list(values) == list(UNITS)
    assert values["duration"] == samples / RATE
    assert undefined(values) == set(TARGETS)


@pytest.mark.parametrize("samples", [640, 800, 1279])
def test_few_frames_have_intensity_but_no_voice(samples: int) -> None:
    assert undefined(measure(tone(200, 1.0)[:samples])) == VOICE


@pytest.mark.parametrize("value", [0.0, 1e-7])
def test_silence_has_only_a_duration(value: float) -> None:
    sound = np.full(RATE, value, np.float32)
    sound[::2] *= -1
    assert undefined(measure(sound)) == set(TARGETS)


def test_noise_has_intensity_but_no_voice() -> None:
    values = measure(noise(5.0))
    assert values["intensity_mean"] == pytest.approx(-20.0, abs=0.5)
    assert undefined(values) == VOICE


def test_a_click_in_silence_is_not_an_error() -> None:
    sound = np.zeros(RATE, np.float32)
    sound[8000] = 1.0
    assert math.isnan(measure(sound)["f0_mean"])


def test_the_input_is_left_as_it_was() -> None:
    sound = tone(200)
    before = sound.copy()
    measure(sound)
    np.testing.assert_array_equal(sound, before)


# ---------------------------------------------------------------- intensity, tilt, rate, pauses


def test_gain_changes_the_intensity_by_its_decibels_and_hardly_anything_else() -> None:
    time = np.arange(2 * RATE) / RATE
    sound = tone(100 * 2 ** (time / 3), 2.0) * (1.1 + np.sin(2 * np.pi * 3 * time))
    sound = (sound + noise(2.0, 0.002)).astype(np.float32)
    once, twice = measure(sound), measure(2 * sound)
    louder = twice.pop("intensity_mean") - once.pop("intensity_mean")
    assert louder == pytest.approx(20 * math.log10(2), abs=1e-6)
    assert twice == pytest.approx(once, rel=0.02, abs=0.02)


def test_intensity_of_a_full_scale_sine_is_minus_three_decibels() -> None:
    values = measure(np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32))
    assert values["intensity_mean"] == pytest.approx(-3.01, abs=0.02)
    assert values["intensity_range"] < 0.1


def test_the_range_of_intensity_is_in_decibels() -> None:
    time = np.arange(4 * RATE) / RATE
    sound = tone(150, 4.0) * 10 ** (-20 * time / 4 / 20)  # 20 dB down in four seconds
    found = measure(sound.astype(np.float32))["intensity_range"]
    assert found == pytest.approx(0.9 * 20, rel=0.05)


def test_spectral_tilt_is_the_ratio_of_the_two_bands() -> None:
    time, partials = np.arange(RATE) / RATE, np.arange(1, 22)  # 230 Hz to 4830
    for softer in (0.1, 1.0):
        heights = np.where(partials < 5, 1.0, softer) / partials
        waves = np.sin(2 * np.pi * 230 * np.outer(partials, time) + partials[:, None])
        ratio = 10 * np.log10((heights[:4] ** 2).sum() / (heights[4:] ** 2).sum())
        sound = (0.1 * heights @ waves).astype(np.float32)
        assert measure(sound)["spectral_tilt"] == pytest.approx(ratio, abs=0.1)


@pytest.mark.parametrize("rate", [2.0, 4.0, 6.0])
def test_speaking_rate_of_a_tone_swelling_so_many_times_a_second(rate: float) -> None:
    time = np.arange(4 * RATE) / RATE
    swell = 0.55 - 0.45 * np.cos(2 * np.pi * rate * time)
    found = measure((tone(150, 4.0) * swell).astype(np.float32))["speaking_rate"]
    assert found == pytest.approx(rate, rel=0.05)


def test_swelling_noise_has_no_syllables() -> None:
    time = np.arange(4 * RATE) / RATE
    swell = 0.55 - 0.45 * np.cos(2 * np.pi * 4 * time)
    assert measure((noise(4.0) * swell).astype(np.float32))["speaking_rate"] < 0.5


def test_pauses_are_the_silence_within_and_not_around() -> None:
    hush = noise(1.0, 0.0001)
    sound = np.concatenate([hush, tone(150, 1.0), hush, tone(150, 2.0), hush])
    assert measure(sound)["pause_ratio"] == pytest.approx(0.25, abs=0.02)
    closure = np.concatenate([tone(150, 1.0), hush[:1280], tone(150, 1.0)])  # 80 ms, as in a "p"
    assert measure(closure)["pause_ratio"] == 0.0


def test_silence_around_an_utterance_changes_only_its_duration() -> None:
    sound, quiet = tone(150, 1.0), noise(1.0, 0.0001)
    values, padded = measure(sound), measure(np.concatenate([quiet, sound, quiet]))
    assert padded["duration"] == 3.0
    for name in ("f0_mean", "intensity_mean", "speaking_rate", "pause_ratio"):
        assert padded[name] == pytest.approx(values[name], abs=0.5), name


# ---------------------------------------------------------------- real speech


@pytest.fixture(scope="module")
def sentences(data):
    """(speaker, emotion letter, sound) of the clips of three sentences of EmoDB."""
    clips = [
        p for p in sorted(data("emodb").rglob("*.flac")) if p.stem[2:5] in ("a02", "a05", "b01")
    ]
    return [(p.stem[:2], p.stem[5], soundfile.read(p, dtype="float32")[0]) for p in clips]


@pytest.fixture(scope="module")
def emodb(sentences):
    return [(who, what, measure(sound)) for who, what, sound in sentences[::2]]


def test_speech_played_slower_is_as_much_lower_and_slower(sentences) -> None:
    from scipy.signal import resample_poly

    sounds = [sound for _, _, sound in sentences[::8]]
    before = [measure(sound) for sound in sounds]
    after = [measure(resample_poly(sound, 5, 4).astype(np.float32)) for sound in sounds]

    def both(name: str) -> tuple[np.ndarray, np.ndarray]:
        return (*(np.array([values[name] for values in side]) for side in (before, after)),)

    low, high = both("f0_mean")
    assert np.median(high - low) == pytest.approx(12 * math.log2(4 / 5), abs=0.2)
    fast, slow = both("speaking_rate")
    assert slow.mean() / fast.mean() == pytest.approx(4 / 5, abs=0.05)


@pytest.mark.slow
def test_rate_and_pitch_are_told_apart(sentences) -> None:
    """Of faster speech more syllables are missed, which run into each other: 1.25 reads as 1.1."""
    import librosa.effects

    some = [sound for _, _, sound in sentences[::4]]

    def means(sounds) -> np.ndarray:
        found = [measure(sound) for sound in sounds]
        return np.mean([(one["speaking_rate"], one["f0_mean"]) for one in found], axis=0)

    def stretched(rate: float):
        return (librosa.effects.time_stretch(sound, rate=rate, n_fft=512) for sound in some)

    higher = (librosa.effects.pitch_shift(sound, sr=RATE, n_steps=3.0, n_fft=512) for sound in some)
    rate, height = means(some)
    slower_rate, slower_height = means(stretched(0.8))
    higher_rate, higher_height = means(higher)
    assert slower_rate / rate == pytest.approx(0.8, abs=0.05)
    assert means(stretched(1.25))[0] / rate > 1.05
    assert slower_height - height == pytest.approx(0, abs=0.3)
    assert higher_height - height == pytest.approx(3.0, abs=0.3)
    assert higher_rate / rate == pytest.approx(1, abs=0.08)


def test_women_speak_higher_than_men(emodb) -> None:
    def mean(speakers):
        return np.mean([values["f0_mean"] for who, _, values in emodb if who in speakers])

    assert mean(FEMALE) > mean(MALE) + 4


def test_anger_is_higher_livelier_and_brighter_than_sadness(emodb) -> None:
    # Not louder: every EmoDB file is scaled to the same peak, which takes its level away.
    def mean(emotion, name):
        return np.mean([values[name] for _, what, values in emodb if what == emotion])

    for name in ("f0_mean", "f0_variability", "f0_range", "speaking_rate"):
        assert mean("W", name) > mean("T", name), name
    assert mean("W", "spectral_tilt") < mean("T", "spectral_tilt")


def test_anger_is_louder_than_sadness_where_the_level_was_kept(data) -> None:
    def mean(emotion):
        clips = sorted(data("ravdess").glob(f"Actor_0[1-4]/03-01-{emotion}-*.flac"))[::4]
        sounds = [soundfile.read(p, dtype="float32")[0] for p in clips]
        return np.mean([measure(sound)["intensity_mean"] for sound in sounds])

    assert mean("05") > mean("04") + 6


def test_every_target_of_real_speech_is_plausible(emodb) -> None:
    for _, _, values in emodb:
        assert not undefined(values)
        assert 70 < hertz(values["f0_mean"]) < 420
        assert 1 < values["speaking_rate"] < 9
        assert 0 <= values["pause_ratio"] < 0.5
        assert 0 < values["harmonics_to_noise"] < 30
        assert 0 < values["jitter"] < 10 and 0 < values["shimmer"] < 30
