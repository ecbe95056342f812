"""Write docs/cli.md from the commands' own --help, so that the two cannot differ."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

HEAD = """# The commands

Made from `--help` by `make docs`; a test keeps it true.
"""


def reference() -> str:
    """The page: one section a verb, in pipeline order."""
    os.environ |= {"COLUMNS": "90", "NO_COLOR": "1", "TERM": "dumb"}
    from lanser_cli.app import VERBS, main

    parts = [HEAD]
    for verb in VERBS:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            code = main([verb, "--help"])
        if code != 0:
            raise SystemExit(f"lanser {verb} --help failed; the page stays as it is")
        parts.append(f"## lanser {verb}\n\n```\n{text.getvalue().strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    page = Path(__file__).parent / "cli.md"
    page.write_text(reference(), encoding="utf-8")
    print(page, file=sys.stderr)
