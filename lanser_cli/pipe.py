"""The pipe: between a stage and the world, with every record accounted for.

A stage is a function from windows of records to outcomes. `Pipe` feeds it and files what it makes:
in order, atomically, resumable; in = out + rejected + dropped.
"""

from __future__ import annotations

import gc
import shutil
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from lanser_cli import console, jsonl
from lanser_cli.destination import check_apart, check_writable, is_stream, places
from lanser_cli.errors import RecordError, UsageError
from lanser_cli.inflow import prompt_windows
from lanser_cli.origin import describe, of_files, short
from lanser_cli.output import (
    JsonlFile,
    is_whole,
    records_on,
    reject_line,
    write_lines,
)
from lanser_cli.parts import parse_part, ranges, size_of_part, take_part
from lanser_cli.records import Dropped, Outcome, Record, Reject, to_json
from lanser_cli.redaction import Redaction
from lanser_cli.rows import RowFile, WithRow, check_rows, rows_in
from lanser_cli.stage import Process, windows
from lanser_cli.tally import Tally

T = TypeVar("T")

_Other = tuple[int, tuple[int, Outcome]]
"""What is no record: the number of records before it in its window, its place in the part, it."""

_Waiting = tuple[list[int], set[int], list[_Other]]
"""Of a window at work: the places of its records in the part, those that are done, what else."""

_TOO_LATE = "refused by a run that was killed, and later records are out: run it by itself"


