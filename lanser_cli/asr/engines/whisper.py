"""openai-whisper, batched: every clip is one 30 s window, a batch of them one decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lanser_cli.asr.engine import OFFLINE, Options, Transcript
from lanser_cli.asr.quality import Thresholds
from lanser_cli.errors import LanserError, UsageError

if TYPE_CHECKING:
    from whisper.decoding import DecodingResult

    from lanser_cli.audio.sound import Waveform

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""As in openai-whisper: a clip that decodes badly is tried again, hotter."""


class WhisperEngine:
    """A Whisper checkpoint by size (`base.en`), or by the path of a .pt file."""

    max_seconds: float | None = 30.0

    def __init__(self, name: str, options: Options) -> None:
        import torch
        import whisper

        from lanser_cli.asr import whisper_onednn

        device, lang = options.device, options.lang
        try:
            self._model = whisper.load_model(name, device=device)
        except RuntimeError as error:
            if "not found" in str(error):
                sizes = ", ".join(whisper.available_models())
                raise UsageError(
                    f"--model whisper:{name}: no such size and no such file; sizes: {sizes}"
                ) from None
            reason = str(error).splitlines()[0]
            raise LanserError(f"whisper:{name} cannot be loaded: {reason}") from error
        except OSError as error:
            raise LanserError(
                f"the weights of whisper:{name} are not in ~/.cache/whisper and could not be "
                f"downloaded ({error}): put them there, give a file with whisper:FILE.pt, or use "
                f"the engine that needs no download: {OFFLINE} (pip install 'lanser[embedded]')"
            ) from None
        except Exception as error:  # torch.load on something that is no checkpoint
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise LanserError(f"whisper:{name} is not a Whisper checkpoint: {reason}") from error
        if lang:
            lang = lang.lower().partition("-")[0]
            if lang not in whisper.tokenizer.LANGUAGES:
                raise UsageError(
                    f"--lang '{lang}': Whisper knows no such language; try en, de, ..."
                )
        self._whisper, self._limits = whisper, options.limits
        self._half = torch.device(device).type == "cuda"
        if not self._half:
            whisper_onednn.lighten(self._model)
        if lang and not self._model.is_multilingual and lang != "en":
            raise UsageError(f"--lang '{lang}': whisper:{name} understands English only")
        self._lang = lang or (None if self._model.is_multilingual else "en")
        self.name = f"whisper:{name}"

    def transcribe(self, clips: Sequence[Waveform]) -> list[Transcript]:
        import torch

        from lanser_cli.asr import whisper_onednn

        whisper, model = self._whisper, self._model
        mels = torch.stack(
            [
                whisper.log_mel_spectrogram(whisper.pad_or_trim(clip), model.dims.n_mels)
                for clip in map(torch.from_numpy, clips)
            ]
        ).to(model.device, torch.float16 if self._half else torch.float32)
        best: list[DecodingResult | None] = [None] * len(clips)
        todo = list(range(len(clips)))
        with torch.inference_mode():
            # Once, whatever the number of temperatures: `run` takes what is encoded as it is.
            heard = model.encoder(mels) if self._half else whisper_onednn.encode(model, mels)
            for temperature in TEMPERATURES:
                for index, result in zip(
                    todo, self._task(temperature).run(heard[todo]), strict=True
                ):
                    best[index] = result
                todo = [index for index in todo if _is_bad(best[index], self._limits)]
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

    def _task(self, temperature: float) -> Any:
        """One decoding of a batch. Where the language is open, it is detected for each clip."""
        decoding = self._whisper.decoding
        options = decoding.DecodingOptions(
            language=self._lang, temperature=temperature, fp16=self._half, without_timestamps=True
        )
        task = decoding.DecodingTask(self._model, options)
        if temperature > 0:
            task.decoder = _sampler(temperature, task.tokenizer.eot)
        return task


def _sampler(temperature: float, end: int) -> Any:
    """A decoder that draws tokens so that a clip's text depends on the clip alone.

    Whisper's own draws for all clips of a batch from one stream of random numbers. This one adds
    the same Gumbel noise to each of them: the draws are as random, whoever shares the batch.
    """
    import torch
    from whisper.decoding import GreedyDecoder

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


def _is_bad(result: DecodingResult | None, limits: Thresholds) -> bool:
    """Whether openai-whisper's own `transcribe` would fall back to a higher temperature."""
    if result is None:
        return True
    if result.no_speech_prob > limits.no_speech and result.avg_logprob < limits.logprob:
        return False
    return bool(
        result.compression_ratio > limits.compression_ratio or result.avg_logprob < limits.logprob
    )


def _finite(value: float) -> float | None:
    return float(value) if value == value and abs(value) != float("inf") else None
