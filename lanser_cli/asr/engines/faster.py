"""faster-whisper: Whisper by CTranslate2, batched, with beam search."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from lanser_cli.asr.engine import OFFLINE, Options, Transcript
from lanser_cli.audio.sound import Waveform
from lanser_cli.errors import LanserError, UsageError, require
from lanser_cli.models.hub import loading

BEAMS = 5
"""As in faster-whisper. There is no fallback to sampling: CTranslate2 draws for a whole batch from
one stream, so that a clip's text would depend on what shares its batch. Flags mark what is bad."""


class FasterEngine:
    """A converted Whisper model by size (`large-v3`), by hub id, or by folder."""

    max_seconds: float | None = 30.0

    def __init__(self, name: str, options: Options) -> None:
        faster_whisper = require("faster_whisper", "faster")
        kind, _, index = options.device.partition(":")
        where: dict[str, Any] = {"device": kind, "device_index": int(index or 0)}
        if kind == "cuda" and options.precision == "auto":
            where["compute_type"] = "float16"
        elif options.precision != "auto":
            where["compute_type"] = options.precision
        if Path(name).is_dir() and not Path(name, "tokenizer.json").is_file():
            raise LanserError(
                f"{name}: no tokenizer.json in this folder, and faster-whisper would ask the hub "
                "for one: copy that of the Whisper it was made from into it"
            )
        with loading(name, OFFLINE):
            try:
                self._model = faster_whisper.WhisperModel(name, **where)
            except ValueError as error:  # of a size it does not know
                raise LanserError(f"--model faster:{name}: {error}") from error
        self._faster = faster_whisper
        multilingual = self._model.model.is_multilingual
        lang = options.lang.lower().partition("-")[0] if options.lang else None
        if lang and lang not in self._model.supported_languages:
            understood = (
                "understands English only" if not multilingual else "knows no such language"
            )
            raise UsageError(f"--lang '{lang}': faster:{name} {understood}")
        self._lang = lang or (None if multilingual else "en")
        self._tokenizer = lru_cache(maxsize=None)(self._make_tokenizer)
        self.name = f"faster:{name}"

    def transcribe(self, clips: Sequence[Waveform]) -> list[Transcript]:
        import numpy as np

        model = self._model
        samples = model.feature_extractor.n_samples
        features = np.stack(
            [
                model.feature_extractor(np.pad(clip, (0, samples - len(clip))), padding=0)
                for clip in clips
            ]
        )
        heard = model.encode(features)
        languages = [self._lang] * len(clips)
        if self._lang is None:
            # A token such as <|en|> and its probability, the likeliest first.
            languages = [found[0][0][2:-2] for found in model.model.detect_language(heard)]
        tokenizers = [self._tokenizer(lang) for lang in languages]
        results = model.model.generate(
            heard,
            [model.get_prompt(tokenizer, [], without_timestamps=True) for tokenizer in tokenizers],
            beam_size=BEAMS,
            max_length=model.max_length,
            suppress_blank=True,
            suppress_tokens=self._faster.transcribe.get_suppressed_tokens(tokenizers[0], [-1]),
            return_scores=True,
            return_no_speech_prob=True,
        )
        return [
            _transcript(tokenizer, result, lang)
            for tokenizer, result, lang in zip(tokenizers, results, languages, strict=True)
        ]

    def _make_tokenizer(self, lang: str) -> Any:
        model = self._model
        return self._faster.tokenizer.Tokenizer(
            model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=lang
        )


def _transcript(tokenizer: Any, result: Any, lang: str | None) -> Transcript:
    tokens = result.sequences_ids[0]
    # A score is the mean over the tokens; Whisper counts the end token as well.
    avg_logprob = result.scores[0] * len(tokens) / (len(tokens) + 1)
    return Transcript(
        tokenizer.decode(tokens).strip(),
        avg_logprob=avg_logprob,
        no_speech_prob=result.no_speech_prob,
        lang=lang,
    )
