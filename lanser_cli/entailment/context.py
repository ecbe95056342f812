"""Context: what was said before in the same conversation, put before the premise."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence

from lanser_cli.records import Outcome, Record

CONVERSATIONS = 1024
"""Conversations remembered at once: records of one need not follow one another without a break."""

WORDS = 60
"""The most words of context before a premise; the utterance itself is what is judged."""


def with_context(items: Iterable[Outcome], count: int) -> Iterator[Outcome]:
    """Pass records on; those with a `dialogue` carry the `count` utterances before them along.

    They travel in `entailment.context`, which the labeller replaces by how many it used. This
    comes before the input is split among parts and workers, so all of them see the same context.
    """
    said: OrderedDict[str, deque[str]] = OrderedDict()
    for item in items:
        dialogue = item.fields.get("dialogue") if isinstance(item, Record) else None
        if not isinstance(item, Record) or dialogue is None:
            yield item
            continue
        before = said.setdefault(str(dialogue), deque(maxlen=count))
        said.move_to_end(str(dialogue))
        if len(said) > CONVERSATIONS:
            said.popitem(last=False)
        entailment = {**(item.fields.get("entailment") or {}), "context": list(before)}
        yield item.with_fields(entailment=entailment)
        if text := (item.text or "").strip():
            before.append(text)


def premise(text: str, context: Sequence[str]) -> str:
    """The text, after its context if there is any: `Earlier: "..." "..." Now: "..."`."""
    words = 0
    kept: list[str] = []
    for utterance in reversed(context):
        words += len(utterance.split())
        if words > WORDS:
            break
        kept.insert(0, f'"{utterance}"')
    return f'Earlier: {" ".join(kept)} Now: "{text}"' if kept else text
