"""PocketSphinx: its US-English models come inside its wheel, so it works with no network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from lanser_cli.asr.engine import Options, Transcript
from lanser_cli.errors import UsageError, require

if TYPE_CHECKING:
    from lanser_cli.audio.sound import Waveform


class SphinxEngine:
    """A classic HMM recogniser. Real-time on one processor; far behind Whisper in accuracy."""

    max_seconds: float | None = None

    def __init__(self, name: str, options: Options) -> None:
        lang = options.lang
        if lang is not None and lang.lower().partition("-")[0] != "en":
            raise UsageError(f"--lang '{lang}': sphinx understands English only")
        pocketsphinx = require("pocketsphinx", "embedded")
        self.name = f"sphinx:en-us-{version('pocketsphinx')}"
        self._decoder = pocketsphinx.Decoder(samprate=16000, loglevel="FATAL")

    def transcribe(self, clips: Sequence[Waveform]) -> list[Transcript]:
        return [self._one(clip) for clip in clips]

    def _one(self, clip: Waveform) -> Transcript:
        import numpy as np

        pcm = (np.clip(clip, -1.0, 1.0) * 32767).astype("<i2")
        # The front-end's statistics drift from utterance to utterance; begin anew, so that a text
        # depends on its sound alone and not on what this process happened to hear before.
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(pcm.tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return Transcript(found.hypstr.strip() if found else "", lang="en")
