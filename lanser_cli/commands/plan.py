"""lanser plan: what so many hours of speech take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lanser_cli import console
from lanser_cli.choices import Codec
from lanser_cli.commands import options
from lanser_cli.commands.groups import INPUT, RUNNING, TRAINING
from lanser_cli.output import result_line

EXAMPLES = """
lanser plan --hours 1000 --cores 64
lanser plan --hours 100000 --gpus 64 --rates mine.json
"""


def command(
    hours: Annotated[float, INPUT.option(min=0.0, help="Hours of speech.")],
    utterance: Annotated[float, INPUT.option(min=0.1, help="Mean seconds of an utterance.")] = 5.0,
    labels: Annotated[
        int, INPUT.option(min=2, help="Labels of the taxonomy, times hypothesis templates.")
    ] = 28,
    epochs: Annotated[int, TRAINING.option(min=1, help="Passes of pre-training.")] = 10,
    codec: Annotated[Codec, INPUT.option(help="Of the sound in shards.")] = "flac",
    max_count: Annotated[int, INPUT.option(min=1, help="Records in a shard.")] = 1000,
    gpus: Annotated[
        int, RUNNING.option(min=0, help="GPUs for transcribe, entail-label and pretrain.")
    ] = 0,
    cores: Annotated[int, RUNNING.option(min=1, help="Processors for what runs on no GPU.")] = 2,
    rates: Annotated[
        Path | None,
        INPUT.option(metavar="FILE", help="Your rates and prices, in place of those that ship."),
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Say what so many hours of speech take: hours of devices, disk, parts, cost, and the commands.

    From rates that were measured: those that ship are of two cores and the small models that ship,
    and of one H200 with larger ones. What nobody has measured is `null`. Prices are assumed: name a
    file with yours.
    Prints a JSON line for each stage, and a table on a terminal.
    """
    import sys

    from lanser_cli.machine.plan import Amount, plan, shown

    amount = options.fill(Amount, locals())
    stages = plan(amount, rates)
    if sys.stdout.isatty():
        shown(stages, amount).show()
        return 0
    with result_line() as write:
        for stage in stages:
            write(stage.as_json())
    console.info(f"plan: {shown(stages, amount).sentence}")
    return 0
