"""Any ASR model of transformers: CTC, transducers, Whisper and its like, speech language models."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import transformers

from lanser_cli.asr.engine import OFFLINE, Options
from lanser_cli.asr.transformers_kinds import (
    Ctc,
    Requested,
    Told,
    Transducer,
    TransformersEngine,
    WhisperLike,
    Writer,
)
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.models.hub import loading


def make(name: str, options: Options) -> TransformersEngine:
    """The engine `hf:NAME`, of the kind that the model's own configuration asks for.

    Raises:
        UsageError: it cannot take this `--lang`, or needs one; or there is a `--precision`.
        LanserError: it cannot be had or loaded, recognises no speech, or fails on noise.
    """
    if options.precision != "auto":
        raise UsageError("--precision: hf: models compute in float32, on a GPU in float16")
    with loading(name, OFFLINE):
        config = transformers.AutoConfig.from_pretrained(name)
        architecture = (config.architectures or ["nothing"])[0]
        kind = _kind(name, architecture)
        processor = kind.processor_of(name)
        if kind is Writer:
            kind = _writer(name, processor)
        dtype = torch.float16 if options.device.startswith("cuda") else torch.float32
        model = getattr(transformers, architecture).from_pretrained(name, dtype=dtype)
        engine = kind(name, model.to(options.device).eval(), processor, options.lang)
        engine.try_out()
        return engine


def _kind(name: str, architecture: str) -> type[TransformersEngine]:
    """By the name of the model's class, for example `Wav2Vec2ForCTC`."""
    if architecture == "WhisperForConditionalGeneration":
        return WhisperLike
    if architecture.endswith("ForCTC"):
        return Ctc
    if architecture.endswith(("ForRNNT", "ForTDT")):
        return Transducer
    model = getattr(transformers, architecture, None)
    if model is None or not model.can_generate():
        raise LanserError(
            f"hf:{name}: {architecture} is no recogniser of speech: choose another model"
        )
    return Writer


def _writer(name: str, processor: Any) -> type[Writer]:
    """How a model that writes is told what to write."""
    if hasattr(processor, "apply_transcription_request"):
        return Requested
    takes = inspect.signature(type(processor).__call__).parameters
    if "language" in takes:
        return Told
    if "text" in takes and takes["text"].default is inspect.Parameter.empty:
        raise LanserError(f"hf:{name}: it wants a prompt of its own: choose another model")
    return Writer
