"""A short hearing is a window of its own length, and depends on the clip alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import whisper
from conftest import tone

from lanser_cli.asr import whisper_context
from lanser_cli.asr.whisper_context import LoopStopper, context_seconds, is_loop, shortened

END = 9


def test_a_context_is_the_clip_and_a_margin_in_whole_steps() -> None:
    margin, rate = whisper_context.MARGIN, 16_000
    for seconds in (0.01, 0.9, 1.0, 3.3, 29.9, 30.0, 30.1):
        found = context_seconds(round(seconds * rate))
        assert found % whisper_context.STEP == 0
        assert min(seconds + margin, 30.0) <= found < seconds + margin + whisper_context.STEP
        assert found <= 30.0
    assert context_seconds(0) >= margin


def a_whisper(path: Path) -> Any:
    model = whisper.load_model(str(path), device="cpu")
    return model.eval()


def test_a_short_window_is_the_first_part_of_a_long_one(tiny_whisper: Path) -> None:
    """Up to the last frame, where one is filled up by reflection and the other by silence."""
    model = a_whisper(tiny_whisper)
    clip = torch.from_numpy(tone(2.0))
    short, long = (
        whisper.log_mel_spectrogram(whisper.pad_or_trim(clip, seconds * 16_000))
        for seconds in (6, 30)
    )
    assert torch.equal(short[:, :599], long[:, :599])
    with torch.inference_mode(), shortened(model, 6.0):
        heard = model.encoder(short[None])
    assert heard.shape == (1, 300, 64)


def test_a_model_is_whole_again_after_a_short_hearing(tiny_whisper: Path) -> None:
    model = a_whisper(tiny_whisper)
    dims, places = model.dims, model.encoder.positional_embedding
    with pytest.raises(ZeroDivisionError), shortened(model, 6.0):
        assert model.dims.n_audio_ctx == 300
        assert torch.equal(model.encoder.positional_embedding, places[:300])
        raise ZeroDivisionError
    assert model.dims is dims and model.encoder.positional_embedding is places
    assert model.encoder(torch.zeros(1, 80, 3000)).shape == (1, 1500, 64)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], False),
        ([4] * 11, False),
        ([4] * 12, True),
        ([7, 8, 9, 4] + [4] * 12, True),
        ([4] * 12 + [5], False),
        ([1, 2] * 5, False),  # "no, no, no, no, no," said on purpose
        ([1, 2] * 6, True),
        (list(range(16)) * 3, False),
        (list(range(16)) * 4, True),
        (list(range(17)) * 4, False),
        (list(range(60)), False),
    ],
)
def test_what_a_loop_is(tokens: list[int], expected: bool) -> None:
    assert is_loop(tokens) is expected


def written(decoder: LoopStopper, rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """What a decoder makes of rows of tokens that the model would choose, up to when it is done."""
    tokens, sums = torch.zeros(len(rows), 1, dtype=torch.long), torch.zeros(len(rows))
    for step in range(max(map(len, rows))):
        logits = torch.full((len(rows), 10), -5.0)
        for row, wanted in enumerate(rows):
            logits[row, wanted[min(step, len(wanted) - 1)]] = 5.0
        tokens, done = decoder.update(tokens, logits, sums)
        if done:
            break
    return [row[1:] for row in tokens.tolist()]


def test_a_row_that_loops_is_ended_and_the_others_go_on() -> None:
    decoder = LoopStopper(END, 1)
    other = [1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 5, 7, 2, 4, 6, 8, END]
    loop, sound = written(decoder, [[3] * 30, other])
    assert loop == [3] * 11 + [END] * 6
    assert sound == other, "as without a neighbour"
    assert decoder.stopped == {0}
    decoder.reset()
    assert decoder.stopped == set()


def test_a_row_that_has_ended_is_no_loop() -> None:
    decoder = LoopStopper(END, 1)
    assert written(decoder, [[1, END], [1, 2, 3, 4] * 3 + [5, END]])[0] == [1] + [END] * 13
    assert decoder.stopped == set()
