"""Whisper at the cost of a clip's length: the encoder hears the clip and a margin, not always 30 s.

Whisper was trained on windows of 30 s, filled up with silence, and takes the silence for the end.
With a window cut off close behind the speech it does not end, and says the sentence again and
again. So the decoder is given the silence all the same: behind what the encoder made of the clip
stands what it makes of silence at the places that follow. That depends on the model alone, and is
computed once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import nn
from whisper.audio import CHUNK_LENGTH, N_FRAMES, SAMPLE_RATE, TOKENS_PER_SECOND
from whisper.audio import log_mel_spectrogram as log_mel
from whisper.decoding import GreedyDecoder

FULL = float(CHUNK_LENGTH)
"""Seconds; what Whisper is made for."""

MARGIN = 1.0
"""Seconds of silence that the encoder hears behind a clip, at least."""

STEP = 1.0
"""Seconds; windows are multiples of it, so that clips of like lengths share a batch."""

TAIL = 8.0
"""Seconds of silence, encoded beforehand, that the decoder finds behind a window."""

FIRST_TOKENS, TOKENS_A_SECOND = 16, 12
"""No speech writes more tokens than so many, and so many more for each second."""

LOOP, LONGEST_CYCLE = 12, 24
"""Tokens. A text is in a loop when it ends in a cycle of up to 24, told twice, or as many times as
it takes to make 12."""


def context_seconds(samples: int) -> float:
    """The window for a clip of so many samples (16 kHz). It depends on nothing but the clip."""
    return min(math.ceil((samples / SAMPLE_RATE + MARGIN) / STEP) * STEP, FULL)


class ShortContext:
    """Lets a `Whisper` hear windows that are shorter than 30 s.

    Args:
        model: changed in place; outside of `hearing` it computes what it did.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._maps: list[WithTail] = []
        for block in model.decoder.blocks:
            block.cross_attn.key = WithTail(block.cross_attn.key)
            block.cross_attn.value = WithTail(block.cross_attn.value)
            self._maps += [block.cross_attn.key, block.cross_attn.value]

    @contextmanager
    def hearing(self, seconds: float) -> Iterator[None]:
        """Inside, the model is one for windows of so many seconds."""
        model, count = self._model, round(seconds * TOKENS_PER_SECOND)
        end = count + round(TAIL * TOKENS_PER_SECOND)
        dims, places = model.dims, model.encoder.positional_embedding
        tails = self._tails
        model.dims = replace(dims, n_audio_ctx=count)
        model.encoder.positional_embedding = places[:count]
        for part, tail in zip(self._maps, tails, strict=True):
            part.tail = tail[:, count:end]
        try:
            yield
        finally:
            model.dims, model.encoder.positional_embedding = dims, places
            for part in self._maps:
                part.tail = None

    @cached_property
    def _tails(self) -> list[torch.Tensor]:
        """What each map makes of 30 s of silence, `[1, positions, width]`."""
        model = self._model
        silence = log_mel(torch.zeros(round(FULL * SAMPLE_RATE)), model.dims.n_mels)[None]
        kind = next(model.parameters())
        heard = model.encoder(silence[..., :N_FRAMES].to(kind.device, kind.dtype))
        return [part(heard) for part in self._maps]


class WithTail(nn.Module):
    """A map of encoded sound to keys or to values, and more of them behind its own."""

    def __init__(self, of: nn.Module) -> None:
        super().__init__()
        self._of = of
        self.tail: torch.Tensor | None = None

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        """`[clips, positions, width]` -> the same, with the tail's positions behind."""
        own = self._of(heard)
        if self.tail is None:
            return own
        # On a GPU it hears in float16, with weights of float32.
        return torch.cat([own, self.tail.to(own.dtype).expand(len(own), -1, -1)], dim=1)


def most_tokens(seconds: float, limit: int) -> int:
    """What a window of so many seconds can hold, of at most `limit`."""
    return min(limit, FIRST_TOKENS + round(TOKENS_A_SECOND * seconds))


class LoopStopper(GreedyDecoder):
    """Greedy decoding that ends a row as soon as it repeats itself.

    Attributes:
        stopped: rows that were ended so; their texts are not to be used.
    """

    def __init__(self, end: int, first: int) -> None:
        super().__init__(0.0, end)
        self._first = first
        self.stopped: set[int] = set()

    def reset(self) -> None:
        self.stopped = set()

    def update(
        self, tokens: torch.Tensor, logits: torch.Tensor, sum_logprobs: torch.Tensor
    ) -> tuple[torch.Tensor, bool]:
        tokens, _ = super().update(tokens, logits, sum_logprobs)
        for row, written in enumerate(tokens[:, self._first :].tolist()):
            if written[-1] != self.eot and is_loop(written):
                tokens[row, -1] = self.eot
                self.stopped.add(row)
        return tokens, bool((tokens[:, -1] == self.eot).all())


def is_loop(tokens: Sequence[int]) -> bool:
    """Whether they end in the same few tokens over and over."""
    for cycle in range(1, LONGEST_CYCLE + 1):
        length = cycle * max(2, math.ceil(LOOP / cycle))
        tail = tokens[-length:]
        if len(tail) == length and tail[cycle:] == tail[:-cycle]:
            return True
    return False
