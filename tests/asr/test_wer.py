"""Word error rates, and what they are counted over."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.asr.wer import Errors, Score, word_errors
from lanser_cli.errors import LanserError
from lanser_cli.records import Record
from lanser_cli.stage import one_process


def heard(identifier: str, text: str, **fields: object) -> Record:
    return Record({"id": identifier, "text": text, **fields})


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return write_jsonl(
        tmp_path / "reference.jsonl",
        [
            {"id": "a", "text": "The colour, he said, isn't twenty-one."},
            {"id": "b", "text": "red green blue grey"},
            {"id": "c", "text": "[noise]"},
            {"id": "d", "text": "Zwei Katzen", "lang": "de"},
            {"id": "never", "text": "said"},
            {"id": "no-text"},
        ],
    )


def test_errors_are_counted(reference: Path) -> None:
    score = Score(reference)
    score.add(heard("a", "the color he said is not 21"))
    assert (score.errors, str(score).split(":")[0]) == (Errors(words=7), "word error rate 0.00 %")
    score.add(heard("b", "red greens blue grey day"))
    assert score.errors == Errors(1, 0, 1, 11)
    score.add(heard("b", "red"))
    assert score.errors == Errors(1, 3, 1, 15)
    score.add(heard("c", "hello there"))
    assert score.errors == Errors(1, 3, 3, 15)
    score.add(heard("d", "zwei katzen!", lang="de"))
    score.add(heard("unknown", "x"))
    score.add(Record({"id": "b"}))
    assert score.utterances == 5
    assert str(score) == (
        "word error rate 41.18 %: 1 substitutions, 3 deletions, 3 insertions in 17 words of 5 "
        "utterances (5 references)"
    )
    assert score.left_out == {
        "references without text": 1,
        "references without a transcript": 1,
        "transcripts without a reference": 1,
        "transcripts without text": 1,
    }


def test_what_is_not_scored_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"id": "a", "text": "b"}\n{"id": "a", "text": "c"}\nno JSON\n{"id": "n"}\n')
    score = Score(path)
    process = score.watching(one_process(lambda window: list(window)))
    list(process([[heard("a", "b"), heard("x", "y"), heard("z", "y")]]))
    first, rate, left_out = capsys.readouterr().err.splitlines()
    assert first.startswith(f"rejected: {path}:3: not JSON")
    assert rate.startswith("transcribe: word error rate 0.00 %")
    assert left_out == (
        "transcribe: not scored: references that cannot be read (1), references whose id came "
        "before (1), references without text (1), transcripts without a reference (2)"
    )


def test_english_is_not_done_to_other_languages(tmp_path: Path) -> None:
    """`mr` is "mister" in English only."""
    path = write_jsonl(tmp_path / "r.jsonl", [{"id": "a", "text": "mr"}])
    for lang, errors in (("en", 0), ("en-GB", 0), (None, 0), ("cs", 1)):
        score = Score(path)
        score.add(heard("a", "mister", lang=lang))
        assert score.errors.substitutions == errors


def test_the_language_may_be_that_of_the_reference(tmp_path: Path) -> None:
    """Many recognisers say none, and one of English alone says English of all."""
    path = write_jsonl(tmp_path / "r.jsonl", [{"id": "a", "text": "schön", "lang": "de"}])
    for lang in (None, "en"):
        score = Score(path)
        score.add(heard("a", "schon", lang=lang))
        assert score.errors == Errors(substitutions=1, words=1)


@pytest.mark.parametrize(
    ("lang", "said", "wrong", "count"),
    [("zh-TW", "今天天氣很好。", "今天天汽很好", 6), ("ja", "そうですね", "そうですか", 5)],
)
def test_where_no_blanks_part_words_each_letter_is_one(
    lang: str, said: str, wrong: str, count: int
) -> None:
    """One wrong letter is not a sentence that is wrong as a whole."""
    assert word_errors(said, wrong, lang) == Errors(substitutions=1, words=count)


@pytest.mark.parametrize(
    ("lang", "said", "wrong", "count"),
    [("hi", "मैं कि घर", "मैं की घर", 3), ("ta", "கல் நல்ல", "கால் நல்ல", 2), ("th", "กิน", "กีน", 2)],
)
def test_a_vowel_sign_is_a_part_of_its_word(lang: str, said: str, wrong: str, count: int) -> None:
    """Whisper's own normaliser makes it a blank."""
    assert word_errors(said, wrong, lang) == Errors(substitutions=1, words=count)


@pytest.mark.parametrize("lang", ["en", "de"])
def test_an_ellipsis_is_no_word(lang: str) -> None:
    assert word_errors("Well, no", "Well... no...", lang) == Errors(words=2)
    assert word_errors("...", "no", lang) == Errors(insertions=1)
    assert word_errors("no", "...", lang) == Errors(deletions=1, words=1)


def test_references_without_words_are_not_called_untranscribed(tmp_path: Path) -> None:
    score = Score(write_jsonl(tmp_path / "r.jsonl", [{"id": "a", "text": "[noise]"}]))
    score.add(heard("a", "thank you"))
    assert str(score) == (
        "word error rate: no words in the references of 1 utterances, 2 in their transcripts"
    )


def test_nothing_to_score(tmp_path: Path, reference: Path) -> None:
    assert "none of 5 references was transcribed" in str(Score(reference))
    path = write_jsonl(tmp_path / "r.jsonl", [{"id": "a"}])
    with pytest.raises(LanserError, match=r"r\.jsonl: no record with 'text' in it"):
        Score(path)
    with pytest.raises(LanserError, match="there is no such file"):
        Score(tmp_path / "gone.jsonl")


def test_the_command_scores(lanser: Lanser, clips: Path, tiny_ctc: Path, tmp_path: Path) -> None:
    """What it wrote itself has no errors; also over a run that was taken up again."""
    line = ("transcribe", clips, "--model", f"hf:{tiny_ctc}", "--device", "cpu")
    first = lanser(*line)
    assert b"word error rate" not in first.stderr
    values = read_jsonl(first.stdout)
    perfect = write_jsonl(tmp_path / "perfect.jsonl", values)
    again = lanser(*line, "--score", perfect)
    assert again.stdout == first.stdout
    assert b"word error rate 0.00 %: 0 substitutions" in again.stderr
    assert b"of 12 utterances (12 references)" in again.stderr
    out = tmp_path / "out.jsonl"
    (tmp_path / "out.jsonl.part").write_bytes(b"".join(first.stdout.splitlines(True)[:5]))
    resumed = lanser(*line, "--score", perfect, "-o", out, "--resume")
    assert b"of 12 utterances (12 references)" in resumed.stderr
    missing = lanser(*line, "--score", tmp_path / "gone.jsonl", check=1)
    assert missing.stdout == b"" and missing.stderr.count(b"\n") == 1
