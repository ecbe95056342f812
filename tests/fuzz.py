"""Mutated inputs by the thousand, each given to commands: none may end in more than a sentence.

    python tests/fuzz.py lines tars --inputs 5000 --seed 1

For each command: an exit code of the contract, no traceback, an end in seconds, memory that does
not grow with what an input promises, and a closing line in which every record is accounted for.
An input is drawn from the seed, its kind and its number: `--only NUMBER` gives it again.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "audio")]

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
from conftest import EKMAN, read_jsonl, save_nli, save_run, tone, write_jsonl  # noqa: E402
from mutants import a_tar, damaged_bytes, damaged_tar, damaged_text, mutated  # noqa: E402

from lanser_cli import app  # noqa: E402

SECONDS = 20
"""No command takes longer: most take hundredths of a second."""

MEGABYTES = 400
"""No command takes more memory than it had before, and so much."""

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where files are, since thousands of them are synced; None: on the disk."""

CHUNK = 200
"""Inputs that one process is given, one after the other."""

Words = list[object]


@dataclass(frozen=True)
class Trial:
    """A command line on a mutant.

    Attributes:
        least: the closing line must count so many records at least; None: it may be missing.
        exactly: whether it must count just so many.
    """

    words: Words
    least: int | None = None
    exactly: bool = False


