"""The verb transcribe: records with audio to records with a transcript."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lanser_cli.asr.engine import EMBEDDED_WEIGHTS, Options
from lanser_cli.asr.engines import make_engine
from lanser_cli.asr.quality import DEFAULTS, Thresholds
from lanser_cli.asr.throughput import Throughput
from lanser_cli.asr.transcriber import STAGE, Transcriber
from lanser_cli.asr.wer import Score
from lanser_cli.audio import channels
from lanser_cli.audio.segments import Segmentation, segment
from lanser_cli.audio.utterance import with_sound
from lanser_cli.audio.vad import VoiceActivity
from lanser_cli.choices import Channel, HearingPrecision, Segmenting
from lanser_cli.devices import cpu_count, parse_devices
from lanser_cli.errors import UsageError
from lanser_cli.models.hub import snapshot
from lanser_cli.origin import ITS_FILES, named, options
from lanser_cli.pipe import Pipe
from lanser_cli.records import Outcome, Record, Reject, attempt
from lanser_cli.stage import WindowFunction, unique
from lanser_cli.tally import Tally
from lanser_cli.workers import spread

DECODERS_PER_GPU = 4

AHEAD = 60.0
"""Seconds; longer sound is not decoded ahead: windows of it are much memory."""


@dataclass(frozen=True, slots=True)
class TranscribeSettings:
    """How recordings are cut, transcribed and flagged, checked before a model is loaded.

    Attributes:
        model: as `make_engine` takes it.
        lang: language spoken; None: as detected.
        batch_size: clips decoded together.
        channel: which one of a recording is heard.
        segment: how recordings are cut into utterances; the next four as `Segmentation`.
        min_seconds, max_seconds, min_silence, vad_threshold: the last also for `check_speech`.
        check_speech: let silero-vad listen too, and flag where it disagrees with the text.
        compression_ratio_threshold, logprob_threshold, no_speech_threshold,
            words_per_second_threshold: as `Thresholds`.
        full_context: whether Whisper hears every clip in 30 s.
        precision: what the model computes in, as `Options`.

    Raises:
        UsageError: the bounds of an utterance do not fit together, or a threshold is NaN.
    """

    model: str
    lang: str | None = None
    batch_size: int = 16
    channel: Channel = "mix"
    segment: Segmenting = "none"
    min_seconds: float = 2.0
    max_seconds: float = 20.0
    min_silence: float = 0.3
    vad_threshold: float = 0.5
    check_speech: bool = False
    compression_ratio_threshold: float = DEFAULTS.compression_ratio
    logprob_threshold: float = DEFAULTS.logprob
    no_speech_threshold: float = DEFAULTS.no_speech
    words_per_second_threshold: float = DEFAULTS.words_per_second
    full_context: bool = False
    precision: HearingPrecision = "auto"

    def __post_init__(self) -> None:
        _ = self.segmentation, self.limits  # they check themselves

    @property
    def segmentation(self) -> Segmentation | None:
        """How recordings are cut; None: they are not."""
        if self.segment == "none":
            return None
        return Segmentation(
            self.segment,
            min_seconds=self.min_seconds,
            max_seconds=self.max_seconds,
            threshold=self.vad_threshold,
            min_silence=self.min_silence,
        )

    def part_of_files(self, part: tuple[int, int] | None) -> tuple[int, int] | None:
        """The part, where a file is one item of it, so that no other file need be opened."""
        return None if self.segment != "none" or self.channel == "each" else part

    @property
    def limits(self) -> Thresholds:
        """From where on a transcript is flagged."""
        return Thresholds(
            self.compression_ratio_threshold,
            self.logprob_threshold,
            self.no_speech_threshold,
            self.words_per_second_threshold,
        )


def transcribe_records(
    items: Iterable[Outcome],
    settings: TranscribeSettings,
    pipe: Pipe,
    *,
    device: str = "auto",
    workers: int | None = None,
    decoders: int | None = None,
    score: Path | None = None,
    count: Callable[[], int | None] = lambda: None,
) -> Tally:
    """Transcribe records, each id once, and say how fast it went.

    Args:
        device: as `parse_devices` takes it.
        workers: processes that run the model; default one a device.
        decoders: processes that decode ahead of the model; default 0, or 4 for each GPU. None
            are needed where recordings are cut, since cutting decodes.
        score: JSONL of references to say the word error rate against.
        count: says how many items there are, where that can be known.

    Raises:
        UsageError, LanserError: there is no such device; or as `make_transcriber`, `Score`.
    """
    references = Score(score) if score else None
    devices = parse_devices(device)
    if workers is not None:
        devices = [devices[number % len(devices)] for number in range(workers)]
    items, cut = channels.heard(items, settings.channel, STAGE), settings.segmentation
    items = unique(items, STAGE)
    if cut is not None:
        items, decoders = unique(segment(items, cut, STAGE), STAGE), 0
    if decoders is None:
        on_gpus = devices[0] != "cpu"
        decoders = min(DECODERS_PER_GPU * len(set(devices)), cpu_count()) if on_gpus else 0
    make = partial(make_transcriber, settings=settings)
    process = spread(make, devices, prepare=decode_ahead, helpers=decoders)
    process = Throughput(len(devices), decoders).watching(process)
    if references is not None and pipe.output is None:
        process = references.watching(process)
    tally = pipe.run(
        *(items, process),
        {
            "--model": named(settings.model, EMBEDDED_WEIGHTS),
            **({} if pipe.output is None else _snapshot(settings.model)),
            **options(settings, but=("model", "batch_size")),
        },
        count=count if cut is None else lambda: None,
    )
    if references is not None and pipe.output is not None:
        references.read(pipe.output)  # all of it: a run that was resumed made only a part
    return tally


def _snapshot(model: str) -> dict[str, str]:
    """Which files of a hub or a folder a model is; none of a size, which its library looks up."""
    kind, _, name = model.partition(":")
    of_hub = kind == "hf" or (kind == "faster" and (os.path.isdir(name) or name.count("/") == 1))
    found = snapshot(name) if of_hub else None
    return {"--model" + ITS_FILES: found} if found else {}


def make_transcriber(device: str, settings: TranscribeSettings) -> WindowFunction:
    """Load an engine on `device` and return the function that transcribes a window of records.

    Raises:
        UsageError: as `make_engine`; or utterances are cut that are longer than it hears at once.
        LanserError: as `make_engine`; or the extra `vad` is missing.
    """
    voice, limits = VoiceActivity() if settings.check_speech else None, settings.limits
    told = Options(device, settings.lang, limits, settings.full_context, settings.precision)
    engine = make_engine(settings.model, told)
    cut, longest = settings.segmentation, engine.max_seconds
    if cut is not None and longest is not None and cut.max_seconds > longest:
        raise UsageError(
            f"--max-seconds {cut.max_seconds:g}: {engine.name} hears at most {longest:.3g} s at "
            "once: cut shorter utterances"
        )
    return Transcriber(engine, settings.batch_size, limits, voice, settings.vad_threshold)


def decode_ahead(window: Sequence[Record]) -> list[Record]:
    """Decode a window ahead of the model, which refuses what cannot be decoded.

    What is longer than `AHEAD` is left to whoever runs the model, and may refuse it.
    """
    found = [attempt(partial(with_sound, most=AHEAD), record, STAGE) for record in window]
    return [
        record if isinstance(clip, Reject) or clip.seconds >= AHEAD else clip
        for record, clip in zip(window, found, strict=True)
    ]
