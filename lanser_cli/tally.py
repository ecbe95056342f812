"""Where the records of a run went: counts, rejects, and the closing line. Every verb has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lanser_cli import console
from lanser_cli.destination import check_apart, check_writable
from lanser_cli.devices import ALONE, Ranks
from lanser_cli.errors import EXIT_REJECTED, LanserError
from lanser_cli.output import JsonlFile, reject_line, warn_of
from lanser_cli.records import Reject

if TYPE_CHECKING:
    from typing_extensions import Self


class Tally:
    """Counts of a run's records: in = out (or used) + rejected + dropped + already done.

    Attributes:
        stage: the verb.
        word: what became of good records: they are `out`, or a verb that learns `used` them.
        read, done, rejected, already_done: how many.
        ranks: this process's place; of several that train together the first prints and writes.
        dropped: how many were left out on purpose, by reason.
    """

    def __init__(self, stage: str, word: Literal["out", "used"] = "out") -> None:
        self.stage, self.word = stage, word
        self.read = self.done = self.rejected = self.already_done = 0
        self.dropped: Counter[str] = Counter()
        self.ranks = ALONE
        self._folded = console.Folded()

    def __str__(self) -> str:
        parts = [f"{self.read} in", f"{self.done} {self.word}", f"{self.rejected} rejected"]
        parts += [f"{count} dropped ({reason})" for reason, count in sorted(self.dropped.items())]
        if self.already_done:
            parts.append(f"{self.already_done} already done")
        return ", ".join(parts)

    @property
    def met(self) -> int:
        """How many records have met their fate."""
        return self.done + self.rejected + self.dropped.total() + self.already_done

    @property
    def leads(self) -> bool:
        """Whether this process prints and writes."""
        return self.ranks.leads

    @property
    def exit_code(self) -> int:
        """0, or 3 if records were rejected; to a launcher of ranks that would be a failed job."""
        return EXIT_REJECTED if self.rejected and not self.ranks.launched else 0

    def warn_of(self, reject: Reject) -> None:
        """Say a reject on stderr; those of a kind are counted after the tenth."""
        warn_of(reject, self._folded)

    def unfold(self) -> None:
        """Say how many rejects were counted alone; for a run that gives up, `close` does it too."""
        self._folded.close("--rejects FILE writes all")

    def close(self, note: str = "") -> None:
        """Say the closing line, `note` at its end.

        Raises:
            LanserError: a record is in none of the counts.
        """
        self.unfold()
        console.info(f"{self.stage}: {self}{note}")
        lost = self.read - self.met
        if lost:
            raise LanserError(
                f"{self.stage}: {lost} of {self.read} records are in none of these counts: this is "
                "an error in lanser, please report it"
            )


class Ledger(Tally):
    """The tally of a verb that needs all its records at once, and its rejects.

    A context manager. Rejects go to a file that appears at the end, or to stderr at once. Of
    several ranks that train together only the first prints and writes.

    Args:
        rejects: the file; None for stderr.
        inputs: what is read, as it was named; standard input if nothing was.
        ranks: this process's place among those that train together.

    Raises:
        UsageError: the rejects would overwrite an input.
        LanserError: they cannot be written.
    """

    def __init__(
        self,
        stage: str,
        rejects: Path | None = None,
        word: Literal["out", "used"] = "used",
        *,
        inputs: Sequence[str] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        check_apart({"--rejects": rejects}, inputs or ["-"])
        if rejects is not None and ranks.leads:
            check_writable(rejects)
        super().__init__(stage, word)
        self.ranks = ranks
        self._file = JsonlFile(rejects, resume=False) if rejects and ranks.leads else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.unfold()
        if self._file is not None and (self.read or self.met):
            self._file.publish()
        elif self._file is not None:  # of a run that read nothing, those of the one before stay
            self._file.discard()

    def reject(self, reject: Reject) -> None:
        """Count and file a reject."""
        self.rejected += 1
        if self._file is not None:
            self._file.write([reject_line(reject)])
        elif self.leads:
            self.warn_of(reject)