class Things:
    """What mutants are made of and what commands need besides, made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clips = folder / "clips"
        self.clips.mkdir()
        for number in range(6):
            wave = tone(0.3 + 0.05 * number, 120 + 20 * number)
            soundfile.write(self.clips / f"c{number}.wav", wave, 16_000)
        self.values = [self._value(number) for number in range(6)]
        self.records = write_jsonl(folder / "records.jsonl", self.values)
        self.nli = save_nli(folder / "nli", ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"))
        self.run = save_run(folder / "run")
        self.shards = self._shards()
        self.tars = [a_tar(kind) for kind in ("pax", "gnu", "ustar")]
        self.sounds = dict(self._sounds())
        self.containers = dict(_containers())
        self.sides = self._sides()

    def _value(self, number: int) -> dict[str, Any]:
        emotion, other = EKMAN[number % 2], EKMAN[1 - number % 2]
        return {
            "id": f"c{number}",
            "audio_filepath": str(self.clips / f"c{number}.wav"),
            "duration": 0.3,
            "offset": 0.0,
            "speaker": f"s{number % 3}",
            "label": emotion,
            "text": f"this is sentence number {number}",
            "dialogue": f"d{number // 3}",
            "turn": number,
            "lang": "en",
            "split": ("train", "test")[number % 3 == 0],
            "fold": str(number % 2),
            "asr": {"model": "x", "flags": [], "avg_logprob": -0.5, "words": [{"start": 0.1}]},
            "emotion": emotion,
            "emotion_score": 0.8,
            "emotion_scores": {emotion: 0.8, other: 0.2},
            "entailment": {"model": "x", "taxonomy": "ekman6", "margin": 1.5, "context": ["a"]},
            "prediction": emotion,
            "scores": {emotion: 0.7, other: 0.3},
            "mine": {"kept": [number, None, "ü"]},
        }

    def _shards(self) -> Path:
        made = self.folder / "shards"
        self._lanser("shard", self.records, "-o", made, "--max-count", 2, "--workers", 1, "-q")
        emotions = [{"id": value["id"], "emotion": "new"} for value in self.values]
        source = write_jsonl(self.folder / "new.jsonl", emotions)
        self._lanser("shard", "--relabel", source, made, "-q")
        return made

    def _lanser(self, *words: object) -> None:
        sys.stdout.flush()
        stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        try:
            code = app.main([str(word) for word in words])
        finally:
            os.dup2(stdout, 1)
            os.close(stdout), os.close(nowhere)
        assert code == 0, words

    def _sounds(self) -> Iterator[tuple[str, bytes]]:
        for suffix, options in (
            ("wav", {"subtype": "PCM_16"}),
            ("24.wav", {"subtype": "PCM_24"}),
            ("float.wav", {"subtype": "FLOAT"}),
            ("alaw.wav", {"subtype": "ALAW"}),
            ("ext.wav", {"format": "WAVEX"}),
            ("rf64.wav", {"format": "RF64"}),
            ("flac", {}),
            ("ogg", {"subtype": "VORBIS"}),
            ("opus", {"format": "OGG", "subtype": "OPUS"}),
            ("mp3", {}),
            ("aiff", {}),
            ("au", {}),
            ("w64", {}),
            ("caf", {}),
        ):
            for channels, rate in ((1, 16_000), (2, 48_000)):
                wave = np.stack([tone(0.25, rate=rate)] * channels, axis=1)
                path = self.folder / f"{channels}.{suffix}"
                soundfile.write(path, wave, rate, **options)
                yield path.name, path.read_bytes()

    def _sides(self) -> dict[str, Any]:
        """The JSON of each kind of side file, by name."""
        audit = self.folder / "audit.json"
        self._lanser("audit", self.records, "--no-audio", "-o", audit, "--allow", "speaker", "-q")
        prior = self.folder / "prior.json"
        label = ("entail-label", self.records, "--model", self.nli, "-t", "ekman6", "-q")
        self._lanser(*label, *_CPU, "-o", self.folder / "labelled.jsonl")
        calibrate = ("--calibrate", "batch", "--prior", prior)
        self._lanser(*label, *_CPU, *calibrate, "-o", self.folder / "calibrated.jsonl")
        taxonomies = ROOT / "lanser_cli" / "entailment" / "taxonomies"
        found = {
            "index": self.shards / "index.json",
            "certificate": audit,
            "config": self.run / "config.json",
            "prior": prior,
            "taxonomy": taxonomies / "ekman6.json",
            "origin": self.folder / "labelled.jsonl.meta.json",
        }
        walk = {"anger": "angry", "disgust": None, "fear": None, "joy": "happy", "sadness": "sad"}
        return {name: json.loads(path.read_text()) for name, path in found.items()} | {
            "crosswalk": {"to": "iemocap4", "map": walk | {"surprise": "neutral"}},
            "label-map": {"anger": "angry", "joy": "", "fear": "afraid"},
        }


def _containers() -> Iterator[tuple[str, bytes]]:
    """Sound as FFmpeg's containers hold it; none where PyAV is missing."""
    try:
        import av  # noqa: F401
    except ImportError:
        return
    from sounds import encoded

    wave = tone(0.3)
    for suffix, container, codec in (
        ("mp4", "mp4", "aac"),
        ("m4a", "ipod", "aac"),
        ("mov", "mov", "pcm_s16le"),
        ("mkv", "matroska", "aac"),
        ("webm", "webm", "libopus"),
        ("flv", "flv", "aac"),
        ("avi", "avi", "mp2"),
        ("ts", "mpegts", "aac"),
        ("aac", "adts", "aac"),
        ("mp2", "mp2", "mp2"),
    ):
        rate = 48_000 if codec == "libopus" else 16_000
        yield suffix, encoded(wave, container, codec, rate, channels=2)


# ---------------------------------------------------------------- the kinds of mutants

Maker = Callable[[random.Random, Path, Things], list[Trial]]
"""Writes a mutant into a folder, and says which commands to give it to."""

_CPU = ("--device", "cpu")


