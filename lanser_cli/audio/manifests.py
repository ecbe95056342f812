"""Other toolkits' manifests, line by line, to records and from them: lhotse, NeMo, Hugging Face."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lanser_cli.audio.decoder import no_sample
from lanser_cli.audio.lengths import NEAR
from lanser_cli.audio.sound import path_of, probe
from lanser_cli.choices import Toolkit
from lanser_cli.errors import RecordError, UsageError
from lanser_cli.records import ID_PATTERN, Record, make_id

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


# ---------------------------------------------------------------- from records


def line_maker(to: Toolkit, output: Path | None) -> Callable[[Record], Record]:
    """What turns a record into a line of another toolkit's manifest.

    lhotse: a `MonoCut` with its recording; what lanser knows besides is the supervision's `custom`.
    NeMo: as its speech recognition and classification read it, `duration` always there.
    Hugging Face: a line of `metadata.jsonl`, which stands in a folder above the sound.

    Every line has an `id`, and no key that is null. The function raises RecordError where the other
    toolkit cannot say what the record says, or its sound cannot be read.

    Args:
        output: the file that the lines will be in.

    Raises:
        UsageError: Hugging Face reads no file of that name.
    """
    if to == "lhotse":
        return _to_cut
    if to == "nemo":
        return _to_nemo
    if output is None or output.name != "metadata.jsonl":
        raise UsageError("--to hf needs -o FOLDER/metadata.jsonl, in a folder above the sound")
    return partial(_to_metadata, folder=output.parent)


def _to_cut(record: Record) -> Record:
    path, seconds, rate, channels = _file(record, "lhotse reads shards of its own kind")
    if channels > 1:
        raise RecordError(
            f"{path}: has {channels} channels, and a lhotse cut would be of one: save it as mono"
        )
    start, duration = _span(record, seconds)
    about = {"recording_id": record.id, "start": 0.0, "duration": duration, "channel": 0}
    words = {key: record.fields.get(ours) for key, ours in _SAID}
    said = {key: value for key, value in words.items() if value is not None}
    custom = _others(record, "text", "speaker", "lang")
    recording = {
        "id": record.id,
        "sources": [{"type": "file", "channels": [0], "source": path}],
        "sampling_rate": rate,
        "num_samples": round(seconds * rate),
        "duration": seconds,
        "channel_ids": [0],
    }
    supervision = {"id": record.id, **about, **said} | ({"custom": custom} if custom else {})
    return Record(
        {
            **{"id": record.id, "start": start, "duration": duration, "channel": 0},
            **{"supervisions": [supervision], "recording": recording, "type": "MonoCut"},
        }
    )


_SAID = (("text", "text"), ("speaker", "speaker"), ("language", "lang"))
"""Keys of a supervision, and those of a record."""


def _to_nemo(record: Record) -> Record:
    path, seconds, _, _ = _file(record, "NeMo reads tarred sets of its own kind")
    start, duration = _span(record, seconds)
    head = {"audio_filepath": path, "offset": start, "duration": duration}
    return Record({**head, "id": record.id, **_others(record)})


def _to_metadata(record: Record, folder: Path) -> Record:
    path, seconds, _, _ = _file(record, "load its tar by load_dataset('webdataset', ...)")
    start, duration = _span(record, seconds)
    if start or duration < seconds - NEAR:
        raise RecordError(
            f"{path}: a line of metadata.jsonl is a whole file, and this is {duration:g} s of "
            f"{seconds:g} s: pack it with lanser shard, which cuts it out"
        )
    name = os.path.relpath(path, folder)
    if name.startswith(os.pardir + os.sep):
        raise RecordError(
            f"{path}: lies outside {folder}, where Hugging Face looks: write metadata.jsonl into a "
            "folder above all sound"
        )
    return Record({"file_name": name, "id": record.id, "duration": duration, **_others(record)})


def _file(record: Record, otherwise: str) -> tuple[str, float, int, int]:
    """Path, seconds, rate and channels of a record's file.

    Raises:
        RecordError: there is none, it lies in a tar, or one of several channels is meant.
    """
    path = path_of(record)
    if ".tar#" in path:
        raise RecordError(f"{path}: lies in a tar, and a manifest is of files: {otherwise}")
    info = probe(path)
    if record.channel is not None and info.channels > 1:
        raise RecordError(
            f"{path}: channel {record.channel} of {info.channels}, which a manifest cannot say: "
            "save each channel as a file of its own"
        )
    return path, info.duration, info.sample_rate, info.channels


def _span(record: Record, seconds: float) -> tuple[float, float]:
    """Start and length of an utterance; the length ends with its file at the latest."""
    start, left = record.offset, seconds - record.offset
    duration = left if record.duration is None else record.duration
    if left <= 0 or duration > left + NEAR:
        where = f"begin at {start:g} s" if left <= 0 else f"end at {start + duration:g} s"
        raise RecordError(
            f"{record.audio_filepath}: has {seconds:g} s, and the utterance would {where}"
        )
    if not duration:
        raise no_sample(str(record.audio_filepath), duration)
    return start, min(duration, left)


def _others(record: Record, *but: str) -> dict[str, Any]:
    """The keys that say more than which sound it is, but for these."""
    place = ("id", "audio_filepath", "offset", "duration", *but)
    return {k: value for k, value in record.fields.items() if k not in place and value is not None}
