"""lanser transcribe: audio to text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.asr import engines
from lanser_cli.commands import options
from lanser_cli.records import Outcome


def command(
    inputs: options.AudioOrRecords = None,
    model: Annotated[
        str,
        typer.Option(help=f"{engines.models_in_words()}."),
    ] = "embedded",
    lang: Annotated[
        str | None, typer.Option(help="Language spoken (en, de, ...); default: as detected.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips decoded together.")] = 16,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; default one a device."),
    ] = None,
    segment: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="Cut recordings into utterances: vad (at pauses), fixed (by the clock) or none.",
        ),
    ] = "none",
    min_seconds: Annotated[
        float, typer.Option(min=0.1, help="Shortest utterance that --segment cuts.")
    ] = 2.0,
    max_seconds: Annotated[
        float, typer.Option(min=0.2, help="Longest utterance that --segment cuts.")
    ] = 20.0,
    min_silence: Annotated[
        float, typer.Option(min=0.05, help="Shortest pause in seconds that may end an utterance.")
    ] = 0.3,
    vad_threshold: Annotated[
        float,
        typer.Option(min=0.01, max=0.99, help="Probability from which sound counts as speech."),
    ] = 0.5,
    decoders: Annotated[
        int | None,
        typer.Option(
            min=0, help="Processes that decode ahead of the model; default 0, or 4 for each GPU."
        ),
    ] = None,
    check_speech: Annotated[
        bool,
        typer.Option("--check-speech", help="Flag text without speech and speech without text."),
    ] = False,
    compression_ratio_threshold: Annotated[
        float, typer.Option(help="Flag, and decode again, text with a higher ratio.")
    ] = 2.4,
    logprob_threshold: Annotated[
        float, typer.Option(help="Flag, and decode again, text with lower mean log-probability.")
    ] = -1.0,
    no_speech_threshold: Annotated[
        float, typer.Option(help="Flag unsure text with a higher no-speech probability.")
    ] = 0.6,
    words_per_second_threshold: Annotated[
        float, typer.Option(help="Flag text with more words a second.")
    ] = 6.0,
    full_context: Annotated[
        bool,
        typer.Option(
            "--full-context",
            help="Whisper: hear every clip in 30 s, not in its length and a margin; slower, exact.",
        ),
    ] = False,
    score: Annotated[
        Path | None,
        typer.Option(
            metavar="REFERENCE",
            help="Report the word error rate against the `text` of these records, by id.",
        ),
    ] = None,
    output: options.Output = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    part: options.Part = None,
    device: options.Device = "auto",
    fetch: options.Fetch = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Transcribe speech: adds `text` and `asr` to each record.

    INPUT is audio files, folders (recursive), globs, tars of clips (clips-{000..003}.tar), or JSONL
    of records, of lhotse cuts or of Hugging Face metadata; the default is records, or paths, on
    standard input. A clip that looks wrongly transcribed is marked in `asr.flags`, not dropped. A
    recording longer than the model hears at once is refused, unless --segment cuts it.
    """
    from lanser_cli import parts
    from lanser_cli.asr import throughput, transcriber
    from lanser_cli.asr.quality import Thresholds
    from lanser_cli.asr.wer import Score
    from lanser_cli.audio import segments
    from lanser_cli.devices import cpu_count, parse_devices
    from lanser_cli.pipe import Pipe, unique
    from lanser_cli.shards import reader, remote
    from lanser_cli.workers import spread

    inputs = remote.fetch(inputs or ["-"], fetch)
    chosen = parts.parse_part(part)
    reader.check_inputs(inputs, bare=True)
    options.one_of("--segment", segment, segments.METHODS)
    cut = None
    if segment != "none":
        cut = segments.Segmentation(
            segment,
            min_seconds=min_seconds,
            max_seconds=max_seconds,
            threshold=vad_threshold,
            min_silence=min_silence,
        )
    settings = transcriber.Settings(
        model,
        batch_size,
        lang,
        Thresholds(
            compression_ratio_threshold,
            logprob_threshold,
            no_speech_threshold,
            words_per_second_threshold,
        ),
        vad_threshold if check_speech else None,
        full_context,
    )
    pipe = Pipe("transcribe", output, rejects=rejects, resume=resume, window=transcriber.WINDOW)
    scored = Score(score) if score else None
    devices = parse_devices(device)
    if workers is not None:
        devices = [devices[index % len(devices)] for index in range(workers)]
    if decoders is None:
        decoders = min(4 * len(set(devices)), cpu_count()) if devices[0] != "cpu" else 0
    items: Iterator[Outcome] = unique(
        reader.records_of(inputs, "transcribe", bare=True), "transcribe"
    )
    if cut is not None:  # it decodes as it cuts, so there is nothing to decode ahead
        items, decoders = segments.segment(items, cut, "transcribe"), 0
        items = unique(items, "transcribe")
    process = spread(
        partial(transcriber.make_transcriber, settings=settings),
        devices,
        prepare=transcriber.prepare,
        helpers=decoders,
    )
    process = throughput.Throughput(len(devices), decoders).watching(process)
    if scored is not None and output is None:
        process = scored.watching(process)
    code = pipe.run(parts.take_part(items, chosen), process)
    if scored is not None and output is not None:
        scored.read(output)  # and not what went by, of which --resume sees only a part
    return code
