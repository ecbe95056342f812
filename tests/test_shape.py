"""Side files that anyone may have written: what does not fit is one sentence, with file and key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lanser_cli.errors import LanserError
from lanser_cli.shape import COUNT, Maybe, That, check_shape, read_json

SHAPE = {
    "name": str,
    "counts": {str: COUNT},
    "rows": [{"x": float, "ok": Maybe(bool)}],
    "share": Maybe(That(float, "at most 1", lambda value: value <= 1)),
}
GOOD = {
    "schema": "1",
    "name": '"a"',
    "counts": '{"b": 2}',
    "rows": '[{"x": 1}, {"x": 0.5, "ok": true}]',
}


def with_(**changed: str) -> str:
    """The good file, with other JSON for some keys."""
    return "{" + ", ".join(f'"{key}": {value}' for key, value in (GOOD | changed).items()) + "}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "it must be an object, not an array"),
        ("{}", "'schema' is missing"),
        ('{"schema": -1}', "'schema' must be a whole number from 0 on, not -1"),
        ('{"schema": 1.0}', "'schema' must be a whole number, not 1.0"),
        ('{"schema": 1}', "'name' is missing"),
        (with_(name="null"), "'name' must be a string, not null"),
        (with_(counts='{"b": true}'), "'counts.b' must be a whole number, not true or"),
        (with_(rows='[{"x": 1}, {}]'), "'rows[1].x' is missing"),
        (with_(rows='[{"x": NaN}]'), "'rows[0].x' must be a finite number, not NaN"),
        (with_(rows='[{"x": 1e999}]'), "'rows[0].x' must be a finite number"),
        (with_(rows=f'[{{"x": 1{"0" * 400}}}]'), "'rows[0].x' must be a finite number"),
        (with_(rows=f'[{{"x": 1{"0" * 5000}}}]'), "not JSON"),
        (with_(more='"\\ud800"'), "not JSON: 'utf-8' codec can't encode"),
        (with_(rows='[{"x": 1, "x": 2}]'), "'x' occurs twice"),
        (with_(share="1.5"), "'share' must be at most 1, not 1.5"),
    ],
)
def test_what_does_not_fit_is_named(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(LanserError) as caught:
        read_json(path, "a thing", SHAPE, 1)
    assert str(caught.value).startswith(f"{path}: not a thing: {said}")
    assert "\n" not in str(caught.value)


def test_what_fits_is_read_with_keys_that_nobody_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(with_(share="null", more="1"))
    assert read_json(path, "a thing", SHAPE, 1)["more"] == 1
    path.write_text(with_(schema="2", name="3"))
    with pytest.raises(LanserError, match="written by a newer lanser"):
        read_json(path, "a thing", SHAPE, 1)


def test_a_pipe_or_a_device_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(LanserError, match="not a plain file"):
            read_json(path, "a thing", SHAPE, 1)


def test_a_value_that_may_not_be_there_is_checked_where_it_is() -> None:
    check_shape({}, {"x": Maybe(str)})
    with pytest.raises(ValueError, match="'x' must be a string, not 3"):
        check_shape({"x": 3}, {"x": Maybe(str)})
