#!/usr/bin/env python3
"""Make the recogniser that ships with lanser from a published Whisper.

    recipes/embedded_whisper.py WEIGHTS -o lanser_cli/asr/embedded/model.safetensors
    recipes/embedded_whisper.py WEIGHTS -o base.pt

WEIGHTS is a model.bin of CTranslate2 (`ct2-transformers-converter`, format version 6, float32 or
float16), or a checkpoint of openai-whisper. From a .safetensors output `--model embedded` is read:
8 bits a weight. A .pt output is a checkpoint for `--model whisper:FILE.pt`, in float16.

What ships was made from a CTranslate2 conversion of OpenAI's tiny.en, as published by Systran:
model.bin, 75,537,502 bytes, SHA-256
1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a.
"""

from __future__ import annotations

import argparse
import hashlib
import struct
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from whisper.model import ModelDimensions

from lanser_cli.asr import whisper_weights

VERSION = 6
TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
"""By the number that a variable's header gives."""

HEAD = 64
"""The width of an attention head, in every Whisper."""

Weights = dict[str, torch.Tensor]


def read_ctranslate2(path: Path) -> dict[str, np.ndarray]:
    """The variables of a CTranslate2 model by name. Aliases, which point at others, are left out.

    Raises:
        ValueError: it is something else, or breaks off.
    """
    try:
        with path.open("rb") as file:
            return _read_ctranslate2(file)
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"it breaks off, or is no CTranslate2 model ({error})") from error


def _read_ctranslate2(file: BinaryIO) -> dict[str, np.ndarray]:
    def number(kind: str) -> int:
        size = struct.calcsize(kind)
        return int(struct.unpack(f"<{kind}", file.read(size))[0])

    def string() -> str:
        return file.read(number("H"))[:-1].decode("ascii")  # it ends with a zero byte

    version = number("I")
    if version != VERSION:
        raise ValueError(f"CTranslate2 format version {version} instead of {VERSION}")
    kind = string()
    if kind != "WhisperSpec":
        raise ValueError(f"a model of kind '{kind}' instead of WhisperSpec")
    number("I")  # the revision of the specification
    variables = {}
    for _ in range(number("I")):
        name = string()
        shape = [number("I") for _ in range(number("B"))]
        kind_number, size = number("B"), number("I")
        data = file.read(size)
        if len(data) < size:
            raise ValueError("it breaks off")
        variables[name] = np.frombuffer(data, TYPES[kind_number]).reshape(shape)
    return variables


def as_whisper(variables: dict[str, np.ndarray]) -> tuple[ModelDimensions, Weights]:
    """CTranslate2's variables -> what openai-whisper's `Whisper` is made of and loads.

    Query, key and value are stacked in one map there; in cross-attention key and value. The key's
    bias, which Whisper has not, is zero.
    """
    weights: Weights = {}

    def put(name: str, source: str, part: slice = slice(None)) -> None:
        values = variables[source][part]
        if values.dtype not in (np.float16, np.float32):
            raise ValueError(f"{source} is {values.dtype}: convert with --quantization float16")
        weights[name] = torch.from_numpy(values.copy())

    def put_pair(name: str, source: str, parts: tuple[str, str] = ("weight", "bias")) -> None:
        """A linear map or a convolution; with `gamma`, `beta` a norm."""
        for mine, its in zip(("weight", "bias"), parts, strict=True):
            put(f"{name}.{mine}", f"{source}/{its}")

    def put_norm(name: str, source: str) -> None:
        put_pair(name, f"{source}/layer_norm", ("gamma", "beta"))

    def put_stacked(name: str, source: str, kinds: tuple[str, ...]) -> None:
        rows = len(variables[f"{source}/bias"]) // len(kinds)
        for index, kind in enumerate(kinds):
            part = slice(index * rows, (index + 1) * rows)
            put(f"{name}.{kind}.weight", f"{source}/weight", part)
            if kind != "key":
                put(f"{name}.{kind}.bias", f"{source}/bias", part)

    def layers(side: str) -> int:
        return sum(name.startswith(f"{side}/") and name.endswith("ffn/linear_0/bias")
                   for name in variables)  # fmt: skip

    for index in (1, 2):
        put_pair(f"encoder.conv{index}", f"encoder/conv{index}")
    put("decoder.token_embedding.weight", "decoder/embeddings/weight")
    for side, last in (("encoder", "ln_post"), ("decoder", "ln")):
        put(f"{side}.positional_embedding", f"{side}/position_encodings/encodings")
        put_norm(f"{side}.{last}", side)
        for layer in range(layers(side)):
            name, source = f"{side}.blocks.{layer}", f"{side}/layer_{layer}"
            own = f"{source}/self_attention"
            put_norm(f"{name}.attn_ln", own)
            put_stacked(f"{name}.attn", f"{own}/linear_0", ("query", "key", "value"))
            put_pair(f"{name}.attn.out", f"{own}/linear_1")
            if side == "decoder":
                put_norm(f"{name}.cross_attn_ln", f"{source}/attention")
                put_pair(f"{name}.cross_attn.query", f"{source}/attention/linear_0")
                put_stacked(f"{name}.cross_attn", f"{source}/attention/linear_1", ("key", "value"))
                put_pair(f"{name}.cross_attn.out", f"{source}/attention/linear_2")
            put_norm(f"{name}.mlp_ln", f"{source}/ffn")
            put_pair(f"{name}.mlp.0", f"{source}/ffn/linear_0")
            put_pair(f"{name}.mlp.2", f"{source}/ffn/linear_1")

    places, width = weights["encoder.positional_embedding"].shape
    words, text_width = weights["decoder.token_embedding.weight"].shape
    dims = ModelDimensions(
        n_mels=weights["encoder.conv1.weight"].shape[1],
        n_audio_ctx=places,
        n_audio_state=width,
        n_audio_head=width // HEAD,
        n_audio_layer=layers("encoder"),
        n_vocab=words,
        n_text_ctx=len(weights["decoder.positional_embedding"]),
        n_text_state=text_width,
        n_text_head=text_width // HEAD,
        n_text_layer=layers("decoder"),
    )
    return dims, weights


def read_checkpoint(path: Path) -> tuple[ModelDimensions, Weights]:
    """A .pt file of openai-whisper."""
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return ModelDimensions(**checkpoint["dims"]), checkpoint["model_state_dict"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="model.bin of CTranslate2, or a Whisper .pt")
    parser.add_argument("-o", "--output", type=Path, required=True, help=".safetensors or .pt")
    arguments = parser.parse_args()
    source, output = arguments.weights, arguments.output
    if output.suffix not in (".safetensors", ".pt"):
        parser.error(f"{output}: give a name that ends in .safetensors or .pt")
    try:
        if source.suffix == ".pt":
            dims, weights = read_checkpoint(source)
        else:
            dims, weights = as_whisper(read_ctranslate2(source))
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"{source}: cannot be read as Whisper's weights: {error}")
    if output.suffix == ".pt":
        half = {name: weight.half() for name, weight in weights.items()}
        torch.save({"dims": asdict(dims), "model_state_dict": half}, output)
    else:
        whisper_weights.write(output, dims, weights)
    for path in (source, output):
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}")


if __name__ == "__main__":
    main()
