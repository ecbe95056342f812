"""Channels: which one of a recording is heard, or each as a record, as the two sides of a call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lanser_cli.audio import sound
from lanser_cli.choices import Channel
from lanser_cli.errors import RecordError, of_one_record
from lanser_cli.records import Outcome, Record, Reject

_SIDES = ("left", "right")


def heard(items: Iterable[Outcome], channel: Channel, stage: str) -> Iterator[Outcome]:
    """The items; a record that names no `audio_channel` gets the one that is to be heard.

    With `each` it becomes as many records as its file has channels, whose ids end in `-left` and
    `-right`, or in `-0`, `-1` and so on where there are more than two. One channel is left as it
    is, and so is, with `mix`, everything.
    """
    for item in items:
        if not isinstance(item, Record) or item.channel is not None or channel == "mix":
            yield item
        elif channel == "each":
            try:
                with of_one_record():
                    count = sound.probe(sound.path_of(item)).channels
            except RecordError as error:
                yield Reject.of(item, stage, error)
                continue
            yield from _each(item, count)
        else:
            yield item.with_fields(audio_channel=_SIDES.index(channel))


def _each(record: Record, count: int) -> Iterator[Record]:
    if count == 1:
        yield record
        return
    names = _SIDES if count == 2 else [str(number) for number in range(count)]
    for number, name in enumerate(names):
        yield record.with_fields(id=f"{record.id}-{name}", audio_channel=number)
