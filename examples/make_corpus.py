"""Make the example corpus: SYNTHETIC emotional speech, with and without labels.

    python examples/make_corpus.py --out examples/speech

Nobody was recorded. Every utterance is spoken by Debian's ``flite`` (voices slt, rms, awb and
kal16), and what is called an emotion here is a setting of speaking rate, pitch, pitch range and
loudness, to which chance is added so that the classes overlap. The corpus lets the toolkit be
tried and tested from end to end on a small machine; it says nothing about how people sound.

Two parts are made:

* ``unlabeled/``: sentences whose words carry an emotion (``sentences.tsv``), spoken with that
  emotion's prosody. What the author meant is kept apart, in ``written.jsonl``, for checking weak
  labels afterwards.
* ``labeled/``: four neutral sentences, the same for every emotion, spoken by eleven
  pseudo-speakers; ``corpus.jsonl`` holds the labels. Folds are by voice, so that the variants of
  one voice are never on both sides of a split.

Every choice is drawn from ``--seed``, so that the same seed and the same flite give the same
samples (the Ogg files differ in their stream numbers only).

What this makes is under the project's own licence, Apache-2.0: the sentences were written for the
project, and the licence of flite and of its voices lets their output be used and passed on.

Needs numpy, scipy, soundfile and the program ``flite`` (Debian: ``apt-get install flite``).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile as sf
from scipy.signal import butter, medfilt, resample_poly, sosfiltfilt

SAMPLE_RATE = 16000
VORBIS_COMPRESSION = 0.7  # 0 is the largest file, 1 the smallest
REFERENCE_RMS_DB = -28.0  # level of a neutral utterance, dB re full scale, silences left out
PEAK_LIMIT_DB = -2.5  # before Vorbis, which may overshoot by some tenths of a dB
NOISE_DB = -72.0  # faint noise floor, so that the silences are not digital zeros
EDGE_SILENCE_S = (0.10, 0.25)


@dataclass(frozen=True)
class Prosody:
    """How an utterance is spoken, next to the voice's own neutral way."""

    rate: float  # speaking rate, times the voice's own
    pitch: float  # mean pitch, semitones above the voice's own
    range: float  # pitch range, times the voice's own
    loudness: float  # dB above REFERENCE_RMS_DB


# The usual description of vocal emotion in the literature (for instance Scherer 2003, Juslin and
# Laukka 2003), in round numbers: anger is fast, loud and variable in pitch; disgust slow and low;
# fear fast and high, with little variation; joy fast, high and variable; sadness slow, quiet, low
# and flat; surprise the highest and widest of all.
PROSODY: dict[str, Prosody] = {
    "anger": Prosody(rate=1.12, pitch=+1.0, range=1.35, loudness=+5.5),
    "disgust": Prosody(rate=0.88, pitch=-1.5, range=1.00, loudness=+0.5),
    "fear": Prosody(rate=1.16, pitch=+2.5, range=0.65, loudness=-2.0),
    "joy": Prosody(rate=1.06, pitch=+2.5, range=1.40, loudness=+2.5),
    "sadness": Prosody(rate=0.86, pitch=-2.0, range=0.60, loudness=-5.0),
    "surprise": Prosody(rate=0.98, pitch=+4.0, range=1.80, loudness=+0.5),
}

# What chance adds to each utterance: standard deviations, in the units of Prosody (rate and range
# as logarithms). They are drawn within two standard deviations.
CHANCE = Prosody(rate=0.075, pitch=1.6, range=0.22, loudness=2.8)


@dataclass(frozen=True)
class Voice:
    """A flite voice and its own pitch. Where flite cannot move its pitch, this script does."""

    f0_mean: float  # Hz, flite's int_f0_target_mean
    f0_sd: float  # Hz, flite's int_f0_target_stddev
    flite_pitch: bool  # whether the voice honours those two settings
    rate: float  # brings the voice's speaking rate near that of the others
    fold: str