class Pipe:
    """Between a stage and the world: feeds it windows of records and files what it makes of them.

    With `resume`, what an earlier run did is not done again. A stage sees whole windows at the
    same places as in an uninterrupted run. So whatever it does with a batch (padding, sorting)
    gives the same bytes.

    Args:
        output: file for records; None: standard output.
        inputs: what the items are read from, as it was named.
        rejects: file for rejects; None: a line on stderr each.
        rows: file for the rows of records that are `WithRow`, which all have to be then.
        resume: go on where an earlier run with the same output stopped, if it was the same run.
        force: whether an output that is there may be overwritten.
        part: I/N or slurm, the slice of the items that is taken.
        window: items that a stage sees at once.
        redaction: what may be written of a record; None: all of it.

    Attributes:
        tally: where the items went.
        output: the file, or None where records go to a stream.
        has_rows: whether there is a file for rows.
        part: the slice that is taken, I and N; None: all.

    Raises:
        UsageError: there is no such part, or an output would destroy an input or the other output.
        LanserError: the files cannot be written.
    """

    def __init__(
        self,
        stage: str,
        output: Path | None,
        *,
        inputs: Sequence[str | Path] = (),
        rejects: Path | None = None,
        rows: Path | None = None,
        resume: bool = False,
        force: bool = True,
        part: str | None = None,
        window: int = 256,
        redaction: Redaction | None = None,
    ) -> None:
        self._stream = output if output is None or is_stream(output) else None
        self.output = None if output is self._stream else output
        if resume and self.output is None:
            raise UsageError("--resume needs -o FILE: what went to a stream is gone")
        check_apart({"-o": output, "--rejects": rejects, "--embed": rows}, inputs)
        if not (force or resume or self.output is None) and _holds_something(self.output):
            raise UsageError(
                f"{output}: is there already: overwrite it with --force, go on with --resume, or "
                "name another output"
            )
        for path in (output, rejects):
            if path is not None:
                check_writable(path)
        if rows is not None:
            check_rows(rows, may_exist=force or resume)
        self.stage, self.tally, self._inputs = stage, Tally(stage), inputs
        self._rejects, self._resume, self._window = rejects, resume, window
        self._redaction, self.part = redaction, parse_part(part)
        self._rows, self.has_rows = rows, rows is not None
        self._known_input = not any(map(jsonl.is_stream, map(str, inputs)))
        self._out_file: JsonlFile | None = None
        self._reject_file: JsonlFile | None = None
        self._refused: list[str] = []
        self._row_file: RowFile | None = None
        self._waiting: deque[_Waiting] = deque()
        self._left_out = array("q")  # of a part: places of items that gave no record, as known

    def check_apart(
        self, others: Mapping[str, Path | None], inputs: Sequence[str | Path] = ()
    ) -> None:
        """Refuse what would destroy an output of the pipe, or be destroyed by it.

        Args:
            others: outputs besides, by the option that names each.
            inputs: that the pipe was not told of.

        Raises:
            UsageError: naming both.
        """
        check_apart({"-o": self.output, "--rejects": self._rejects, **others}, inputs)

    def run(
        self,
        items: Iterable[Outcome],
        process: Process,
        settings: Mapping[str, object] | None = None,
        *,
        count: Callable[[], int | None] = lambda: None,
    ) -> Tally:
        """Send the items through `process`, window by window, and return where they went.

        With `part` every N-th item is taken.

        Args:
            settings: what the output depends on besides the input, by the option that sets it.
            count: says how many items there are, where that can be known.

        Raises:
            UsageError: another run is to be resumed, and the message names the first that differs;
                or its records are whole and its rows are gone.
        """
        identity = self._identity(settings)
        if self._resume and self.output is not None and is_whole(self.output, identity):
            if self._rows is not None and rows_in(self._rows) is None:
                raise UsageError(
                    f"--resume: {self.output} is whole, but {self._rows} has no rows of it: name "
                    "the file that has them, or make both anew with --force"
                )
            unknown = "" if self._known_input else ", if it is of this stream, which is not read"
            console.info(f"{self.stage}: {self.output} is whole already; nothing to do{unknown}")
            return self.tally
        total = None if console.quiet else size_of_part(count(), self.part)
        started = time.monotonic()
        gc.freeze()  # models and modules live as long as this run: do not search them for garbage
        answers = process(self._pending(take_part(items, self.part)))
        with self._open(identity), closing(answers), console.progress(self.stage, total) as meter:
            for outcomes in filter(None, answers):
                lines: list[str] = []
                places, done, others = self._waiting.popleft()
                last = max(done, default=-1)
                for place, outcome in _merged(list(zip(places, outcomes, strict=True)), others):
                    if place in done:  # whatever becomes of it this time
                        self.tally.already_done += 1
                    elif not self._file(outcome, lines, late=place < last and self._known_input):
                        self._leave_out(place)
                if self._row_file:
                    self._row_file.flush()
                self._write(lines)
                self._file_refused()
                meter.reach(self.tally.met)
        seconds = time.monotonic() - started
        rate = self.tally.read / seconds if seconds else 0.0
        self.tally.close(f" ({seconds:.1f} s, {rate:.1f}/s)")
        return self.tally

    def _identity(self, settings: Mapping[str, object] | None) -> dict[str, str]:
        """What another run must share with this one to be resumed by it."""
        if self.output is None or not (settings or self._inputs):
            return {}
        fields = {name: short(value) for name, value in (settings or {}).items()}
        part = "all" if self.part is None else "{}/{}".format(*self.part)
        if self._redaction is not None:
            fields |= self._redaction.identity()
        given = of_files(self._inputs, hold_words=self._redaction is not None)
        return fields | {"--part": part, "input": given}

    def _pending(self, items: Iterable[Outcome]) -> Iterator[list[Record]]:
        """Windows of records with something left to do.

        Lines that held no record, and what a reader left out, are `_waiting` for the window they
        were read with. So rejects are filed in the order of the input too. They count for its
        size: a million of them in a row are not held in memory.
        """
        waits = self.output is None and any(map(jsonl.may_wait, self._inputs))
        for window in (prompt_windows if waits else windows)(items, self._window):
            if not window:
                yield []
                continue
            records: list[Record] = []
            places: list[int] = []
            others: list[_Other] = []
            for place, item in enumerate(window, self.tally.read):
                if isinstance(item, Record):
                    records.append(item)
                    places.append(place)
                else:
                    others.append((len(records), (place, item)))
            self.tally.read += len(window)
            both = list(zip(places, records, strict=True))
            done = {place for place, record in both if self._is_out(record)}
            if not all(place in done or self._is_refused(record) for place, record in both):
                self._waiting.append((places, done, others))
                yield records
                continue
            for place in places:
                if place in done:
                    self.tally.already_done += 1
                else:
                    self.tally.rejected += 1
                    self._leave_out(place)
            if self._waiting:  # windows before this one are still at work
                self._waiting[-1][2].extend((self._window, other) for _, other in others)
            else:
                for _, (place, other) in others:
                    self._file(other, [])
                    self._leave_out(place)
                self._file_refused()

    def _is_out(self, record: Record) -> bool:
        return self._out_file is not None and record.id in self._out_file.done

    def _is_refused(self, record: Record) -> bool:
        if not (self._reject_file and len(self._reject_file.done)):
            return False
        fields, hides = record.fields, self._redaction
        try:
            return to_json(hides.refused(fields) if hides else fields) in self._reject_file.done
        except RecordError:  # it will be refused again, and filed once
            return False

    def _file(self, outcome: Outcome, lines: list[str], *, late: bool = False) -> bool:
        """Count an outcome; a record goes to `lines` unless it is late, a reject to `_refused`.

        Returns:
            Whether the output has a line for it.
        """
        if self._redaction is not None:
            outcome = self._redaction.outcome(outcome)
        if isinstance(outcome, Record):
            try:
                line = to_json(outcome.fields)
            except RecordError as error:
                reject = Reject(outcome.id, self.stage, str(error), ascii(outcome.fields))
                return self._file(reject, lines)
            if late:
                return self._file(Reject.of(outcome, self.stage, _TOO_LATE), lines)
            self._check_all_met()
            lines.append(line)
            self.tally.done += 1
            if self._row_file:
                assert isinstance(outcome, WithRow)
                self._row_file.write(outcome.row)
            return True
        if isinstance(outcome, Dropped):
            self.tally.dropped[outcome.reason] += 1
        else:
            self.tally.rejected += 1
            if self._rejects is None:
                self.tally.warn_of(outcome)
            if self._reject_file:
                self._refused.append(reject_line(outcome))
        return False

    def _file_refused(self) -> None:
        """Write rejects, behind the records of their window: one may be the equal of a good record.

        Alone on the disk it would pass, when resumed, for that record's own.
        """
        if self._reject_file:
            self._reject_file.write(self._refused)
        self._refused.clear()

    @contextmanager
    def _open(self, identity: Mapping[str, str]) -> Iterator[None]:
        """Open the output and, next to it, the list of rejects that `--resume` needs to know."""
        if self.output is None:
            name = str(self._stream or "standard output")
            with records_on(self._stream) as stream, self._closing():
                if self._rejects is not None:
                    self._reject_file = JsonlFile(self._rejects, resume=False, rejects=True)
                self._open_rows(done=0)
                self._write: Callable[[Sequence[str]], None] = lambda lines: write_lines(
                    stream, lines, name
                )
                yield
        else:
            beside = self.output.with_name(self.output.name + ".rejects")
            origin = describe(self.stage, identity) if identity else None
            with self._closing():
                self._out_file = JsonlFile(self.output, resume=self._resume, origin=origin)
                if self._rejects and self._out_file.goes_on:
                    _move_part(beside, self._rejects)
                self._reject_file = JsonlFile(
                    self._rejects or beside, resume=self._out_file.goes_on, rejects=True
                )
                self._open_rows(done=len(self._out_file.done))
                self._write = self._out_file.write
                yield

    def _open_rows(self, done: int) -> None:
        if self._rows is not None:
            self._row_file = RowFile(self._rows, resume=self._resume, done=done)

    @contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
            self._check_all_met()
        except BaseException:
            self.tally.unfold()
            for file in (self._out_file, self._reject_file, self._row_file):
                if file:
                    file.leave()
            raise
        if self._reject_file:
            self._reject_file.publish() if self._rejects else self._reject_file.discard()
        if self._row_file:
            self._row_file.publish()
        if self._out_file:
            self._out_file.publish(self._slice())

    def _leave_out(self, place: int) -> None:
        if self.part is not None:
            self._left_out.append(place)

    def _slice(self) -> dict[str, object]:
        """For the file beside a part: where its lines stood, so that parts can be merged."""
        if self.part is None:
            return {}
        return {"slice": {"in": self.tally.read, "left_out": ranges(sorted(self._left_out))}}

    def _check_all_met(self) -> None:
        """Whether a stream begins with what was done before: nobody knows it beforehand."""
        extra = len(self._out_file.done) - self.tally.already_done if self._out_file else 0
        if extra:
            raise UsageError(
                f"--resume: {self.output}.part holds {extra} records that this input does not "
                "give at its beginning: it was made with another input: repeat the command as it "
                "was, or name another output"
            )


def _move_part(made: Path, wanted: Path) -> None:
    """What a run had of a file that is called otherwise now, so that it goes on with it."""
    (_, old), (_, new) = places(made), places(wanted)
    if old.exists() and not is_stream(wanted) and not new.exists():
        shutil.move(old, new)


def _holds_something(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _merged(outcomes: Iterable[T], others: Iterable[tuple[int, T]]) -> Iterator[T]:
    """Outcomes, and others before the outcome of the place each has."""
    waiting = deque(others)
    for place, outcome in enumerate(outcomes):
        while waiting and waiting[0][0] <= place:
            yield waiting.popleft()[1]
        yield outcome
    yield from (other for _, other in waiting)
