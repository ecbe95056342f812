"""What a server was last is kept beside the cache, and is never what it was before that."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lanser_cli.entailment.last_server import keep_identity, last_identity


def test_what_a_server_was_is_kept_by_its_name_and_never_what_it_was_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new"
    keep_identity(folder, "llm:a@http://x", "first")
    keep_identity(folder, "llm:b@http://x", "other")
    keep_identity(folder, "llm:a@http://x", "second")
    assert last_identity(folder, "llm:a@http://x") == "second"
    assert last_identity(folder, "llm:b@http://x") == "other"
    assert last_identity(folder, "llm:c@http://x") is None
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", no_space)
        keep_identity(folder, "llm:a@http://x", "third")
    assert last_identity(folder, "llm:a@http://x") is None
    for file in folder.glob("server-*.json"):
        file.write_text("{damaged")
    assert last_identity(folder, "llm:b@http://x") is None


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