def lines(draw: random.Random, folder: Path, things: Things) -> list[Trial]:
    """Records of several formats, mutated; sometimes packed, or damaged as a file."""
    values = [
        *(dict(value) for value in draw.sample(things.values, draw.randint(2, 5))),
        *draw.sample(_foreign(things), draw.randint(0, 2)),
    ]
    draw.shuffle(values)
    texts = [
        mutated(value, draw, also=_ODD) if draw.random() < 0.6 else json.dumps(value)
        for value in values
    ]
    end = draw.choice(("\n", "\n", "\n", "\r\n", "\n\n"))
    data = (end.join(texts) + end).encode("utf-8", "surrogatepass")
    name, least = "in.jsonl", sum(bool(text.strip()) for text in texts)
    exactly = all("\n" not in text for text in texts)
    if draw.random() < 0.15:
        data, least, exactly = damaged_bytes(data, draw, 1 << 20), 0, False
    match draw.randrange(12):
        case 0:
            data, name = gzip.compress(data), "in.jsonl.gz"
            if draw.random() < 0.5:
                data, least, exactly = damaged_bytes(data, draw), 0, False
        case 1:
            import zstandard

            data, name = zstandard.compress(data), "in.jsonl.zst"
            if draw.random() < 0.5:
                data, least, exactly = damaged_bytes(data, draw), 0, False
        case 2:
            data = b"\xef\xbb\xbf" + data
        case 3:
            data, least, exactly = data.decode("utf-8", "replace").encode("utf-16"), 0, False
        case 4:
            data = data.rstrip(b"\r\n")
    path = folder / name
    path.write_bytes(data)
    if draw.random() < 0.1:
        return [Trial(_aside(draw, path, folder, things))]
    words = _of_records(draw, path, folder, things)
    alone = words.count(path) == 1 and things.records not in words
    return [Trial(words, least, exactly and alone)]


def _aside(draw: random.Random, path: Path, folder: Path, things: Things) -> Words:
    """A command that reads records besides its input."""
    made = Path(shutil.copytree(things.shards, folder / "set"))
    return draw.choice(
        (
            ["eval", things.records, "--reference", path],
            ["transcribe", things.clips, "--model", "length", "--score", path],
            ["entail-label", "--sweep", path, "--model", things.nli, "-t", "ekman6", *_CPU],
            ["shard", "--relabel", path, made],
            ["shard", things.records, path, "-o", folder / "out", "--workers", 1],
        )
    )


_ODD = (
    *(
        1e306,
        -1e306,
        10**19,
        4300 * "9",
        "-",
        "/dev/stdin",
        "/dev/zero",
        "a\0.tar#b.wav",
        "x.tar#y",
    ),
    *("[Music]", "♪", "$x^$", "\x1b[31m", "a\nb", "joy ", "JOY", "../../etc/passwd", "x.tar#y"),
)
"""What is strange in a record."""


def _foreign(things: Things) -> list[dict[str, Any]]:
    """Lines of other people's manifests."""
    sound = str(things.clips / "c0.wav")
    recording = {"id": "r", "sources": [{"type": "file", "channels": [0], "source": sound}]}
    recording |= {"sampling_rate": 16000, "num_samples": 4800, "duration": 0.3, "channel_ids": [0]}
    said = {"id": "u", "recording_id": "r", "start": 0.0, "duration": 0.3, "channel": 0}
    said |= {"text": "so it goes", "speaker": "a", "language": "en", "custom": {"emotion": "joy"}}
    cut = {"id": "cut", "start": 0.0, "duration": 0.3, "channel": 0, "type": "MonoCut"}
    return [
        cut | {"recording": recording, "supervisions": [said]},
        {"file_name": sound, "transcription": "oh well", "label": "joy"},
        {"path": sound, "sentence": "oh well", "label": 3},
        {"audio": {"path": sound, "sampling_rate": 16_000}, "text": "oh well", "label": "joy"},
        {"id": "nested", "audio_filepath": sound, "label": "joy", "deep": {"a": [[[{"b": 1}]]]}},
    ]


