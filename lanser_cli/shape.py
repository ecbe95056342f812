"""The shape of a JSON file: which keys it must have and what each may be.

A side file may come from anyone. It is read whole, compared with its shape, and what does not fit
is one sentence that names the file and the key.
"""

from __future__ import annotations

import json
import math
import stat
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from lanser_cli.errors import LanserError
from lanser_cli.provenance import check_schema

Shape: TypeAlias = Any
"""`str`, `bool`, `int` or `float` (any finite number); `[SHAPE]`, an array; `{str: SHAPE}`, an
object with any keys; `{"key": SHAPE}`, one with these keys and perhaps others; `Maybe`; `That`."""

_MOST = 256 << 20
_WORDS = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Maybe:
    """A key that may be absent or null."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class That:
    """A value of a shape that passes a test, which `what` puts into words."""

    shape: Shape
    what: str
    test: Callable[[Any], bool]


COUNT = That(int, "a whole number from 0 on", lambda value: 0 <= value < 1 << 63)
POSITIVE = That(float, "a number above 0", lambda value: value > 0)
NOT_NEGATIVE = That(float, "a number from 0 on", lambda value: value >= 0)


def read_json(path: Path, what: str, shape: Mapping[str, Shape], schema: int) -> dict[str, Any]:
    """A JSON file of a known shape.

    Args:
        what: it is to be, for messages: `an index of shards`.
        shape: of the file; `schema` need not be in it.
        schema: the newest that is known.

    Raises:
        LanserError: it cannot be read, is of a newer schema, or does not fit.
    """
    value = load_json(path, what)
    try:
        check_shape(value, {"schema": COUNT})
        check_schema(path, value["schema"], schema)
        check_shape(value, shape)
    except ValueError as error:
        raise LanserError(f"{path}: not {what}: {error}") from None
    found: dict[str, Any] = value
    return found


def load_json(path: Path, what: str) -> Any:
    """What a JSON file holds.

    Raises:
        LanserError: it cannot be read, is not JSON, or has a key twice in one object.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise LanserError(f"{path}: not {what}: not a plain file")
        if about.st_size > _MOST:
            raise LanserError(f"{path}: not {what}: more than {_MOST >> 20} MB")
        data = path.read_bytes()
        value = json.loads(data, object_pairs_hook=_object)
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()  # half a pair cannot be written again
        return value
    except OSError as error:
        raise LanserError(f"{path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise LanserError(f"{path}: not {what}: nested too deeply") from None
    except ValueError as error:
        raise LanserError(f"{path}: not {what}: not JSON: {error}") from None
    except _Repeated as error:
        raise LanserError(f"{path}: not {what}: '{error}' occurs twice") from None


class _Repeated(Exception):
    """A key that occurs twice in one JSON object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object that JSON pairs make; Python would keep the last of a repeated key silently."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _Repeated(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return value


def check_shape(value: object, shape: Shape, place: str = "") -> None:
    """Compare a decoded JSON value with a shape.

    Raises:
        ValueError: it does not fit; the message names the key.
    """
    if isinstance(shape, Maybe):
        if value is not None:
            check_shape(value, shape.shape, place)
    elif isinstance(shape, That):
        check_shape(value, shape.shape, place)
        if not shape.test(value):
            raise _misfit(place, shape.what, value)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _misfit(place, _WORDS[list], value)
        for number, item in enumerate(value):
            check_shape(item, shape[0], f"{place}[{number}]")
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            raise _misfit(place, _WORDS[dict], value)
        anything = shape.get(str)
        for key in shape if anything is None else value:
            expected = shape[key] if anything is None else anything
            inner = f"{place}.{key}" if place else str(key)
            if key not in value and not isinstance(expected, Maybe):
                raise ValueError(f"'{inner}' is missing")
            check_shape(value.get(key), expected, inner)
    elif not _is(value, shape):
        raise _misfit(place, _WORDS[shape], value)


def _is(value: object, kind: type) -> bool:
    if kind is float:
        return (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and abs(value) <= 1e300  # an integer may be beyond what a float can be
            and math.isfinite(value)
        )
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _misfit(place: str, what: str, value: object) -> ValueError:
    found = _WORDS.get(type(value), "a number")
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            found = json.dumps(value)[:60]
        except ValueError:  # Python refuses to write integers of thousands of digits
            found = "a number beyond all bounds"
    subject = f"'{place}'" if place else "it"
    return ValueError(f"{subject} must be {what}, not {found}")
