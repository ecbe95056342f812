"""lanser probe-prosody: what a representation knows of prosody."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lanser_cli.choices import Probe
from lanser_cli.commands import completion, options
from lanser_cli.commands.groups import MEASURE, MODEL
from lanser_cli.lock import claimed_folder
from lanser_cli.tally import Ledger

EXAMPLES = """
lanser probe-prosody corpus.jsonl -r runs/pretrained -o prosody/
lanser probe-prosody corpus.jsonl -r runs/pretrained --by voice --folds 3
lanser probe-prosody corpus.jsonl -r runs/seed-0 -r runs/seed-1
"""


def command(
    run: Annotated[
        list[Path],
        MODEL.option(
            "-r",
            "--run",
            metavar="RUN",
            autocompletion=completion.run,
            help="Run folder of pretrain or finetune, with all its folds. Of several, and of the "
            "seeds of one, the mean is judged.",
        ),
    ],
    inputs: options.ShardsOrRecords = None,
    folds: Annotated[int, MEASURE.option(min=2, help="Folds; speakers are kept apart.")] = 5,
    by: Annotated[
        str,
        MEASURE.option(
            metavar="KEY", help="What is taken for a speaker, such as voice, where it has several."
        ),
    ] = "speaker",
    probe: Annotated[Probe, MEASURE.option(help="A weighted sum, or one hidden layer.")] = "ridge",
    output: options.Report = None,
    device: options.OneDevice = "auto",
    seed: options.Seed = 0,
    fetch: options.Fetch = None,
    force: options.Force = False,
    rejects: options.Rejects = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Probe a network's layers for pitch, loudness, rate, pauses and the quality of the voice.

    The same is asked of untrained networks, log-mel statistics, transcripts, labels, sex, speakers
    and shuffled utterances. The verdict is "shown" only where the trained network surely knows
    more than each of these. Prints the numbers as one JSON line.
    """
    from lanser_cli.prosody.probe_run import probe_run
    from lanser_cli.prosody.report import in_short

    with (
        Ledger("probe-prosody", rejects, inputs=inputs) as ledger,
        claimed_folder(output, force=force),
    ):
        numbers = probe_run(
            inputs,
            run,
            ledger,
            output=output,
            folds=folds,
            by=by,
            probe=probe,
            device=device,
            seed=seed,
            fetch=fetch,
        )
    return options.result(ledger, numbers, shown=in_short(numbers))
