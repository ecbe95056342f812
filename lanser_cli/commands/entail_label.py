"""lanser entail-label: text to weak emotion label."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from lanser_cli.commands import options


def entail_label(
    inputs: options.Records = None,
    taxonomy: Annotated[
        str, typer.Option("--taxonomy", "-t", help="Name (see lanser taxonomies) or .json file.")
    ] = "goemotions",
    labels: Annotated[
        str | None, typer.Option(help="Labels instead of a taxonomy: happy,sad,angry.")
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="Hypothesis with one slot, {} (noun) or {adjective}; may be repeated, then "
            "scores are averaged.",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="NLI model: embedded, a hub id or a folder.")
    ] = "embedded",
    entailment_label: Annotated[
        str | None, typer.Option(help="The model's name for entailment, if it is not plain.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Keep only the K best in emotion_scores.")
    ] = None,
    keep_flagged: Annotated[
        bool, typer.Option("--keep-flagged", help="Label transcripts that ASR flagged, too.")
    ] = False,
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
    transcript entails that sentence. Empty and flagged transcripts get `emotion: null`.
    """
    from lanser_cli import streams, workers
    from lanser_cli.entailment import DEFAULT_TEMPLATE, Taxonomy, Template, labelling, load_taxonomy
    from lanser_cli.pipe import Pipe

    inputs = inputs or ["-"]
    chosen = streams.parse_part(part)
    streams.check_inputs(inputs)
    emotions = Taxonomy.of_labels(labels.split(",")) if labels else load_taxonomy(taxonomy)
    templates = tuple(Template(text) for text in template or [DEFAULT_TEMPLATE])
    pipe = Pipe("entail-label", output, rejects=rejects, resume=resume, window=labelling.WINDOW)
    make = partial(
        labelling.make_labeller,
        taxonomy=emotions,
        templates=templates,
        model=model,
        entailment_label=entailment_label,
        top_k=top_k,
        keep_flagged=keep_flagged,
    )
    items = streams.unique(streams.read_records(inputs, "entail-label"), "entail-label")
    devices = workers.parse_devices(device)
    return pipe.run(streams.take_part(items, chosen), workers.spread(make, devices))
