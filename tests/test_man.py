"""The manual pages are what the commands say, and `man` shows them."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from lanser_cli import app

sys.path.insert(0, str(ROOT / "docs"))
import make_man


def test_the_pages_are_what_the_commands_say() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in make_man.FOLDER.iterdir()}
    assert files == make_man.pages(), "run: make docs"


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not here")
def test_the_pages_are_shown_without_a_warning() -> None:
    pages = sorted(make_man.FOLDER.iterdir())
    shown = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", *map(str, pages)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert shown.stderr == b""
    text = shown.stdout.decode()
    for verb, command in app.program.commands.items():
        assert f"lanser {verb} [OPTIONS]" in text
        for option in (f"--{name}" for name in command.keys):
            assert option in text, f"{verb} {option}"
        for example in command.examples:
            assert example in text
