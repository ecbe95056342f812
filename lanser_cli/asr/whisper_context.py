"""Whisper at the cost of a clip's length: it hears the clip and a margin, not always 30 s.

Whisper was trained on windows of 30 s, filled up with silence. Cut close to the speech it does not
find the end, and repeats itself; with some silence behind the clip it does. What looks bad after
such a short hearing is heard again in full by the caller.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from whisper.audio import CHUNK_LENGTH, SAMPLE_RATE, TOKENS_PER_SECOND
from whisper.decoding import GreedyDecoder

FULL = float(CHUNK_LENGTH)
"""Seconds; what Whisper is made for."""

MARGIN = 4.0
"""Seconds of silence behind a clip, at least."""

STEP = 1.0
"""Seconds; contexts are multiples of it, so that clips of like lengths share a batch."""

FIRST_TOKENS, TOKENS_A_SECOND = 16, 12
"""No speech writes more tokens than so many, and so many more for each second."""

LONGEST_CYCLE, CYCLES, LEAST_TOKENS = 16, 4, 12
"""A text that ends in the same 1 to 16 tokens four times over, 12 or more in all, is in a loop."""


def context_seconds(samples: int) -> float:
    """The context of a clip of so many samples (16 kHz). It depends on nothing but the clip."""
    wanted = math.ceil((samples / SAMPLE_RATE + MARGIN) / STEP) * STEP
    return min(wanted, FULL)


@contextmanager
def shortened(model: Any, seconds: float) -> Iterator[None]:
    """Inside, a `Whisper` encodes windows of this many seconds: its later positions are cut off."""
    dims, places = model.dims, model.encoder.positional_embedding
    count = round(seconds * TOKENS_PER_SECOND)
    model.dims = replace(dims, n_audio_ctx=count)
    model.encoder.positional_embedding = places[:count]
    try:
        yield
    finally:
        model.dims, model.encoder.positional_embedding = dims, places


def most_tokens(seconds: float, limit: int) -> int:
    """What a context of so many seconds can hold, of at most `limit`."""
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
        times = max(CYCLES, math.ceil(LEAST_TOKENS / cycle))
        tail = tokens[-cycle * times :]
        if len(tail) == cycle * times and tail[cycle:] == tail[:-cycle]:
            return True
    return False
