"""Tar shards and their index: write, read, verify. The only room that knows WebDataset.

A shard holds `KEY.flac` and `KEY.json` for each record, KEY being its id. `index.json` is written
last; its presence means that the set is whole.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lanser_cli import __version__, audio, console
from lanser_cli.errors import LanserError, RecordError, UsageError
from lanser_cli.pipe import Tally
from lanser_cli.records import Dropped, Outcome, Record, Reject, make_id, to_json
from lanser_cli.streams import Digests, commit, file_rejects, write_whole

SCHEMA = 1
INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard in the index. seconds of audio; bytes and SHA-256 of the tar."""

    file: str
    samples: int
    seconds: float
    bytes: int
    sha256: str


# ---------------------------------------------------------------- writing


class ShardWriter:
    """Writes records and their sound into numbered tars; the same input gives the same bytes.

    A tar appears under its name when it is whole. With `resume`, the whole tars of an earlier run
    are kept and the records in them are not written again.

    Args:
        folder: made if it is not there.
        name: shards are called `NAME-000000.tar` and so on.
        max_count: records in a shard.
        max_bytes: a shard is closed when it has grown beyond this.

    Raises:
        UsageError: the folder holds a set already, or an unfinished one and `resume` is off.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "speech",
        max_count: int = 1000,
        max_bytes: int = 1 << 30,
        resume: bool = False,
    ) -> None:
        self.folder, self._name = folder, name
        self._max_count, self._max_bytes = max_count, max_bytes
        if (folder / INDEX).exists():
            raise UsageError(f"{folder} holds a finished set of shards: name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        existing = sorted(folder.glob("*.tar"))
        if existing and not resume:
            raise UsageError(
                f"{folder} holds shards of an unfinished run: go on with --resume, or remove them"
            )
        self.done = Digests()
        self._shards: list[ShardInfo] = []
        self._labels: dict[str, Counter[str]] = {"emotion": Counter(), "label": Counter()}
        self._speakers: dict[str, set[str]] = {}
        self._taxonomies: dict[str, None] = {}
        for path in existing:
            self._take_over(path)
        self._stream: io.BufferedWriter | None = None

    def write(self, record: Record) -> None:
        """Add one record.

        Raises:
            RecordError: its sound cannot be read.
        """
        waveform = audio.load(record)
        member = f"{self._name}-{len(self._shards):06d}.tar#{record.id}.flac"
        fields = {key: value for key, value in record.fields.items() if key != "offset"}
        stored = Record(fields).with_fields(
            audio_filepath=member,
            duration=round(len(waveform) / audio.SAMPLE_RATE, 6),  # exact to the sample
            source_filepath=record.audio_filepath,
        )
        if record.offset:
            stored = stored.with_fields(source_offset=record.offset)
        data = {
            "__key__": record.id,
            "flac": _flac(waveform),
            "json": (to_json(stored.fields) + "\n").encode(),
        }
        if self._stream is None:
            self._open()
        assert self._stream is not None
        self._tar.write(data)
        self._count += 1
        self._seconds += stored.duration or 0.0
        self._describe(stored)
        if self._count >= self._max_count or self._stream.tell() >= self._max_bytes:
            self._close()

    @property
    def any(self) -> bool:
        """Whether there is anything in the set."""
        return bool(self._shards) or self._stream is not None

    def finish(self) -> dict[str, Any]:
        """Close the last shard, write the index, and return it."""
        from lanser_cli.runs import command_line

        if self._stream is not None:
            self._close()
        index = {
            "schema": SCHEMA,
            "name": self._name,
            "samples": sum(shard.samples for shard in self._shards),
            "seconds": round(sum(shard.seconds for shard in self._shards), 3),
            "taxonomy": list(self._taxonomies),
            "labels": {key: dict(sorted(count.items())) for key, count in self._labels.items()},
            "speakers": {split: len(names) for split, names in sorted(self._speakers.items())},
            "shards": [asdict(shard) for shard in self._shards],
            "argv": command_line(),
            "versions": {"lanser": __version__},
        }
        write_whole(self.folder / INDEX, json.dumps(index, indent=2, ensure_ascii=False) + "\n")
        return index

    def abandon(self) -> None:
        """Leave the unfinished shard out; the whole ones stay for `--resume`."""
        if self._stream is not None:
            self._tar.close()
            self._stream.close()
            self._partial.unlink(missing_ok=True)

    def _open(self) -> None:
        import webdataset

        self._partial = self.folder / f"{self._name}-{len(self._shards):06d}.tar.part"
        self._stream = self._partial.open("wb")
        self._tar = webdataset.TarWriter(
            self._stream, user="lanser", group="lanser", mtime=0, encoder=False
        )
        self._count, self._seconds = 0, 0.0

    def _close(self) -> None:
        assert self._stream is not None
        self._tar.close()
        self._stream.close()
        self._stream = None
        final = self._partial.with_suffix("")
        commit(self._partial, final)
        self._add(final, self._count, self._seconds)

    def _add(self, path: Path, samples: int, seconds: float) -> None:
        info = ShardInfo(path.name, samples, round(seconds, 3), path.stat().st_size, _sha256(path))
        self._shards.append(info)

    def _take_over(self, path: Path) -> None:
        expected = f"{self._name}-{len(self._shards):06d}.tar"
        if path.name != expected:
            raise UsageError(f"{path}: not of this set, which expects {expected}: remove it")
        count, seconds = 0, 0.0
        for item in read_tar(str(path), "shard"):
            if isinstance(item, Reject):
                raise LanserError(f"{item.error}; remove the file, then --resume")
            self.done.add(item.id)
            self._describe(item)
            count += 1
            seconds += item.duration or 0.0
        self._add(path, count, seconds)

    def _describe(self, record: Record) -> None:
        for key, histogram in self._labels.items():
            if value := record.fields.get(key):
                histogram[value] += 1
        if record.speaker:
            split = str(record.fields.get("split") or "all")
            self._speakers.setdefault(split, set()).add(record.speaker)
        about = record.fields.get("entailment") or {}
        if taxonomy := about.get("crosswalk") or about.get("taxonomy"):
            self._taxonomies[taxonomy] = None


def write(
    items: Iterable[Outcome], writer: ShardWriter, *, rejects: Path | None = None
) -> tuple[dict[str, Any], Tally]:
    """Write all records that have a label, weak or human, and return the index and the counts.

    Raises:
        LanserError: there was none, as when the command before in a pipe failed.
    """
    tally = Tally()
    rejected: list[Reject] = []
    try:
        with console.progress("shard") as meter:
            for item in meter.over(items):
                tally.read += 1
                if isinstance(item, Reject):
                    rejected.append(item)
                elif isinstance(item, Dropped):
                    tally.dropped[item.reason] += 1
                elif item.id in writer.done:
                    tally.already_done += 1
                elif item.emotion is None and item.label is None:
                    about = item.fields.get("entailment") or {}
                    tally.dropped[f"no label: {about.get('abstained', 'not labelled')}"] += 1
                else:
                    try:
                        writer.write(item)
                        tally.written += 1
                    except RecordError as error:
                        rejected.append(Reject.of(item, "shard", error))
    except BaseException:
        writer.abandon()
        raise
    tally.rejected = len(rejected)
    file_rejects(rejected, rejects)
    if not writer.any:
        raise LanserError(f"nothing to pack ({tally}): shards need records with sound and a label")
    return writer.finish(), tally


# ---------------------------------------------------------------- reading


def read(inputs: Iterable[str], stage: str, *, bare: bool = False) -> Iterator[Record | Reject]:
    """Records from shards, shard folders, JSONL, `-`, audio files or folders of them.

    A record from a shard has `audio_filepath` `shard.tar#KEY.flac`, so that whatever reads sound
    by records reads shards as well. Brace ranges and globs of tars are expanded.

    Args:
        bare: take sound without a JSON member as well, as WebDataset tars of others have it.
    """
    for path in inputs:
        tars = _tars(path, bare)
        if tars is None:
            yield from audio.ingest([path], stage)
        else:
            for tar in tars:
                yield from read_tar(tar, stage, bare=bare)


def check_inputs(inputs: Iterable[str], *, bare: bool = False) -> None:
    """Fail before anything is read if an input is not there; `bare` as in `read`.

    Raises:
        LanserError: naming it.
    """
    for path in inputs:
        tars = _tars(path, bare)
        if tars is None:
            audio.check_inputs([path])
        elif not tars:
            raise LanserError(f"{path}: an empty set of shards: there is nothing to read")
        else:
            for tar in tars:
                if not os.path.exists(tar):
                    raise LanserError(f"{tar}: there is no such shard")


def _tars(path: str, bare: bool = False) -> list[str] | None:
    """The shards a name stands for, or None if it does not speak of shards."""
    if os.path.isdir(path):
        if os.path.exists(os.path.join(path, INDEX)):
            index = read_index(Path(path))
            return [os.path.join(path, shard["file"]) for shard in index["shards"]]
        if not bare and glob.glob(os.path.join(glob.escape(path), "*.tar*")):
            raise LanserError(
                f"{path}: shards without {INDEX}: the run that wrote them did not finish; "
                "finish it with lanser shard --resume"
            )
        return None
    if not path.endswith(".tar"):
        return None
    from braceexpand import braceexpand

    names: list[str] = []
    for name in braceexpand(path):
        names += [name] if os.path.exists(name) else sorted(glob.glob(name)) or [name]
    return names


def read_tar(path: str, stage: str, *, bare: bool = False) -> Iterator[Record | Reject]:
    """The records of one shard. A cut-off tar gives what is whole in it, then a reject.

    With `bare`, sound whose neighbours hold no JSON of its key is a record of its own.
    """
    count = 0
    try:
        with tarfile.open(path) as tar:
            sounds: dict[str, str] = {}
            fields: dict[str, Any] = {}
            for member in tar:
                key, suffix = _key_and_suffix(member.name, last=bare)
                if not member.isfile():
                    continue
                if bare and sounds and key not in sounds:
                    yield _bare(path, sounds.popitem()[1])
                    count += 1
                if suffix == "json":
                    stream = tar.extractfile(member)
                    assert stream is not None
                    fields[key] = stream.read()
                elif f".{suffix}".lower() in audio.SUFFIXES:
                    sounds[key] = member.name
                if key in fields and key in sounds:
                    sound = sounds.pop(key)
                    default = {"id": make_id(sound)} if bare else {}
                    yield _stored(path, sound, fields.pop(key), stage, default)
                    count += 1
            if bare and sounds:
                yield _bare(path, sounds.popitem()[1])
            for key in [*fields, *sounds]:
                missing = "sound" if key in fields else "key.json"
                yield Reject(None, stage, f"{path}: '{key}' has no {missing} member", None)
            if not _has_end_mark(tar):
                raise tarfile.ReadError("no end mark")
    except (tarfile.TarError, EOFError) as error:
        why = f"{path}: not a whole tar file, broken or cut off after {count} records: {error}"
        yield Reject(None, stage, why, None)
    except OSError as error:
        raise LanserError(f"{path}: cannot be read: {error.strerror}") from None


def _bare(path: str, member: str) -> Record:
    return Record({"id": make_id(member), "audio_filepath": f"{path}#{member}"})


def _key_and_suffix(name: str, *, last: bool = False) -> tuple[str, str]:
    """A member's name cut at the first dot of its last part, as WebDataset does, or at the last."""
    folder, slash, file = name.rpartition("/")
    key, _, suffix = file.rpartition(".") if last else file.partition(".")
    return f"{folder}{slash}{key}", suffix