VOICES: dict[str, Voice] = {
    "slt": Voice(f0_mean=170.0, f0_sd=25.0, flite_pitch=True, rate=1.0, fold="1"),
    "rms": Voice(f0_mean=102.0, f0_sd=0.0, flite_pitch=False, rate=1.1, fold="2"),
    "awb": Voice(f0_mean=127.0, f0_sd=25.0, flite_pitch=True, rate=1.0, fold="3"),
    "kal16": Voice(f0_mean=105.0, f0_sd=12.0, flite_pitch=True, rate=1.0, fold="4"),
}


@dataclass(frozen=True)
class Speaker:
    """A pseudo-speaker: a voice with another vocal tract, pitch and manner."""

    name: str
    voice: str
    tract: float  # scales the formants (and the pitch with them) by resampling
    pitch: float  # semitones, on top of what ``tract`` does
    loudness: float  # dB
    expression: float  # how strongly the speaker shows an emotion

    @property
    def fold(self) -> str:
        return VOICES[self.voice].fold


SPEAKERS: tuple[Speaker, ...] = (
    Speaker("slt-1", "slt", tract=1.00, pitch=-0.5, loudness=0.0, expression=1.0),
    Speaker("slt-2", "slt", tract=0.95, pitch=-1.5, loudness=-1.0, expression=0.8),
    Speaker("slt-3", "slt", tract=1.04, pitch=0.5, loudness=1.0, expression=1.1),
    Speaker("rms-1", "rms", tract=1.00, pitch=0.5, loudness=0.0, expression=1.0),
    Speaker("rms-2", "rms", tract=0.96, pitch=0.0, loudness=1.0, expression=1.1),
    Speaker("rms-3", "rms", tract=1.05, pitch=1.5, loudness=-1.0, expression=0.9),
    Speaker("awb-1", "awb", tract=1.00, pitch=0.0, loudness=0.0, expression=0.9),
    Speaker("awb-2", "awb", tract=0.96, pitch=-1.0, loudness=-1.0, expression=1.1),
    Speaker("awb-3", "awb", tract=1.05, pitch=0.5, loudness=1.0, expression=1.0),
    Speaker("kal16-1", "kal16", tract=1.00, pitch=0.0, loudness=0.5, expression=1.0),
    Speaker("kal16-2", "kal16", tract=1.06, pitch=1.5, loudness=-0.5, expression=0.9),
)
# The recogniser understands these voices well enough for the unlabelled part.
UNLABELED_VOICES = ("slt", "rms", "awb")


@dataclass(frozen=True)
class Utterance:
    """All that is needed to make one file."""

    path: Path
    text: str
    speaker: Speaker
    emotion: str
    key: str  # what chance is drawn from, with the seed


