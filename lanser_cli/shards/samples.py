"""One tar to records: a sample is the sound and the JSON of one key, by whoever packed them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from lanser_cli import jsonl
from lanser_cli.audio import archive
from lanser_cli.audio.archive import Index, Member
from lanser_cli.audio.walk import SUFFIXES
from lanser_cli.console import ascii_safe
from lanser_cli.errors import LanserError, RecordError
from lanser_cli.records import Dropped, Outcome, Record, Reject, make_id

_BESIDE = "sound beside that of its sample"


def read_tar(path: str, stage: str, *, bare: bool = False) -> Iterator[Outcome]:
    """The records of one tar, and a reject for each sample or place of it that gives none.

    A key is a member's name without its last suffix. Names that begin with a dot are passed over,
    as in folders. `KEY.more.json` and `KEY.more.flac` without a neighbour of their own are further
    members of the sample KEY, as WebDataset has them: such JSON is passed over, sound is dropped.

    Args:
        bare: sound without JSON of its key is a record of its own.

    Raises:
        LanserError: the file cannot be opened or read.
    """
    try:
        with archive.opened(path) as stream:
            yield from _Reading(path, stage, bare, archive.index_of(path), stream).outcomes()
    except RecordError as error:
        yield Reject(None, stage, str(error), None)
    except OSError as error:
        raise LanserError(f"{path}: cannot be read: {error.strerror}") from None


@dataclass(slots=True)
class _Sample:
    """What has been seen of a sample."""

    json: Member | None = None
    sound: Member | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Reading:
    path: str
    stage: str
    bare: bool
    index: Index
    stream: IO[bytes]

    def outcomes(self) -> Iterator[Outcome]:
        halves: dict[str, _Sample] = {}
        records, something, after_fault, last = 0, False, False, ""
        torn: set[str] = set()  # samples that a fault has taken a member from: it is their reject
        for item in archive.walk(self.stream):
            if isinstance(item, archive.Fault):
                yield self._reject(
                    f"not a whole tar file, broken or cut off after {records} records: {item.why}"
                )
                something = after_fault = True
                torn.add(last)
                continue
            key, part = _key_and_part(item.name)
            if not part:
                continue
            if after_fault:
                torn.add(key)
            something, after_fault, last = True, False, key
            sample = halves.setdefault(key, _Sample())
            if getattr(sample, part) is not None:
                yield self._second(key, part, item.name)
                continue
            setattr(sample, part, item)
            sample.fault = sample.fault or self._fault(item)
            if (sample.json and sample.sound) or self._is_bare(key, sample):
                del halves[key]
                found = self._record(sample)
                records += isinstance(found, Record)
                yield found
        for key, sample in halves.items():
            if key not in torn:
                yield from self._half(key, sample)
        if not something:
            yield self._reject("no sound and no record in it")

    def _is_bare(self, key: str, sample: _Sample) -> bool:
        return self.bare and sample.sound is not None and not self.index.count(f"{key}.json")

    def _fault(self, member: Member) -> str:
        """Why a member cannot be used, from its header alone."""
        name = member.name
        if name.startswith("/") or ".." in name.split("/"):
            key, _ = posixpath.splitext(name)
            return f"'{ascii_safe(key)}' leads out of the tar: such a name is refused"
        if ascii_safe(name) != name or "\0" in name:
            return f"'{ascii_safe(name)}': member name is not UTF-8, or has a null: rename it"
        try:
            self.index.find(name)
        except RecordError as error:
            return str(error).removeprefix(f"{self.path}: ")
        return ""

    def _record(self, sample: _Sample) -> Outcome:
        if sample.fault:
            return self._reject(sample.fault)
        assert sample.sound is not None
        name = sample.sound.name
        default, place = {"id": make_id(name)}, {"audio_filepath": f"{self.path}#{name}"}
        if sample.json is None:
            return Record({**default, **place})
        data = b""
        try:
            data = self._read(sample.json.name)
            fields = {**default, **jsonl.loads(data), **place}
            if fields["id"] is None:  # the same as absent
                fields |= default
            return Record.parse(fields)
        except (ValueError, TypeError, RecordError) as error:
            text = data.decode("utf-8", "backslashreplace")
            return self._reject(f"{name}: bad record: {error}", text)

    def _read(self, name: str) -> bytes:
        start, size = self.index.find(name)
        if size > jsonl.LONGEST:
            raise RecordError(f"its JSON has {size >> 20} MB, {jsonl.LONGEST >> 20} are allowed")
        self.stream.seek(start)
        return self.stream.read(size)

    def _half(self, key: str, sample: _Sample) -> Iterator[Outcome]:
        """A sample of which one member is missing."""
        folder, slash, file = key.rpartition("/")
        owner = f"{folder}{slash}{file.partition('.')[0]}"
        if sample.fault:
            yield self._reject(sample.fault)
        elif sample.sound is not None and self.index.count(f"{key}.json"):
            yield self._second(key, "sound", sample.sound.name)  # behind a whole sample
        elif owner == key or not self.index.count(f"{owner}.json"):
            missing = "key.json" if sample.json is None else "sound"
            yield self._reject(f"'{key}' has no {missing} member")
        elif sample.sound is not None:
            yield Dropped(make_id(sample.sound.name), _BESIDE)

    def _second(self, key: str, part: str, name: str) -> Reject:
        return self._reject(f"'{ascii_safe(key)}' has a second {part} member: '{ascii_safe(name)}'")

    def _reject(self, why: str, record: str | None = None) -> Reject:
        return Reject(None, self.stage, f"{self.path}: {why}", record)


def _key_and_part(name: str) -> tuple[str, str]:
    """A member's key, and whether it is `json`, `sound` or (empty) nothing of a record."""
    parts = name.split("/")
    if any(part.startswith(".") and part not in (".", "..") for part in parts):
        return name, ""
    key, suffix = posixpath.splitext(name)
    if suffix == ".json":
        return key, "json"
    return key, "sound" if suffix.lower() in SUFFIXES else ""
