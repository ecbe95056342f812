"""Whisper, batched: clips of like lengths are one decoding, at the cost of their length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import whisper
from whisper.audio import FRAMES_PER_SECOND, HOP_LENGTH, N_FFT
from whisper.decoding import DecodingOptions, DecodingResult, DecodingTask, GreedyDecoder
from whisper.model import Whisper

from lanser_cli.asr import whisper_context, whisper_onednn
from lanser_cli.asr.engine import OFFLINE, Options, Transcript
from lanser_cli.asr.quality import Thresholds
from lanser_cli.asr.whisper_context import context_seconds
from lanser_cli.audio.sound import Waveform
from lanser_cli.errors import LanserError, UsageError, first_line

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""As in openai-whisper: a clip that decodes badly is tried again, hotter."""


def load(name: str, device: str) -> Whisper:
    """A Whisper by size (`base.en`), or by the path of a .pt file.

    Raises:
        UsageError: no such size and no such file.
        LanserError: it cannot be downloaded, or is no checkpoint.
    """
    try:
        return whisper.load_model(name, device=device)
    except RuntimeError as error:
        if "not found" in str(error):
            sizes = ", ".join(whisper.available_models())
            raise UsageError(
                f"--model whisper:{name}: no such size and no such file; sizes: {sizes}"
            ) from None
        raise LanserError(f"whisper:{name} cannot be loaded: {first_line(error)}") from error
    except OSError as error:
        raise LanserError(
            f"the weights of whisper:{name} are not in ~/.cache/whisper and could not be "
            f"downloaded ({error}): put them there, give a file with whisper:FILE.pt, or use "
            f"the model that ships with lanser: {OFFLINE}"
        ) from None
    except Exception as error:  # torch.load on something that is no checkpoint
        raise LanserError(
            f"whisper:{name} is not a Whisper checkpoint: {type(error).__name__}: "
            f"{first_line(error)}"
        ) from error


def make(name: str, options: Options) -> WhisperEngine:
    """The engine `whisper:NAME`; raises as `load`."""
    return WhisperEngine(load(name, options.device), f"whisper:{name}", options)


class WhisperEngine:
    """A Whisper in openai-whisper's own model class.

    English is heard with a context of the clip's length and a margin, greedily. What looks bad
    then, what may be another language, and everything with `full_context`, is heard as
    openai-whisper does: 30 s, and again hotter.

    Args:
        model: in float32; on CUDA as `whisper.load_model` gives it.
        name: as in `--model`.
        options: language, what looks bad, whether to hear 30 s at once, and precision.

    Attributes:
        precision: float32, int8, or on CUDA float16.

    Raises:
        UsageError: no such language, or none that this model understands; or a precision that is
            not for this device.
    """

    max_seconds: float | None = whisper_context.FULL

    def __init__(self, model: Whisper, name: str, options: Options) -> None:
        lang = options.lang
        if lang:
            lang = lang.lower().partition("-")[0]
            if lang not in whisper.tokenizer.LANGUAGES:
                raise UsageError(
                    f"--lang '{lang}': Whisper knows no such language; try en, de, ..."
                )
            if not model.is_multilingual and lang != "en":
                raise UsageError(f"--lang '{lang}': {name} understands English only")
        self._model, self._limits = model, options.limits
        on_gpu = model.device.type == "cuda"
        if on_gpu and options.precision != "auto":
            raise UsageError(f"--precision {options.precision} is for CPUs: leave it out on a GPU")
        chosen = "float32" if options.precision == "auto" else options.precision
        self.precision = "float16" if on_gpu else chosen
        if not on_gpu:
            whisper_onednn.accelerate(model, self.precision)
        self._short = whisper_context.ShortContext(model)
        self._lang = lang or (None if model.is_multilingual else "en")
        # Short windows cost German three points of word error rate: see docs/evidence.md.
        self._full = options.full_context or self._lang != "en"
        self.name = name

    def transcribe(self, clips: Sequence[Waveform]) -> list[Transcript]:
        """As every engine; what is too large for float16 is heard in float32."""
        found = self._transcribed(clips)
        again = [place for place, heard in enumerate(found) if heard.avg_logprob is None]
        if self._half and again:
            self.precision = "float32"
            try:
                heard = self._transcribed([clips[place] for place in again])
            finally:
                self.precision = "float16"
            for place, transcript in zip(again, heard, strict=True):
                found[place] = transcript
        return found

    def _transcribed(self, clips: Sequence[Waveform]) -> list[Transcript]:
        groups: dict[float, list[int]] = {}
        for index, clip in enumerate(clips):
            seconds = whisper_context.FULL if self._full else context_seconds(len(clip))
            groups.setdefault(seconds, []).append(index)
        again = groups.pop(whisper_context.FULL, [])
        found: dict[int, Transcript] = {}
        with torch.inference_mode():
            for seconds, group in groups.items():
                for index, transcript in zip(
                    group, self._hear([clips[index] for index in group], seconds), strict=True
                ):
                    if transcript is None:
                        again.append(index)
                    else:
                        found[index] = transcript
            if again:
                found.update(
                    zip(again, self._hear_in_full([clips[index] for index in again]), strict=True)
                )
        return [found[index] for index in range(len(clips))]

    def _hear(self, clips: list[Waveform], seconds: float) -> list[Transcript | None]:
        """Transcripts from a context of so many seconds; None for a clip that wants more."""
        with self._short.hearing(seconds):
            task = self._task(0.0, whisper_context.most_tokens(seconds, self._longest))
            decoder = task.decoder = whisper_context.LoopStopper(
                task.tokenizer.eot, task.sample_begin
            )
            results: list[DecodingResult] = task.run(self._encode(clips, seconds))
        return [
            None
            if row in decoder.stopped
            or len(result.tokens) >= task.sample_len
            or _is_unsure(result, self._limits)
            else self._transcript(result, seconds)
            for row, result in enumerate(results)
        ]

    def _hear_in_full(self, clips: list[Waveform]) -> list[Transcript]:
        """As openai-whisper hears windows of 30 s, with the same fallback to sampling."""
        best: dict[int, DecodingResult] = {}
        todo = list(range(len(clips)))
        # Once, whatever the number of temperatures: `run` takes what is encoded as it is.
        heard = self._encode(clips, whisper_context.FULL)
        for temperature in TEMPERATURES:
            best.update(zip(todo, self._task(temperature).run(heard[todo]), strict=True))
            todo = [index for index in todo if _is_bad(best[index], self._limits)]
            if not todo:
                break
        return [self._transcript(best[index], whisper_context.FULL) for index in range(len(clips))]

    def _encode(self, clips: list[Waveform], seconds: float) -> torch.Tensor:
        """Clips, filled up to `seconds` -> `[clips, positions, width]`."""
        bands, frames = self._model.dims.n_mels, round(seconds * FRAMES_PER_SECOND)
        mels = torch.stack(
            [spectrogram(torch.from_numpy(clip), bands, frames) for clip in clips]
        ).to(self._model.device, torch.float16 if self._half else torch.float32)
        if self._half:
            return self._model.encoder(mels)
        return whisper_onednn.encode(self._model, mels)

    def _transcript(self, result: DecodingResult, seconds: float) -> Transcript:
        return Transcript(
            result.text.strip(),
            avg_logprob=_finite(result.avg_logprob),
            no_speech_prob=_finite(result.no_speech_prob),
            lang=result.language,
            context_seconds=seconds,
            precision=self.precision,
        )

    @property
    def _half(self) -> bool:
        return self.precision == "float16"

    @property
    def _longest(self) -> int:
        """Tokens that openai-whisper lets a window have."""
        return self._model.dims.n_text_ctx // 2

    def _task(self, temperature: float, most_tokens: int | None = None) -> DecodingTask:
        """One decoding of a batch. Where the language is open, it is detected for each clip."""
        options = DecodingOptions(
            language=self._lang,
            temperature=temperature,
            sample_len=most_tokens,
            fp16=self._half,
            without_timestamps=True,
        )
        task = DecodingTask(self._model, options)
        if temperature > 0:
            task.decoder = _sampler(temperature, task.tokenizer.eot)
        return task


