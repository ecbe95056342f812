"""Other toolkits' manifests, line by line, as the keys of a record: lhotse, Hugging Face."""

from __future__ import annotations

import re
from typing import Any

from lanser_cli.errors import RecordError
from lanser_cli.records import ID_PATTERN, make_id

_LANGUAGE_TAG = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def adapt(value: Any) -> Any:
    """A line of a lhotse cut or recording set, or of a Hugging Face `metadata.jsonl`, as a record.

    Its own keys stay, after those of a record. A line with `audio_filepath`, or of an unknown
    kind, is returned as it is.

    Raises:
        RecordError: a cut that is not a span of one file on disk.
    """
    if not isinstance(value, dict) or value.get("audio_filepath"):
        return value
    if isinstance(value.get("recording"), dict) and "start" in value:
        return _from_cut(value)
    if isinstance(value.get("sources"), list) and "num_samples" in value:
        return _merged({"id": _id(value), "audio_filepath": _path(value)}, value)
    if isinstance(value.get("type"), str) and value["type"].endswith("Cut") and "id" in value:
        raise RecordError(
            f"lhotse {value['type']} '{value['id']}' is no span of one file: save it as audio with "
            "lhotse first"
        )
    if isinstance(value.get("file_name"), str):
        return {"audio_filepath": value["file_name"], **value}
    return value


def _from_cut(cut: dict[str, Any]) -> dict[str, Any]:
    recording = cut["recording"]
    found: dict[str, Any] = {
        "id": _id(cut),
        "audio_filepath": _path(recording),
        "offset": cut["start"],
        "duration": cut.get("duration"),
    }
    channels = recording.get("channel_ids") or recording["sources"][0].get("channels") or [0]
    supervisions = cut.get("supervisions") or []
    _check(cut, "channel_ids", [channels], list, "an array")
    _check(cut, "supervisions", [supervisions], list, "an array")
    _check(cut, "supervisions", supervisions, dict, "an array of objects")
    if len(channels) > 1:
        raise RecordError(
            f"lhotse cut '{cut['id']}': channel {cut.get('channel')} of a recording with "
            f"{len(channels)} channels: save each channel as a file of its own"
        )
    said = {
        key: [item.get(key) for item in supervisions] for key in ("speaker", "language", "text")
    }
    for key, values in said.items():
        _check(cut, key, [value for value in values if value is not None], str, "a string")
    for key, ours in (("speaker", "speaker"), ("language", "lang")):
        only = said[key][0] if len(set(said[key])) == 1 else None
        if only is not None and (ours != "lang" or _LANGUAGE_TAG.fullmatch(only)):
            found[ours] = only
    texts = [text for text in said["text"] if text is not None]
    if texts:
        found["text"] = " ".join(texts)
    return _merged(found, cut)


def _check(cut: dict[str, Any], key: str, values: list[Any], kind: type, wanted: str) -> None:
    if not all(isinstance(value, kind) for value in values):
        raise RecordError(f"lhotse cut '{cut.get('id')}': '{key}' must be {wanted}")


def _merged(found: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    return found | {key: item for key, item in value.items() if key not in found}


def _id(value: dict[str, Any]) -> str:
    """The id, with what cannot be in a tar member's key replaced."""
    identifier = str(value.get("id"))
    # make_id takes what follows the last dot for a file's suffix, so there has to be one.
    return identifier if ID_PATTERN.fullmatch(identifier) else make_id(f"{identifier}.cut")


def _path(recording: dict[str, Any]) -> str:
    sources = recording.get("sources")
    source = sources[0] if isinstance(sources, list) and len(sources) == 1 else None
    if not isinstance(source, dict) or source.get("type") != "file" or recording.get("transforms"):
        raise RecordError(
            f"lhotse recording '{recording.get('id')}' is not one untransformed file on disk: "
            "save it as audio with lhotse first"
        )
    return str(source.get("source"))
