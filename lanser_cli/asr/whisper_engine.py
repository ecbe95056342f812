"""openai-whisper, batched: every clip is one 30 s window, a batch of them one decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lanser_cli.asr.engines import Transcript
from lanser_cli.asr.quality import COMPRESSION_RATIO, LOG_PROBABILITY, NO_SPEECH
from lanser_cli.errors import LanserError, UsageError

if TYPE_CHECKING:
    from whisper.decoding import DecodingResult

    from lanser_cli.audio import Waveform

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""As in openai-whisper: a clip that decodes badly is tried again, hotter."""


class WhisperEngine:
    """A Whisper checkpoint by size (`base.en`), or by the path of a .pt file."""

    max_seconds: float | None = 30.0

    def __init__(self, name: str, *, device: str = "cpu", lang: str | None = None) -> None:
        import torch
        import whisper

        try:
            self._model = whisper.load_model(name, device=device)
        except RuntimeError as error:
            if "not found" in str(error):
                sizes = ", ".join(whisper.available_models())
                raise UsageError(
                    f"--model whisper:{name}: no such size and no such file; sizes: {sizes}"
                ) from None
            raise LanserError(f"whisper:{name} cannot be loaded: {error}") from error
        except OSError as error:
            raise LanserError(
                f"the weights of whisper:{name} are not in ~/.cache/whisper and could not be "
                f"downloaded ({error}): put them there, give a file with whisper:FILE.pt, or use "
                "the engine that needs no download: --model sphinx "
                "(pip install 'lanser[embedded]')"
            ) from None
        except Exception as error:  # torch.load on something that is no checkpoint
            raise LanserError(
                f"whisper:{name} is not a Whisper checkpoint: {type(error).__name__}: {error}"
            ) from error
        self._whisper = whisper
        self._half = torch.device(device).type == "cuda"
        if lang and not self._model.is_multilingual and lang != "en":
            raise UsageError(f"--lang '{lang}': whisper:{name} understands English only")
        self._lang = lang or (None if self._model.is_multilingual else "en")
        self.name = f"whisper:{name}"

    def transcribe(self, clips: Sequence[Waveform]) -> list[Transcript]:
        import torch

        whisper, model = self._whisper, self._model
        mels = torch.stack(
            [
                whisper.log_mel_spectrogram(whisper.pad_or_trim(clip), model.dims.n_mels)
                for clip in map(torch.from_numpy, clips)
            ]
        ).to(model.device, torch.float16 if self._half else torch.float32)
        best: list[DecodingResult | None] = [None] * len(clips)
        todo = list(range(len(clips)))
        for temperature in TEMPERATURES:
            # Sampling at a temperature above 0 draws: begin from the same state every time.
            torch.manual_seed(0)
            options = whisper.DecodingOptions(
                language=self._lang,
                temperature=temperature,
                fp16=self._half,
                without_timestamps=True,
            )
            results = whisper.decode(model, mels[todo], options)
            for index, result in zip(todo, results, strict=True):
                best[index] = result
            todo = [index for index in todo if _is_bad(best[index])]
            if not todo:
                break
        return [
            Transcript(
                result.text.strip(),
                avg_logprob=_finite(result.avg_logprob),
                no_speech_prob=_finite(result.no_speech_prob),
                lang=result.language,
            )
            for result in best
            if result is not None
        ]


def _is_bad(result: DecodingResult | None) -> bool:
    """Whether openai-whisper's own `transcribe` would fall back to a higher temperature."""
    if result is None:
        return True
    if result.no_speech_prob > NO_SPEECH and result.avg_logprob < LOG_PROBABILITY:
        return False
    return bool(
        result.compression_ratio > COMPRESSION_RATIO or result.avg_logprob < LOG_PROBABILITY
    )


def _finite(value: float) -> float | None:
    return float(value) if value == value and abs(value) != float("inf") else None
