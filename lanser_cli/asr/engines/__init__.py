"""From `--model NAME` to an ASR engine."""

from __future__ import annotations

from lanser_cli.asr.engine import Engine
from lanser_cli.asr.quality import DEFAULTS, Thresholds
from lanser_cli.errors import UsageError


def make_engine(
    model: str,
    *,
    device: str = "cpu",
    lang: str | None = None,
    limits: Thresholds = DEFAULTS,
    full_context: bool = False,
) -> Engine:
    """Load the engine that `--model` names.

    Args:
        model: `embedded`, `whisper:SIZE-or-file`, `hf:ID-or-folder` or `faster:SIZE-or-folder`.
        device: a torch device.
        lang: language spoken; None: as detected.
        limits: where Whisper decodes a clip again.
        full_context: whether Whisper hears every clip in 30 s. Other engines always do, or have
            no window.

    Raises:
        UsageError: no such engine.
        LanserError: its weights cannot be had, or an extra is missing.
    """
    kind, _, name = model.partition(":")
    if model == "embedded" or (kind == "whisper" and name):
        from lanser_cli.asr.engines import embedded, whisper

        loaded = whisper.load(name, device) if name else embedded.load(device)
        return whisper.WhisperEngine(
            loaded, model, lang=lang, limits=limits, full_context=full_context
        )
    if kind == "hf" and name:
        from lanser_cli.asr.engines.transformers import TransformersEngine

        return TransformersEngine(name, device=device, lang=lang)
    if kind == "faster" and name:
        from lanser_cli.asr.engines.faster import FasterEngine

        return FasterEngine(name, device=device, lang=lang)
    raise UsageError(
        f"--model '{model}': choose embedded, whisper:SIZE (whisper:base.en), hf:ID or hf:FOLDER "
        "(hf:facebook/wav2vec2-base-960h), or faster:SIZE or faster:FOLDER (faster:large-v3)"
    )