def _of_records(draw: random.Random, path: object, folder: Path, things: Things) -> Words:
    """A command on records; those that take long are rare."""
    out = folder / "out"
    name = draw.choices(*zip(*_COMMANDS.items(), strict=True))[0]
    words: Words = [name, path]
    match name:
        case "transcribe":
            words += ["--model", "length", *draw.choice(((), ("--segment", "fixed")))]
        case "entail-label":
            words += ["--model", things.nli, "-t", "ekman6", *_CPU]
            words += draw.choice(((), ("--context", 1), ("--calibrate", "batch"), ("--top-k", 1)))
        case "shard":
            words += ["-o", out, "--workers", 1]
            words += draw.choice(
                ((), ("--dedupe", "audio,text"), ("--split", "a=0.5,b=0.5"), ("--balance",))
            )
        case "eval":
            words += draw.choice(((), ("--by", "mine"), ("--truth", "emotion"), ("--fuse",)))
            words += ["-o", out] if draw.random() < 0.02 else []
        case "agree":
            words = [
                name,
                f"{path}:{draw.choice(('emotion', 'label', 'mine'))}",
                f"{path}:prediction",
            ]
        case "pick":
            words += ["-n", draw.randint(1, 4), "--by", draw.choice(("label", "margin"))]
        case "listen":
            words += ["-o", folder / "out.html"]
        case "doubt":
            words += ["--scores", f"{path}:emotion_scores"]
        case "compare":
            words += draw.choice(((things.records,), (path,)))
        case "audit":
            words += draw.choice(((things.records,), ()))
            words += draw.choice((("--no-audio",), ("--workers", 1)))
        case "predict":
            words += ["--run", things.run, *_CPU]
        case "pretrain" | "finetune":
            words += ["-o", out, "--model", "resnet18-slim", "--crop", "0.2", "--steps", 1, *_CPU]
            words += ["--folds", 2] if name == "finetune" else []
        case "baseline":
            words += ["-o", out, "--folds", 2, "--workers", 1]
        case "probe-prosody":
            words += ["--run", things.run, "--folds", 2, *_CPU]
    if name in ("transcribe", "entail-label", "predict") and draw.random() < 0.5:
        words += ["-o", draw.choice((folder / "out.jsonl", folder / "out.jsonl.gz"))]
    if draw.random() < 0.3:
        words += ["--rejects", folder / "rejects.jsonl"]
    return words


_COMMANDS = {
    "transcribe": 24,
    "entail-label": 10,
    "agree": 4,
    "pick": 4,
    "listen": 2,
    "shard": 20,
    "doubt": 2,
    "eval": 20,
    "compare": 10,
    "audit": 14,
    "predict": 2,
    "pretrain": 0.2,
    "finetune": 0.2,
    "baseline": 0.3,
    "probe-prosody": 0.05,
}
"""How often each is drawn."""


def tars(draw: random.Random, folder: Path, things: Things) -> list[Trial]:
    """Tars with damage in headers and data, alone or in a set that has an index."""
    if draw.random() < 0.25:
        made = Path(shutil.copytree(things.shards, folder / "set"))
        tar = draw.choice(sorted(made.glob("*.tar")))
        tar.write_bytes(damaged_tar(tar.read_bytes(), draw))
        words: list[Words] = [
            ["shard", "--verify", made, "--workers", 1],
            ["audit", made, "--workers", 1],
            ["shard", made, "-o", folder / "out", "--workers", 1],
            ["transcribe", made, "--model", "length"],
        ]
        verify, *others = words
        return [Trial(verify), Trial(draw.choice(others), 1)]
    path = folder / draw.choice(("x.tar", "x.tar", "x.tar", "y-0.tar", "x.tar.gz"))
    data = damaged_tar(draw.choice(things.tars), draw)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    words = [
        ["shard", path, "-o", folder / "out", "--workers", 1],
        ["transcribe", path, "--model", "length"],
        ["audit", path, "--no-audio"],
        ["predict", path, "--run", things.run, *_CPU],
        ["entail-label", path, "--model", things.nli, "-t", "ekman6", *_CPU],
    ]
    [chosen] = draw.choices(words, (8, 8, 3, 1, 1))
    return [Trial(chosen, 0 if chosen[0] == "entail-label" else 1)]


