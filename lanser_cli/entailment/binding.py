"""How each kind of server is told to answer at once, and with one of the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def bound(kind: str, answers: Sequence[str]) -> dict[str, Any]:
    """What a request says besides; nothing to a server of no known kind."""
    return _OF_KIND[kind](answers) if kind in _OF_KIND else {}


def _of_vllm(answers: Sequence[str]) -> dict[str, Any]:
    return {
        "structured_outputs": {"choice": list(answers)},
        "chat_template_kwargs": {"enable_thinking": False},
    }


def _of_llama_cpp(answers: Sequence[str]) -> dict[str, Any]:
    return {
        "grammar": "root ::= " + " | ".join(f'"{answer}"' for answer in answers),
        "chat_template_kwargs": {"enable_thinking": False},
    }


def _of_ollama(answers: Sequence[str]) -> dict[str, Any]:
    """It binds answers to JSON alone, whose first token is a quotation mark: so not bound."""
    return {"reasoning_effort": "none"}


_OF_KIND: dict[str, Callable[[Sequence[str]], dict[str, Any]]] = {
    "vllm": _of_vllm,
    "llama.cpp": _of_llama_cpp,
    "ollama": _of_ollama,
}
