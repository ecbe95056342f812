"""Records: what is one, what is none, and ids."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanser_cli.errors import LanserError, RecordError, UsageError
from lanser_cli.records import ID_PATTERN, Record, Reject, attempt, check_id, make_id, to_json

JSON_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # A string that JSON has to escape as well.
    | JSON_TEXT
    | st.sampled_from(['"', "\\", "\n", "\u2028", "\x00", "😀"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(JSON_TEXT, inner, max_size=3),
    max_leaves=6,
)
PATHS = st.text("abAB01 ._-/#é日", min_size=1, max_size=20)


# ---------------------------------------------------------------- parsing


def test_known_keys_have_views() -> None:
    record = Record.parse(
        {
            "id": "a",
            "audio_filepath": "a.wav",
            "offset": 1,
            "duration": 2.5,
            "speaker": "s",
            "label": "joy",
            "text": "hello",
            "emotion": "anger",
            "emotion_scores": {"anger": 0.9},
            "prediction": "fear",
            "scores": {"fear": 1},
        }
    )
    assert (record.id, record.audio_filepath, record.offset, record.duration) == (
        *("a", "a.wav", 1, 2.5),
    )
    assert (record.speaker, record.label, record.text) == ("s", "joy", "hello")
    assert (record.emotion, record.emotion_scores) == ("anger", {"anger": 0.9})
    assert (record.prediction, record.scores) == ("fear", {"fear": 1})


def test_an_empty_word_is_none() -> None:
    words = ("speaker", "label", "emotion", "split", "prediction")
    record = Record.parse({"id": "a", **dict.fromkeys(words, ""), "text": ""})
    assert all(getattr(record, word) is None and record.word(word) is None for word in words)
    assert record.text == ""


@pytest.mark.parametrize(
    ("key", "view"), [("offset", 0.0), ("duration", None), ("text", None), ("emotion", None)]
)
def test_null_means_absent(key: str, view: object) -> None:
    for value in ({"id": "a"}, {"id": "a", key: None}):
        record = Record.parse(value)
        assert getattr(record, key) == view
        assert dict(record.fields) == value  # but it is carried on as it came


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([1], "not a JSON object but an array"),
        ("a", "not a JSON object but a string"),
        (True, "not a JSON object but true or false"),
        (1.5, "not a JSON object but a number"),
        (None, "not a JSON object but null"),
        ({}, "no 'id'"),
        ({"id": None}, "no 'id'"),
        ({"audio_filepath": ""}, "no 'id'"),
        ({"id": 7.5}, "'id' must be a string, not a number"),
        ({"id": "a", "text": 7}, "'text' must be a string, not a number"),
        ({"id": "a", "text": ["x"]}, "'text' must be a string, not an array"),
        ({"id": "a", "duration": "1"}, "'duration' must be a number, not a string"),
        ({"id": "a", "duration": True}, "'duration' must be a number, not true or false"),
        ({"id": "a", "duration": float("nan")}, "finite"),
        ({"id": "a", "offset": float("inf")}, "finite"),
        ({"id": "a", "offset": -1}, "must not be negative"),
        ({"id": "a", "offset": 1e306}, "'offset' must be at most 1e+09 s, it is 1e+306"),
        ({"audio_filepath": "a.wav", "offset": 1e306}, "'offset' must be at most"),
        ({"audio_filepath": "a.wav", "offset": 10**4299}, "'offset' must be a finite number"),
        ({"id": "a", "duration": 10**17}, "'duration' must be at most"),
        ({"id": "a", "emotion_score": 10**400}, "'emotion_score' must be a finite number"),
        ({"id": "a", "scores": {"joy": 10**400}}, "'scores': 'joy' must be a finite number"),
        ({"id": "a", "audio_filepath": "a.wav\0b"}, "holds a NUL character"),
        ({"id": "a", "asr": []}, "'asr' must be an object, not an array"),
        ({"id": "a", "asr": {"flags": True}}, "'flags' must be an array of strings"),
        ({"id": "a", "asr": {"flags": [1]}}, "'flags' must be an array of strings"),
        ({"id": "a", "emotion_scores": {"joy": "1"}}, "'joy' must be a number, not a string"),
        ({"id": "a", "scores": {"joy": None}}, "'joy' must be a number, not null"),
        ({"id": "a", "scores": {"joy": True}}, "'joy' must be a number, not true or false"),
        ({"id": "a", "entailment": {"taxonomy": []}}, "'taxonomy' must be a string"),
        ({"id": "a", "entailment": {"abstained": 1}}, "'abstained' must be a string"),
    ],
)
def test_what_is_no_record(value: object, why: str) -> None:
    with pytest.raises(RecordError, match=re.escape(why)):
        Record.parse(value)


def recurse(record: Record) -> None:
    recurse(record)


def reckon(record: Record) -> int:
    return round(record.fields["number"] * 1e306)


def look_up(record: Record) -> object:
    return record.fields["number"]["none"]


def take_all_memory(record: Record) -> bytes:
    return bytes(1 << 60)


def open_what_is_none(record: Record) -> object:
    return open(f"/dev/null/{record.id}")


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (recurse, "RecursionError in records.py:"),
        (reckon, "OverflowError in records.py:"),
        (look_up, "TypeError in records.py:"),
        (take_all_memory, "MemoryError in records.py:"),
        (open_what_is_none, "Not a directory"),
    ],
)
def test_whatever_goes_wrong_with_one_record_is_a_reject(
    function: Callable[[Record], object], why: str
) -> None:
    record = Record({"id": "a", "number": 1000.0})
    reject = attempt(function, record, "test")
    assert isinstance(reject, Reject)
    assert (reject.id, reject.stage, reject.record) == ("a", "test", dict(record.fields))
    assert why in reject.error


def test_the_fault_of_a_record_names_the_line_of_lanser_that_met_it() -> None:
    reject = attempt(lambda record: to_json({"x": {1: 2}, **{3: set()}}), Record({"id": "a"}), "t")
    assert isinstance(reject, Reject)
    assert re.match(r"TypeError in records\.py:\d+: ", reject.error)


@pytest.mark.parametrize(
    "error", [LanserError("x"), UsageError("x"), NameError(), AssertionError()]
)
def test_what_concerns_the_run_is_no_fault_of_a_record(error: Exception) -> None:
    def fail(record: Record) -> None:
        raise error

    with pytest.raises(type(error)):
        attempt(fail, Record({"id": "a"}), "test")


@pytest.mark.parametrize("identifier", ["", "a.b", "a/b", "a b", "é", "a\n", "\ud800", "日本"])
def test_illegal_ids(identifier: str) -> None:
    with pytest.raises(RecordError, match="id "):
        Record.parse({"id": identifier})


def test_nemo_manifest_line() -> None:
    line = '{"audio_filepath": "data/x/1089-0.wav", "offset": 1.5, "duration": 2.0, "text": "so"}'
    value = json.loads(line)
    record = Record.parse(value)
    assert record.id == "data_x_1089-0-000001500"
    assert list(record.fields) == ["id", *value]
    assert Record.parse({"id": None, **value}).id == record.id


@given(st.dictionaries(JSON_TEXT.filter(lambda key: key != "id"), JSON_VALUES, max_size=4))
def test_what_is_parsed_is_written_again(foreign: dict[str, object]) -> None:
    value = {f"x-{key}": item for key, item in foreign.items()} | {"id": "a"}
    line = to_json(Record.parse(value).fields)
    assert "\n" not in line
    again = json.loads(line)
    assert again == value
    assert list(again) == list(value)


def test_fields_are_added_at_the_end_and_changed_in_place() -> None:
    record = Record.parse({"id": "a", "text": "x", "mine": 1})
    changed = record.with_fields(emotion="joy", text="y")
    assert list(changed.fields.items()) == [
        *(("id", "a"), ("text", "y"), ("mine", 1), ("emotion", "joy")),
    ]
    assert record.text == "x"


def test_an_answer_takes_the_place_of_all_that_was_answered_before() -> None:
    record = Record({"id": "a", "scores": {"joy": 1.0}, "predictions": {"0": "joy"}, "heard": True})
    answered = record.with_answer(prediction="anger", test_fold="2")
    assert answered.fields == {"id": "a", "prediction": "anger", "test_fold": "2"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"deep": float("nan")}])
def test_what_json_cannot_say_is_not_written(value: object) -> None:
    with pytest.raises(RecordError, match="cannot be written as JSON"):
        to_json({"id": "a", "x": value})


def test_nesting_without_end_is_not_written() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RecordError, match="cannot be written as JSON"):
        to_json({"id": "a", "x": value})


def test_json_is_compact_and_utf8_as_is() -> None:
    assert to_json({"id": "a", "text": "né 日本"}) == '{"id":"a","text":"né 日本"}'


def test_reject_carries_its_record() -> None:
    reject = Reject.of(Record({"id": "a", "mine": 1}), "predict", RecordError("why"))
    assert reject.as_json() == {
        "id": "a",
        "stage": "predict",
        "error": "why",
        "record": {"id": "a", "mine": 1},
    }


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize(
    ("path", "identifier"),
    [
        ("clip.wav", "clip"),
        ("a/b/clip-01_x.flac", "a_b_clip-01_x"),
        ("/abs/clip.wav", "abs_clip"),
        ("./a/../clip.wav", "a_clip"),
        ("a\\b.wav", "a_b"),
        ("shard-000000.tar#clip.flac", None),
    ],
)
def test_ids_of_plain_paths(path: str, identifier: str | None) -> None:
    made = make_id(path)
    check_id(made)
    if identifier is None:
        assert re.fullmatch(r"shard-000000_tar_clip-[0-9a-f]{8}", made)
    else:
        assert made == identifier


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.b.wav", "a b.wav"),
        ("a b.wav", "a_b.wav"),
        ("é.wav", "è.wav"),
        ("日.wav", "本.wav"),
        ("v1.0/x.wav", "v1_0/x.wav"),
        (".wav", "..wav"),
        (" .wav", "  .wav"),
    ],
)
def test_ids_of_odd_paths_differ(one: str, other: str) -> None:
    assert make_id(one) != make_id(other)


def test_offsets_differ_to_the_millisecond() -> None:
    assert make_id("a.wav", None) == make_id("a.wav", 0.0) == "a"
    assert make_id("a.wav", 0.001) == "a-000000001"
    assert make_id("a.wav", 3600.25) == "a-003600250"


@given(PATHS, st.none() | st.floats(0, 1e6))
def test_ids_are_legal_and_stable(path: str, offset: float | None) -> None:
    made = make_id(path, offset)
    assert ID_PATTERN.fullmatch(made)
    assert make_id(path, offset) == made


@given(st.binary(min_size=1, max_size=8))
def test_file_names_that_are_no_unicode_have_ids(name: bytes) -> None:
    check_id(make_id(name.decode("utf-8", "surrogateescape")))


def _told_apart(path: str) -> str:
    """What distinct ids promise to tell: all but the suffix, and '/' or '#' from '_'."""
    posix = PurePosixPath(re.sub(r"\.[A-Za-z0-9]{1,5}$", "", path.replace("#", "/")))
    return "_".join(part for part in posix.parts if part not in ("/", "//", ".", ".."))


@given(PATHS, PATHS)
def test_distinct_paths_have_distinct_ids(one: str, other: str) -> None:
    if make_id(one) == make_id(other):
        assert _told_apart(one) == _told_apart(other)
