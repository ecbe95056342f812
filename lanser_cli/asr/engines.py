"""The protocol of an ASR engine, and the way from `--model NAME` to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lanser_cli.asr.quality import DEFAULTS, Thresholds
from lanser_cli.errors import UsageError

if TYPE_CHECKING:
    from lanser_cli.audio import Waveform


@dataclass(frozen=True, slots=True)
class Transcript:
    """What an engine heard. Fields that it does not know stay None.

    Attributes:
        text: stripped of surrounding space.
        avg_logprob: mean natural-log probability of a token.
        no_speech_prob: 0..1.
        lang: BCP-47 tag, where the engine detected it.
    """

    text: str
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    lang: str | None = None


class Engine(Protocol):
    """Anything that turns clips into transcripts.

    Attributes:
        name: goes into the record as `asr.model`.
        max_seconds: longest clip it hears whole; None for no limit.
    """

    name: str
    max_seconds: float | None

    def transcribe(self, clips: Sequence[Waveform]) -> list[Transcript]:
        """Transcribe clips (float32 `[samples]`, 16 kHz), one transcript each, in order."""
        ...


def make_engine(
    model: str,
    *,
    device: str = "cpu",
    lang: str | None = None,
    limits: Thresholds = DEFAULTS,
) -> Engine:
    """Load the engine that `--model` names.

    Args:
        model: `whisper:SIZE-or-file`, `hf:ID-or-folder`, `faster:SIZE-or-folder` or `sphinx`.
        device: a torch device.
        lang: language spoken; None: as detected.
        limits: where Whisper decodes a clip again.

    Raises:
        UsageError: no such engine.
        LanserError: its weights cannot be had, or an extra is missing.
    """
    kind, _, name = model.partition(":")
    if kind == "whisper" and name:
        from lanser_cli.asr.whisper_engine import WhisperEngine

        return WhisperEngine(name, device=device, lang=lang, limits=limits)
    if kind == "hf" and name:
        from lanser_cli.asr.transformers_engine import TransformersEngine

        return TransformersEngine(name, device=device, lang=lang)
    if kind == "faster" and name:
        from lanser_cli.asr.faster_engine import FasterEngine

        return FasterEngine(name, device=device, lang=lang)
    if model == "sphinx":
        from lanser_cli.asr.sphinx_engine import SphinxEngine

        return SphinxEngine(lang=lang)
    raise UsageError(
        f"--model '{model}': choose whisper:SIZE (whisper:base.en), hf:ID or hf:FOLDER "
        "(hf:facebook/wav2vec2-base-960h), faster:SIZE or faster:FOLDER (faster:large-v3), or "
        "sphinx"
    )


def runs_on_cpu_processes(model: str) -> bool:
    """Whether this engine uses one processor, so that one process a processor is the way."""
    return model == "sphinx"
