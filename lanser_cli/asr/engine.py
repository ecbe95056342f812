"""The protocol of an ASR engine: what it is told, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lanser_cli.asr.quality import DEFAULTS, Thresholds
from lanser_cli.choices import HearingPrecision

if TYPE_CHECKING:
    from lanser_cli.audio.sound import Waveform


EMBEDDED_WEIGHTS = Path(__file__).parent / "embedded" / "model.safetensors"
"""Of the engine that ships in the package."""

OFFLINE = "--model embedded"
"""The engine that needs no download, for the messages of those that do."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What an engine heard. Fields that it does not know stay None.

    Attributes:
        text: stripped of surrounding space.
        avg_logprob: mean natural-log probability of a token.
        no_speech_prob: 0..1.
        lang: BCP-47 tag, where the engine detected it.
        context_seconds: how long a window the engine heard the clip in, where it can choose.
        precision: what the engine computed in, where it can choose: float32, float16 or int8.
    """

    text: str
    avg_logprob: float | None = None
    no_speech_prob: float | None = None
    lang: str | None = None
    context_seconds: float | None = None
    precision: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What every engine is told when it is made.

    Attributes:
        device: a torch device.
        lang: language spoken; None: as detected. An engine that cannot take it raises UsageError.
        limits: where Whisper decodes a clip again.
        full_context: whether Whisper hears every clip in 30 s. Other engines always do, or have
            no window.
        precision: what to compute in. auto: float16 on a GPU; on a CPU int8 for `embedded`, whose
            weights have 8 bits, where that is fast, and float32 elsewhere and with `full_context`.
            An engine that cannot compute in it raises UsageError.
    """

    device: str = "cpu"
    lang: str | None = None
    limits: Thresholds = DEFAULTS
    full_context: bool = False
    precision: HearingPrecision = "auto"


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