def sounds(draw: random.Random, folder: Path, things: Things) -> list[Trial]:
    """Sound files of all formats with damage, most of it in the header."""
    name, data = draw.choice(sorted(things.sounds.items()))
    data = damaged_bytes(data, draw, draw.choice((64, 128, 4096)))
    path = folder / f"x.{draw.choice((name.rpartition('.')[2],) * 4 + ('wav', 'flac', 'mp3'))}"
    path.write_bytes(data)
    return _of_sound(draw, path, folder, things)


def containers(draw: random.Random, folder: Path, things: Things) -> list[Trial]:
    """What PyAV reads, with damage; and playlists that name other files, under all names."""
    suffix = draw.choice(sorted(things.containers))
    data = damaged_bytes(things.containers[suffix], draw, draw.choice((64, 512, 1 << 16)))
    if draw.random() < 0.1:
        sound = things.clips / "c0.wav"
        text = draw.choice(
            (
                f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{sound}\n#EXT-X-ENDLIST\n",
                f"ffconcat version 1.0\nfile '{sound}'\nduration 0.3\n",
                "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
                f"<?xml version='1.0'?><MPD><BaseURL>{sound}</BaseURL></MPD>",
                f"subfile,,start,0,end,0,,:{sound}",
            )
        )
        data = damaged_text(text, draw).encode() if draw.random() < 0.5 else text.encode()
        suffix = draw.choice((suffix, "m3u8", "mp4", "ts", "sdp"))
    path = folder / f"x.{suffix}"
    path.write_bytes(data)
    return _of_sound(draw, path, folder, things)


def _of_sound(draw: random.Random, path: Path, folder: Path, things: Things) -> list[Trial]:
    about: dict[str, Any] = {"id": "x", "audio_filepath": str(path), "label": "joy"}
    if draw.random() < 0.5:
        about |= {"offset": draw.choice((0, 0.1, 0.2, 5.0)), "duration": draw.choice((0.1, 0.05))}
    records = write_jsonl(folder / "in.jsonl", [about, things.values[0]])
    words: list[Words] = [
        ["transcribe", path, "--model", "length"],
        ["transcribe", path, "--model", "length", "--segment", "fixed"],
        ["transcribe", records, "--model", "length"],
        ["shard", records, "-o", folder / "out", "--workers", 1],
        ["audit", records, things.records, "--workers", 1],
        ["predict", records, "--run", things.run, *_CPU],
    ]
    [chosen] = draw.choices(words, (6, 2, 4, 6, 3, 0.5))
    # A recording may be cut into several utterances, or have no end of its own.
    exactly = "--segment" not in chosen and things.records not in chosen
    return [Trial(chosen, 1 if path in chosen else 2, exactly)]


