"""lanser transcribe: audio to text."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from lanser_cli.commands import options


def transcribe(
    inputs: options.AudioOrRecords = None,
    model: Annotated[
        str, typer.Option(help="whisper:SIZE or file, hf:ID or folder, or sphinx (offline).")
    ] = "whisper:base.en",
    lang: Annotated[
        str | None, typer.Option(help="Language spoken (en, de, ...); default: as detected.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips decoded together.")] = 16,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes; default one a device, for sphinx one a processor."),
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
        float, typer.Option(min=0.05, help="Seconds of a pause that may end an utterance.")
    ] = 0.3,
    vad_threshold: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Probability that counts as speech.")
    ] = 0.5,
    output: options.Output = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    part: options.Part = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Transcribe speech: adds `text` and `asr` to each record.

    INPUT is audio files, folders (recursive), globs, or JSONL of records; the default is records
    on standard input. A clip that looks wrongly transcribed is marked in `asr.flags`, not dropped.
    A recording longer than the model hears at once is refused, unless --segment cuts it.
    """
    from lanser_cli import audio, segmenting, streams
    from lanser_cli import workers as pool
    from lanser_cli.asr import engines, transcribing
    from lanser_cli.pipe import Pipe

    inputs = inputs or ["-"]
    chosen = streams.parse_part(part)
    audio.check_inputs(inputs)
    options.one_of("--segment", segment, segmenting.METHODS)
    cut = None
    if segment != "none":
        cut = segmenting.Segmentation(
            segment,
            min_seconds=min_seconds,
            max_seconds=max_seconds,
            threshold=vad_threshold,
            min_silence=min_silence,
        )
    on_processors = engines.runs_on_cpu_processes(model)
    window = transcribing.SMALL_WINDOW if on_processors else transcribing.WINDOW
    pipe = Pipe("transcribe", output, rejects=rejects, resume=resume, window=window)
    devices = ["cpu"] * pool.cpu_count() if on_processors else pool.parse_devices(device)
    if workers is not None:
        devices = [devices[index % len(devices)] for index in range(workers)]
    make = partial(transcribing.make_transcriber, model=model, batch_size=batch_size, lang=lang)
    items = streams.unique(audio.ingest(inputs, "transcribe"), "transcribe")
    if cut is not None:
        items = streams.unique(segmenting.segment(items, cut, "transcribe"), "transcribe")
    return pipe.run(streams.take_part(items, chosen), pool.spread(make, devices))
