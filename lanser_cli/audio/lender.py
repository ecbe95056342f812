"""Who lends a tar that is here only while it is read, such as a cache of remote shards."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeAlias

Version: TypeAlias = tuple[int, str]
"""Bytes and SHA-256 of a tar."""


class Lender(Protocol):
    """What brings tars here. Both raise LanserError if one cannot be had."""

    def lent(self, path: str) -> AbstractContextManager[object]:
        """Have a tar here, under its path, while this is open."""
        ...

    def version(self, path: str) -> Version:
        """Which tar a path stands for; it is the same each time that it is lent."""
        ...


_lenders: dict[str, Lender] = {}
"""By the path of the tar. Only what the user named is in it: no record can have a tar fetched."""


def lend(paths: Iterable[str], lender: Lender) -> None:
    """Let whoever reads these tars, in this process and those forked from it, borrow them."""
    _lenders.update(dict.fromkeys(paths, lender))


def is_lent(path: str) -> bool:
    return path in _lenders


def borrowed(path: str) -> AbstractContextManager[object]:
    """Have a tar here while this is open; of any other file there is nothing to do."""
    lender = _lenders.get(path)
    return nullcontext() if lender is None else lender.lent(path)


def version(path: str) -> Version | None:
    """Which tar a path stands for, if it is lent."""
    lender = _lenders.get(path)
    return None if lender is None else lender.version(path)