def sides(draw: random.Random, folder: Path, things: Things) -> list[Trial]:
    """The JSON beside what is read: of sets, runs, certificates, priors, taxonomies, origins."""
    name = draw.choice(sorted(things.sides))
    text = mutated(things.sides[name], draw)
    if draw.random() < 0.2:
        text = damaged_text(text, draw)
    made, records = folder / f"{name}.json", things.records
    label: Words = ["entail-label", records, "--model", things.nli, *_CPU]
    if name == "index":
        made = Path(shutil.copytree(things.shards, folder / "set")) / "index.json"
    elif name == "config":
        made = Path(shutil.copytree(things.run, folder / "run")) / "config.json"
    elif name == "origin":
        for suffix in ("", ".meta.json"):
            origin = things.folder / f"labelled.jsonl{suffix}"
            shutil.copy(origin, folder / f"out.jsonl.part{suffix}")
        made = folder / "out.jsonl.part.meta.json"
    made.write_text(text, encoding="utf-8", errors="surrogatepass")
    at = made.parent
    some = {
        "index": [
            ["shard", "--verify", at, "--workers", 1],
            ["transcribe", at, "--model", "length"],
            ["shard", at, "-o", folder / "out", "--workers", 1],
            ["audit", at, "--no-audio"],
            ["shard", "--relabel", things.folder / "new.jsonl", at],
        ],
        "certificate": [["eval", records, "--audit", made, "-o", folder / "out"]],
        "config": [
            ["predict", records, "--run", at, *_CPU],
            ["eval", at],
            ["probe-prosody", records, "--run", at, "--folds", 2, *_CPU],
        ],
        "prior": [[*label, "-t", "ekman6", "--calibrate", "batch", "--prior", made]],
        "taxonomy": [["taxonomies", made], [*label, "-t", made]],
        "crosswalk": [[*label, "-t", "ekman6", "--crosswalk", made]],
        "origin": [[*label, "-t", "ekman6", "-o", folder / "out.jsonl", "--resume"]],
        "label-map": [["manifest", "csv", _table(folder, things), "--label-map", made]],
    }[name]
    weights = {"certificate": (1,), "config": (6, 6, 0.1)}.get(name, (1,) * len(some))
    return [Trial(draw.choices(some, weights)[0])]


def _table(folder: Path, things: Things) -> Path:
    rows = ["audio_filepath,label,speaker,text,duration"]
    for value in things.values:
        rows.append(",".join(f"{value[key]}" for key in rows[0].split(",")))
    path = folder / "table.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def tables(draw: random.Random, folder: Path, things: Things) -> list[Trial]:
    """Tables of clips, in all dialects, damaged as text and as bytes."""
    text = _table(folder, things).read_text()
    kind: Words = ["csv", folder / "table.csv"]
    match draw.randrange(6):
        case 0:
            text = text.replace(",", ";").replace("0.3", "0,3")
        case 1:
            text = text.replace(",", "\t").replace("audio_filepath", "path")
            text = text.replace("text", "sentence", 1).replace("speaker", "client_id")
        case 2:
            text = text.replace("audio_filepath", "file_name").replace("text", "transcription")
        case 3:
            text = "sep=,\n" + "\n".join(line + "," for line in text.splitlines())
        case 4:
            head = "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID,StartTime,EndTime"
            clock = '"00:00:01,100","00:00:02,200"'
            rows = (f'"oh, {n}",Joey,joy,{n // 2},{n % 2},{clock}' for n in range(4))
            text = "\n".join([head, *rows]) + "\n"
            for number in range(4):
                clip = folder / "train" / f"dia{number // 2}_utt{number % 2}.wav"
                clip.parent.mkdir(exist_ok=True)
                shutil.copy(things.clips / "c0.wav", clip)
            kind = ["meld", folder]
    text = damaged_text(text, draw)
    code = draw.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    data = text.encode(code, "replace")
    data = damaged_bytes(data, draw) if draw.random() < 0.1 else data
    (folder / "table.csv").unlink()
    (folder / ("table.csv" if kind[0] == "csv" else "train_sent_emo.csv")).write_bytes(data)
    words: Words = ["manifest", *kind]
    if draw.random() < 0.3 and kind[0] == "csv":
        words += draw.choice((("--label-column", "speaker"), ("--audio-root", things.clips)))
    if draw.random() < 0.3:
        words += ["-o", folder / "out.jsonl", "--rejects", folder / "rejects.jsonl"]
    return [Trial(words, 0)]


KINDS: dict[str, Maker] = {
    "lines": lines,
    "tars": tars,
    "sounds": sounds,
    "containers": containers,
    "sides": sides,
    "tables": tables,
}

# ---------------------------------------------------------------- what must hold


@dataclass
class Outcome:
    """What became of one input."""

    codes: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    megabytes: float = 0.0


