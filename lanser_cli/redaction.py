"""Redaction: records without the words that were said, and keyed hashes in their place.

A hash without a key would give a short text away: whoever guesses it can check the guess.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lanser_cli.errors import UsageError
from lanser_cli.records import Outcome, Record, Reject
from lanser_cli.texts import spoken_form

_PLACE: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "audio_filepath"), (str, int)),
    **dict.fromkeys(("offset", "duration", "audio_channel"), (int, float)),
}
_KEPT = {
    *_PLACE,
    *("speaker", "voice", "sex", "lang", "label", "split", "fold", "dialogue"),
    *("emotion", "emotion_score", "emotion_scores"),
    *("prediction", "scores", "heard", "test_fold", "predictions"),
    *("votes", "agreement", "doubt", "doubtful", "pick"),
    *("source_filepath", "source_offset", "source_channel", "audio_sha256"),
}
_KEPT_WITHIN = {
    "asr": {
        *("model", "precision", "flags", "avg_logprob", "no_speech_prob", "compression_ratio"),
        *("words_per_second", "context_seconds", "speech_seconds"),
    },
    "entailment": {
        *("model", "server", "precision", "taxonomy", "crosswalk", "lang", "templates"),
        *(
            "calibration",
            "candidates",
            "first_model",
            "context",
            "margin",
            "uncalibrated",
            "truncated",
        ),
        *("doubt", "abstained"),
    },
}
_HASH = re.compile("[0-9a-f]{32}")
_SHORTEST_KEY = 16


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is kept of a record in which no word may be left.

    Keys that docs/formats.md names are kept, but for those with words in them. Others are not:
    nobody knows what they hold.

    Attributes:
        key: of the hashes, 64 bytes; None: there are no hashes.
    """

    key: bytes | None = field(default=None, repr=False)

    @classmethod
    def asked(cls, no_text: bool, text_key: str | None) -> Redaction | None:
        """What `--no-text` and `--text-key` ask for; None where words may be left.

        Args:
            text_key: a file, or `env:NAME`.

        Raises:
            UsageError: a key for nothing, or there is none, or it is too short to be a secret.
        """
        if not no_text and text_key is not None:
            raise UsageError("--text-key goes with --no-text")
        if not no_text:
            return None
        return cls(None if text_key is None else hashlib.blake2b(_secret(text_key)).digest())

    def identity(self) -> dict[str, str]:
        """For the origin of an output: whether there are hashes, and whether of another key."""
        return {"--no-text": "no hashes" if self.key is None else f"key {self._hash('')[:12]}"}

    def fields(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of a record that may be kept; `text_hash` in the place of `text`.

        It is BLAKE2b (RFC 7693) with the key, 128 bits, of the text as it is spoken: without case
        and punctuation. `sentence` becomes such a hash too. Hashes that an earlier command made
        stay, since they are to be equal wherever the text or the sentence was: `text_hash`, and in
        a record without `text` a `sentence` that looks like one.
        """
        kept: dict[str, Any] = {}
        hashed = {"text_hash"} if record.get("text") else {"text_hash", "sentence"}
        for name, value in record.items():
            if name in _KEPT:
                kept[name] = value
            elif name in _KEPT_WITHIN and isinstance(value, Mapping):
                kept[name] = {key: value[key] for key in value if key in _KEPT_WITHIN[name]}
            elif name in hashed and is_hash(value):
                kept.setdefault(name, value)
            elif self.key is not None and name in ("text", "sentence") and value:
                said = spoken_form(str(value)) if name == "text" else str(value)
                if said:
                    kept["text_hash" if name == "text" else name] = self._hash(said)
        return kept

    def outcome(self, item: Outcome) -> Outcome:
        """A record with the keys that may be kept, a reject with the place of its sound alone."""
        if isinstance(item, Record):
            return Record(self.fields(item.fields))
        if isinstance(item, Reject):
            return Reject(item.id, item.stage, item.error, self.refused(item.record))
        return item

    def refused(self, record: object) -> dict[str, Any]:
        """What is kept of a record that is refused; of a line that held none, nothing."""
        if not isinstance(record, Mapping):
            return {}
        return {
            key: record[key] for key, kind in _PLACE.items() if isinstance(record.get(key), kind)
        }

    def _hash(self, text: str) -> str:
        assert self.key is not None
        data = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self.key, digest_size=16).hexdigest()


def is_hash(value: object) -> bool:
    """Whether a text or a sentence is given as `Redaction` hashes it."""
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _secret(text_key: str) -> bytes:
    """The key in a file or a variable, without the blanks around it."""
    name = text_key.removeprefix("env:")
    try:
        secret = os.fsencode(os.environ[name]) if name != text_key else Path(name).read_bytes()
    except KeyError:
        raise UsageError(f"--text-key {text_key}: there is no variable {name}") from None
    except OSError as error:
        raise UsageError(f"--text-key {text_key}: cannot be read: {error.strerror}") from None
    if len(secret.strip()) < _SHORTEST_KEY:
        raise UsageError(
            f"--text-key {text_key}: a key of fewer than {_SHORTEST_KEY} bytes can be guessed: "
            "make one with  head -c 32 /dev/urandom | base64"
        )
    return secret.strip()
