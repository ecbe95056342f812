"""The certificate of an audit, and what a report says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lanser_cli import provenance
from lanser_cli.digests import file_sha256
from lanser_cli.evaluation.checks import Finding, Side
from lanser_cli.evaluation.fingerprint import MAX_BIT_ERRORS
from lanser_cli.shape import COUNT, Maybe, read_json

SCHEMA = 1

_SHAPE = {
    "passed": bool,
    "sides": [{"name": str, "records": COUNT, "rejected": COUNT, "digest": str}],
    "checks": [{"check": str, "shared": COUNT, "allowed": bool, "not_checked": Maybe(str)}],
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
        "sides": certificate["sides"],
        "checks": checks,
    }


def cite(path: Path) -> dict[str, Any]:
    """What a report says of a certificate.

    Returns:
        `file`, `sha256`, `passed`, `sides`, and check by check what was `found`, `allowed` and
        `not_checked`. One with a leak in it is not `passed`, whatever it says.

    Raises:
        LanserError: no such file, not a certificate, or of a newer schema.
    """
    value = read_json(path, "a certificate of lanser audit", _SHAPE, SCHEMA)
    checks = value["checks"]
    found = _named(check for check in checks if check["shared"] and not check["allowed"])
    return {
        "file": str(path),
        "sha256": file_sha256(path),
        "passed": value["passed"] and not found,
        "sides": [
            {key: side[key] for key in ("name", "records", "rejected", "digest")}
            for side in value["sides"]
        ],
        "found": found,
        "allowed": _named(check for check in checks if check["shared"] and check["allowed"]),
        "not_checked": _named(check for check in checks if check.get("not_checked")),
    }


def _named(checks: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(check["check"]) for check in checks))
