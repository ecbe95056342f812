"""A real llama.cpp server, by the package xllamacpp, with a tiny model of random weights.

What the model says means nothing, but it hears all of a prompt, and it likes to say what a
question may be answered with. What it likes best is `FAVOURITE`, which no question allows.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from string import ascii_uppercase

import numpy as np

FAVOURITE = "Well"
LONGEST = 2048
"""Tokens of a prompt and its answer; most characters are one each."""

_LIKING = {
    FAVOURITE: 12.0,
    **dict.fromkeys(("Yes", "No", "yes", "no", " Yes", " No"), 6.0),
    **dict.fromkeys(ascii_uppercase, 3.0),
}
_CONTROL = ("<unk>", "<s>", "</s>", "<|user|>", "<|end|>", "<|model|>")
_TEMPLATE = "{% for message in messages %}<|user|>{{ message.content }}<|end|>{% endfor %}<|model|>"
_WIDTH = 32
_HEADS = 2


def write_model(path: Path, seed: int = 0) -> Path:
    """Write a Llama of one layer and 30,000 weights as GGUF."""
    import gguf

    tokens = [*_CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), *_LIKING]
    kinds = gguf.TokenType
    types = [kinds.UNKNOWN] + [kinds.CONTROL] * (len(_CONTROL) - 1)
    types += [kinds.BYTE] * 256 + [kinds.NORMAL] * len(_LIKING)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(LONGEST)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(2 * _WIDTH)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.replace(" ", "▁") for token in tokens])
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(_TEMPLATE)
    for name, weights in _weights(tokens, seed).items():
        writer.add_tensor(f"{name}.weight", weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _weights(tokens: list[str], seed: int) -> dict[str, np.ndarray]:
    """Random ones; the first number of a token's vector is there for its liking alone."""
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, spread: float = 0.3) -> np.ndarray:
        return random.normal(0.0, spread, (rows, columns)).astype(np.float32)

    embedding = matrix(len(tokens), _WIDTH)
    embedding[:, 0] = 4.0
    output = matrix(len(tokens), _WIDTH)
    output[:, 0] = [_LIKING.get(token, 0.0) for token in tokens]
    ones = np.ones(_WIDTH, np.float32)
    all_but_liking = np.append(np.float32(0), ones[1:])
    attention = ("attn_q", "attn_k", "attn_v", "attn_output")
    layer = {name: matrix(_WIDTH, _WIDTH, 0.5) for name in attention}
    layer |= {"ffn_gate": matrix(2 * _WIDTH, _WIDTH), "ffn_up": matrix(2 * _WIDTH, _WIDTH)}
    layer |= {"ffn_down": matrix(_WIDTH, 2 * _WIDTH), "attn_norm": all_but_liking}
    layer["ffn_norm"] = all_but_liking
    for name in ("attn_output", "ffn_down"):
        layer[name][0] = 0.0  # nothing is added to the first number
    named = {f"blk.0.{name}": weights for name, weights in layer.items()}
    return {"token_embd": embedding, "output": output, "output_norm": ones, **named}


@contextmanager
def running(path: Path, longest: int = LONGEST) -> Iterator[str]:
    """A server in a process of its own; its address. It is gone at the end."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_serve, args=(path, longest, its), daemon=True)
    process.start()
    its.close()
    try:
        assert ours.poll(60.0), "llama.cpp does not start"
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def _serve(path: Path, longest: int, started: Connection) -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.model_alias = str(path), {"tiny"}
    parameters.n_parallel, parameters.n_ctx = 4, 4 * longest
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    # Else what is asked beside moves a log-probability by up to 0.05, as a user may well find.
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.port, parameters.verbosity = 0, 1
    server = xllamacpp.Server(parameters)
    started.send(server.listening_address)
    while True:
        time.sleep(60.0)
