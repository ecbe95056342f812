"""What a run of transcription took, and what held it up."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator

from lanser_cli import console
from lanser_cli.asr.transcriber import STAGE, Transcribed
from lanser_cli.records import Outcome, Record
from lanser_cli.stage import Process, watching


class Throughput:
    """What a run took: hours of sound, how much faster than it is spoken, and what held it up.

    Args:
        devices: processes that run the model.
        decoders: processes that decode; 0 where the former do it themselves.
    """

    def __init__(self, devices: int, decoders: int = 0) -> None:
        self._devices, self._decoders = devices, decoders or devices
        self._audio = self._model = self._decoding = self._finding = 0.0

    def watching(self, process: Process) -> Process:
        """The same process; at its end a line on stderr says what the run took."""

        def clocked(pending: Iterable[list[Record]]) -> Generator[list[Outcome], None, None]:
            self._clock = _Clock(pending)
            return process(self._clock)

        return watching(clocked, self._see, self._say)

    def _see(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Transcribed):
                self._audio += outcome.seconds
                self._model += outcome.model
                self._decoding += outcome.decoding

    def _say(self) -> None:
        self._finding = self._clock.spent
        if self._audio:
            console.info(f"{STAGE}: {self.line(time.perf_counter() - self._clock.begun)}")

    def line(self, seconds: float) -> str:
        """The sentence, for a run of so many seconds."""
        model = self._model / self._devices
        decoding = self._decoding / self._decoders + self._finding
        bound = "model-bound" if model >= decoding else "decode-bound"
        return (
            f"{self._audio / 3600:.3g} h of audio, real-time factor {seconds / self._audio:.3g} "
            f"({self._audio / seconds:.3g}x); {model:.1f} s in the model, {decoding:.1f} s finding "
            f"and decoding sound: {bound}"
        )


class _Clock:
    """Windows passed on. `begun` is when the first was asked for, `spent` the seconds they took."""

    def __init__(self, windows: Iterable[list[Record]]) -> None:
        self._windows = iter(windows)
        self.begun, self.spent = time.perf_counter(), 0.0
        self._first = True

    def __iter__(self) -> Iterator[list[Record]]:
        return self

    def __next__(self) -> list[Record]:
        now = time.perf_counter()
        if self._first:  # until now, workers loaded their models
            self.begun, self._first = now, False
        try:
            return next(self._windows)
        finally:
            self.spent += time.perf_counter() - now
