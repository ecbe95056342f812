"""The certificate of an audit, and what a report says of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lanser_cli import provenance
from lanser_cli.errors import LanserError
from lanser_cli.evaluation.checks import Finding, Side
from lanser_cli.evaluation.fingerprint import MAX_BIT_ERRORS

SCHEMA = 1


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
        `not_checked`.

    Raises:
        LanserError: no such file, not a certificate, or of a newer schema.
    """
    try:
        data = path.read_bytes()
        value: Mapping[str, Any] = json.loads(data)
        provenance.check_schema(path, value["schema"], SCHEMA)
        checks = value["checks"]
        return {
            "file": str(path),
            "sha256": hashlib.sha256(data).hexdigest(),
            "passed": value["passed"] is True,
            "sides": [
                {key: side[key] for key in ("name", "records", "rejected", "digest")}
                for side in value["sides"]
            ],
            "found": _named(check for check in checks if check["shared"] and not check["allowed"]),
            "allowed": _named(check for check in checks if check["shared"] and check["allowed"]),
            "not_checked": _named(check for check in checks if check["not_checked"]),
        }
    except OSError as error:
        raise LanserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise LanserError(f"{path}: not a certificate of lanser audit") from None


def _named(checks: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(check["check"]) for check in checks))
