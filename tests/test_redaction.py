"""--no-text: no word that was said is left in anything that is written, for a moment either."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import soundfile
from conftest import EKMAN, ROOT, read_jsonl, tone, write_jsonl

from lanser_cli import app
from lanser_cli.redaction import Redaction

SAID = (
    "Nobody expected the purple walrus",
    "my grandmother hides seven keys",
    "why would anyone weigh a cloud",
    "nobody EXPECTED the purple walrus!",
    "the last ferry smelled of oranges",
)
KEY = "a secret of more than sixteen bytes"


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    """Records with words in every place that may have some, and two lines that are no records."""
    (tmp_path / "in").mkdir()
    values: list[dict[str, Any]] = []
    for number, text in enumerate(SAID):
        path = tmp_path / "in" / f"{number}.wav"
        soundfile.write(path, tone(0.3, 150 + 20 * number), 16_000)
        about = {"model": "m", "raw": text, "events": [text], "avg_logprob": -0.1}
        values.append(
            {"id": f"u{number}", "audio_filepath": str(path), "label": EKMAN[number % 2]}
            | {"text": text, "sentence": text, "asr": about, "note": text, "more": {"note": text}}
        )
    values[2]["entailment"] = {"comment": SAID[2]}
    path = write_jsonl(tmp_path / "in" / "heard.jsonl", values)
    again, no_id = json.dumps(values[4]), json.dumps({"text": SAID[2]})
    path.write_text(f"{path.read_text()}{again}\n{no_id}\n{{{SAID[1]}\n", encoding="utf-8")
    return path


def letters_in(folder: Path) -> str:
    """The words in all files below a folder, tars and databases too, in lower case."""
    files = (path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return " | ".join(words_of(data.decode("latin-1")) for data in files)


def words_of(text: str) -> str:
    return " ".join(re.findall("[a-z]+", text.lower()))


def in_threes(text: str) -> Iterator[str]:
    words = words_of(text).split()
    return (" ".join(words[at : at + 3]) for at in range(len(words) - 2))


THREES = {three for text in SAID for three in in_threes(text)}


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., set[str]]:
    """Run a command: the threes of words it left in a file, if only for a moment, or said."""
    out = tmp_path / "out"
    out.mkdir()
    named = partial(tempfile.NamedTemporaryFile, dir=out, delete=False)
    monkeypatch.setattr(tempfile, "TemporaryFile", named)
    left: list[str] = []

    def looking(source: Callable[..., Any]) -> Callable[..., Any]:
        def first(*arguments: Any, **options: Any) -> Any:
            left.append(letters_in(out))
            return source(*arguments, **options)

        return first

    for name in ("unlink", "remove", "replace"):
        monkeypatch.setattr(os, name, looking(getattr(os, name)))

    def one(*words: object, code: int = 0) -> set[str]:
        left.clear()
        result = app.main([str(word) for word in words])
        said = capfd.readouterr()
        assert result == code, said.err
        found = " | ".join([*left, letters_in(out), words_of(said.out), words_of(said.err)])
        spools = list(out.glob("tmp*"))
        assert len(spools) == ("--balance" in words)
        for path in spools:
            path.unlink()
        return {three for three in THREES if three in found}

    return one


def test_no_word_is_left_in_any_file(
    run: Callable[..., set[str]], heard: Path, tiny_nli: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    label = ("entail-label", heard, "--model", tiny_nli, "-t", "ekman6", "--rejects", out / "no")
    pack = ("shard", heard, "--balance", "--dedupe", "text", "--workers", 1)
    for number, more in enumerate([(), ("--no-text",), ("--no-text", "--text-key", "env:KEY")]):
        for left in (
            run(*label, "-o", out / f"{number}.jsonl", *more, "--force", code=3),
            run(*pack, "-o", out / f"shards-{number}", *more, code=3),
        ):
            assert left == (set() if more else THREES), more
        if not more:  # so they are found where they are
            shutil.rmtree(out)
            out.mkdir()
    [kept, *_] = read_jsonl(out / "1.jsonl")
    assert list(kept) == [
        *("id", "audio_filepath", "label", "asr"),
        *("emotion", "emotion_score", "emotion_scores", "entailment"),
    ]
    assert kept["asr"] == {"model": "m", "avg_logprob": -0.1}
    refused = read_jsonl(out / "no")
    assert [reject["record"].get("id") for reject in refused] == ["u4", None, None]
    index = json.loads((out / "shards-1" / "index.json").read_text())
    assert index["samples"] == 2 and index["dropped"]["same text as an earlier record"] == 1


def test_hashes_are_those_of_the_key(
    run: Callable[..., set[str]], heard: Path, tiny_nli: Path, tmp_path: Path
) -> None:
    out, key = tmp_path / "out" / "weak.jsonl", tmp_path / "in" / "key"
    key.write_text(f"{KEY}\n")
    line = ("entail-label", heard, "--model", tiny_nli, "-t", "ekman6", "-o", out, "--no-text")
    run(*line, "--text-key", key, code=3)
    whole = out.read_bytes()
    first, *_, again, last = (record["text_hash"] for record in read_jsonl(out))
    own = hashlib.blake2b(KEY.encode()).digest()
    said = b"nobody expected the purple walrus"
    assert first == again == hashlib.blake2b(said, key=own, digest_size=16).hexdigest() != last
    out.rename(out.with_name("weak.jsonl.part"))
    out.with_name("weak.jsonl.meta.json").rename(out.with_name("weak.jsonl.part.meta.json"))
    run(*line, "--resume", code=2)  # no hashes are not these hashes
    run(*line, "--resume", "--text-key", "env:KEY", code=3)
    assert out.read_bytes() == whole
    run("shard", out, "-o", out.with_name("packed"), "--no-text", "--dedupe", "text")
    index = json.loads((out.with_name("packed") / "index.json").read_text())
    assert index["samples"] == 4  # by hash


@pytest.mark.parametrize("second", [Redaction(b"k" * 64), Redaction()])
@pytest.mark.parametrize("text", [{"text": "It's eleven."}, {"text": ""}, {}])
def test_hashes_are_the_same_behind_one_command_or_two(
    second: Redaction, text: dict[str, str]
) -> None:
    """So that `audit` finds the sentences that packed records share with a corpus."""
    once = Redaction(b"k" * 64).fields({"id": "a", "sentence": "IEO", **text})
    assert set(once) == {"id", "sentence"} | ({"text_hash"} if text.get("text") else set())
    assert second.fields(once) == once


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--text-key", "env:KEY"), "goes with --no-text"),
        (("--no-text", "--text-key", "env:NONE"), "no variable NONE"),
        (("--no-text", "--text-key", "env:SHORT"), "fewer than 16 bytes"),
        (("--no-text", "--text-key", "no/such/file"), "cannot be read"),
        (("--no-text", "--cache", "cache"), "leave --cache out"),
        (("--no-text", "--sweep", "gold.jsonl"), "and --no-text: leave that out"),
    ],
)
def test_a_key_that_is_none_is_refused(
    words: tuple[str, ...], why: str, heard: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["entail-label", str(heard), *words]) == 2
    assert why in capfd.readouterr().err


def test_a_key_may_be_any_bytes_in_a_file_or_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, secret = tmp_path / "key", b"\xff\xfe and more, 16 or longer"
    key.write_bytes(secret)
    monkeypatch.setenv("BYTES", os.fsdecode(secret))
    assert Redaction.asked(True, "env:BYTES") == Redaction.asked(True, str(key))


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", KEY)
    monkeypatch.setenv("SHORT", "secret")


def test_words_in_the_place_of_a_number_are_not_kept_of_a_reject() -> None:
    place = {"id": "a", "audio_filepath": "a.wav", "offset": 1.5, "audio_channel": 0}
    shifted = {**place, "duration": "so it was said"}  # as of a table whose columns are shifted
    assert Redaction().refused(shifted) == place


def test_every_documented_key_is_kept_but_those_with_words() -> None:
    """A key that a verb comes to write must be in both: else it would be lost without a word."""
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    kinds = "string|number|whole number|object|bool"
    keys = re.findall(rf"^\| `(\w+)` \| (?:{kinds})(?:, [^|]*)? \|", page, re.MULTILINE)
    [table] = re.findall(r"^### `entailment`\n\n(.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    within = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert len(keys) > 25 and len(within) > 10
    record = dict.fromkeys(keys, "x") | {"text_hash": 32 * "0"}
    record |= {"asr": {}, "entailment": dict.fromkeys(within, "x")}
    kept = Redaction().fields(record)
    assert record.keys() - kept.keys() == {"text", "sentence"}
    assert kept["entailment"].keys() == set(within)
