"""Kinds of recognisers in transformers: how each makes transcripts of clips."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers

from lanser_cli.asr.engine import Transcript
from lanser_cli.audio.sound import SAMPLE_RATE, Waveform
from lanser_cli.errors import LanserError, UsageError

MOST_TOKENS = 448
"""Tokens that a model may write for a clip, if its own settings say nothing."""

TOKENS_A_SECOND = 6.5
"""No speech is more tokens a second: so Moonshine's authors bound what it writes."""


class TransformersEngine:
    """A model with its processor; a kind says how clips become transcripts.

    Args:
        name: hub id or folder.
        model: on its device.
        processor: its `feature_extractor` and `tokenizer` at least.
        lang: as in `Options`; a model that has no choice refuses it.
    """

    max_seconds: float | None = None

    def __init__(self, name: str, model: Any, processor: Any, lang: str | None) -> None:
        self.name = f"hf:{name}"
        self._model, self._processor = model, processor
        self._lang = self._checked(lang)
        self._batched = True

    @staticmethod
    def processor_of(name: str) -> Any:
        """Everything that makes input of sound, and text of tokens."""
        return transformers.AutoProcessor.from_pretrained(name)

    def transcribe(self, clips: Sequence[Waveform]) -> list[Transcript]:
        parts = [list(clips)] if self._batched else [[clip] for clip in clips]
        with torch.inference_mode():
            return [transcript for part in parts for transcript in self._hear(part)]

    def try_out(self) -> None:
        """Hear noise, alone and next to a longer clip. A model that hears padding gets no batches.

        Not all are masked that take a mask: padding is part of a normalisation in Moonshine, of the
        spectrogram in Qwen3-ASR. What is wrong with a model is also found here.
        """
        noise = np.random.default_rng(0).normal(0, 0.1, 3 * SAMPLE_RATE).astype(np.float32)
        short = noise[: SAMPLE_RATE // 2]
        with torch.inference_mode():
            try:
                (alone,) = self._hear([short], 8)
                together, _ = self._hear([short, noise], 8)
            except FloatingPointError as error:
                raise LanserError(f"{self.name}: {error}, in {self._model.dtype}") from None
        if alone.avg_logprob is None or together.avg_logprob is None:
            raise LanserError(f"{self.name}: it makes nothing at all of half a second of sound")
        close = 1e-4 if self._model.dtype == torch.float32 else 2e-2
        apart = abs(alone.avg_logprob - together.avg_logprob)
        self._batched = alone.text == together.text and apart < close

    def _checked(self, lang: str | None) -> str | None:
        if lang:
            raise UsageError(
                f"--lang '{lang}': {self.name} has no choice of language: leave it out"
            )
        return None

    def _hear(self, clips: list[Waveform], most: int | None = None) -> list[Transcript]:
        """Transcripts of a batch, of at most so many tokens."""
        raise NotImplementedError

    def _inputs(self, clips: list[Waveform]) -> Any:
        """What the model takes: padded to the longest, with a mask if it was trained with one."""
        found = self._processor.feature_extractor(
            clips, sampling_rate=SAMPLE_RATE, return_tensors="pt", padding=True
        )
        return self._placed(found)

    def _placed(self, inputs: Any) -> Any:
        return inputs.to(self._model.device, dtype=self._model.dtype)

    def _decoded(self, tokens: Sequence[int], **options: Any) -> str:
        text: str = self._processor.tokenizer.decode(tokens, **options)
        return text.strip()


class Ctc(TransformersEngine):
    """A label a frame: wav2vec 2.0, HuBERT, WavLM, Parakeet CTC, ...

    `avg_logprob` is that of the best label, over the frames where it is not the blank; over all
    where it always is.
    """

    @staticmethod
    def processor_of(name: str) -> Any:
        """The two that are needed. A processor with a language model wants pyctcdecode."""
        return SimpleNamespace(
            feature_extractor=transformers.AutoFeatureExtractor.from_pretrained(name),
            tokenizer=transformers.AutoTokenizer.from_pretrained(name),
        )

    def try_out(self) -> None:
        super().try_out()
        self._batched = self._batched and self._masks is not None

    @property
    def _masks(self) -> Any:
        """From the mask of the input to that of the frames, if the model has such a function."""
        model = self._model
        if hasattr(model, "_get_feature_vector_attention_mask"):
            return lambda mask, count: model._get_feature_vector_attention_mask(count, mask)
        return getattr(model, "_get_output_attention_mask", None)

    def _hear(self, clips: list[Waveform], most: int | None = None) -> list[Transcript]:
        inputs = self._inputs(clips)
        logprobs, labels = self._model(**inputs).logits.float().log_softmax(-1).max(-1)
        lengths = [labels.shape[1]] * len(clips)
        mask = inputs.get("attention_mask")
        if mask is not None and self._masks is not None:
            lengths = self._masks(mask, labels.shape[1]).sum(-1).tolist()
        blank = self._model.config.pad_token_id
        found = []
        for row, length in enumerate(lengths):
            path, sure = labels[row, :length], logprobs[row, :length]
            spoken = sure[path != blank]
            mean = _mean(spoken if len(spoken) else sure)
            found.append(Transcript(self._decoded(path.tolist()), mean))
        return found


def _mean(logprobs: torch.Tensor) -> float | None:
    """None of nothing.

    Raises:
        FloatingPointError: the model computed NaN, so that what it wrote is no text.
    """
    if not len(logprobs):
        return None
    mean = float(logprobs.mean())
    if not math.isfinite(mean):
        raise FloatingPointError("it computes NaN")
    return mean


class Path:
    """A logits processor that changes nothing and keeps the best token of each step.

    Decoding is greedy, and this comes last of all processors, so the best is what is written.
    """

    def __init__(self) -> None:
        self._tokens: list[torch.Tensor] = []
        self._logprobs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        logprobs, tokens = scores.float().log_softmax(-1).max(-1)
        self._tokens.append(tokens)
        self._logprobs.append(logprobs)
        return scores

    @property
    def tokens(self) -> torch.Tensor:
        """`[clips, steps]`."""
        return torch.stack(self._tokens, 1)

    @property
    def logprobs(self) -> torch.Tensor:
        """Natural-log probabilities of the tokens, `[clips, steps]`."""
        return torch.stack(self._logprobs, 1)


class Generating(TransformersEngine):
    """A model with `generate`. `avg_logprob` is the mean over the tokens and the end."""

    def _generate(
        self, inputs: Any, most: int | None, **options: Any
    ) -> list[tuple[list[int], float | None]]:
        """Tokens of each clip, up to the end, and their mean log-probability."""
        path = Path()
        if most is not None:
            options["max_new_tokens"] = most
        self._model.generate(
            **inputs, num_beams=1, do_sample=False, logits_processor=[path], **options
        )
        end = self._model.generation_config.eos_token_id
        ends = torch.tensor([] if end is None else end, device=path.tokens.device)
        found = []
        for tokens, logprobs in zip(path.tokens, path.logprobs, strict=True):
            (stops,) = torch.isin(tokens, ends).nonzero(as_tuple=True)
            count = int(stops[0]) + 1 if len(stops) else len(tokens)
            found.append((tokens[:count].tolist(), _mean(logprobs[:count])))
        return found


class Transducer(Generating):
    """A label or none at each step: Parakeet RNN-T and TDT, Nemotron.

    `avg_logprob` is the mean over the labels; over all steps where there is none.
    """

    def _hear(self, clips: list[Waveform], most: int | None = None) -> list[Transcript]:
        path, inputs = Path(), self._inputs(clips)
        # It ends with the sound; this is more than it can write, and said so that it is no guess.
        steps = 10 * inputs[self._model.main_input_name].shape[1]
        sequences = self._model.generate(
            **inputs, logits_processor=[path], max_new_tokens=steps
        ).sequences
        none = {self._model.config.blank_token_id, self._model.config.pad_token_id}
        found = []
        written = sequences[:, -path.tokens.shape[1] :]
        for tokens, logprobs in zip(written, path.logprobs, strict=True):
            spoken = torch.tensor([token not in none for token in tokens.tolist()])
            mean = _mean(logprobs[spoken] if spoken.any() else logprobs)
            text = self._decoded(tokens.tolist(), skip_special_tokens=True, group_tokens=False)
            found.append(Transcript(text, mean))
        return found


class WhisperLike(Generating):
    """Whisper, in windows of 30 s, which it finds the language of."""

    max_seconds: float | None = 30.0

    def try_out(self) -> None:
        """Nothing to find out: every window is filled up to 30 s."""

    def _checked(self, lang: str | None) -> str | None:
        settings = self._model.generation_config
        english = getattr(settings, "is_multilingual", None) is False  # many settings say nothing
        known = {} if english else getattr(settings, "lang_to_id", None) or {}
        self._languages: dict[str, int] = {key[2:-2]: token for key, token in known.items()}
        lang = lang.lower().partition("-")[0] if lang else None
        if lang and english and lang != "en":
            raise UsageError(f"--lang '{lang}': {self.name} understands English only")
        if lang and not english and lang not in self._languages:
            why = "knows no such language" if known else "does not say which languages it knows"
            raise UsageError(f"--lang '{lang}': {self.name} {why}")
        return lang or ("en" if english else None)

    def _hear(self, clips: list[Waveform], most: int | None = None) -> list[Transcript]:
        model, settings = self._model, self._model.generation_config
        features = self._processor.feature_extractor(
            clips, sampling_rate=SAMPLE_RATE, return_tensors="pt"
        ).input_features
        heard = model.get_encoder()(features.to(model.device, model.dtype))
        start = torch.tensor([[model.config.decoder_start_token_id]] * len(clips))
        start = start.to(model.device)
        first = model(encoder_outputs=heard, decoder_input_ids=start).logits[:, 0].float()
        silent: list[float | None] = [None] * len(clips)
        if hasattr(settings, "no_timestamps_token_id"):  # it comes behind that of no speech
            silent = first.softmax(-1)[:, settings.no_timestamps_token_id - 1].tolist()
        langs = [self._lang] * len(clips)
        if self._lang is None and self._languages:
            codes, tokens = list(self._languages), list(self._languages.values())
            langs = [codes[best] for best in first[:, tokens].argmax(-1).tolist()]
        spoken = {"language": langs, "task": "transcribe"} if self._languages else {}
        once = {"return_timestamps": False, "force_unique_generate_call": True}
        written = self._generate({"encoder_outputs": heard}, most, **once, **spoken)
        return [
            Transcript(self._decoded(tokens, skip_special_tokens=True), mean, no_speech, lang)
            for (tokens, mean), no_speech, lang in zip(written, silent, langs, strict=True)
        ]


class Writer(Generating):
    """A model that hears and then writes: Moonshine, Speech2Text, ..."""

    def __init__(self, name: str, model: Any, processor: Any, lang: str | None) -> None:
        super().__init__(name, model, processor, lang)
        settings = model.generation_config
        most = settings.max_new_tokens or settings.max_length
        self._most = None if most else MOST_TOKENS
        self.max_seconds = (most or MOST_TOKENS) / TOKENS_A_SECOND

    def _hear(self, clips: list[Waveform], most: int | None = None) -> list[Transcript]:
        written = self._generate(self._inputs(clips), most or self._most)
        return [self._transcript(tokens, mean) for tokens, mean in written]

    def _transcript(self, tokens: list[int], mean: float | None) -> Transcript:
        return Transcript(self._decoded(tokens, skip_special_tokens=True), mean, lang=self._lang)


class Told(Writer):
    """A model that must be told the language: Cohere's."""

    def _checked(self, lang: str | None) -> str | None:
        if lang is None:
            raise UsageError(f"{self.name} does not find the language itself: say it with --lang")
        try:
            self._processor.get_decoder_prompt_ids(language=lang)
        except ValueError as error:
            raise UsageError(f"--lang '{lang}': {self.name}: {error}") from None
        return lang

    def _inputs(self, clips: list[Waveform]) -> Any:
        heard = self._processor(audio=clips, language=self._lang, sampling_rate=SAMPLE_RATE)
        heard.pop("audio_chunk_index", None)
        return self._placed(heard)


class Requested(Writer):
    """A model that is asked for a transcript in words: Canary, Qwen3-ASR, Voxtral, ..."""

    def _checked(self, lang: str | None) -> str | None:
        takes = inspect.signature(self._processor.apply_transcription_request).parameters
        # Voxtral's wants to know these three.
        about = {"model_id": self.name[3:], "sampling_rate": SAMPLE_RATE, "format": "wav"}
        self._about: dict[str, Any] = {key: about[key] for key in about if key in takes}
        word = next((word for word in ("language", "source_language") if word in takes), None)
        if word is None:
            return super()._checked(lang)
        if lang is None and takes[word].default is not None:
            raise UsageError(f"{self.name} does not find the language itself: say it with --lang")
        if lang is not None:
            self._about[word] = lang
            try:
                self._inputs([np.zeros(SAMPLE_RATE, np.float32)])
            except ValueError as error:
                raise UsageError(f"--lang '{lang}': {self.name}: {error}") from None
        return lang

    def _inputs(self, clips: list[Waveform]) -> Any:
        about = dict(self._about)
        if "format" in about:
            about["format"] = [about["format"]] * len(clips)
        return self._placed(self._processor.apply_transcription_request(clips, **about))

    def _transcript(self, tokens: list[int], mean: float | None) -> Transcript:
        decode, lang = self._processor.decode, self._lang
        options = inspect.signature(decode).parameters
        if hasattr(self._processor, "parse_output"):
            parsed = decode(tokens, return_format="parsed")
            text, lang = parsed["transcription"], lang or self._code(parsed["language"])
        elif "return_format" in options:
            text = decode(tokens, return_format="transcription_only")
        else:
            strip = {"strip_prefix": True} if "strip_prefix" in options else {}
            text = decode(tokens, skip_special_tokens=True, **strip)
        return Transcript(text.strip(), mean, lang=lang)

    def _code(self, language: str | None) -> str | None:
        """The tag of a language that the model wrote by its English name."""
        names = getattr(sys.modules[type(self._processor).__module__], "LANGUAGE_CODE_TO_NAME", {})
        return next((code for code, name in names.items() if name == language), None)