def _has_end_mark(tar: tarfile.TarFile) -> bool:
    """Whether a tar that has been read ends as it must; tarfile takes any rubbish for the end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    return tar.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _stored(
    path: str, member: str, data: bytes, stage: str, default: dict[str, Any]
) -> Record | Reject:
    try:
        value = json.loads(data)
        return Record.parse({**default, **value, "audio_filepath": f"{path}#{member}"})
    except (ValueError, TypeError, RecordError) as error:
        return Reject(None, stage, f"{path}: {member}: bad record: {error}", _text(data))


def read_index(folder: Path) -> dict[str, Any]:
    """The index of a set of shards.

    Raises:
        LanserError: none, not JSON, or of a newer schema.
    """
    path = folder / INDEX
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        schema = int(index["schema"])
        if schema > SCHEMA:
            raise LanserError(
                f"{path}: written by a newer lanser (schema {schema}): upgrade lanser"
            )
        for shard in index["shards"]:
            ShardInfo(**shard)
    except FileNotFoundError:
        raise LanserError(f"{folder}: no {INDEX} in it, so no finished set of shards") from None
    except (ValueError, KeyError, TypeError):
        raise LanserError(f"{path}: not an index of shards") from None
    return index


def verify(folder: Path) -> list[str]:
    """Check every shard against the index: presence, bytes, SHA-256, counts, sound.

    Returns:
        One sentence a fault; empty if all is well.
    """
    index = read_index(folder)
    faults = []
    known = {shard["file"] for shard in index["shards"]}
    for extra in sorted(path.name for path in folder.glob("*.tar") if path.name not in known):
        faults.append(f"{extra}: not in the index")
    for shard in index["shards"]:
        path = folder / shard["file"]
        if not path.exists():
            faults.append(f"{shard['file']}: missing")
            continue
        if path.stat().st_size != shard["bytes"]:
            faults.append(f"{shard['file']}: {path.stat().st_size} bytes, not {shard['bytes']}")
        elif _sha256(path) != shard["sha256"]:
            faults.append(f"{shard['file']}: its SHA-256 is not that of the index")
        samples = 0
        for item in read_tar(str(path), "verify"):
            if isinstance(item, Reject):
                faults.append(item.error)
                continue
            samples += 1
            try:
                audio.load(item)
            except RecordError as error:
                faults.append(str(error))
        if samples != shard["samples"]:
            faults.append(f"{shard['file']}: {samples} samples, not {shard['samples']}")
    return faults


def _flac(waveform: audio.Waveform) -> bytes:
    import numpy as np
    import soundfile

    buffer = io.BytesIO()
    # libsndfile reads 16 bits as n / 32768 but would write n as 32767 x: round as it reads.
    samples = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
    soundfile.write(buffer, samples, audio.SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
