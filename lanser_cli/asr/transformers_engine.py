"""Any ASR model that transformers' speech-recognition pipeline reads: Whisper, wav2vec 2.0, ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lanser_cli.asr.engines import Transcript
from lanser_cli.hub import explain_missing

if TYPE_CHECKING:
    from lanser_cli.audio import Waveform


class TransformersEngine:
    """A CTC or sequence-to-sequence model by hub id or folder. It gives text only, no scores."""

    def __init__(self, name: str, *, device: str = "cpu", lang: str | None = None) -> None:
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        with explain_missing(name, "--model sphinx"):
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
        self._options = {"generate_kwargs": {"language": lang}} if lang and multilingual else {}
        self.name = f"hf:{name}"

    def transcribe(self, clips: Sequence[Waveform]) -> list[Transcript]:
        results = self._pipeline(list(clips), batch_size=len(clips), **self._options)
        return [Transcript(result["text"].strip()) for result in results]