_CLOSING = re.compile(r"^[a-z-]+: (\d+) in, (\d+) (?:out|used), (\d+) rejected(.*)", re.M)
_OTHERS = re.compile(r"(\d+) (?:dropped|already done)")
_BUG = re.compile(
    r"Traceback|with --verbose|Exception ignored|error in lanser|\w+Warning: |Segmentation"
)


def judge(trial: Trial, code: int, out: bytes, err: str, left: Sequence[str]) -> str:
    """What is not as it must be, in a few words; empty if all is."""
    if found := _BUG.search(err):
        return f"{found[0]}: {err[max(0, found.start() - 300) : found.end() + 100]}"
    if code not in (0, 1, 2, 3):
        return f"exit {code}"
    try:
        read_jsonl(out)
    except (ValueError, AssertionError) as error:
        return f"stdout is no JSONL: {error}"
    if code in (1, 2) and not err:
        return f"exit {code} in silence"
    if left and code in (0, 3):
        return f"exit {code}, and left behind: {', '.join(left)}"
    closing = _CLOSING.search(err)
    if closing is None:
        silent = trial.least is not None and code in (0, 3)
        return "no closing line" if silent else ""
    read, good, rejected = (int(closing[n]) for n in (1, 2, 3))
    if read != good + rejected + sum(map(int, _OTHERS.findall(closing[4]))):
        return f"does not add up: {closing[0]}"
    if (code == 3) != (rejected > 0) and code != 1:
        return f"exit {code}: {closing[0]}"
    least = trial.least or 0
    if read < least or (trial.exactly and read != least):
        return f"of {least} records: {closing[0]}"
    return ""


def attempt(kind: str, seed: int, number: int, things: Things, streams: Path) -> Outcome:
    """Make one mutant and run its commands, in this process."""
    draw, outcome = random.Random(f"{kind} {seed} {number}"), Outcome()
    with tempfile.TemporaryDirectory(dir=things.folder, prefix=f"{number}-") as name:
        folder = Path(name)
        for trial in KINDS[kind](draw, folder, things):
            before, there = _peak(), set(folder.rglob("*"))
            for stream in (1, 2):
                os.ftruncate(stream, 0)
                os.lseek(stream, 0, os.SEEK_SET)
            signal.alarm(SECONDS)
            faulthandler.dump_traceback_later(0.9 * SECONDS)
            begun = time.monotonic()
            code = app.main([str(word) for word in trial.words])
            sys.stdout.flush()
            outcome.seconds = max(outcome.seconds, time.monotonic() - begun)
            faulthandler.cancel_dump_traceback_later()
            signal.alarm(0)
            outcome.megabytes = max(outcome.megabytes, _peak() - before)
            outcome.codes.append(code)
            out, err = ((streams / stream).read_bytes() for stream in ("out", "err"))
            new = set(folder.rglob("*")) - there
            left = [path.name for path in new if _unfinished(path.name)]
            left = [] if "--resume" in trial.words else left
            fault = judge(trial, code, out, err.decode("utf-8", "replace"), left)
            if outcome.megabytes > MEGABYTES:
                fault += f" {outcome.megabytes:.0f} MB"
            if fault:
                outcome.faults.append(f"{' '.join(map(str, trial.words))}: {fault}")
    return outcome


def _unfinished(name: str) -> bool:
    return name.endswith(".part") or ".part." in name


