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
from lanser_cli.asr.whisper_context import LoopStopper, ShortContext, context_seconds, is_loop

END = 9


def test_a_context_is_the_clip_and_a_margin_in_whole_steps() -> None:
    margin, rate = whisper_context.MARGIN, 16_000
    for seconds in (0.01, 0.9, 1.0, 3.3, 29.9, 30.0, 30.1):
        found = context_seconds(round(seconds * rate))
        assert found % whisper_context.STEP == 0
        assert min(seconds + margin, 30.0) <= found < seconds + margin + whisper_context.STEP
        assert found <= 30.0
    assert context_seconds(0) >= margin


@pytest.fixture
def model(tiny_whisper: Path) -> Any:
    return whisper.load_model(str(tiny_whisper), device="cpu").eval()


def spectrogram(seconds: int) -> torch.Tensor:
    clip = whisper.pad_or_trim(torch.from_numpy(tone(2.0)), seconds * 16_000)
    return whisper.log_mel_spectrogram(clip)[None]


def test_a_short_window_is_the_first_part_of_a_long_one() -> None:
    """Up to the last frame, where one is filled up by reflection and the other by silence."""
    assert torch.equal(spectrogram(6)[..., :599], spectrogram(30)[..., :599])


def test_the_decoder_finds_silence_behind_a_short_window(model: Any) -> None:
    """The encoder hears the window alone; then come the places behind it, heard in silence."""
    silence = model.encoder(whisper.log_mel_spectrogram(torch.zeros(480_000))[None])
    key = model.decoder.blocks[0].cross_attn.key
    short = ShortContext(model)
    with torch.inference_mode(), short.hearing(6.0):
        heard = model.encoder(spectrogram(6))
        keys = model.decoder.blocks[0].cross_attn.key(heard)
        places = slice(300, 300 + round(50 * whisper_context.TAIL))
        expected = torch.cat([key(heard), key(silence)[:, places]], dim=1)
    assert heard.shape == (1, 300, 64)
    assert torch.equal(keys, expected)


def test_there_is_no_place_behind_thirty_seconds(model: Any) -> None:
    with torch.inference_mode(), ShortContext(model).hearing(29.0):
        keys = model.decoder.blocks[0].cross_attn.key(torch.zeros(2, 1450, 64))
    assert keys.shape == (2, 1500, 64)


def test_a_model_is_as_it_was_after_a_short_hearing(model: Any) -> None:
    mel, tokens = spectrogram(30), torch.tensor([[50257, 50362, 11]])
    before = model(mel, tokens)
    short = ShortContext(model)
    with pytest.raises(ZeroDivisionError), torch.inference_mode(), short.hearing(6.0):
        assert model.dims.n_audio_ctx == 300
        raise ZeroDivisionError
    assert torch.equal(model(mel, tokens), before)
    assert model.dims.n_audio_ctx == 1500


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
        ([1, 2, 3, 4, 5] * 2, False),
        ([1, 2, 3, 4, 5] * 3, True),
        ([9, *range(7)] + [*range(7)], True),  # a sentence told twice
        ([*range(7), *range(6)], False),
        ([*range(24)] * 2, True),
        ([*range(25)] * 2, False),
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
    assert written(decoder, [[1, END], [1, 2, 3, 4, 5] * 2 + [6, 7, 8, END]])[0] == [1] + [END] * 13
    assert decoder.stopped == set()
