"""lanser transcribe: audio to text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lanser_cli.asr import engines
from lanser_cli.choices import HearingPrecision, Segmenting
from lanser_cli.commands import options
from lanser_cli.commands.groups import CHECKS, MODEL, OUTPUT, RUNNING, SEGMENTS
from lanser_cli.destination import check_apart

EXAMPLES = """
lanser transcribe speech/ -o heard.jsonl
lanser transcribe interview.wav --segment vad --check-speech > interview.jsonl
lanser transcribe speech/ --model whisper:large-v3-turbo --device all -o large.jsonl
"""


def command(
    inputs: options.AudioOrRecords = None,
    model: Annotated[
        str,
        MODEL.option(help=f"{engines.models_in_words()}."),
    ] = "embedded",
    lang: Annotated[
        str | None, MODEL.option(help="Language spoken (en, de, ...); default: as detected.")
    ] = None,
    batch_size: Annotated[int, MODEL.option(min=1, help="Clips decoded together.")] = 16,
    workers: Annotated[
        int | None,
        RUNNING.option(min=1, help="Processes; default one a device."),
    ] = None,
    channel: options.Channel = "mix",
    segment: Annotated[
        Segmenting,
        SEGMENTS.option(help="Cut recordings into utterances, at pauses (vad) or of fixed length."),
    ] = "none",
    min_seconds: Annotated[
        float,
        SEGMENTS.option(
            only_with=("--segment",), min=0.1, help="Shortest utterance that --segment cuts."
        ),
    ] = 2.0,
    max_seconds: Annotated[
        float,
        SEGMENTS.option(
            only_with=("--segment",), min=0.2, help="Longest utterance that --segment cuts."
        ),
    ] = 20.0,
    min_silence: Annotated[
        float,
        SEGMENTS.option(
            only_with=("--segment vad",),
            min=0.05,
            help="Shortest pause in seconds that may end an utterance.",
        ),
    ] = 0.3,
    vad_threshold: Annotated[
        float,
        SEGMENTS.option(
            only_with=("--segment vad", "--check-speech"),
            min=0.01,
            max=0.99,
            help="Probability from which sound counts as speech.",
        ),
    ] = 0.5,
    decoders: Annotated[
        int | None,
        RUNNING.option(
            not_with="--segment",
            min=0,
            help="Processes that decode ahead of the model; default 0, or 4 for each GPU.",
        ),
    ] = None,
    check_speech: Annotated[
        bool,
        CHECKS.option("--check-speech", help="Flag text without speech and speech without text."),
    ] = False,
    compression_ratio_threshold: Annotated[
        float, CHECKS.option(help="Flag, and decode again, text with a higher ratio.")
    ] = 2.4,
    logprob_threshold: Annotated[
        float, CHECKS.option(help="Flag, and decode again, text with lower mean log-probability.")
    ] = -1.0,
    no_speech_threshold: Annotated[
        float, CHECKS.option(help="Flag unsure text with a higher no-speech probability.")
    ] = 0.6,
    words_per_second_threshold: Annotated[
        float, CHECKS.option(help="Flag text with more words a second.")
    ] = 6.0,
    full_context: Annotated[
        bool,
        MODEL.option(
            "--full-context",
            help="Whisper: hear every clip in 30 s, not in its length and a margin; slower, exact.",
        ),
    ] = False,
    precision: Annotated[
        HearingPrecision,
        MODEL.option(
            help="What Whisper computes in on a CPU; auto: int8 for the embedded model where the "
            "CPU is fast at it, unless --full-context; else float32."
        ),
    ] = "auto",
    score: Annotated[
        Path | None,
        OUTPUT.option(
            metavar="REFERENCE",
            help="Report the word error rate against the `text` of these records, by id.",
        ),
    ] = None,
    output: options.Output = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    force: options.Force = False,
    part: options.Part = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
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
    from lanser_cli.asr.transcribe import TranscribeSettings, transcribe_records
    from lanser_cli.asr.transcriber import WINDOW
    from lanser_cli.shards import reader, remote

    settings = options.fill(TranscribeSettings, locals())
    if score is not None:
        check_apart({"-o": output, "--rejects": rejects}, [score])
    pipe = options.pipe("transcribe", locals(), window=WINDOW)
    sources = remote.fetch(inputs or ["-"], fetch)
    reader.check_inputs(sources, bare=True)
    return transcribe_records(
        reader.records_of(sources, "transcribe", bare=True, part=settings.part_of_files(pipe.part)),
        settings,
        pipe,
        device=device,
        workers=workers,
        decoders=decoders,
        score=score,
        count=lambda: reader.count(sources, bare=True),
    ).exit_code