def read_sentences(path: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Return the sentences of each emotion, and the neutral ones, in the order of the file."""
    by_emotion: dict[str, list[str]] = {emotion: [] for emotion in PROSODY}
    neutral: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        emotion, tab, sentence = line.partition("\t")
        if emotion == "neutral":
            neutral.append(sentence)
        elif tab and emotion in by_emotion:
            by_emotion[emotion].append(sentence)
        else:
            raise ValueError(f"{path}:{number}: expected emotion<TAB>sentence, got {line!r}")
    return by_emotion, neutral


def draw_prosody(emotion: str, speaker: Speaker, rng: random.Random) -> Prosody:
    """The emotion's prosody in this speaker's manner, with chance added."""

    def chance() -> float:
        return max(-2.0, min(2.0, rng.gauss(0.0, 1.0)))

    table, strength = PROSODY[emotion], speaker.expression
    return Prosody(
        rate=table.rate**strength * float(np.exp(CHANCE.rate * chance())),
        pitch=table.pitch * strength + speaker.pitch + CHANCE.pitch * chance(),
        range=table.range**strength * float(np.exp(CHANCE.range * chance())),
        loudness=table.loudness * strength + speaker.loudness + CHANCE.loudness * chance(),
    )


def run_flite(text: str, voice_name: str, features: dict[str, float]) -> np.ndarray:
    """Speak ``text`` with flite and return the samples at SAMPLE_RATE."""
    settings = [part for k, v in features.items() for part in ("--setf", f"{k}={v:.4f}")]
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "flite.wav"
        command = ["flite", "-voice", voice_name, *settings, "-t", text, "-o", str(wav)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        samples, rate = sf.read(wav, dtype="float64")
    if rate != SAMPLE_RATE:
        raise RuntimeError(f"flite's voice {voice_name} speaks at {rate} Hz, not {SAMPLE_RATE}")
    return np.asarray(samples)


def track_pitch(samples: np.ndarray, low: float = 60.0, high: float = 250.0) -> np.ndarray:
    """F0 in Hz every 10 ms by normalised autocorrelation; 0 where the speech is unvoiced."""
    hop, width = SAMPLE_RATE // 100, SAMPLE_RATE // 25
    short, long = int(SAMPLE_RATE / high), int(SAMPLE_RATE / low)
    smooth = sosfiltfilt(butter(4, 800.0, fs=SAMPLE_RATE, output="sos"), samples)
    smooth = np.pad(smooth, (width // 2, width + long))
    floor = 0.1 * float(np.sqrt(np.mean(smooth**2)))
    track = np.zeros(len(samples) // hop + 1)
    for i in range(len(track)):
        piece = smooth[i * hop : i * hop + width + long]
        window = piece[:width]
        if np.sqrt(np.mean(window**2)) < floor:
            continue
        energy = np.convolve(piece**2, np.ones(width), "valid")
        match = np.correlate(piece, window, "valid") / np.sqrt(energy * energy[0] + 1e-12)
        inside = match[short : long + 1]
        best = float(inside.max())
        if best < 0.7:
            continue
        # The first peak that is nearly as good as the best one: no octave too low.
        middle = inside[1:-1]
        peaks = (middle >= inside[:-2]) & (middle >= inside[2:]) & (middle > 0.92 * best)
        if peaks.any():
            track[i] = SAMPLE_RATE / (short + 1 + int(np.argmax(peaks)))
    return np.asarray(medfilt(track, 5))


def change_pitch(samples: np.ndarray, semitones: float, widen: float) -> np.ndarray:
    """Move the mean pitch and scale the pitch range by TD-PSOLA; the duration stays."""
    track = track_pitch(samples)
    voiced = track > 0
    if voiced.sum() < 5:
        return samples
    log_f0 = np.log2(np.where(voiced, track, 1.0))
    mean = float(log_f0[voiced].mean())
    moved = mean + semitones / 12 + widen * (log_f0 - mean)
    ratio = np.where(voiced, 2.0 ** np.clip(moved - log_f0, -0.7, 0.7), 1.0)
    period = np.where(voiced, SAMPLE_RATE / np.maximum(track, 1.0), SAMPLE_RATE / 200)
    hop = SAMPLE_RATE // 100

    def frame(position: float) -> int:
        return min(len(track) - 1, round(position / hop))

    # Analysis marks: one a period, on the strongest sample near where the period should end.
    smooth = sosfiltfilt(butter(4, 800.0, fs=SAMPLE_RATE, output="sos"), samples)
    if abs(smooth.min()) > smooth.max():
        smooth = -smooth
    marks: list[int] = []
    position = 0.0
    while position < len(samples):
        here = round(position)
        if voiced[frame(position)]:
            reach = int(0.2 * period[frame(position)])
            if not marks or not voiced[frame(marks[-1])]:
                reach = int(0.5 * period[frame(position)])
            start = max(here - reach, marks[-1] + 1 if marks else 0)
            stretch = smooth[start : here + reach + 1]
            if len(stretch):
                here = start + int(np.argmax(stretch))
        marks.append(here)
        position = here + period[frame(here)]

    # Synthesis: the nearest grain at every new period.
    longest = int(SAMPLE_RATE / 55)
    padded = np.pad(samples, longest)
    out = np.zeros(len(padded))
    weight = np.zeros(len(padded))
    mark_array = np.array(marks)
    position = float(marks[0])
    while position < len(samples):
        nearest = int(mark_array[np.argmin(np.abs(mark_array - position))])
        old = period[frame(nearest)]
        half = min(longest, round(old))
        window = np.hanning(2 * half + 1)
        target = longest + round(position)
        target = min(target, len(padded) - half - 1)
        grain = padded[longest + nearest - half : longest + nearest + half + 1]
        grain = grain[: len(window)]
        out[target - half : target - half + len(grain)] += grain * window[: len(grain)]
        weight[target - half : target - half + len(grain)] += window[: len(grain)]
        position += old / ratio[frame(nearest)]
    out /= np.maximum(weight, 0.5)
    return np.asarray(out[longest : longest + len(samples)])


def trim(samples: np.ndarray, below_peak_db: float = 42.0) -> np.ndarray:
    """Cut the silence at both ends."""
    hop = SAMPLE_RATE // 100
    frames = samples[: len(samples) // hop * hop].reshape(-1, hop)
    level = np.sqrt(np.mean(frames**2, axis=1))
    loud = np.flatnonzero(level > level.max() * 10 ** (-below_peak_db / 20))
    return samples[loud[0] * hop : (loud[-1] + 1) * hop]


def speech_rms(samples: np.ndarray) -> float:
    """RMS over the frames within 25 dB of the loudest one."""
    hop = SAMPLE_RATE // 50
    power = np.mean(samples[: len(samples) // hop * hop].reshape(-1, hop) ** 2, axis=1)
    return float(np.sqrt(power[power > power.max() * 10**-2.5].mean()))


def synthesise(text: str, speaker: Speaker, prosody: Prosody, noise_seed: int) -> np.ndarray:
    """Speak one utterance."""
    voice = VOICES[speaker.voice]
    # Resampling by ``tract`` shortens the utterance; flite makes it longer by as much before.
    features = {"duration_stretch": speaker.tract / (prosody.rate * voice.rate)}
    if voice.flite_pitch:
        factor = 2.0 ** (prosody.pitch / 12)
        features["int_f0_target_mean"] = voice.f0_mean * factor
        features["int_f0_target_stddev"] = voice.f0_sd * factor * prosody.range
    samples = trim(run_flite(text, speaker.voice, features))
    if not voice.flite_pitch:
        samples = change_pitch(samples, prosody.pitch, prosody.range)
    if speaker.tract != 1.0:
        step = Fraction(speaker.tract).limit_denominator(100)
        samples = resample_poly(samples, step.denominator, step.numerator)

    return recorded(samples, prosody.loudness, noise_seed)


def recorded(samples: np.ndarray, loudness: float, noise_seed: int) -> np.ndarray:
    """Bring speech to its level, with silence around it and a faint noise."""
    noise = np.random.default_rng(noise_seed)
    gain = 10 ** ((REFERENCE_RMS_DB + loudness) / 20) / speech_rms(samples)
    limit = 10 ** (PEAK_LIMIT_DB / 20)
    samples = samples * min(gain, limit / float(np.abs(samples).max()))
    before, after = (int(s * SAMPLE_RATE) for s in noise.uniform(*EDGE_SILENCE_S, size=2))
    samples = np.pad(samples, (before, after))
    return np.asarray(samples + noise.normal(0.0, 10 ** (NOISE_DB / 20), len(samples)))


def make_one(job: tuple[Utterance, int]) -> float:
    """Make one file and return its duration in seconds."""
    utterance, seed = job
    rng = random.Random(f"{seed}/{utterance.key}")
    prosody = draw_prosody(utterance.emotion, utterance.speaker, rng)
    samples = synthesise(utterance.text, utterance.speaker, prosody, rng.getrandbits(32))
    sf.write(
        utterance.path,
        samples.astype(np.float32),
        SAMPLE_RATE,
        format="OGG",
        subtype="VORBIS",
        compression_level=VORBIS_COMPRESSION,
    )
    return len(samples) / SAMPLE_RATE


def plan_unlabeled(
    by_emotion: dict[str, list[str]], folder: Path, seed: int
) -> tuple[list[Utterance], list[dict[str, object]]]:
    """Share the sentences out among the pseudo-speakers, evenly within an emotion, and shuffle."""
    rng = random.Random(f"{seed}/unlabeled")
    speakers = [s for s in SPEAKERS if s.voice in UNLABELED_VOICES]
    plan: list[tuple[str, str, Speaker]] = []
    for emotion, sentences in by_emotion.items():
        turns = [speakers[i % len(speakers)] for i in range(len(sentences))]
        rng.shuffle(turns)
        plan += [(emotion, text, who) for text, who in zip(sentences, turns, strict=True)]
    rng.shuffle(plan)
    utterances: list[Utterance] = []
    records: list[dict[str, object]] = []
    for number, (emotion, text, who) in enumerate(plan, start=1):
        name = f"utt-{number:04d}"
        utterances.append(Utterance(folder / f"{name}.ogg", text, who, emotion, f"u/{text}"))
        records.append({"id": name, "written": text, "written_for": emotion, "voice": who.voice})
    return utterances, records


def plan_labeled(
    neutral: list[str], folder: Path
) -> tuple[list[Utterance], list[dict[str, object]]]:
    """Every pseudo-speaker says every neutral sentence with every emotion."""
    utterances: list[Utterance] = []
    records: list[dict[str, object]] = []
    for who in SPEAKERS:
        for number, text in enumerate(neutral, start=1):
            for emotion in PROSODY:
                name = f"{who.name}_s{number}_{emotion}"
                path = folder / f"{name}.ogg"
                utterances.append(Utterance(path, text, who, emotion, f"l/{name}"))
                records.append(
                    {
                        "id": name,
                        "audio_filepath": path.name,
                        "duration": 0.0,
                        "speaker": who.name,
                        "voice": who.voice,
                        "lang": "en",
                        "label": emotion,
                        "sentence": f"s{number}",
                        "fold": who.fold,
                    }
                )
    return utterances, records


def json_lines(records: list[dict[str, object]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def write_jsonl(path: Path, records: list[dict[str, object]]) -> None:
    path.write_text(json_lines(records), encoding="utf-8")


def missing_program() -> str | None:
    """Say what is missing to make the corpus, or None."""
    if shutil.which("flite") is None:
        return (
            "flite is not installed. It is needed only to make this corpus again, not to use it.\n"
            "On Debian or Ubuntu: apt-get install flite"
        )
    listing = subprocess.run(["flite", "-lv"], capture_output=True, text=True, check=False).stdout
    absent = sorted(set(VOICES) - set(listing.split()))
    if absent:
        return f"this flite lacks the voices {', '.join(absent)}; Debian's has them."
    return None


def main(argv: list[str] | None = None) -> int:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(
        description="Make the example corpus of synthetic emotional speech."
    )
    parser.add_argument(
        "--out", type=Path, default=here / "speech", help="folder to write (its *.ogg are replaced)"
    )
    parser.add_argument("--sentences", type=Path, default=here / "sentences.tsv")
    parser.add_argument("--seed", type=int, default=20, help="all choices are drawn from it")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    args = parser.parse_args(argv)

    problem = missing_program()
    if problem is not None:
        print(f"make_corpus: {problem}", file=sys.stderr)
        return 2

    by_emotion, neutral = read_sentences(args.sentences)
    unlabeled_dir, labeled_dir = args.out / "unlabeled", args.out / "labeled"
    for folder in (unlabeled_dir, labeled_dir):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.ogg"):
            old.unlink()
    unlabeled, written = plan_unlabeled(by_emotion, unlabeled_dir, args.seed)
    labeled, corpus = plan_labeled(neutral, labeled_dir)

    jobs = [(utterance, args.seed) for utterance in unlabeled + labeled]
    with multiprocessing.Pool(args.jobs) as pool:
        durations = pool.map(make_one, jobs, chunksize=8)
    for record, duration in zip(corpus, durations[len(unlabeled) :], strict=True):
        record["duration"] = round(duration, 3)
    write_jsonl(args.out / "written.jsonl", written)
    write_jsonl(labeled_dir / "corpus.jsonl", corpus)

    size = sum(utterance.path.stat().st_size for utterance, _ in jobs)
    print(
        f"{len(unlabeled)} unlabelled and {len(labeled)} labelled utterances, "
        f"{sum(durations):.0f} s, {size / 1e6:.1f} MB, in {args.out}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
