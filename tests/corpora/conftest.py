"""Small fake corpora."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpora.outcomes import MakeWav


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
