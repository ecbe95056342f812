"""lanser entail-label: text to weak emotion label."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lanser_cli.choices import Calibration, LlmMode, ScoringPrecision
from lanser_cli.commands import completion, options
from lanser_cli.commands.groups import INPUT, INSTEAD, LABELS, MODEL, OUTPUT, RUNNING
from lanser_cli.destination import check_apart, check_writable
from lanser_cli.lock import claimed_file
from lanser_cli.tally import Ledger

_MODELS = ["embedded"]
_SWEEP = (
    *("taxonomy", "labels", "crosswalk", "templates", "lang", "context"),
    *("models", "entailment_label", "precision", "llm_mode", "allow_remote"),
    *("cache", "cache_limit", "output", "force", "rejects", "device", "threads"),
)
"""What --sweep reads."""

EXAMPLES = """
lanser entail-label heard.jsonl -t ekman6 -o weak.jsonl
lanser transcribe speech/ | lanser entail-label --labels happy,sad,angry > three.jsonl
lanser entail-label heard.jsonl --model FacebookAI/roberta-large-mnli -o large.jsonl
"""


def command(
    inputs: options.Records = None,
    taxonomy: Annotated[
        str,
        LABELS.option(
            "--taxonomy",
            "-t",
            not_with="--labels",
            autocompletion=completion.taxonomy,
            help="Name (see lanser taxonomies) or .json file.",
        ),
    ] = "goemotions",
    labels: Annotated[
        str | None, LABELS.option(help="Labels instead of a taxonomy: happy,sad,angry.")
    ] = None,
    crosswalk: Annotated[
        str | None,
        LABELS.option(
            autocompletion=completion.taxonomy,
            help="Sum the scores into another taxonomy's labels: its name, or a crosswalk file.",
        ),
    ] = None,
    templates: Annotated[
        list[str] | None,
        LABELS.option(
            "--template",
            help="Hypothesis with one slot, {} (noun) or {adjective}, or a .txt file of them; may "
            "be repeated, then scores are averaged.",
        ),
    ] = None,
    lang: Annotated[
        str,
        LABELS.option(
            help="Language of the hypotheses, where the taxonomy has words in it: de, es, fr, pl."
        ),
    ] = "en",
    models: Annotated[
        list[str],
        MODEL.option(
            "--model",
            help="NLI model: embedded, a hub id or a folder; or gliclass:ID; or llm:NAME@URL, on a "
            "server that speaks OpenAI's API; several with --sweep.",
        ),
    ] = _MODELS,
    entailment_label: Annotated[
        str | None, MODEL.option(help="The model's name for entailment, if it is not obvious.")
    ] = None,
    precision: Annotated[
        ScoringPrecision, MODEL.option(help="What the model computes in; int8 on a CPU alone.")
    ] = "auto",
    llm_mode: Annotated[
        LlmMode, MODEL.option(help="Ask llm: yes or no to each label, or to choose one of all.")
    ] = "pair",
    allow_remote: options.AllowRemote = False,
    calibrate: Annotated[
        Calibration,
        LABELS.option(
            help="Subtract a label's mean over everyday talk (null) or the input (batch)."
        ),
    ] = "none",
    prior: Annotated[
        Path | None,
        LABELS.option(help="File where --calibrate batch keeps its means; made if missing."),
    ] = None,
    context: Annotated[
        int, INPUT.option(min=0, help="Earlier utterances of the dialogue to put before.")
    ] = 0,
    top_k_first: Annotated[
        int | None,
        MODEL.option(min=2, help="Score only what --first-model takes for the K best."),
    ] = None,
    first_model: Annotated[str, MODEL.option(help="What chooses them, as --model.")] = "embedded",
    top_k: Annotated[
        int | None, OUTPUT.option(min=1, help="Keep only the K best in emotion_scores.")
    ] = None,
    min_score: Annotated[
        float, LABELS.option(min=0.0, max=1.0, help="Give no label below this probability.")
    ] = 0.0,
    min_margin: Annotated[
        float,
        LABELS.option(min=0.0, help="Give no label that leads the second by less, in log-odds."),
    ] = 0.0,
    keep_flagged: Annotated[
        bool, INPUT.option("--keep-flagged", help="Label transcripts that have asr.flags, too.")
    ] = False,
    cache: Annotated[
        Path | None, RUNNING.option(help="Folder where scores are kept and looked up.")
    ] = None,
    cache_limit: Annotated[
        float,
        RUNNING.option(only_with=("--cache",), min=0.001, help="GB the cache may take."),
    ] = 10.0,
    sweep: Annotated[
        Path | None,
        INSTEAD.mode(
            metavar="GOLD",
            reads=_SWEEP,
            help="Rank templates, calibrations and models on labelled text instead.",
        ),
    ] = None,
    output: options.Output = None,
    no_text: options.NoText = False,
    text_key: options.TextKey = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    force: options.Force = False,
    part: options.Part = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Label transcripts: adds the `emotion` that the `text` entails most.

    Every label of the taxonomy is put into the template, and the model scores how much the
    transcript entails that sentence. Empty, flagged and unreadable transcripts get `emotion: null`.
    """
    from lanser_cli.entailment import load_task
    from lanser_cli.entailment.entail_label import LabelSettings, label_files
    from lanser_cli.entailment.labeller import WINDOW
    from lanser_cli.evaluation.sweep import sweep as rank
    from lanser_cli.redaction import Redaction

    settings = options.fill(LabelSettings, locals())
    named = None if labels is None else labels.split(",")
    words = (taxonomy, named, crosswalk, templates or ())
    task = load_task(*words, lang=lang, sweep=sweep is not None)
    if sweep is not None:
        check_apart({"-o": output, "--rejects": rejects}, [str(sweep)])
        if output is not None:
            check_writable(output)
        with (
            Ledger("entail-label", rejects, inputs=[str(sweep)]) as ledger,
            claimed_file(output, force=force),
        ):
            ranking = rank(sweep, task, settings, ledger, output=output, device=device)
        return options.result(ledger, *ranking)
    redaction = Redaction.asked(no_text, text_key)
    pipe = options.pipe("entail-label", locals(), window=WINDOW, redaction=redaction)
    return label_files(inputs or ["-"], task, settings, pipe, device=device).exit_code
