"""Small fake corpora, and the real ones where they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpora.outcomes import MakeWav

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture
def data() -> Callable[[str], Path]:
    """A folder of real data by name; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"no real data in {DATA / name}")
        return DATA / name

    return find


@pytest.fixture
def wav(tmp_path: Path) -> MakeWav:
    """Write a quarter of a second of sound below tmp_path, whatever the suffix says."""

    def make(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "FLAC" if path.suffix == ".flac" else "WAV"
        soundfile.write(path, np.full(4000, 0.1, np.float32), 16_000, format=kind)
        return path

    return make
