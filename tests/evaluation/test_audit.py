"""Leaks between sets: each check finds what is there, and nothing else."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT, Lanser, read_jsonl, write_jsonl
from scipy.signal import resample_poly

from lanser_cli.audio import sound
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.evaluation import audit, certificate, checks
from lanser_cli.evaluation.audit import listen
from lanser_cli.evaluation.checks import CHECKS, Finding, Heard
from lanser_cli.evaluation.fingerprint import (
    FRAME,
    HOP,
    MAX_BIT_ERRORS,
    MIN_WORDS,
    Prints,
    fingerprint,
)
from lanser_cli.records import Record
from lanser_cli.redaction import Redaction
from lanser_cli.tally import Ledger

OWN = sorted((ROOT / "examples/speech/unlabeled").glob("*.ogg"))[:8]


def coded(wave: np.ndarray, rate: int = 16_000, **options: object) -> sound.Waveform:
    """As it is heard once it has been written to a file."""
    with tempfile.NamedTemporaryFile() as file:
        soundfile.write(file.name, wave, rate, **options)
        return sound.read(file.name)


def resampled(wave: np.ndarray, rate: int) -> np.ndarray:
    common = np.gcd(rate, 16_000)
    return resample_poly(wave, rate // common, 16_000 // common).astype(np.float32)


def telephone(wave: np.ndarray) -> sound.Waveform:
    late = np.concatenate([np.zeros(4100, np.float32), 0.1 * resampled(wave, 8000)])
    return coded(late, 8000, format="MP3")


CHANGES: dict[str, Callable[[np.ndarray], sound.Waveform]] = {
    "8 kHz": lambda wave: coded(resampled(wave, 8000), 8000, format="WAV"),
    "44.1 kHz": lambda wave: coded(resampled(wave, 44_100), 44_100, format="WAV"),
    "softer": lambda wave: coded(0.1 * wave, format="WAV", subtype="PCM_16"),
    "louder": lambda wave: coded(
        min(3.0, 0.99 / np.abs(wave).max()) * wave, format="WAV", subtype="PCM_16"
    ),
    "Ogg": lambda wave: coded(wave, format="OGG", subtype="VORBIS"),
    "MP3": lambda wave: coded(wave, format="MP3"),
    "cut": lambda wave: wave[4800 + 128 :],
    "late": lambda wave: np.concatenate([np.zeros(8128, np.float32), wave]),
    "telephone": telephone,
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_sound_is_found(change: str) -> None:
    waves = [sound.read(str(path)) for path in OWN]
    prints = Prints([fingerprint(wave) for wave in waves])
    for place, wave in enumerate(waves):
        changed = CHANGES[change](wave)
        assert changed.shape != wave.shape or not np.array_equal(changed, wave)
        found = prints.find(fingerprint(changed))
        assert found is not None and found[0] == place
        assert found[1] <= MAX_BIT_ERRORS


def test_other_sound_is_not_found() -> None:
    prints = [fingerprint(sound.read(str(path))) for path in OWN]
    assert all(len(words) > MIN_WORDS for words in prints)
    for place, words in enumerate(prints):
        others = prints[:place] + prints[place + 1 :]
        assert Prints(others).find(words) is None
        found = Prints(others + [words]).find(words)
        assert found == (len(prints) - 1, 0.0)


def test_a_word_that_is_everywhere_does_not_hide_the_rest() -> None:
    words = np.random.default_rng(0).integers(0, 1 << 32, 60, dtype=np.uint32)
    dull = np.zeros(200, np.uint32)
    prints = Prints([dull, words, dull])
    assert prints.find(np.concatenate([dull[:5], words])) == (1, 0.0)
    assert prints.find(np.concatenate([dull[:5], ~words])) is None, "one word shared, no more"


def test_silence_within_is_no_likeness() -> None:
    one, two = np.random.default_rng(0).integers(0, 1 << 32, (2, 40), dtype=np.uint32)
    gap = np.zeros(200, np.uint32)
    index = Prints([np.concatenate([one, gap, one])])
    assert index.find(np.concatenate([two, gap, two])) is None
    assert index.find(np.concatenate([one, gap, one[:30]])) == (0, 0.0)


@pytest.mark.parametrize("samples", [0, 5000, 12_000])
def test_short_or_silent_sound_has_no_fingerprint(samples: int) -> None:
    noise = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    assert len(fingerprint(noise)) == 0
    assert len(fingerprint(np.zeros(32_000, np.float32))) == 0
    assert len(fingerprint(np.resize(noise, 32_000) if samples else np.ones(32_000, "f4"))) > 0


def test_long_sound_is_taken_in_blocks() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000 * 12).astype(np.float32)
    whole = fingerprint(noise)
    assert len(whole) == (len(noise) - FRAME) // HOP
    later = fingerprint(noise[256 * 300 :])  # in other blocks
    assert np.array_equal(whole[300:], later)


# ---------------------------------------------------------------- on recordings


@pytest.fixture(scope="module")
def ravdess(shared: Path) -> tuple[list[str], list[np.ndarray]]:
    paths = sorted((shared / "ravdess").glob("*/*.flac"))
    window = [Record({"id": "x", "audio_filepath": str(path)}) for path in paths]
    heard = listen(window)
    prints = [np.frombuffer(item.words, np.uint32) for item in heard if isinstance(item, Heard)]
    return [path.stem for path in paths], prints


@pytest.mark.slow
def test_only_the_true_duplicate_of_ravdess_is_found(
    ravdess: tuple[list[str], list[np.ndarray]],
) -> None:
    """258,840 pairs of 720 clips, of two sentences that each speaker says time and again."""
    names, prints = ravdess
    found = []
    for place in range(1, len(prints)):
        if match := Prints(prints[:place]).find(prints[place]):
            found.append((names[match[0]], names[place], match[1]))
    assert found == [("03-01-03-01-02-01-07", "03-01-03-01-02-02-07", 0.0)]


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_changed_clips_of_ravdess_are_found(
    change: str, ravdess: tuple[list[str], list[np.ndarray]], shared: Path
) -> None:
    names, prints = ravdess
    index = Prints(prints)
    for place in range(0, len(names), 24):
        name = names[place]
        wave = sound.read(str(shared / "ravdess" / f"Actor_{name[-2:]}" / f"{name}.flac"))
        found = index.find(fingerprint(CHANGES[change](wave)))
        assert found is not None and found[0] == place, name


# ---------------------------------------------------------------- checks


def side(folder: Path, name: str, *values: dict) -> str:
    return str(write_jsonl(folder / f"{name}.jsonl", list(values)))


def audited(*inputs: str, **options: object) -> dict[str, Finding]:
    ledger = Ledger("audit")
    sides = audit.collect(inputs, ledger, decode=bool(options.get("decoded", True)))
    assert not ledger.rejected
    return {finding.check: finding for finding in checks.compare(sides, **options)}


@pytest.fixture
def apart() -> tuple[dict, dict]:
    """Two records that share nothing."""
    one, two = (
        {
            "id": f"{letter}1",
            "audio_filepath": str(OWN[place]),
            "speaker": f"speaker {letter}",
            "sentence": f"sentence {letter}",
            "text": f"This is {letter}",
        }
        for place, letter in enumerate("ab")
    )
    return one, two


def test_sets_apart_share_nothing(apart: tuple[dict, dict], tmp_path: Path) -> None:
    one, two = apart
    found = audited(side(tmp_path, "one", one), side(tmp_path, "two", two))
    assert list(found) == list(CHECKS)
    for finding in found.values():
        assert (finding.shared, finding.not_checked, finding.missing) == (0, None, (0, 0))
        assert not finding.leaks and finding.examples == []


@pytest.mark.parametrize(
    ("check", "key", "value"),
    [
        ("id", "id", "a1"),
        ("speaker", "speaker", "speaker a"),
        ("sentence", "sentence", "sentence a"),
        ("text", "text", "  this IS,\u00a0a! "),
    ],
)
def test_what_records_say(
    check: str, key: str, value: str, apart: tuple[dict, dict], tmp_path: Path
) -> None:
    one, two = apart
    first = side(tmp_path, "one", one, {"id": "a2", "speaker": "speaker a"})
    found = audited(first, side(tmp_path, "two", {**two, key: value}))
    assert [name for name, finding in found.items() if finding.leaks] == [check]
    assert found[check].shared == 1
    assert found[check].records == ((2 if check == "speaker" else 1), 1)
    assert found[check].examples[0]["ids"] == ["a1", "a1" if check == "id" else "b1"]
    allowed = audited(first, str(tmp_path / "two.jsonl"), allow=[check])[check]
    assert (allowed.shared, allowed.leaks) == (1, False)


def test_same_sound(apart: tuple[dict, dict], tmp_path: Path) -> None:
    one, two = apart
    wave = sound.read(one["audio_filepath"])
    soundfile.write(tmp_path / "same.flac", np.rint(wave * 32768).astype(np.int16), 16_000)
    soundfile.write(tmp_path / "near.flac", CHANGES["telephone"](wave), 16_000)
    first = side(tmp_path, "one", one)
    same = {**two, "audio_filepath": str(tmp_path / "same.flac")}
    found = audited(first, side(tmp_path, "same", same))
    assert [name for name, f in found.items() if f.leaks] == ["audio", "fingerprint"]
    near = {**two, "audio_filepath": str(tmp_path / "near.flac")}
    for sets in ((first, side(tmp_path, "near", near)), (str(tmp_path / "near.jsonl"), first)):
        found = audited(*sets)
        assert [name for name, f in found.items() if f.leaks] == ["fingerprint"]
        [example] = found["fingerprint"].examples
        assert example["ids"] == (["a1", "b1"] if sets[0] == first else ["b1", "a1"])
        assert 0 < example["bit_errors"] <= MAX_BIT_ERRORS
    found = audited(*sets, decoded=False)
    assert found["fingerprint"].not_checked == found["audio"].not_checked == "--no-audio"
    assert not any(finding.leaks for finding in found.values())


def test_what_is_absent_is_not_a_pass(apart: tuple[dict, dict], tmp_path: Path) -> None:
    one, _ = apart
    paths = side(tmp_path, "one", one, {"id": "a2"}), side(tmp_path, "two", {"id": "b1"})
    found = audited(*paths)
    for check in CHECKS[1:]:
        assert found[check].missing == (1, 1)
        assert "not checked: no " in str(found[check]) and paths[1] in str(found[check])
    assert "no speaker in" in str(found["speaker"])
    assert found["id"].not_checked is None and found["id"].complete


def test_what_is_absent_in_some_is_said(
    apart: tuple[dict, dict], tmp_path: Path, lanser: Lanser
) -> None:
    one, two = apart
    first, second = side(tmp_path, "one", one, {"id": "a2"}), side(tmp_path, "two", two)
    done = lanser("audit", first, second, "--workers", 1)
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 5 + 1
    assert [check["missing"] for check in read_jsonl(done.stdout)[0]["checks"]] == [[0, 0]] + 5 * [
        [1, 0]
    ]
    assert lines[0] == (
        f"audit: speaker: {first} and {second}: not checked in 1 and 0 records: nothing shared"
    )
    both = write_jsonl(tmp_path / "both.jsonl", [{**one, "split": "x"}, {**two, "split": "y"}])
    said = lanser("audit", both, "--workers", 1).stderr.decode()
    assert said == "audit: 2 in, 2 used, 0 rejected\n"


def test_hashes_are_not_compared_with_words(apart: tuple[dict, dict], tmp_path: Path) -> None:
    """What `--no-text --text-key` left of a set, and another set with the same words."""
    one, two = apart
    key = Redaction(b"a key of enough bytes")
    same = {**two, "text": one["text"], "sentence": one["sentence"]}
    hashed, words = side(tmp_path, "hashed", key.fields(one)), side(tmp_path, "words", same)
    found = audited(hashed, words, decoded=False)
    for check in ("text", "sentence"):
        assert (found[check].shared, found[check].missing) == (0, (1, 1))
        assert "hash both with one key" in str(found[check]) and not found[check].complete
    found = audited(hashed, side(tmp_path, "too", key.fields(same)), decoded=False)
    assert found["text"].shared == found["sentence"].shared == 1 and found["text"].complete
    some = side(tmp_path, "some", same, {**key.fields(same), "id": "b2"})
    assert audited(hashed, some, decoded=False)["text"].missing == (1, 1)


def test_three_sides_by_split(apart: tuple[dict, dict], tmp_path: Path) -> None:
    one, two = apart
    three = {"id": "c1", "speaker": "speaker a"}
    splits = [{**value, "split": f"s{n}"} for n, value in enumerate((one, two, three))]
    with Ledger("audit", tmp_path / "rejects.jsonl") as ledger:
        sides = audit.collect([side(tmp_path, "all", *splits, {"id": "lost"})], ledger)
    [reject] = read_jsonl(tmp_path / "rejects.jsonl")
    assert reject["id"] == "lost" and "'split'" in reject["error"]
    assert (ledger.read, ledger.done, ledger.rejected) == (4, 3, 1)
    leaks = [f for f in checks.compare(sides) if f.leaks]
    assert [(f.check, f.sides) for f in leaks] == [("speaker", ("s0", "s2"))]


def test_an_id_in_two_splits_of_one_set_is_a_leak_and_no_repeat(
    apart: tuple[dict, dict], tmp_path: Path
) -> None:
    one, two = apart
    rows = [{**one, "split": "train"}, {**two, "id": one["id"], "split": "test"}]
    torn = [{"id": "b9", "split": "train", "offset": -1}, {**rows[0], "text": "again"}]
    with Ledger("audit") as ledger:
        sides = audit.collect([side(tmp_path, "all", torn[0], *rows, torn[1])], ledger)
    assert [f.check for f in checks.compare(sides) if f.leaks] == ["id"]
    assert {each.name: (len(each.ids), each.rejected) for each in sides} == {
        "train": (1, 2),
        "test": (1, 0),
    }
    assert (ledger.read, ledger.done, ledger.rejected) == (4, 2, 2)


def test_digest_is_of_ids_and_sound(apart: tuple[dict, dict], tmp_path: Path) -> None:
    one, two = apart
    orders = side(tmp_path, "x", one, two), side(tmp_path, "y", two, {**one, "text": "other"})
    other = side(tmp_path, "z", one, {**two, "audio_filepath": str(OWN[3])})
    x, y, z = (made.digest() for made in audit.collect([*orders, other], Ledger("audit")))
    assert x == y != z
    sounds = {}
    for value in apart:
        wave = np.clip(np.rint(sound.read(value["audio_filepath"]) * 32768), -32768, 32767)
        sounds[value["id"]] = hashlib.sha256(wave.astype("<i2").tobytes()).hexdigest()
    lines = "".join(f"{identifier} {sounds[identifier]}\n" for identifier in sorted(sounds))
    assert x == hashlib.sha256(lines.encode()).hexdigest()


def test_sets_that_cannot_be_audited(apart: tuple[dict, dict], tmp_path: Path) -> None:
    one, _ = apart
    path = side(tmp_path, "one", {**one, "split": "all"})
    for inputs, error, words in (
        ([path, path], UsageError, "named twice"),
        ([path], LanserError, "one split 'all'"),
        ([path, side(tmp_path, "empty")], LanserError, "no record"),
        ([side(tmp_path, "without", one)], LanserError, "no record with a 'split'.*1 rejected"),
    ):
        with pytest.raises(error, match=words):
            audit.collect(inputs, Ledger("audit"))


# ---------------------------------------------------------------- the command


def test_command_certificate_and_citation(
    apart: tuple[dict, dict], tmp_path: Path, lanser: Lanser
) -> None:
    one, two = apart
    shards = tmp_path / "shards"
    first = side(tmp_path, "one", {**one, "label": "joy"})
    lanser("shard", first, "-o", shards)
    gone = {"id": "gone", "audio_filepath": str(tmp_path / "gone.wav"), "mine": [1]}
    values = [{**two, "sentence": one["sentence"]}, gone]
    second = "".join(json.dumps(value) + "\n" for value in values).encode()
    paths = [tmp_path / f"{name}.json" for name in ("failed", "passed")]
    line = ("audit", shards, "-", "--workers", 2, "--rejects", tmp_path / "rejects.jsonl")
    failed = lanser(*line, "-o", paths[0], input=second, check=1)
    assert "sentence: " in failed.stderr.decode() and "a1 = b1" in failed.stderr.decode()
    [result] = read_jsonl(failed.stdout)
    assert result["passed"] is False
    [reject] = read_jsonl(tmp_path / "rejects.jsonl")
    assert reject["id"] == "gone" and reject["record"] == gone
    passed = lanser(*line, "--allow", "sentence", "-o", paths[1], input=second, check=3)
    assert "shared (allowed)" in passed.stderr.decode()
    made = json.loads(paths[1].read_text())
    assert made["passed"] is True
    assert [s["rejected"] for s in made["sides"]] == [0, 1]
    missing = {check["check"]: check["missing"] for check in made["checks"]}
    assert missing["id"] == [0, 0] and missing["audio"] == missing["fingerprint"] == [0, 1]
    assert b"audio: " in passed.stderr and b"not checked in 0 and 1 records" in passed.stderr

    truth = side(tmp_path, "answers", {"id": "b1", "label": "joy", "prediction": "joy"})
    for path, words in zip(paths, ("it FAILED", "Shared, and allowed: sentence"), strict=True):
        report = tmp_path / f"report-{path.stem}"
        done = lanser("eval", truth, "--audit", path, "-o", report)
        assert ("the audit found leaks (sentence)" in done.stderr.decode()) is (path == paths[0])
        cited = json.loads((report / "report.json").read_text())["audit"]
        assert cited["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert cited["passed"] is (path == paths[1])
        assert cited["allowed"] == (["sentence"] if path == paths[1] else [])
        assert [s["records"] for s in cited["sides"]] == [1, 2]
        assert "sentence of 1 of 2 records of -" in " ".join(cited["missing"]).replace("stdin", "-")
        page = (report / "report.html").read_text()
        assert words in page and cited["sha256"] in page
    for identifier in ("x1", "gone"):  # of another set; of this one, but never heard
        value = {"id": identifier, "label": "joy", "prediction": "joy"}
        other = side(tmp_path, identifier, {**value, "id": "b1"}, value)
        done = lanser("eval", other, "--audit", paths[1], "-o", tmp_path / "r", check=2)
        said = f"1 of the 2 records of {other} were not audited, such as '{identifier}'"
        assert said in done.stderr.decode()
    none = lanser("eval", truth, "--audit", truth, "-o", tmp_path / "r", check=1)
    assert "not a certificate" in none.stderr.decode()
    alone = lanser("eval", truth, "--audit", paths[1], check=2)
    assert "-o" in alone.stderr.decode()


def test_no_folder_for_the_certificate(tmp_path: Path, lanser: Lanser) -> None:
    path = tmp_path / "nowhere" / "x.json"
    done = lanser("audit", "-", "-o", path, check=1)
    assert f"there is no folder {path.parent}" in done.stderr.decode()


def test_unknown_check(lanser: Lanser) -> None:
    done = lanser("audit", "--allow", "sentences", check=2)
    assert "'sentences' is not one of 'id', 'speaker'" in done.stderr.decode()


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"schema": "x"}', '{"schema": 1, "checks": [], "sides": [1]}', "\udcff"],
)
def test_no_certificate(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(LanserError, match="not a certificate"):
        certificate.cite(path)


def test_a_certificate_with_a_leak_in_it_has_not_passed(tmp_path: Path) -> None:
    """Whatever it says of itself: someone may have edited it."""
    check = {"check": "speaker", "shared": 3, "allowed": False, "not_checked": None}
    value = {"schema": 1, "passed": True, "sides": [], "checks": [check]}
    (tmp_path / "x.json").write_text(json.dumps(value))
    cited = certificate.cite(tmp_path / "x.json").about
    assert (cited["passed"], cited["found"]) == (False, ["speaker"])
    check["allowed"] = True
    (tmp_path / "x.json").write_text(json.dumps(value))
    assert certificate.cite(tmp_path / "x.json").about["passed"]
    for key, wrong in (("shared", "3"), ("shared", -1), ("allowed", 1), ("not_checked", 0)):
        value["checks"] = [check | {key: wrong}]
        (tmp_path / "x.json").write_text(json.dumps(value))
        with pytest.raises(LanserError, match=rf"'checks\[0\].{key}' must be "):
            certificate.cite(tmp_path / "x.json")


def test_certificate_of_the_future(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"schema": 99}')
    with pytest.raises(LanserError, match="newer lanser"):
        certificate.cite(path)
