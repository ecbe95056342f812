"""The Whisper that ships in the package: OpenAI's tiny.en; its card is next to its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from whisper.model import Whisper

from lanser_cli.asr import whisper_weights
from lanser_cli.asr.engine import EMBEDDED_WEIGHTS, Options
from lanser_cli.asr.engines.whisper import WhisperEngine
from lanser_cli.errors import LanserError, first_line
from lanser_cli.models.onednn import int8_pays


def load(device: str, path: Path = EMBEDDED_WEIGHTS) -> Whisper:
    """Read the weights into openai-whisper's own model.

    Raises:
        LanserError: their file is missing or damaged.
    """
    try:
        return whisper_weights.read(path).to(device)
    except (OSError, ValueError, RuntimeError) as error:
        raise LanserError(
            f"{path}: the weights of --model embedded cannot be read ({first_line(error)}): "
            "install lanser again"
        ) from error


def make(name: str, options: Options) -> WhisperEngine:
    """The engine `embedded`; raises as `load`.

    Its weights have 8 bits, so that a CPU with arithmetic for 8 bits loses hardly anything by it.
    """
    if options.precision == "auto" and options.device == "cpu" and not options.full_context:
        options = replace(options, precision="int8" if int8_pays() else "float32")
    return WhisperEngine(load(options.device), "embedded", options)