def _peak() -> float:
    """Megabytes that this process and its children have held at most."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(who).ru_maxrss for who in whose) / 1024


# ---------------------------------------------------------------- processes


def _length_engine() -> None:
    """An engine that hears how long a clip is: `--model length`."""
    from lanser_cli.asr import engines
    from lanser_cli.asr.engine import Transcript

    class Length:
        name, max_seconds = "length", None

        def transcribe(self, clips: Sequence[np.ndarray]) -> list[Transcript]:
            return [Transcript(f"{len(clip)} samples", -0.1, 0.0) for clip in clips]

    module = types.ModuleType("lanser_cli.asr.engines.length")
    module.make = lambda name, options: Length()  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    engines.ENGINES["length"] = engines.Kind("length", "make")


def _prepare() -> None:
    """What would be done for each command anew is done once."""
    _length_engine()
    import torch

    torch.set_num_threads(1)


def _serve(kind: str, seed: int, numbers: Sequence[int], things: Things, answers: int) -> None:
    """Try these inputs in this process, and tell of each before and after."""
    streams = things.folder / f"streams-{os.getpid()}"
    streams.mkdir()
    for number, name in ((0, os.devnull), (1, streams / "out"), (2, streams / "err")):
        flags = os.O_RDONLY if number == 0 else os.O_RDWR | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(name, flags), number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, buffering, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, mode, buffering in ((0, "r", -1), (1, "w", -1), (2, "w", 1))
    )
    faulthandler.enable(2)
    for number in numbers:
        os.write(answers, f"{json.dumps([number, str(streams)])}\n".encode())
        try:
            outcome = attempt(kind, seed, number, things, streams)
        except BaseException as error:
            outcome = Outcome(faults=[f"{type(error).__name__} escaped: {error}"])
        os.write(answers, f"{json.dumps(vars(outcome))}\n".encode())
        if outcome.megabytes > MEGABYTES:
            break
    shutil.rmtree(streams)


def outcomes(
    kind: str, seed: int, numbers: Sequence[int], things: Things
) -> Iterator[tuple[int, Outcome]]:
    """What became of each input; whatever it does to the process that tries it."""
    todo = list(numbers)
    while todo:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            try:
                _serve(kind, seed, todo[:CHUNK], things, writer)
            finally:
                os._exit(0)
        os.close(writer)
        begun = None
        with open(reader, encoding="utf-8") as answers:
            for answer in answers:
                value = json.loads(answer)
                if isinstance(value, list):
                    begun = value
                    continue
                assert begun is not None
                todo.remove(begun[0])
                yield begun[0], Outcome(**value)
                begun = None
        _, status = os.waitpid(child, 0)
        if begun is not None:
            number, streams = begun
            todo.remove(number)
            how = signal.Signals(status).name if status else "an exit"
            said = (Path(streams) / "err").read_text(errors="replace")[-1500:]
            yield number, Outcome(faults=[f"ended by {how}: {said}"])


def fuzz(
    kinds: Sequence[str], inputs: int, seed: int, only: int | None = None
) -> tuple[str, list[str]]:
    """Try so many inputs of each kind: a table, and a line for each fault."""
    _prepare()
    faults: list[str] = []
    table = [
        "| kind | inputs | exit 0 | exit 1 | exit 2 | exit 3 | slowest, s | most, MB | faults |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as folder:
        things = Things(Path(folder))
        for kind in kinds:
            codes: Counter[int] = Counter()
            slowest = most = 0.0
            before = len(faults)
            numbers = range(inputs) if only is None else [only]
            for number, outcome in outcomes(kind, seed, numbers, things):
                codes.update(outcome.codes)
                slowest = max(slowest, outcome.seconds)
                most = max(most, outcome.megabytes)
                for fault in outcome.faults:
                    faults.append(f"{kind} --seed {seed} --only {number}: {fault}")
                    print(faults[-1], file=sys.stderr, flush=True)
            each = " | ".join(f"{codes[code]:,}" for code in range(4))
            table.append(
                f"| {kind} | {len(numbers):,} | {each} | {slowest:.1f} | {most:.0f} | "
                f"{len(faults) - before} |"
            )
    return "\n".join(table), faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--inputs", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this input alone")
    arguments = parser.parse_args()
    for kind in arguments.kinds:
        if kind not in KINDS:
            parser.error(f"{kind}: choose from {', '.join(KINDS)}")
    kinds = arguments.kinds or list(KINDS)
    table, faults = fuzz(kinds, arguments.inputs, arguments.seed, arguments.only)
    print(table)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
