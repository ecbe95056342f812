"""`lanser manifest`: a labelled corpus as its publisher hands it out → records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lanser_cli import corpora
from lanser_cli.choices import Toolkit
from lanser_cli.commands import completion, options
from lanser_cli.commands.groups import INPUT, OUTPUT, TABLE
from lanser_cli.origin import named
from lanser_cli.stage import one_process, unique

Kind = Annotated[
    str,
    typer.Argument(
        metavar="KIND",
        autocompletion=completion.corpus,
        help="Which corpus, see above.",
        show_default=False,
    ),
]
Root = Annotated[
    Path,
    typer.Argument(metavar="ROOT", help="The corpus' folder; for csv and jsonl the file."),
]
_OF_CSV = ("kind csv",)

EXAMPLES = """
lanser manifest ravdess RAVDESS/ -o ravdess.jsonl
lanser manifest csv clips.csv --audio-column path --label-column emotion > clips.jsonl
lanser manifest folder recordings/ --no-labels | lanser transcribe > texts.jsonl
"""


def command(
    kind: Kind,
    root: Root,
    audio_column: Annotated[
        str | None,
        TABLE.option(
            only_with=_OF_CSV,
            metavar="NAME",
            help="csv: column of the audio path (default: audio_filepath).",
        ),
    ] = None,
    label_column: Annotated[
        str | None,
        TABLE.option(
            only_with=_OF_CSV, metavar="NAME", help="csv: column of the label (default: label)."
        ),
    ] = None,
    speaker_column: Annotated[
        str | None,
        TABLE.option(
            only_with=_OF_CSV, metavar="NAME", help="csv: column of the speaker (default: speaker)."
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        TABLE.option(
            only_with=_OF_CSV, metavar="NAME", help="csv: column of the transcript (default: text)."
        ),
    ] = None,
    audio_root: Annotated[
        Path | None,
        TABLE.option(
            only_with=_OF_CSV,
            metavar="DIR",
            help="csv: folder of the clips (default: that of the table).",
        ),
    ] = None,
    label_map: Annotated[
        str | None,
        TABLE.option(
            only_with=_OF_CSV,
            metavar="OLD=NEW,...",
            help="csv: other words for the labels, or a JSON file of them; OLD= leaves OLD out.",
        ),
    ] = None,
    no_labels: Annotated[
        bool,
        INPUT.option(
            "--no-labels", only_with=("kind folder",), help="folder: sub-folders are not labels."
        ),
    ] = False,
    to: Annotated[
        Toolkit | None,
        OUTPUT.option(help="Write lines of another toolkit's manifest instead of records."),
    ] = None,
    output: options.Output = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    force: options.Force = False,
    part: options.Part = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Turn a labelled corpus into records: JSONL with label, speaker, duration and split.

    Every clip of the corpus becomes a record, a reject with the reason, or is counted as left out.
    A corpus' file names, labels, licence and citation: pydoc lanser_cli.corpora.ravdess

    For csv other columns are kept under their own names, where these are free, and paths are
    relative to the table. The tables of Common Voice and Hugging Face are known as such. What is
    odd about the corpus as a whole is said at the end: labels that look alike, lengths that cannot
    be.
    """
    of_table = {
        "audio_column": audio_column,
        "label_column": label_column,
        "speaker_column": speaker_column,
        "text_column": text_column,
        "audio_root": audio_root,
        "label_map": label_map,
    }
    read: dict[str, Any] = {}
    if kind == "csv":
        read = {name: value for name, value in of_table.items() if value is not None}
    elif kind == "folder":
        read = {"labels": not no_labels}
    process = one_process(corpora.lines(to, output))
    pipe = options.pipe("manifest", {**locals(), "inputs": [str(root)]})
    outcomes = corpora.read(kind, root, **read)
    items = unique(corpora.watched(outcomes, root), "manifest")
    of_table["label_map"] = label_map and named(label_map)
    settings = {f"--{name.replace('_', '-')}": value for name, value in of_table.items()}
    made_with = {"kind": kind, **settings, "--no-labels": no_labels} | ({"--to": to} if to else {})
    return pipe.run(items, process, made_with).exit_code


_LIST = "\n".join(f"      {kind:10}{title}" for kind, title in corpora.titles().items())
command.__doc__ = f"{command.__doc__ or ''}\n    KIND is one of\n\n    \b\n{_LIST}\n"
