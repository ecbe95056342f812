"""A record and its sound to the bytes that they take in a shard. Runs in worker processes."""

from __future__ import annotations

import hashlib
import io
import tarfile
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.libsndfile import File
from lanser_cli.audio.sound import SAMPLE_RATE, load_int16
from lanser_cli.choices import Codec
from lanser_cli.digests import sound_sha256
from lanser_cli.records import Outcome, Record, attempt, to_json


@dataclass(frozen=True, slots=True)
class Sample(Record):
    """A record as its shard holds it, and the bytes of its members, `KEY.flac` and `KEY.json`."""

    members: bytes


@dataclass(frozen=True, slots=True)
class Encoder:
    """A window function: records in, samples out.

    The bytes of a sample depend on nothing but the record, its sound and the codec: neither on
    the shard it will lie in nor on who encoded it.
    """

    codec: Codec = "flac"

    def __call__(self, window: Sequence[Outcome]) -> list[Outcome]:
        return [
            attempt(self.encode, item, "shard") if isinstance(item, Record) else item
            for item in window
        ]

    def encode(self, record: Record) -> Sample:
        """The sample of one record.

        Raises:
            RecordError: its sound cannot be read.
        """
        samples = load_int16(record)
        spanned = ("offset", "audio_channel")  # what is stored is that part, and mono
        fields = {key: value for key, value in record.fields.items() if key not in spanned}
        updates: dict[str, object] = {
            "audio_filepath": f"{record.id}.{self.codec}",  # its neighbour in the tar
            "duration": round(len(samples) / SAMPLE_RATE, 6),  # exact to the sample
            **_source(record),
        }
        updates["audio_sha256"] = sound_sha256(samples)
        stored = {**fields, **updates}
        sound = _flac(samples) if self.codec == "flac" else _opus(samples, record.id)
        members = _member(f"{record.id}.{self.codec}", sound)
        members += _member(f"{record.id}.json", (to_json(stored) + "\n").encode())
        return Sample(stored, members)


def _source(record: Record) -> dict[str, object]:
    """Where the sound came from: of what was packed before, where it came from then."""
    path, offset, channel = record.audio_filepath, record.offset, record.channel
    if first := record.fields.get("source_filepath"):
        before = record.fields.get("source_offset") or 0.0
        path, offset = first, round(before + offset, 6)
        channel = record.fields.get("source_channel")
    found: dict[str, object] = {"source_filepath": path}
    if offset:
        found["source_offset"] = offset
    if channel is not None:
        found["source_channel"] = channel
    return found


def _flac(samples: NDArray[np.int16]) -> bytes:
    return _encoded(samples, "FLAC", "PCM_16")


def opus_uri(samples: NDArray[np.int16], identifier: str) -> str:
    """Samples at 16 kHz as a `data:` URI of Ogg Opus, for a page."""
    return f"data:audio/ogg;base64,{b64encode(_opus(samples, identifier)).decode()}"


def _opus(samples: NDArray[np.int16], identifier: str) -> bytes:
    """Samples at 16 kHz as Ogg Opus; the same samples and id give the same bytes."""
    ogg = _encoded(samples, "OGG", "OPUS")
    # libsndfile draws the stream's number from the clock: make it a function of the id.
    serial = hashlib.sha256(identifier.encode()).digest()[:4]
    return _renumbered(ogg, serial)


def _encoded(samples: NDArray[np.int16], container: str, codec: str) -> bytes:
    buffer = io.BytesIO()
    with File(buffer, "w", SAMPLE_RATE, 1, codec, format=container) as file:
        file.write(samples)
    return buffer.getvalue()


def _renumbered(ogg: bytes, serial: bytes) -> bytes:
    """An Ogg stream with another serial number, and the checksums of its pages set anew.

    Page layout and checksum: RFC 3533, section 6.
    """
    found = bytearray(ogg)
    start = 0
    while start < len(found):
        table = found[start + 27 : start + 27 + found[start + 26]]
        stop = start + 27 + len(table) + sum(table)
        found[start + 14 : start + 18] = serial
        found[start + 22 : start + 26] = bytes(4)
        found[start + 22 : start + 26] = _crc(found[start:stop]).to_bytes(4, "little")
        start = stop
    return bytes(found)


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        crc = value << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        table.append(crc & 0xFFFFFFFF)
    return table


_CRC = _crc_table()


def _crc(page: bytes | bytearray) -> int:
    crc = 0
    for byte in page:
        crc = (crc << 8) & 0xFFFFFFFF ^ _CRC[crc >> 24 ^ byte]
    return crc


def _member(name: str, data: bytes) -> bytes:
    """A file as a tar holds it: header, data, padding; fixed time and owner."""
    about = tarfile.TarInfo(name)
    about.size, about.mode = len(data), 0o444
    about.uname = about.gname = "lanser"
    header = about.tobuf(tarfile.PAX_FORMAT)
    return header + data + bytes(-len(data) % tarfile.BLOCKSIZE)
