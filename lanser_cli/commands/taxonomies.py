"""lanser taxonomies: what there is to choose from."""

from __future__ import annotations

from typing import Annotated

import typer

from lanser_cli.commands import completion, options
from lanser_cli.output import result_line

EXAMPLES = """
lanser taxonomies
lanser taxonomies ekman6 ravdess8
"""


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...", autocompletion=completion.taxonomy, help="Show these; default all."
        ),
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Print taxonomies, one JSON object a line: name, source, labels."""
    from lanser_cli.entailment import load_taxonomy, taxonomy_names

    chosen = [load_taxonomy(name) for name in names or taxonomy_names()]
    with result_line() as write:
        for taxonomy in chosen:
            write(taxonomy.as_json())
    return 0
