"""Premise and hypothesis to the tokens of a pair, each text tokenised once."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any

from lanser_cli.errors import LanserError, UsageError

_PROBES = ("Well, I said", "so do we two", "it's 9 o'clock", "")


class PairEncoder:
    """What the tokenizer makes of a pair, put together from a head and a tail.

    Tokenizers put special tokens before, between and after two texts that they tokenise apart:
    `[CLS] premise [SEP] hypothesis [SEP]`. The head of a pair is all up to the premise's end, its
    tail the rest; a head too long is cut at its end.

    Attributes:
        limit: the most tokens of a pair.
        typed: whether the model is told by `token_type_ids` which text a token is of.
        head_type: the `token_type_ids` of a head.

    Raises:
        LanserError: the tokenizer does something else.
    """

    def __init__(self, tokenizer: Any, limit: int, model: str) -> None:
        self._tokenizer, self.limit, self._model = tokenizer, limit, model
        first, second = _PROBES[:2]
        whole = tokenizer(first, second)
        tokens = whole["input_ids"]
        start = _find(self._plain([first])[0], tokens, 0)
        end = start + len(self._plain([first])[0])
        start2 = _find(self._plain([second])[0], tokens, end)
        end2 = start2 + len(self._plain([second])[0])
        self._before, self._between, self._after = tokens[:start], tokens[end:start2], tokens[end2:]
        types = whole.get("token_type_ids")
        self.typed = types is not None
        types = types or [0] * len(tokens)
        self.head_type, self._tail_type = types[start], types[start2]
        self._between_types, self._after_types = types[end:start2], types[end2:]
        probes = list(product(_PROBES, _PROBES))
        expected = tokenizer([premise for premise, _ in probes], [other for _, other in probes])
        for index, (premise, hypothesis) in enumerate(probes):
            [head], [tail] = self.heads([premise]), self.tails([hypothesis])
            types = [self.head_type] * len(head) + self.tail_types(tail)
            if head + tail != expected["input_ids"][index] or (
                self.typed and types != expected["token_type_ids"][index]
            ):
                raise LanserError(
                    f"model '{model}': its tokenizer joins two texts in a way of its own, which "
                    "lanser cannot do: use another model"
                )

    def heads(self, premises: Sequence[str]) -> list[list[int]]:
        """Tokens up to each premise's end, not yet cut."""
        return [self._before + tokens for tokens in self._plain(premises)]

    def tails(self, hypotheses: Sequence[str]) -> list[list[int]]:
        """Tokens from behind the premise to the end of the pair.

        Raises:
            UsageError: a hypothesis leaves no room for a premise.
        """
        tails = [self._between + tokens + self._after for tokens in self._plain(hypotheses)]
        for hypothesis, tail in zip(hypotheses, tails, strict=True):
            if len(self._before) + len(tail) >= self.limit:
                raise UsageError(
                    f"the hypothesis '{hypothesis[:60]}...' is too long: with it model "
                    f"'{self._model}', which reads {self.limit} tokens, has no room for a "
                    "transcript: shorten the template or the label's wording"
                )
        return tails

    def tail_types(self, tail: Sequence[int]) -> list[int]:
        """The `token_type_ids` of a tail."""
        middle = len(tail) - len(self._between) - len(self._after)
        return self._between_types + [self._tail_type] * middle + self._after_types

    def truncates(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[bool]:
        """Whether each premise is cut with any of the hypotheses."""
        room = self._room(tuple(hypotheses))
        # A token has at least one byte of the text or of its normal form, so most need no counting.
        return [
            _most_tokens(premise) > room and len(self._plain([premise])[0]) > room
            for premise in premises
        ]

    @lru_cache(maxsize=8)  # noqa: B019  an encoder lives as long as the process
    def _room(self, hypotheses: tuple[str, ...]) -> int:
        """How many tokens of a premise are read next to each of the hypotheses."""
        return self.limit - len(self._before) - max(map(len, self.tails(hypotheses)), default=0)

    def unknown_share(self, text: str) -> float:
        """How much of the text the vocabulary has no token for, 0 to 1."""
        tokens = self.tokens(text)
        return tokens.count(self._tokenizer.unk_token_id) / len(tokens) if tokens else 0.0

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text by itself."""
        return self._plain([text])[0]

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        tokens: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)[
            "input_ids"
        ]
        return tokens


def _find(part: list[int], whole: list[int], start: int) -> int:
    """Where `part` begins in `whole`; the end of `whole` if it does not."""
    last = len(whole) - len(part)
    return next((i for i in range(start, last + 1) if whole[i : i + len(part)] == part), last)


def _most_tokens(text: str) -> int:
    if text.isascii():
        return len(text) + 1
    normal = unicodedata.normalize("NFKD", text)
    return max(len(text.encode("utf-8", "replace")), len(normal.encode("utf-8", "replace"))) + 1
