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
        from lanser_cli.asr.engines.whisper import WhisperEngine

        return WhisperEngine(name, device=device, lang=lang, limits=limits)
    if kind == "hf" and name:
        from lanser_cli.asr.engines.transformers import TransformersEngine

        return TransformersEngine(name, device=device, lang=lang)
    if kind == "faster" and name:
        from lanser_cli.asr.engines.faster import FasterEngine

        return FasterEngine(name, device=device, lang=lang)
    if model == "sphinx":
        from lanser_cli.asr.engines.sphinx import SphinxEngine

        return SphinxEngine(lang=lang)
    raise UsageError(
        f"--model '{model}': choose whisper:SIZE (whisper:base.en), hf:ID or hf:FOLDER "
        "(hf:facebook/wav2vec2-base-960h), faster:SIZE or faster:FOLDER (faster:large-v3), or "
        "sphinx"
    )


def runs_on_cpu_processes(model: str) -> bool:
    """Whether this engine uses one processor, so that one process a processor is the way."""
    return model == "sphinx"
