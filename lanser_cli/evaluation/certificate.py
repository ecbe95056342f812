"""The certificate of an audit, and what a report says of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli import provenance
from lanser_cli.digests import file_sha256
from lanser_cli.errors import UsageError
from lanser_cli.evaluation.checks import Finding, Side
from lanser_cli.evaluation.fingerprint import MAX_BIT_ERRORS
from lanser_cli.shape import COUNT, Maybe, That, read_json

SCHEMA = 1

_OF_SIDES = ("sides", "records", "missing")
_SIDE = {"name": str, "records": COUNT, "rejected": COUNT, "digest": str}
_IDS = re.compile("(?:[0-9a-f]{8})*")
_MARKS = That(str, "8 hex digits of each id", lambda text: bool(_IDS.fullmatch(text)))
_SHAPE = {
    "passed": bool,
    "sides": [{**_SIDE, "ids": _MARKS}],
    "checks": [
        {
            **{"check": str, "shared": COUNT, "allowed": bool, "not_checked": Maybe(str)},
            **{"sides": Maybe([str]), "records": Maybe([COUNT]), "missing": Maybe([COUNT])},
        }
    ],
}


def certificate(sides: Sequence[Side], findings: Sequence[Finding]) -> dict[str, Any]:
    """The certificate as JSON; docs/formats.md specifies it."""
    return {
        "schema": SCHEMA,
        "passed": not any(finding.leaks for finding in findings),
        "sides": [
            {
                "name": side.name,
                "records": len(side.ids),
                "rejected": side.rejected,
                "digest": side.digest(),
                "ids": b"".join(sorted(map(_mark, side.vouched()))).hex(),
            }
            for side in sides
        ],
        "max_bit_errors": MAX_BIT_ERRORS,
        "checks": [finding.as_json() for finding in findings],
        "argv": provenance.command_line(),
        "versions": provenance.versions(),
    }


def summary(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """The line that the verb prints: whether the audit passed, its sides, and counts."""
    keys = ("check", "sides", "shared", "allowed", "missing", "not_checked")
    checks = [{key: check[key] for key in keys} for check in certificate["checks"]]
    return {
        "passed": certificate["passed"],
        "sides": _in_short(certificate["sides"]),
        "checks": checks,
    }


@dataclass(frozen=True, slots=True)
class Citation:
    """What a report says of a certificate, and of which records it may.

    Attributes:
        about: `file`, `sha256`, `passed`, `sides`, and check by check what was `found`, `allowed`
            and `not_checked`, and in how many records it was `missing`. One with a leak in it is
            not `passed`, whatever it says.
        marks: of the ids that were audited, 32 bits each.
    """

    about: dict[str, Any]
    marks: NDArray[np.uint32]

    def check(self, name: str, ids: Sequence[str]) -> None:
        """Refuse to be cited for the records of an input that were not audited.

        Raises:
            UsageError: there are some.
        """
        strange = ~np.isin(_marks(b"".join(map(_mark, ids))), self.marks)
        if strange.any():
            first = ids[int(strange.argmax())]
            raise UsageError(
                f"--audit {self.about['file']}: {strange.sum()} of the {len(ids)} records of "
                f"{name} were not audited, such as '{first}': audit what is evaluated"
            )


def cite(path: Path) -> Citation:
    """A certificate, for a report to cite.

    Raises:
        LanserError: no such file, not a certificate, or of a newer schema.
    """
    value = read_json(path, "a certificate of lanser audit", _SHAPE, SCHEMA)
    checks = value["checks"]
    found = _named(check for check in checks if check["shared"] and not check["allowed"])
    about = {
        "file": str(path),
        "sha256": file_sha256(path),
        "passed": value["passed"] and not found,
        "sides": _in_short(value["sides"]),
        "found": found,
        "allowed": _named(check for check in checks if check["shared"] and check["allowed"]),
        "not_checked": _named(check for check in checks if check.get("not_checked")),
        "missing": _missing(check for check in checks if not check.get("not_checked")),
    }
    return Citation(about, _marks(bytes.fromhex("".join(side["ids"] for side in value["sides"]))))


def _in_short(sides: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: side[key] for key in _SIDE} for side in sides]


def _mark(identifier: str) -> bytes:
    """32 bits of an id: of a million that were audited, one of 4,000 others has its like."""
    return hashlib.sha256(identifier.encode()).digest()[:4]


def _marks(data: bytes) -> NDArray[np.uint32]:
    return np.frombuffer(data, ">u4")


def _missing(checks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which checks could not look at all records of a side, in words."""
    return [
        f"{check['check']} of {lacking} of {has + lacking} records of {side}"
        for check in checks
        for side, has, lacking in zip(*(check.get(key) or () for key in _OF_SIDES), strict=False)
        if lacking
    ]


def _named(checks: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(check["check"]) for check in checks))
