"""Whisper on a CPU: the numbers that openai-whisper computes, in half the time.

oneDNN multiplies instead of MKL, also inside the encoder's attention, which is two fifths of the
work; and clips are encoded by so few that a layer's numbers stay near the processor.
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


def lighten(model: Any) -> None:
    """Make a float32 Whisper compute faster, in place; only last digits of its answers differ."""
    devices.keep_memory()
    if not onednn.has_onednn():
        return
    for block in (*model.encoder.blocks, *model.decoder.blocks):
        block.mlp = nn.Sequential(onednn.OneDnnLinear(block.mlp[0], "gelu"), block.mlp[2])
    onednn.replace_linears(model, onednn.OneDnnLinear, Linear)
    for block in model.encoder.blocks:
        block.attn.qkv_attention = partial(_attend, block.attn.n_head)
    model.decoder.forward = partial(_decode, model.decoder)


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
    decoder: TextDecoder, x: torch.Tensor, xa: torch.Tensor, kv_cache: dict[Any, Any] | None = None
) -> torch.Tensor:
    """`TextDecoder.forward`, whose last product, with all of the vocabulary, is its longest."""
    offset = next(iter(kv_cache.values())).shape[1] if kv_cache else 0
    places = decoder.positional_embedding[offset : offset + x.shape[-1]]
    hidden = decoder.token_embedding(x) + places
    for block in decoder.blocks:
        hidden = block(hidden, xa, mask=decoder.mask, kv_cache=kv_cache)
    return onednn.multiply(decoder.ln(hidden), decoder.token_embedding.weight)
