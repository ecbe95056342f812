"""A Whisper made faster for a CPU computes what openai-whisper computes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from whisper.decoding import DecodingOptions, DecodingTask
from whisper.model import ModelDimensions, Whisper

from lanser_cli.asr import whisper_onednn
from lanser_cli.models import onednn

FRAMES = 64
MELS = 8


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any]:
    """The same model as it comes and made faster."""
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        model = Whisper(ModelDimensions(MELS, FRAMES // 2, 32, 4, 2, 51_864, 12, 32, 4, 2)).eval()
        torch.nn.init.normal_(model.decoder.positional_embedding, std=0.1)
        torch.nn.init.normal_(model.decoder.token_embedding.weight, std=0.1)
        for block in model.decoder.blocks:  # so that what is said depends on what is heard
            torch.nn.init.normal_(block.cross_attn.value.weight)
            torch.nn.init.normal_(block.cross_attn.out.weight)
        made.append(model)
    if not onednn.has_onednn():
        pytest.skip("PyTorch was built without oneDNN here")
    whisper_onednn.accelerate(made[1])
    return made[0], made[1]


@pytest.mark.parametrize("clips", [1, 4, 6])
@torch.inference_mode()
def test_the_encoder_hears_the_same(models: tuple[Any, Any], clips: int) -> None:
    plain, light = models
    mels = torch.randn(clips, MELS, FRAMES)
    heard = whisper_onednn.encode(light, mels)
    torch.testing.assert_close(heard, plain.encoder(mels), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_the_decoder_says_the_same_with_and_without_a_cache(models: tuple[Any, Any]) -> None:
    plain, light = models
    heard, tokens = torch.randn(3, FRAMES // 2, 32), torch.randint(0, 50_000, (3, 5))
    wanted = plain.decoder(tokens, heard)
    torch.testing.assert_close(light.decoder(tokens, heard), wanted, rtol=1e-4, atol=1e-4)
    cache, hooks = light.install_kv_cache_hooks()
    parts = [light.decoder(part, heard, kv_cache=cache) for part in tokens.split([2, 1, 1, 1], 1)]
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(torch.cat(parts, 1), wanted, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_the_same_tokens_come_of_it(models: tuple[Any, Any]) -> None:
    heard = torch.randn(5, FRAMES // 2, 32)
    options = DecodingOptions(language="en", without_timestamps=True, fp16=False)
    wanted, found = (DecodingTask(model, options).run(heard) for model in models)
    assert [one.tokens for one in found] == [one.tokens for one in wanted]
    assert len({tuple(one.tokens) for one in found}) > 1, "the clips must differ to tell anything"
    for one, other in zip(found, wanted, strict=True):
        assert one.avg_logprob == pytest.approx(other.avg_logprob, abs=1e-4)


def test_every_linear_map_is_taken(models: tuple[Any, Any]) -> None:
    plain, light = models
    linears = [m for m in plain.modules() if isinstance(m, torch.nn.Linear)]
    taken = [m for m in light.modules() if isinstance(m, onednn.OneDnnLinear)]
    assert len(taken) == len(linears) == 2 * (4 + 2) + 2 * (8 + 2)
    assert not [m for m in light.modules() if isinstance(m, torch.nn.Linear)]


@torch.inference_mode()
def test_in_int8_the_numbers_are_nearly_the_same() -> None:
    torch.manual_seed(3)
    plain = Whisper(ModelDimensions(MELS, FRAMES // 2, 64, 4, 2, 51_864, 12, 64, 4, 2)).eval()
    torch.nn.init.normal_(plain.decoder.positional_embedding, std=0.1)
    fast = copy.deepcopy(plain)
    whisper_onednn.accelerate(fast, "int8")
    linears = [m for m in plain.modules() if isinstance(m, torch.nn.Linear)]
    taken = [m for m in fast.modules() if isinstance(m, onednn.Int8Linear)]
    assert len(taken) == len(linears) and not [
        m for m in fast.modules() if isinstance(m, torch.nn.Linear)
    ]
    mels = torch.randn(3, MELS, FRAMES)
    heard = plain.encoder(mels)
    difference = (whisper_onednn.encode(fast, mels) - heard).norm() / heard.norm()
    assert 1e-6 < float(difference) < 0.02
    tokens = torch.randint(0, 50_000, (3, 5))
    wanted, found = plain.decoder(tokens, heard), fast.decoder(tokens, heard)
    assert 1e-6 < float((found - wanted).norm() / wanted.norm()) < 0.03
    alone = fast.decoder(tokens[:1], heard[:1])
    torch.testing.assert_close(alone, found[:1], rtol=1e-5, atol=1e-5)


def test_without_onednn_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "has_onednn", lambda: False)
    model = Whisper(ModelDimensions(MELS, FRAMES // 2, 32, 4, 1, 51_864, 12, 32, 4, 1))
    before = list(map(type, model.modules()))
    whisper_onednn.accelerate(model)
    assert list(map(type, model.modules())) == before
