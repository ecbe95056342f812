"""Context: what was said before in the same conversation, put before the premise."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lanser_cli.asr.events import parted
from lanser_cli.records import Outcome, Record

CONVERSATIONS = 1024
"""Conversations remembered at once: records of one need not follow one another without a break."""

WORDS = 60
"""The most words of context before a premise; the utterance itself is what is labelled."""

_LETTERS = 8
"""A word has no more, on average: some languages put no blanks between words."""

NO_CONTEXT = "--context: no record has a 'dialogue', so nothing was put before any"


@dataclass(frozen=True, slots=True)
class InContext(Record):
    """A record with the utterances of its conversation before it.

    Attributes:
        said: these utterances, the latest last, without what nobody said, such as `[Music]`.
    """

    said: tuple[str, ...] = ()


def with_context(items: Iterable[Outcome], count: int) -> Iterator[Outcome]:
    """Pass items on; a record with a `dialogue` becomes one with the `count` utterances before it.

    This comes before the input is split among parts and workers, so all of them see the same
    context.
    """
    said: OrderedDict[str, deque[str]] = OrderedDict()
    for item in items:
        dialogue = item.word("dialogue") if isinstance(item, Record) else None
        if not isinstance(item, Record) or dialogue is None:
            yield item
            continue
        before = said.setdefault(dialogue, deque(maxlen=count))
        said.move_to_end(dialogue)
        if len(said) > CONVERSATIONS:
            said.popitem(last=False)
        yield InContext(item.fields, tuple(before))
        if text := parted((item.text or "").strip())[0]:
            before.append(text)


def premise(text: str, context: Sequence[str]) -> str:
    """The text, after its context if there is any: `Earlier: "..." "..." Now: "..."`."""
    words = 0
    kept: list[str] = []
    for utterance in reversed(context):
        words += max(len(utterance.split()), len(utterance) // _LETTERS)
        if words > WORDS:
            break
        kept.insert(0, f'"{utterance}"')
    return f'Earlier: {" ".join(kept)} Now: "{text}"' if kept else text
