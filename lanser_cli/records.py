"""The record: one utterance as the commands pass it on, and the two other fates it can meet.

A record is a JSON object. `Record` gives typed views of the keys that lanser knows and carries
every other key along untouched and in order. docs/formats.md specifies each key.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from lanser_cli.errors import RecordError, of_one_record

T = TypeVar("T")
R = TypeVar("R", bound="Record")

ID_PATTERN = re.compile(r"[A-Za-z0-9_-]+")

_NAMES = (
    *("id", "speaker", "label", "split", "fold", "sentence", "dialogue"),
    *("emotion", "prediction", "test_fold"),
)
"""Keys whose value tells one from another, as a whole number does too."""
_ANSWER = ("prediction", "scores", "predictions", "test_fold", "heard")
"""Keys of what a model answered, and of which model it was."""
_STRINGS = (*_NAMES, "audio_filepath", "lang", "text", "text_hash")
_NUMBER = (int, float)
_NUMBERS = ("offset", "duration", "emotion_score")
_COUNTS = ("audio_channel",)
_OBJECTS = ("asr", "emotion_scores", "entailment", "pick", "scores", "predictions")
_TYPES: dict[str, tuple[type[Any], ...]] = {
    **dict.fromkeys(_STRINGS, (str,)),
    **dict.fromkeys(_NUMBERS, _NUMBER),
    **dict.fromkeys(_COUNTS, (int,)),
    **dict.fromkeys(_OBJECTS, (dict,)),
}
_WANTED: dict[tuple[type[Any], ...], str] = {
    (str,): "a string",
    _NUMBER: "a number",
    (int,): "a whole number",
    (dict,): "an object",
}
_SPANS = ("offset", "duration")
_LARGEST = sys.float_info.max
_WEAK_LABEL = ("emotion", "emotion_score", "emotion_scores", "entailment")

MOST_SECONDS = 1e9
"""The latest time that a record may speak of, 31 years: far below where floats lose samples."""

MOST_CHANNELS = 1024
"""Channels that libsndfile reads."""


@dataclass(frozen=True, slots=True)
class Record:
    """One utterance. `fields` is never changed in place: `with_fields` makes a new record."""

    fields: Mapping[str, Any]

    @classmethod
    def parse(cls, value: object) -> Record:
        """Check a decoded JSON value and make it a record.

        A whole number for a name, such as a label or a speaker, is read as text. A record without
        `id` gets one from `audio_filepath` and `offset`, as NeMo's manifests have none. A known
        key may be null, which means the same as absent.

        Raises:
            RecordError: not an object, a bad id, or a known key of the wrong type.
        """
        if not isinstance(value, dict):
            raise RecordError(f"not a JSON object but {_json_type(value)}: one object a line")
        named: dict[str, Any] = {}
        for key, found in value.items():
            types = _TYPES.get(key)
            if types is None or found is None:
                continue
            if type(found) is int and key in _NAMES:
                named[key] = str(found)
            elif not isinstance(found, types) or isinstance(found, bool):
                raise RecordError(f"'{key}' must be {_WANTED[types]}, not {_json_type(found)}")
            if types is _NUMBER:
                _check_number(key, found)
            if key in _COUNTS and not 0 <= found < MOST_CHANNELS:
                raise RecordError(f"'{key}' must be from 0 to {MOST_CHANNELS - 1}, it is {found}")
        if named:
            value = value | named
        _check_inner(value)
        if value.get("id") is None:
            path = value.get("audio_filepath")
            if not path:
                raise RecordError("has no 'id', nor an 'audio_filepath' to derive one from")
            value = {"id": make_id(path, value.get("offset"))} | {
                key: item for key, item in value.items() if key != "id"
            }
        check_id(value["id"])
        return cls(value)

    @property
    def id(self) -> str:
        return str(self.fields["id"])

    @property
    def audio_filepath(self) -> str | None:
        return self.fields.get("audio_filepath")

    @property
    def offset(self) -> float:
        """Start of the utterance in its file, seconds."""
        return self.fields.get("offset") or 0.0

    @property
    def duration(self) -> float | None:
        """Length of the utterance, seconds; None means to the end of the file."""
        return self.fields.get("duration")

    @property
    def channel(self) -> int | None:
        """The one channel of its file that is meant, from 0 on; None means their mean."""
        return self.fields.get("audio_channel")

    @property
    def speaker(self) -> str | None:
        return self.word("speaker")

    @property
    def label(self) -> str | None:
        """The human label; never written by a model."""
        return self.word("label")

    @property
    def text(self) -> str | None:
        return self.fields.get("text")

    @property
    def emotion(self) -> str | None:
        """The weak label."""
        return self.word("emotion")

    @property
    def emotion_scores(self) -> dict[str, float] | None:
        """Label -> probability."""
        return self.fields.get("emotion_scores")

    @property
    def flags(self) -> list[str]:
        """Reasons to distrust the transcript (`asr.flags`)."""
        return (self.fields.get("asr") or {}).get("flags") or []

    @property
    def margin(self) -> float | None:
        """Log-odds of the weak label over the second (`entailment.margin`)."""
        margin = (self.fields.get("entailment") or {}).get("margin")
        if isinstance(margin, bool) or not isinstance(margin, int | float):
            return None
        return margin if abs(margin) <= _LARGEST else None

    @property
    def is_agreed(self) -> bool:
        """Whether the weak label is what the verb agree made of `votes` (`entailment.model`)."""
        return (self.fields.get("entailment") or {}).get("model") == "agree"

    @property
    def weak_label(self) -> dict[str, Any]:
        """What is said of the weak label; of an agreed one its votes, too."""
        keys = (*_WEAK_LABEL, "votes", "agreement") if self.is_agreed else _WEAK_LABEL
        return {key: self.fields[key] for key in keys if key in self.fields}

    @property
    def split(self) -> str | None:
        return self.word("split")

    @property
    def prediction(self) -> str | None:
        """The acoustic model's answer."""
        return self.word("prediction")

    @property
    def scores(self) -> dict[str, float] | None:
        return self.fields.get("scores")

    def word(self, key: str) -> str | None:
        """The value of any key as a word, to compare and group by: 1 as "1", true as "true".

        An empty one is none. Speaker, label, emotion, split and prediction are read so too.
        """
        value = self.fields.get(key)
        return value or None if value is None or isinstance(value, str) else json.dumps(value)

    def relabelled(self, label: dict[str, Any]) -> Record:
        """With another weak label; keys keep their place, and nothing of the old one is left."""
        return self._with_instead(label, self.weak_label)

    def with_fields(self, **updates: Any) -> Record:
        """A copy with keys set: known ones keep their place, new ones go to the end."""
        return Record({**self.fields, **updates})

    def with_answer(self, **answer: Any) -> Record:
        """A copy with a model's answer; of what another has answered before nothing is left."""
        return self._with_instead(answer, _ANSWER)

    def _with_instead(self, updates: Mapping[str, Any], old: Container[str]) -> Record:
        """A copy with keys set, and without what else there is of the old ones."""
        kept = {key: self.fields[key] for key in self.fields if key in updates or key not in old}
        return Record({**kept, **updates})


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that could not be processed, and why. `record` is as much as could be read."""

    id: str | None
    stage: str
    error: str
    record: object

    @classmethod
    def of(cls, record: Record, stage: str, error: object) -> Reject:
        return cls(record.id, stage, str(error), dict(record.fields))

    def as_json(self) -> dict[str, object]:
        return {"id": self.id, "stage": self.stage, "error": self.error, "record": self.record}


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record left out on purpose, e.g. because its score is too low: counted by reason."""

    id: str
    reason: str


