"""Mutants: JSON, tars, sound and text with some places changed at random, from a seed."""

from __future__ import annotations

import copy
import io
import json
import random
import tarfile
from collections.abc import Sequence
from typing import Any

import soundfile
from conftest import tone

_STRANGE = (
    *(None, True, False, 0, -1, 1, 2**63, 10**400, 0.5, -0.0, 1e308, "", "x", "../x", "/dev/zero"),
    *(".", "..", "a/b", "a\0b", "\ud800", "x" * 5_000, "labels-000000000000.jsonl"),
    *([], {}, [[]], [None], {"": None}, {"schema": 1}, [0] * 50),
)


def mutated(value: Any, draw: random.Random, also: Sequence[Any] = ()) -> str:
    """The JSON of a value, in one to three places another, or damaged as text.

    Args:
        also: what may come in a value's place, besides what is strange anywhere.
    """
    value = json.loads(json.dumps(value))
    for _ in range(draw.randint(1, 3)):
        _mutate(value, draw, (*_STRANGE, *also))
    text = json.dumps(value)
    if draw.random() < 0.15:
        place = draw.randrange(len(text))
        rubbish = ("", "\0", "NaN", "1e999", "[" * 50_000, "1" * 5_000, '"', "}", "-Infinity")
        text = text[:place] + draw.choice(rubbish) + text[place + draw.randint(0, 9) :]
    return text


def _mutate(value: Any, draw: random.Random, strange: Sequence[Any]) -> None:
    """Go down at random and change what is there."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = draw.choice(keys)
        inner = value[key]
        if isinstance(inner, (dict, list)) and inner and draw.random() < 0.7:
            value = inner
            continue
        match draw.randrange(3):
            case 0:
                del value[key]
            case 1 if isinstance(value, list):
                value.append(inner)
            case _:
                value[key] = copy.deepcopy(draw.choice(strange))
        return


_FORMATS = {
    "pax": tarfile.PAX_FORMAT,
    "gnu": tarfile.GNU_FORMAT,
    "ustar": tarfile.USTAR_FORMAT,
}


def a_tar(kind: str = "pax") -> bytes:
    """A tar of six samples, one of them with a name that is long for this kind of tar."""
    stream = io.BytesIO()
    flac = io.BytesIO()
    soundfile.write(flac, tone(0.05), 16_000, format="FLAC")
    with tarfile.open(fileobj=stream, mode="w", format=_FORMATS[kind]) as tar:
        for number in range(6):
            key = f"set/{number}" + "x" * (80 if kind == "ustar" else 120) * (number == 3)
            text = json.dumps({"id": f"n{number}", "label": "joy"}).encode()
            for suffix, data in (("flac", flac.getvalue()), ("json", text)):
                about = tarfile.TarInfo(f"{key}.{suffix}")
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))
    return stream.getvalue()


def damaged_tar(data: bytes, draw: random.Random) -> bytes:
    """A tar with one to three faults, half of them in headers with a checksum that fits."""
    found = bytearray(data)
    headers = [at for at in range(0, len(found), 512) if found[at + 257 : at + 262] == b"ustar"]
    for _ in range(draw.randint(1, 3)):
        at, size = draw.choice(headers), len(found) // 512
        match draw.randrange(8):
            case 0:
                found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)
            case 1:
                block = 512 * draw.randrange(size)
                found[block : block + 512] = bytes(512)
            case 2:
                block, other = (512 * draw.randrange(size) for _ in range(2))
                found[block : block + 512] = found[other : other + 512]
            case 3:
                del found[draw.randrange(len(found)) :]
                found += bytes(-len(found) % 512) * draw.randint(0, 1)
            case _:
                _lie(found, at, draw)
        if len(found) < 1024 or found[at + 257 : at + 262] != b"ustar":
            break
    return bytes(found)


def _lie(found: bytearray, at: int, draw: random.Random) -> None:
    start, length = draw.choice([(0, 100), (124, 12), (156, 1), (157, 100), (345, 155)])
    number = draw.choice([-1, -512, 2**60, 2**33, 511, 513, 0]).to_bytes(11, "big", signed=True)
    field = {
        0: draw.choice([b"../x", b"/x.flac", b"set/0.json", b"\xff.flac", b"._x.flac", b""]),
        124: draw.choice([b"\x80" + number, b"\xff" + number, b"77777777777\0", b"-1", b"9x"]),
        156: draw.choice([b"0", b"1", b"2", b"3", b"5", b"S", b"L", b"K", b"x", b"g", b"\0", b"?"]),
        157: draw.choice([b"set/0.flac", b"x", b"../../etc/passwd"]),
        345: draw.choice([b"..", b"/", b"a" * 155]),
    }[start]
    found[at + start : at + start + length] = field[:length].ljust(length, b"\0")
    found[at + 148 : at + 156] = b" " * 8
    found[at + 148 : at + 156] = b"%06o\0 " % sum(found[at : at + 512])


def damaged_bytes(data: bytes, draw: random.Random, head: int = 128) -> bytes:
    """A file with one to four faults, most of them in its first `head` bytes."""
    found = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        if len(found) < 8:
            break
        at = draw.randrange(min(head, len(found)) if draw.random() < 0.7 else len(found))
        size = draw.choice((1, 2, 4, 8))
        match draw.randrange(8):
            case 0 | 1:
                found[at] ^= 1 << draw.randrange(8)
            case 2 | 3:
                number = draw.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 7, 255))
                number %= 256**size
                found[at : at + size] = number.to_bytes(size, draw.choice(("little", "big")))
            case 4:
                found[at : at + size] = draw.randbytes(size)
            case 5:
                del found[at : at + draw.choice((1, 4, 16, len(found)))]
            case 6:
                found[at:at] = draw.choice((bytes(size), draw.randbytes(size), found[:64]))
            case 7:
                other = draw.randrange(len(found))
                found[at : at + 16] = found[other : other + 16]
    return bytes(found)


_RUBBISH = (
    *("", "\0", '"', "'", ",", ";", "\t", "\n", "\r", "\r\n", "\ufeff", "NaN", "1e999", "-1", "$"),
    *("x" * 200_000, "\u202e", "\u2028", "\x1b[31m", "9" * 400, "=1+1", "../"),
)


def damaged_text(text: str, draw: random.Random) -> str:
    """A text with one to four pieces of it gone, doubled, or other than they were."""
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(text) + 1)
        end = at + draw.choice((0, 1, 3, 30))
        match draw.randrange(4):
            case 0:
                text = text[:at] + text[end:]
            case 1:
                text = text[:end] + text[at:]
            case _:
                text = text[:at] + draw.choice(_RUBBISH) + text[end:]
    return text
