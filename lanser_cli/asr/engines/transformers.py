"""Any ASR model that transformers' speech-recognition pipeline reads: Whisper, wav2vec 2.0, ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lanser_cli.asr.engine import OFFLINE, Options, Transcript
from lanser_cli.errors import UsageError
from lanser_cli.models.hub import loading

if TYPE_CHECKING:
    from lanser_cli.audio.sound import Waveform


class TransformersEngine:
    """A CTC or sequence-to-sequence model by hub id or folder. It gives text only, no scores."""

    def __init__(self, name: str, options: Options) -> None:
        import torch
        import transformers

        device, lang = options.device, options.lang
        if options.precision != "auto":
            raise UsageError("--precision: hf: models compute in float32, on a GPU in float16")
        with loading(name, OFFLINE):
            self._pipeline: Any = transformers.pipeline(
                "automatic-speech-recognition",
                model=name,
                device=device,
                dtype=torch.float16 if device.startswith("cuda") else torch.float32,
            )
        whisper = self._pipeline.type == "seq2seq_whisper"
        self.max_seconds = 30.0 if whisper else None
        multilingual = whisper and getattr(
            self._pipeline.model.generation_config, "is_multilingual", False
        )
        if whisper and not multilingual and lang not in (None, "en"):
            raise UsageError(f"--lang '{lang}': hf:{name} understands English only")
        self._options = {"generate_kwargs": {"language": lang}} if lang and multilingual else {}
        self.name = f"hf:{name}"

        # A model trained without an attention mask hears padding, so its text would depend on the
        # clips it shares a batch with.
        extractor = self._pipeline.feature_extractor
        masked = whisper or getattr(extractor, "return_attention_mask", False)
        self._batched = bool(masked)

    def transcribe(self, clips: Sequence[Waveform]) -> list[Transcript]:
        batch_size = len(clips) if self._batched else 1
        results = self._pipeline(list(clips), batch_size=batch_size, **self._options)
        return [Transcript(result["text"].strip()) for result in results]