def spectrogram(clip: torch.Tensor, bands: int, frames: int) -> torch.Tensor:
    """`[samples]`, 16 kHz -> `[bands, frames]`, with zeros behind the clip.

    So openai-whisper's `transcribe` fills up a window. (Its README's example fills up the sound,
    with silence, whose spectrogram is not zero; then some texts differ.)
    """
    found = whisper.log_mel_spectrogram(clip, bands, padding=N_FFT)[:, : len(clip) // HOP_LENGTH]
    return whisper.pad_or_trim(found, frames)


def _sampler(temperature: float, end: int) -> Any:
    """A decoder that draws tokens so that a clip's text depends on the clip alone.

    Whisper's own draws for all clips of a batch from one stream of random numbers. This one adds
    the same Gumbel noise to each of them: the draws are as random, whoever shares the batch.
    """
    generator = torch.Generator().manual_seed(0)

    class SharedNoise(GreedyDecoder):
        def update(self, tokens: Any, logits: Any, sum_logprobs: Any) -> tuple[Any, bool]:
            uniform = torch.rand(logits.shape[-1], generator=generator, dtype=torch.float64)
            noise = -torch.log(-torch.log(uniform)).to(logits.device, torch.float32)
            logits = logits.float()
            drawn = (logits / self.temperature + noise).argmax(dim=-1)
            ended = tokens[:, -1] == self.eot
            gained = torch.log_softmax(logits, dim=-1).gather(1, drawn[:, None])[:, 0]
            sum_logprobs += gained * ~ended
            drawn[ended] = self.eot
            return torch.cat([tokens, drawn[:, None]], dim=-1), bool((drawn == self.eot).all())

    return SharedNoise(temperature, end)


def _is_bad(result: DecodingResult, limits: Thresholds) -> bool:
    """Whether openai-whisper's own `transcribe` would fall back to a higher temperature."""
    if _finite(result.avg_logprob) is None:
        return False  # at whatever temperature
    if result.no_speech_prob > limits.no_speech and result.avg_logprob < limits.logprob:
        return False
    return _is_unsure(result, limits)


def _is_unsure(result: DecodingResult, limits: Thresholds) -> bool:
    """Whether a text repeats itself, or is improbable."""
    return bool(
        result.compression_ratio > limits.compression_ratio or result.avg_logprob < limits.logprob
    )


def _finite(value: float) -> float | None:
    return float(value) if value == value and abs(value) != float("inf") else None
