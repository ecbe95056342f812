"""What the decoders share. Each has three functions: `load`, `stream` and `probe`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lanser_cli.audio.source import AudioError, CutOff


class Unsupported(Exception):
    """This decoder cannot read the file; the next one may."""


class Block(NamedTuple):
    """Consecutive frames as the file has them.

    Attributes:
        frames: float32 `[frames, channels]`.
        rate: Hz.
    """

    frames: NDArray[np.float32]
    rate: int


@dataclass(frozen=True, slots=True)
class Info:
    """What a container says of itself. duration in seconds, sample_rate in Hz."""

    duration: float
    sample_rate: int
    channels: int


def join(blocks: Iterable[Block], path: str) -> Block:
    """All blocks as one.

    Raises:
        AudioError: there is none.
    """
    found = list(blocks)
    if not found:
        raise no_samples(path)
    return _joined(found)


def regroup(blocks: Iterable[Block], seconds: float) -> Iterator[Block]:
    """Blocks joined to blocks of at least `seconds`; the last may be shorter.

    Where decoding fails, what came before is given out first.
    """
    held: list[Block] = []
    count = 0
    for block in _with_end(blocks):
        if block is not None:
            held.append(block)
            count += len(block.frames)
        if held and (block is None or count >= seconds * block.rate):
            yield _joined(held)
            held, count = [], 0


def on_seconds(blocks: Iterable[Block], offset: float) -> Iterator[Block]:
    """Blocks of several channels, regrouped to end with a second of the file; the last may not.

    Where decoding fails, what came before is given out first.

    Args:
        offset: seconds of the file before the first.
    """
    held: Block | None = None
    begin = 0
    for number, block in enumerate(_with_end(blocks)):
        if block is None:
            if held is not None and len(held.frames):
                yield held
        elif block.frames.shape[1] == 1:
            yield block
        else:
            begin = begin if number else round(offset * block.rate)
            whole = block if held is None else _joined([held, block])
            count = max(0, len(whole.frames) - (begin + len(whole.frames)) % block.rate)
            if count:
                yield Block(whole.frames[:count], block.rate)
            held, begin = Block(whole.frames[count:], block.rate), begin + count


def _with_end(blocks: Iterable[Block]) -> Iterator[Block | None]:
    """The blocks and None behind the last, also where decoding fails; only then is it raised."""
    try:
        yield from blocks
    except Exception:
        yield None
        raise
    yield None


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:  # most files are one block, which need not be copied
        return blocks[0]
    return Block(np.concatenate([block.frames for block in blocks]), blocks[0].rate)


def no_samples(path: str) -> AudioError:
    return AudioError(f"{path}: no audio samples in it (zero length)")


def behind_the_end(path: str, offset: float, end: float) -> AudioError:
    """The offset asked for, and the end of the file, in seconds."""
    return AudioError(f"{path}: offset {offset} s lies behind its end at {end:.3f} s")


def no_sample(path: str, duration: float) -> AudioError:
    return AudioError(f"{path}: a duration of {duration:g} s holds no sample")


def cut_off(path: str, there: float, promised: float | None) -> CutOff:
    """How many seconds can be decoded, and how many the header promises, if it does."""
    promise = f" of the {promised:.3f} s that its header promises" if promised else ""
    return CutOff(f"{path}: cut off or damaged: only {there:.3f} s{promise} can be decoded")