Outcome: TypeAlias = Record | Reject | Dropped


def attempt(function: Callable[[R], T], record: R, stage: str) -> T | Reject:
    """What a function makes of a record, or a reject if anything goes wrong with this one."""
    try:
        with of_one_record():
            return function(record)
    except RecordError as error:
        return Reject.of(record, stage, error)


def check_id(identifier: str) -> None:
    """Raise RecordError unless the id can be the key of a tar member."""
    if not ID_PATTERN.fullmatch(identifier):
        raise RecordError(
            f"id {identifier!r} must consist of letters A-Z a-z, digits, '_' and '-' only "
            "(it becomes the key of a tar member): rename it"
        )


def make_id(path: str, offset: float | None = None) -> str:
    """A stable, legal id for an audio path.

    Folders are joined by '_'. Where other characters have to go, eight digits of the path's
    SHA-1 keep 'a.b' and 'a b' apart. An offset is added in milliseconds.
    """
    posix = path.replace("\\", "/").replace("#", "/")
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", posix)
    parts = [part for part in stem.split("/") if part not in ("", ".", "..")]
    plain = "_".join(parts)
    identifier = re.sub(r"[^A-Za-z0-9_-]+", "_", plain)
    if identifier != plain or not identifier:
        identifier += "-" + hashlib.sha1(posix.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    if offset:
        identifier += f"-{round(offset * 1000):09d}"
    return identifier


def _check_number(key: str, found: float) -> None:
    if not abs(found) <= _LARGEST:  # NaN, infinite, or an integer beyond any float
        raise RecordError(f"'{key}' must be a finite number")
    if key in _SPANS and found < 0:
        raise RecordError(f"'{key}' must not be negative, it is {found}")
    if key in _SPANS and found > MOST_SECONDS:
        raise RecordError(f"'{key}' must be at most {MOST_SECONDS:.0e} s, it is {float(found):g}")


def _check_inner(value: Mapping[str, Any]) -> None:
    """Check what verbs read inside the objects of a record, so that none trips over it later."""
    for key in ("emotion_scores", "scores"):
        scores = value.get(key)
        for label, score in scores.items() if scores else ():
            if not isinstance(score, (int, float)) or isinstance(score, bool):
                raise RecordError(f"'{key}': '{label}' must be a number, not {_json_type(score)}")
            if not abs(score) <= _LARGEST:
                raise RecordError(f"'{key}': '{label}' must be a finite number")
    path = value.get("audio_filepath") or ""
    if "\0" in path:
        raise RecordError("'audio_filepath' holds a NUL character, which no path can")
    if path == "-":
        raise RecordError("'audio_filepath' is '-', but sound comes from files only: name one")
    for seed, answer in (value.get("predictions") or {}).items():
        if answer is not None and not isinstance(answer, str):
            raise RecordError(f"'predictions': '{seed}' must be a string, not {_json_type(answer)}")
    asr, entailment = value.get("asr"), value.get("entailment")
    flags = asr.get("flags") if asr else None
    if flags and not (isinstance(flags, list) and all(isinstance(flag, str) for flag in flags)):
        raise RecordError("'asr': 'flags' must be an array of strings")
    for key in ("taxonomy", "crosswalk", "abstained"):
        found = entailment.get(key) if entailment else None
        if found is not None and not isinstance(found, str):
            raise RecordError(f"'entailment': '{key}' must be a string, not {_json_type(found)}")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


_CONTROLS = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What a terminal, or a reader of lines, would act on although JSON allows it as it is."""


def to_json(value: Mapping[str, Any]) -> str:
    """One line of JSON, compact and UTF-8 as is, but for characters that control a terminal.

    Raises:
        RecordError: a value is NaN or infinite, or a string is not valid Unicode.
    """
    try:
        line = _ENCODER.encode(value)
        line.encode("utf-8")
        if not line.isascii() or "\x7f" in line:  # most lines are told by one look
            line = _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
    except (ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise RecordError(f"cannot be written as JSON: {error}") from error
    return line


def _json_type(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", type(None): "null"}
    if isinstance(value, bool):
        return "true or false"
    other = "a number" if isinstance(value, (int, float)) else f"of type {type(value).__name__}"
    return names.get(type(value), other)
