"""Where the records of a run went."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Where the records went. in = out + rejected + dropped, or the run lost something."""

    read: int = 0
    written: int = 0
    rejected: int = 0
    already_done: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        parts = [f"{self.read} in", f"{self.written} out", f"{self.rejected} rejected"]
        parts += [f"{count} dropped ({reason})" for reason, count in sorted(self.dropped.items())]
        if self.already_done:
            parts.append(f"{self.already_done} already done")
        return ", ".join(parts)
