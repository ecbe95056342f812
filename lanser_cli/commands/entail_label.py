"""lanser entail-label: text to weak emotion label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lanser_cli.commands import options
from lanser_cli.errors import UsageError
from lanser_cli.records import Outcome


def command(
    inputs: options.Records = None,
    taxonomy: Annotated[
        str, typer.Option("--taxonomy", "-t", help="Name (see lanser taxonomies) or .json file.")
    ] = "goemotions",
    labels: Annotated[
        str | None, typer.Option(help="Labels instead of a taxonomy: happy,sad,angry.")
    ] = None,
    crosswalk: Annotated[
        str | None,
        typer.Option(
            help="Sum the scores into another taxonomy's labels: its name, or a crosswalk file."
        ),
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="Hypothesis with one slot, {} (noun) or {adjective}, or a .txt file of them; may "
            "be repeated, then scores are averaged.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="NLI model: embedded (the default), a hub id or a folder; several with --sweep."
        ),
    ] = None,
    entailment_label: Annotated[
        str | None, typer.Option(help="The model's name for entailment, if it is not obvious.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="auto, float32, bfloat16, or int8 (on a CPU).")
    ] = "auto",
    calibrate: Annotated[
        str,
        typer.Option(help="Subtract what labels score for no text (null) or on average (batch)."),
    ] = "none",
    prior: Annotated[
        Path | None,
        typer.Option(help="File where --calibrate batch keeps its means; made if missing."),
    ] = None,
    context: Annotated[
        int, typer.Option(min=0, help="Earlier utterances of the dialogue to put before.")
    ] = 0,
    top_k_first: Annotated[
        int | None,
        typer.Option(min=2, help="Score only the K best labels of the embedded model."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Keep only the K best in emotion_scores.")
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Give no label below this probability.")
    ] = 0.0,
    min_margin: Annotated[
        float,
        typer.Option(min=0.0, help="Give no label that leads the second by less, in log-odds."),
    ] = 0.0,
    keep_flagged: Annotated[
        bool, typer.Option("--keep-flagged", help="Label transcripts that have asr.flags, too.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder where scores are kept and looked up.")
    ] = None,
    cache_limit: Annotated[float, typer.Option(min=0.001, help="GB the cache may take.")] = 10.0,
    sweep: Annotated[
        Path | None,
        typer.Option(
            metavar="GOLD", help="Rank templates, calibrations and models on labelled text instead."
        ),
    ] = None,
    output: options.Output = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    part: options.Part = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Label transcripts: adds the `emotion` that the `text` entails most.

    Every label of the taxonomy is put into the template, and the model judges how much the
    transcript entails that sentence. Empty, flagged and unreadable transcripts get `emotion: null`.
    """
    from lanser_cli import jsonl, parts, workers
    from lanser_cli.devices import parse_devices
    from lanser_cli.entailment import (
        EMBEDDED,
        SWEEP_TEMPLATES,
        Taxonomy,
        calibration,
        labeller,
        load_crosswalk,
        load_taxonomy,
        load_templates,
        with_context,
    )
    from lanser_cli.evaluation.sweep import sweep as rank
    from lanser_cli.pipe import Pipe, unique

    inputs, models = inputs or ["-"], model or [EMBEDDED]
    chosen = parts.parse_part(part)
    options.one_of("--calibrate", calibrate, calibration.METHODS)
    if len(models) > 1 and sweep is None:
        raise UsageError("--model may be repeated with --sweep only")
    if prior is not None and calibrate != "batch":
        raise UsageError("--prior FILE goes with --calibrate batch")
    emotions = Taxonomy.of_labels(labels.split(",")) if labels else load_taxonomy(taxonomy)
    settings = labeller.Settings(
        emotions,
        load_templates(template or (SWEEP_TEMPLATES if sweep else [])),
        crosswalk=load_crosswalk(crosswalk, emotions) if crosswalk else None,
        model=models[0],
        precision=precision,
        entailment_label=entailment_label,
        calibrate=calibrate,
        top_k_first=top_k_first,
        top_k=top_k,
        min_score=min_score,
        min_margin=min_margin,
        keep_flagged=keep_flagged,
        cache=cache,
        cache_limit=cache_limit,
    )
    devices = parse_devices(device)
    sources = [str(sweep)] if sweep else inputs
    jsonl.check_files(sources)

    def read() -> Iterator[Outcome]:
        items = unique(jsonl.read_records(sources, "entail-label"), "entail-label")
        return with_context(items, context) if context else items

    if sweep is not None:
        named = ["--labels", labels] if labels else ["--taxonomy", taxonomy]
        named += ["--crosswalk", crosswalk] if crosswalk else []
        return rank(read(), models, settings, devices[0], named, output)
    pipe = Pipe("entail-label", output, rejects=rejects, resume=resume, window=labeller.WINDOW)
    if calibrate == "batch":
        measured = labeller.batch_prior(settings, prior, inputs, read, devices[0])
        settings = replace(settings, prior=measured)
    process = workers.spread(partial(labeller.make_labeller, settings=settings), devices)
    watched = labeller.Summary().watching(process)
    return pipe.run(parts.take_part(read(), chosen), watched)
