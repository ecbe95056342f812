"""Whisper on a CPU: the numbers that openai-whisper computes, in half the time or a third.

oneDNN multiplies instead of MKL, also inside the encoder's attention, which is two fifths of the
work; and clips are encoded by so few that a layer's numbers stay near the processor. In int8 the
linear maps and the choice of a token are products of 8-bit integers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from whisper.model import Linear, TextDecoder

from lanser_cli import devices
from lanser_cli.models import onednn

ENCODED_TOGETHER = 6000
"""Positions, four windows of 30 s; with sixteen of them the encoder takes a fifth longer a clip."""


def accelerate(model: Any, precision: str = "float32") -> None:
    """Make a float32 Whisper compute faster, in place.

    Args:
        precision: float32, where only last digits of its answers differ; or int8.
    """
    devices.keep_memory()
    if precision == "float32" and not onednn.has_onednn():
        return
    kind = onednn.Int8Linear if precision == "int8" else onednn.OneDnnLinear
    if precision == "float32":
        for block in (*model.encoder.blocks, *model.decoder.blocks):
            block.mlp = nn.Sequential(onednn.OneDnnLinear(block.mlp[0], "gelu"), block.mlp[2])
    onednn.replace_linears(model, kind, Linear)
    if onednn.has_onednn():
        for block in model.encoder.blocks:
            block.attn.qkv_attention = partial(_attend, block.attn.n_head)
    words = nn.Linear(model.dims.n_text_state, model.dims.n_vocab, bias=False, device="meta")
    words.weight = model.decoder.token_embedding.weight
    model.decoder.forward = partial(_decode, model.decoder, kind(words))


def encode(model: Any, mels: torch.Tensor) -> torch.Tensor:
    """`[n, mel bands, frames]` -> `[n, frames / 2, width]`, a few clips at a time."""
    positions = mels.shape[-1] // 2
    few = max(1, ENCODED_TOGETHER // positions)
    return torch.cat([model.encoder(part) for part in mels.split(few)])


def _attend(
    heads: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: None = None
) -> tuple[torch.Tensor, None]:
    """What `MultiHeadAttention.qkv_attention` gives without a mask, head by head."""
    size = query.shape[-1] // heads
    queries, keys = (
        x.unflatten(-1, (heads, size)).transpose(1, 2).contiguous()
        for x in (query * size**-0.5, key)
    )
    values = value.unflatten(-1, (heads, size)).permute(0, 2, 3, 1).contiguous()
    read = torch.empty_like(query).unflatten(-1, (heads, size))
    for clip in range(len(query)):
        for head in range(heads):
            weights = torch.softmax(onednn.multiply(queries[clip, head], keys[clip, head]), dim=-1)
            read[clip, :, head] = onednn.multiply(weights, values[clip, head])
    return read.flatten(2), None


def _decode(
    decoder: TextDecoder,
    to_words: nn.Module,
    x: torch.Tensor,
    xa: torch.Tensor,
    kv_cache: dict[Any, Any] | None = None,
) -> torch.Tensor:
    """`TextDecoder.forward`, whose last product, with all of the vocabulary, is its longest."""
    offset = next(iter(kv_cache.values())).shape[1] if kv_cache else 0
    places = decoder.positional_embedding[offset : offset + x.shape[-1]]
    hidden = decoder.token_embedding(x) + places
    for block in decoder.blocks:
        hidden = block(hidden, xa, mask=decoder.mask, kv_cache=kv_cache)
    logits: torch.Tensor = to_words(decoder.ln(hidden))
    return logits
